"""Searching the parts of an atlas's index by several workers, when one machine is too small or too slow."""

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
from scvec.store import Address


@dataclass(frozen=True, slots=True)
class Queries:
    """What is searched for in all parts: see `search_parts`.

    Attributes
    ----------
    store
        Where the store is.
    made
        The index's entry in the manifest.
    queries
        (n, d) unit vectors.
    k
        Number of neighbours.
    """

    store: Address
    made: Mapping[str, Any]
    queries: Floats
    k: int


@dataclass(frozen=True, slots=True)
class SearchedPart:
    """A part of the index: its position in the manifest, and the rows to search among, ascending."""

    number: int
    rows: Ints

    def __str__(self) -> str:
        return f"search in part {self.number} of the index"


def search_parts(atlas: Atlas, queries: Floats, k: int, engine: Engine, rows: Ints | None = None) -> Neighbors:
    """Return the k nearest reference cells of each query, searching each part of the index separately.

    Each part returns its k nearest by exact distances, and these are merged by (distance, id). If the index misses
    nothing, the result is that of `Atlas.search`. An approximate index chooses candidates in every part, so that it
    misses no more than it does there.

    Parameters
    ----------
    atlas
        Its store must be visible to all workers.
    queries
        (n, d) unit vectors.
    k
        Number of neighbours.
    engine
        Searches the parts.
    rows
        Row ids to search among, ascending, from `Atlas.filled`; None: all of these.

    Raises
    ------
    InputError
        If the index is Lance's, which has no parts.
    """
    if atlas.is_panel:  # its few cells have an index of their own
        return atlas.search(queries, k, None if rows is None else atlas.narrowed(rows))
    if indexes.is_lance(atlas.manifest["index"]["factory"]):
        raise InputError(
            f"the index of atlas {atlas.name!r} is Lance's, which has no parts",
            "a FAISS index or exact search",
            f"scvec atlas rebuild {atlas.name} --index auto",
        )
    made, rows = atlas.manifest["index"], atlas.filled if rows is None else rows
    parts = []
    for number, part in enumerate(made["parts"]):
        own = rows[slice(*np.searchsorted(rows, (part["first_row"], part["last_row"] + 1)))]
        if len(own):
            parts.append(SearchedPart(number, own))
    ids, distances = [np.zeros((len(queries), 0), np.int64)], [np.zeros((len(queries), 0), np.float32)]
    with closing(engine.each(part_searcher, Queries(atlas.store.address, made, queries, k), parts)) as answers:
        for found in answers:
            ids.append(found.ids)
            distances.append(found.distances)
    return indexes.nearest(np.hstack(ids), np.hstack(distances), k)


@contextmanager
def part_searcher(common: Queries) -> Iterator[Callable[[SearchedPart], Neighbors]]:
    """Give the function that searches a part, as a `scvec.atlas.engine.Worker`."""
    store, made = common.store.open(), common.made

    def search(part: SearchedPart) -> Neighbors:
        folder = store.local_folder(f"{made['folder']}/{made['parts'][part.number]['name']}")
        index = indexes.open_parts(made["factory"], [folder], made["search"])
        own = part.rows[np.isin(part.rows, index.rows, assume_unique=True)]
        return indexes.search(indexes.narrowed(index, own), common.queries, common.k)

    yield search
