"""How far a step is: a line in the log at its start and end, and a bar in a notebook."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from html import escape
from time import monotonic
from typing import Any

from scvec.core.logs import logger
from scvec.core.types import Progress

SECONDS_BEFORE = 0.5
"""A bar is drawn once a step has taken this time: most steps of a small query take less."""

SECONDS_A_DRAWING = 0.2
"""A bar is drawn again after this time at the earliest: each drawing is a message to the browser."""


def shown(progress: Progress | None) -> Progress:
    """Return how to show progress: as given, or, for None, in the log, and with a bar in a notebook."""
    return _logged if progress is None else progress


@contextmanager
def _logged(title: str, total: int) -> Iterator[Callable[[int], None]]:
    started = monotonic()
    logger.info("%s: %s to do", title, f"{total:,}")
    bar = _Bar(title, total) if in_notebook() else None
    try:
        yield (lambda _step: None) if bar is None else bar.advance
    finally:
        if bar is not None:
            bar.end()
    logger.info("%s: done in %.1f s", title, monotonic() - started)


def in_notebook() -> bool:
    """Whether this process is the kernel of a notebook."""
    # A kernel has imported IPython already; importing it here would take half a second.
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return getattr(shell, "kernel", None) is not None


class _Bar:
    """A bar of HTML: those of rich and tqdm need ipywidgets in a notebook, which a kernel does not bring."""

    def __init__(self, title: str, total: int) -> None:
        self._title, self._total, self._done = title, total, 0
        self._started, self._drawn = monotonic(), 0.0
        self._handle: Any = None
        if total <= 1:  # nothing would be said of it before its end
            self._draw()

    def advance(self, step: int) -> None:
        """Count a step."""
        self._done += step
        now = monotonic()
        if now - self._started > SECONDS_BEFORE and now - self._drawn > SECONDS_A_DRAWING:
            self._draw()

    def end(self) -> None:
        """Draw it for the last time, if it was drawn."""
        if self._handle is not None:
            self._draw()

    def _draw(self) -> None:
        from IPython.display import display

        self._drawn = monotonic()
        if self._handle is None:
            self._handle = display(self._html(), display_id=True)
        else:
            self._handle.update(self._html())

    def _html(self) -> Any:
        from IPython.display import HTML

        took = f"{self._done:,} of {self._total:,}, {monotonic() - self._started:.1f} s"
        bar = f'<progress value="{self._done}" max="{max(self._total, 1)}"></progress>'
        return HTML(f'<div class="scvec-progress">{escape(self._title)} {bar} {took}</div>')
