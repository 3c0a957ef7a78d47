"""The log of the library: what `logging` calls ``scvec``. It is silent until the caller configures `logging`."""

from __future__ import annotations

import logging
from collections.abc import Iterable

logger = logging.getLogger("scvec")
logger.addHandler(logging.NullHandler())


def log_notes(notes: Iterable[str], about: str) -> None:
    """Log notes for the user, one line each, as INFO; `about` says what made them, as ``"annotate"``."""
    for note in notes:
        logger.info("%s: %s", about, note)
