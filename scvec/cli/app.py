"""What all verbs share: options, output, and how an error becomes one line and an exit code."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from time import monotonic
from typing import TYPE_CHECKING, Annotated, Any

import typer
import typer.core
import typer.main

from scvec.errors import ScvecError, as_disk_full

if TYPE_CHECKING:
    from scvec.store import Store

SECONDS_A_LINE = 20.0
BAD_INPUT = 2
INTERRUPTED = 130

ORDER = (
    *("demo", "genes", "ontology", "models", "embed", "atlas", "refine", "interpret"),
    *("query", "report", "explain", "search", "evaluate", "bench"),
)


class _InOrder(typer.core.TyperGroup):
    """Lists the verbs in the order one meets them."""

    def list_commands(self, ctx: Any) -> list[str]:
        return sorted(super().list_commands(ctx), key=ORDER.index)


app = typer.Typer(
    name="scvec",
    cls=_InOrder,
    help="Label single cells by retrieval: cell vectors from gene texts, searched in versioned reference atlases.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)

StoreOption = Annotated[
    str, typer.Option("--store", envvar="SCVEC_STORE", help="The store: a folder or an object-store URI.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print the result as JSON on standard output.")]
QuietOption = Annotated[bool, typer.Option("--quiet", help="Print neither progress nor notes.")]
DEFAULT_STORE = "scvec-store"


@dataclass(frozen=True, slots=True)
class Ui:
    """Where a verb's words go: results to standard output, notes and progress to standard error."""

    as_json: bool
    quiet: bool

    def note(self, text: str) -> None:
        """Print a note, unless quiet."""
        if not self.quiet:
            typer.echo(text, err=True)

    def result(self, values: dict[str, Any] | list[Any], text: str) -> None:
        """Print the result: `values` as JSON where that was asked for, else `text`."""
        typer.echo(json.dumps(values, indent=1) if self.as_json else text)

    def device(self, asked: str) -> str:
        """Return the device to use, with a note where it is not the one asked for."""
        from scvec.core.device import choose

        device, said = choose(asked)
        if said:
            self.note(said)
        return device

    @contextmanager
    def progress(self, title: str, total: int) -> Iterator[Callable[[int], None]]:
        """Show a bar on a terminal; elsewhere a line now and then, if it takes long."""
        if self.quiet:
            yield lambda _step: None
            return
        if not sys.stderr.isatty():
            yield _lines(title, total, self.note)
            return
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeElapsedColumn,
            TimeRemainingColumn,
        )

        parts = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
        )
        with Progress(*parts, console=Console(stderr=True), transient=True) as bar:
            task = bar.add_task(title, total=total)
            yield lambda step: bar.advance(task, step)


def _lines(title: str, total: int, note: Callable[[str], None]) -> Callable[[int], None]:
    """Return what says how far it is, at most every `SECONDS_A_LINE`."""
    done, said = 0, monotonic()

    def advance(step: int) -> None:
        nonlocal done, said
        done += step
        if monotonic() - said > SECONDS_A_LINE:
            said = monotonic()
            note(f"{title}: {done:,} of {total:,}")

    return advance


def open_store(uri: str) -> Store:
    """Open the store a verb was given."""
    from scvec.store import Store

    return Store(uri)


def table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Return a plain table, numbers to the right."""
    shown = [
        [f"{one:.3f}" if isinstance(one, float) else f"{one:,}" if isinstance(one, int) else str(one) for one in row]
        for row in rows
    ]
    right = [bool(rows) and all(isinstance(row[i], (int, float)) for row in rows) for i in range(len(header))]
    widths = [max(len(line[i]) for line in [list(header), *shown]) for i in range(len(header))]
    lines = [list(header), ["-" * width for width in widths], *shown]
    return "\n".join(
        "  ".join(
            one.rjust(width) if to_right else one.ljust(width)
            for one, width, to_right in zip(line, widths, right, strict=True)
        ).rstrip()
        for line in lines
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code: 0, 2 for bad input, 130 when interrupted."""
    try:
        app(args=None if arguments is None else list(arguments))
    except SystemExit as end:
        if end.code == INTERRUPTED:
            return _fail("interrupted; the store reads as before; run it again to go on", INTERRUPTED)
        return end.code if isinstance(end.code, int) else 1
    except ScvecError as error:
        return _fail(_with_options(str(error)))
    except OSError as error:
        full = as_disk_full(error, error.filename or "the output")
        return _fail(str(full or error))
    return 0


def _with_options(message: str) -> str:
    """Return the message with the options of the command line in place of the parameters of the library."""
    names = _option_names(typer.main.get_command(app))
    return re.sub(r"`(\w+)`", lambda found: names.get(found[1], found[0]), message)


@contextmanager
def renaming(**options: str) -> Iterator[None]:
    """Have errors name options whose parameter in the library is called otherwise: ``error="rerank_error"``."""

    def renamed(text: str) -> str:
        return re.sub(r"`(\w+)`", lambda found: f"`{options.get(found[1], found[1])}`", text)

    try:
        yield
    except ScvecError as error:
        raise type(error)(*map(renamed, (error.seen, error.expected, error.fix))) from error


def _option_names(command: Any) -> dict[str, str]:
    """Return what each parameter is called on the command line, by its name in Python, in all verbs."""
    names = {one.name: one.opts[0] for one in command.params if one.opts[0].startswith("--")}
    for verb in getattr(command, "commands", {}).values():
        names |= _option_names(verb)
    return names


def _fail(line: str, code: int = BAD_INPUT) -> int:
    typer.echo(f"scvec: {line}", err=True)
    return code
