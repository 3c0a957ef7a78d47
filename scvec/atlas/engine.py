"""Where the shards of a table and the parts of an index are made: in this process, or wherever an engine takes them."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import AbstractContextManager, closing
from typing import Protocol, TypeAlias, TypeVar

from scvec.atlas.job import Job
from scvec.atlas.shards import Done, Shard, Work, worker
from scvec.core.types import Progress
from scvec.errors import StoreError

Common = TypeVar("Common")
Piece = TypeVar("Piece")
Made = TypeVar("Made")

Worker: TypeAlias = Callable[[Common], AbstractContextManager[Callable[[Piece], Made]]]
"""Makes ready what all pieces have in common, and gives what makes one of them: a function of a module, such as
`scvec.atlas.shards.worker`. A piece may be made twice, and the second must do no harm."""


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


def embed_all(job: Job, work: Work, shards: Sequence[Shard], engine: Engine, progress: Progress) -> list[Done]:
    """Have those shards embedded that are not yet, and return all of them in order.

    Raises
    ------
    StoreError
        If an engine lost a shard.
    """
    done = {number: one for number, one in job.done().items() if number < len(shards) and one.shard == shards[number]}
    with progress("embedding cells", sum(shard.stop - shard.start for shard in shards)) as advance:
        advance(sum(one.n_rows for one in done.values()))
        # Closed at once where this ends early: files are open, and other processes may be at work.
        with closing(engine.each(worker, work, [shard for shard in shards if shard.number not in done])) as made:
            for one in made:
                job.record(one)
                done[one.shard.number] = one
                advance(one.n_rows)
    lost = [shard.number for shard in shards if shard.number not in done]
    if lost:
        raise StoreError(f"{len(lost)} of {len(shards)} shards were not embedded", "all", "run the command again")
    return [done[shard.number] for shard in shards]
