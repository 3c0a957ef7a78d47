"""Indexes of cell vectors: immutable parts on disk, memory-mapped and searched as one, tuned against exact search."""

from __future__ import annotations

from scvec.core.types import Floats, Ints
from scvec.index.among import Among, narrowed
from scvec.index.base import Index, Searched, nearest, recall, search
from scvec.index.choose import part_rows, resolve, sample_rows
from scvec.index.distances import pair_distances
from scvec.index.exact import Exact
from scvec.index.lance import is_lance
from scvec.index.load import check_part, open_parts
from scvec.index.make import EXACT, PartMade, make_part, train
from scvec.index.spec import IndexSpec
from scvec.index.stored import Stored
from scvec.index.tuning import Tuned, sample, tune

__all__ = [
    "EXACT",
    "Among",
    "Exact",
    "Index",
    "IndexSpec",
    "PartMade",
    "Searched",
    "Stored",
    "Tuned",
    "build",
    "check_part",
    "is_lance",
    "make_part",
    "narrowed",
    "nearest",
    "open_parts",
    "pair_distances",
    "part_rows",
    "recall",
    "resolve",
    "sample",
    "sample_rows",
    "search",
    "train",
    "tune",
]


def build(factory: str, ids: Ints, vectors: Floats, random_state: int = 0) -> Index:
    """Return an index in memory of (n,) ids, in any order, and their (n, d) unit vectors, trained on all of them.

    Raises
    ------
    InputError
        If `factory` is invalid or does not suit the vectors.
    """
    stored = Stored.of(ids, vectors)
    if factory == EXACT:
        return Exact(stored)
    from scvec.index import kinds
    from scvec.index.faiss import Faiss

    index = kinds.trained(factory, stored.vectors(stored.rows), random_state)
    kinds.fill(index, factory, stored.vectors(stored.rows))
    return Faiss(factory, stored, [index])
