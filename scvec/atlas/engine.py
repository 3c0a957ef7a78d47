"""Where the shards of a table and the parts of an index are made: in this process, or wherever an engine takes them."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import AbstractContextManager
from typing import Protocol, TypeAlias, TypeVar

Common = TypeVar("Common")
Piece = TypeVar("Piece")
Made = TypeVar("Made")

Worker: TypeAlias = Callable[[Common], AbstractContextManager[Callable[[Piece], Made]]]
"""Makes ready what all pieces have in common, and gives what makes one of them: a function of a module, such as
`scvec.atlas.building.shards.worker`. A piece may be made twice, and the second must do no harm."""


class Engine(Protocol):
    """Something that has pieces of work done."""

    def each(self, worker: Worker[Common, Piece, Made], common: Common, pieces: Sequence[Piece]) -> Generator[Made]:
        """Yield what the worker makes of each piece once it is made, in any order, each of them once."""
        ...


class Local:
    """The process itself."""

    def each(self, worker: Worker[Common, Piece, Made], common: Common, pieces: Sequence[Piece]) -> Generator[Made]:
        """Yield what the worker makes of each piece, in their order; what is open for one stays open for the next."""
        with worker(common) as make:
            for piece in pieces:
                yield make(piece)
