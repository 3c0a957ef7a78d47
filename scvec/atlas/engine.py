"""Where the shards of a table and the parts of an index are made: in this process, or wherever an engine runs."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Protocol, TypeAlias, TypeVar

from scvec.core.types import Progress, silent

Common = TypeVar("Common")
Piece = TypeVar("Piece")
Made = TypeVar("Made")

Worker: TypeAlias = Callable[[Common], AbstractContextManager[Callable[[Piece], Made]]]
"""Prepares what all pieces have in common, and gives a function that makes one of them. It is a module's function, such
as `scvec.atlas.building.shards.worker`. A piece may be made twice, and the second time must do no harm."""


class Engine(Protocol):
    """Something that has pieces of work done, here or elsewhere."""

    def each(self, worker: Worker[Common, Piece, Made], common: Common, pieces: Sequence[Piece]) -> Generator[Made]:
        """Yield what the worker makes of each piece, in any order, each of them once."""
        ...


class Local:
    """The process itself."""

    def each(self, worker: Worker[Common, Piece, Made], common: Common, pieces: Sequence[Piece]) -> Generator[Made]:
        """Yield what the worker makes of each piece, in order; what is open for one stays open for the next."""
        with worker(common) as make:
            for piece in pieces:
                yield make(piece)


@dataclass(frozen=True, slots=True)
class Compute:
    """Where work on an atlas is done.

    Attributes
    ----------
    device
        Where vectors are computed and an index is trained: ``"cpu"`` or ``"cuda"``.
    engine
        What embeds shards and makes the parts of an index.
    progress
        Shows progress.
    """

    device: str = "cpu"
    engine: Engine = field(default_factory=Local)
    progress: Progress = silent
