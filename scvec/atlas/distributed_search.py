"""Search in the parts of an atlas's index by several workers at once, where one machine is too small or too slow."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from scvec import index as indexes
from scvec.atlas.engine import Engine
from scvec.atlas.reference import Atlas
from scvec.core.types import Floats, Ints, Neighbors
from scvec.errors import InputError
from scvec.store import Store


@dataclass(frozen=True, slots=True)
class Asked:
    """What is asked of all parts: see `search_parts`.

    Attributes
    ----------
    store
        The store's URI.
    made
        What the manifest says of the index.
    """

    store: str
    made: Mapping[str, Any]
    queries: Floats
    k: int


@dataclass(frozen=True, slots=True)
class PartAsked:
    """A part of the index: its place in the manifest, and which of its rows may be found, ascending."""

    number: int
    rows: Ints

    def __str__(self) -> str:
        return f"search in part {self.number} of the index"


def search_parts(atlas: Atlas, queries: Floats, k: int, engine: Engine, rows: Ints | None = None) -> Neighbors:
    """Return the k nearest reference cells of each query, each part of the index searched by itself.

    Each part gives its k nearest by true distances, and of these the nearest are taken by (distance, id): with an index
    that misses nothing, the answer of `Atlas.search`. One that does miss some chooses candidates in every part, so that
    it misses no more than it does there.

    Parameters
    ----------
    atlas
        Whose store all workers see.
    queries
        (n, d) of length one.
    k
        Neighbours wanted.
    engine
        Where.
    rows
        Ids of the cells to search among, ascending, some of `Atlas.filled`; None: all of these.

    Raises
    ------
    InputError
        If the index is Lance's, which has no parts.
    """
    if indexes.is_lance(atlas.manifest["index"]["factory"]):
        raise InputError(
            f"atlas {atlas.name!r} has Lance's index, of no parts", "one of FAISS, or exact", "rebuild it: --index auto"
        )
    made, rows = atlas.manifest["index"], atlas.filled if rows is None else rows
    parts = []
    for number, part in enumerate(made["parts"]):
        own = rows[slice(*np.searchsorted(rows, (part["first_row"], part["last_row"] + 1)))]
        if len(own):
            parts.append(PartAsked(number, own))
    ids, distances = [np.zeros((len(queries), 0), np.int64)], [np.zeros((len(queries), 0), np.float32)]
    with closing(engine.each(part_searcher, Asked(atlas.store.uri, made, queries, k), parts)) as answers:
        for found in answers:
            ids.append(found.ids)
            distances.append(found.distances)
    return indexes.nearest(np.hstack(ids), np.hstack(distances), k)


@contextmanager
def part_searcher(asked: Asked) -> Iterator[Callable[[PartAsked], Neighbors]]:
    """Give what searches a part, as a `scvec.atlas.engine.Worker`."""
    store = Store(asked.store)

    def search(part: PartAsked) -> Neighbors:
        folder = store.local_folder(f"{asked.made['folder']}/{asked.made['parts'][part.number]['name']}")
        index = indexes.open_parts(asked.made["factory"], [folder], asked.made["search"])
        own = part.rows[np.isin(part.rows, index.rows, assume_unique=True)]
        return indexes.search(indexes.narrowed(index, own), asked.queries, asked.k)

    yield search
