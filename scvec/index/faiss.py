"""FAISS indexes by factory string, on CPU."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any

import faiss
import numpy as np

from scvec.errors import InputError
from scvec.types import Floats, Ints

SEED = 1234
MIN_NPROBE, NPROBE_SHARE = 8, 8
EF_SEARCH = 128
"""Search settings: an IVF index visits an eighth of its lists, at least eight; HNSW keeps 128 candidates."""


class Faiss:
    """A FAISS index of inner products over vectors of length one, with ids.

    Source: Douze et al. 2024, "The Faiss library" (arXiv 2401.08281).

    Parameters
    ----------
    factory
        A FAISS factory string.
    index
        The trained index, wrapped in an id map.
    """

    def __init__(self, factory: str, index: Any) -> None:
        self.factory, self._index = factory, index
        self.parameters = _set_search(index)

    def __len__(self) -> int:
        return int(self._index.ntotal)

    @classmethod
    def build(cls, factory: str, ids: Ints, vectors: Floats) -> Faiss:
        """Train and fill an index.

        Raises
        ------
        InputError
            If FAISS knows no such factory string, or needs more cells for it than there are.
        """
        try:
            inner = faiss.index_factory(vectors.shape[1], factory, faiss.METRIC_INNER_PRODUCT)
            ivf = _ivf(inner)
            if ivf is not None:
                # Small atlases are as right as large ones: FAISS's advice on training size goes to stderr otherwise.
                ivf.cp.min_points_per_centroid, ivf.cp.seed = 1, SEED
            index = faiss.IndexIDMap2(inner)
            index.train(vectors)
            index.add_with_ids(vectors, ids)
        except RuntimeError as error:
            raise InputError(
                f"index {factory!r} cannot be made of {len(ids):,} cells ({str(error).rpartition('Error: ')[2][:80]})",
                "exact, or a FAISS factory string such as Flat, HNSW32 or IVF64,Flat",
                "give another with --index",
            ) from error
        return cls(factory, index)

    @cached_property
    def selects(self) -> bool:
        """Whether `candidates` can be told the rows to search among; some kinds refuse, product quantizers say."""
        try:
            self.candidates(np.zeros((1, self._index.d), np.float32), 1, np.zeros(1, np.int64))
        except RuntimeError:
            return False
        return True

    def candidates(self, queries: Floats, k: int, among: Ints | None = None) -> Ints:
        """Return (n, k) ids of the nearest it finds; -1 where it finds fewer; only of `among`, where it is given."""
        params = None if among is None else self._selecting(among)
        found = self._index.search(np.ascontiguousarray(queries, np.float32), k, params=params)[1]
        return np.asarray(found, np.int64)

    def _selecting(self, among: Ints) -> Any:
        """Return how some rows are searched; what was set for the whole index does not hold unless it is said again."""
        kinds: Any = faiss  # whose stubs know no fields of these
        selector = kinds.IDSelectorBatch(np.ascontiguousarray(among, np.int64))
        if "nprobe" in self.parameters:
            # All lists: those nearest to a query need not be the ones with the rows, and rows left out cost little.
            return kinds.SearchParametersIVF(sel=selector, nprobe=_ivf(self._index).nlist)
        if "efSearch" in self.parameters:
            return kinds.SearchParametersHNSW(sel=selector, efSearch=self.parameters["efSearch"])
        return kinds.SearchParameters(sel=selector)

    def save(self, path: Path) -> None:
        """Write it in FAISS's own format."""
        faiss.write_index(self._index, str(path))

    @classmethod
    def load(cls, factory: str, path: Path) -> Faiss:
        """Read what `save` wrote."""
        return cls(factory, faiss.read_index(str(path)))


def _ivf(index: Any) -> Any:
    return faiss.try_extract_index_ivf(index)


def _set_search(index: Any) -> dict[str, Any]:
    """Set how thoroughly an index searches; FAISS's own defaults are for speed."""
    ivf = _ivf(index)
    if ivf is not None:
        ivf.nprobe = min(ivf.nlist, max(MIN_NPROBE, ivf.nlist // NPROBE_SHARE))
        return {"nprobe": int(ivf.nprobe)}
    inner = faiss.downcast_index(index.index)
    while isinstance(inner, (faiss.IndexPreTransform, faiss.IndexRefine)):
        inner = faiss.downcast_index(inner.index if isinstance(inner, faiss.IndexPreTransform) else inner.base_index)
    if isinstance(inner, faiss.IndexHNSW):
        inner.hnsw.efSearch = EF_SEARCH
        return {"efSearch": EF_SEARCH}
    return {}
