"""Search in FAISS indexes, among all or some of their rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import faiss
import numpy as np

from scvec.core.types import Bools, Doubles, Floats, Ints
from scvec.index import faiss_gpu, kinds
from scvec.index.base import EFFORT, LISTS, OVERFETCH
from scvec.index.stored import OverStored, Stored

MIN_NPROBE, NPROBE_SHARE = 8, 8
USUAL = {OVERFETCH: 32, EFFORT: 128}
"""Defaults without tuning: an eighth of the lists, at least eight; 128 candidates of a graph; 32 beyond k."""

MIN_SHARE_OF_LISTS, MIN_SHARE = 0.02, 0.1
QUERIES = 1024
"""Queries whose lists are chosen at once, where only some rows are searched."""

_kinds: Any = faiss  # whose stubs know no fields of its parameters


class Faiss(OverStored):
    """FAISS indexes of inner products over unit vectors: the parts of an index that was trained once.

    FAISS knows a cell by its position in its part. Parts with inverted lists are merged when they are read, and
    searched as one.

    Source: Douze et al. 2024, "The Faiss library" (arXiv 2401.08281).

    Parameters
    ----------
    factory
        A FAISS factory string.
    stored
        Rows and vectors.
    parts
        The index of each part, in the order of `stored`; all but the first are emptied of their lists.
    parameters
        Search parameters; `USUAL` for those that are missing.
    device
        ``"cpu"``; ``"cuda"`` for all GPUs; or one, such as ``"cuda:1"``. If the kind of index can be copied there,
        searches among all rows run there; those among some rows run on the CPU, as indexes on a GPU cannot be narrowed.
    """

    def __init__(
        self,
        factory: str,
        stored: Stored,
        parts: Sequence[Any],
        parameters: Mapping[str, int] | None = None,
        device: str = "cpu",
    ) -> None:
        merged = kinds.merged(parts)
        self._clones, self.notes = faiss_gpu.cloned(factory, merged, device)
        self._fill(factory, stored, merged, parameters or {})

    def _fill(self, factory: str, stored: Stored, parts: list[tuple[int, Any]], asked: Mapping[str, int]) -> None:
        self.factory, self.stored, self._parts = factory, stored, parts
        layers = list(kinds.layers(parts[0][1]))
        self._ivf: Any = next((one for one in layers if isinstance(one, faiss.IndexIVF)), None)
        usual = {OVERFETCH: USUAL[OVERFETCH]}
        if self._ivf is not None:
            usual[LISTS] = min(int(self._ivf.nlist), max(MIN_NPROBE, int(self._ivf.nlist) // NPROBE_SHARE))
        elif any(isinstance(one, faiss.IndexHNSW) for one in layers):
            usual[EFFORT] = USUAL[EFFORT]
        self.parameters: Mapping[str, int] = {key: int(asked.get(key, value)) for key, value in usual.items()}
        self._last: tuple[Ints, Ints] | None = None

    @property
    def min_share(self) -> float:
        """The least share of rows worth a search; lists without wanted rows are skipped, a graph leads through all."""
        return MIN_SHARE if self._ivf is None else MIN_SHARE_OF_LISTS

    @property
    def lists(self) -> int | None:
        """The number of inverted lists; None without lists."""
        return None if self._ivf is None else int(self._ivf.nlist)

    @property
    def code_bytes(self) -> int:
        """Bytes that it reads per cell to estimate its distance."""
        return kinds.code_bytes(self._parts[0][1])

    def using(self, parameters: Mapping[str, int]) -> Faiss:
        """Return the same index with other search parameters."""
        other = object.__new__(Faiss)
        other._clones, other.notes = self._clones, self.notes
        other._fill(self.factory, self.stored, self._parts, parameters)
        return other

    @cached_property
    def selects(self) -> bool:
        """Whether `candidates` takes `among`; some kinds refuse, product quantizers for instance."""
        try:
            self.candidates(np.zeros((1, self.stored.dimension), np.float32), 1, self.rows[:1])
        except RuntimeError:
            return False
        return True

    def candidates(self, queries: Floats, k: int, among: Ints | None = None) -> Ints:
        """Return (n, k) ids of the nearest it finds; -1 where it finds fewer; only rows in `among`, if given."""
        queries = np.ascontiguousarray(queries, np.float32)
        if not len(queries):
            return np.zeros((0, k), np.int64)
        lists = self.parameters.get(LISTS)
        if among is None and self._clones and max(k, lists or 0) <= faiss_gpu.MOST:
            found = [(start, *faiss_gpu.search(one, queries, k, lists)) for start, one in self._clones]
        elif among is None:
            found = [(start, *part.search(queries, k, params=self._asked(part))) for start, part in self._parts]
        else:
            found = [self._among(queries, k, start, part, self._positions(among)) for start, part in self._parts]
        positions = _nearest(found, k)
        if among is not None and EFFORT in self.parameters and len(found) > 1:
            positions[self._is_lost(found, k, among)] = -1
        return self.stored.ids(positions)

    def _is_lost(self, found: Sequence[tuple[int, Floats, Ints]], k: int, among: Ints) -> Bools:
        """Return (n,) whether the graph of some part led to fewer rows than that part has."""
        starts = [*(start for start, _, _ in found), len(self)]
        wanted = np.diff(np.searchsorted(self._positions(among), starts))
        lost = np.zeros(len(found[0][2]), bool)
        for (_, _, there), n in zip(found, wanted.tolist(), strict=True):
            lost |= (there >= 0).sum(axis=1) < min(k, n)
        return lost

    def _positions(self, among: Ints) -> Ints:
        # The batches of a query search among the same rows.
        if self._last is None or self._last[0] is not among:
            self._last = among, np.sort(self.stored.positions(among))
        return self._last[1]

    def _among(self, queries: Floats, k: int, start: int, part: Any, positions: Ints) -> tuple[int, Floats, Ints]:
        n = int(part.ntotal)
        chosen = np.zeros(n, bool)
        chosen[positions[slice(*np.searchsorted(positions, (start, start + n)))] - start] = True
        selector = _kinds.IDSelectorBitmap(np.packbits(chosen, bitorder="little"))
        if not isinstance(part, faiss.IndexIVF):
            # Lists behind a transform or a refinement cannot be chosen one by one: visit more, as rows are left out.
            share = max(1, int(chosen.sum())) / n
            return start, *part.search(queries, k, params=self._asked(part, selector, share))
        return start, *self._among_lists(queries, k, chosen, selector)

    def _among_lists(self, queries: Floats, k: int, chosen: Bools, selector: Any) -> tuple[Floats, Ints]:
        """Search the lists nearest to each query that hold wanted rows, as many as add up to `nprobe` whole ones."""
        live = np.bincount(self._list_of[chosen], minlength=self._ivf.nlist)
        share = live / np.maximum(1, np.bincount(self._list_of, minlength=self._ivf.nlist))
        found = [self._in_lists(queries[i : i + QUERIES], k, share, selector) for i in range(0, len(queries), QUERIES)]
        distances, positions = zip(*found, strict=True)
        return np.concatenate(distances), np.concatenate(positions)

    def _in_lists(self, queries: Floats, k: int, share: Doubles, selector: Any) -> tuple[Floats, Ints]:
        wanted, n_lists = self.parameters[LISTS], len(share)
        width = min(n_lists, 2 * wanted)
        while True:
            scores, lists = self._ivf.quantizer.search(queries, width)
            weights = np.where(lists < 0, 0, share[lists])
            before = np.cumsum(weights, axis=1) - weights
            if width == n_lists or (before[:, -1] + weights[:, -1] >= wanted).all():
                break
            width = min(n_lists, 2 * width)
        visited = (weights > 0) & (before < wanted)
        # Visited lists come first; the query that visits most sets the number of columns.
        order = np.argsort(~visited, axis=1, kind="stable")[:, : max(1, int(visited.sum(axis=1).max()))]
        lists = np.ascontiguousarray(np.take_along_axis(np.where(visited, lists, -1), order, 1))
        scores = np.ascontiguousarray(np.take_along_axis(scores, order, 1))
        distances, positions = np.empty((len(queries), k), np.float32), np.empty((len(queries), k), np.int64)
        pointers = [faiss.swig_ptr(one) for one in (lists, scores, distances, positions)]
        params = _kinds.SearchParametersIVF(sel=selector, nprobe=lists.shape[1])
        self._ivf.search_preassigned_c(len(queries), faiss.swig_ptr(queries), k, *pointers, False, params)
        return distances, positions

    @cached_property
    def _list_of(self) -> Ints:
        """(n,) the list of each cell."""
        found, lists = np.empty(len(self), np.int64), self._ivf.invlists
        for number in range(self._ivf.nlist):
            size = lists.list_size(number)
            if size:
                found[faiss.rev_swig_ptr(lists.get_ids(number), size)] = number
        return found

    def _asked(self, index: Any, selector: Any = None, share: float = 1.0) -> Any:
        """Return the parameters of a search in the form that the kind of index takes."""
        if isinstance(index, faiss.IndexRefine):
            base = self._asked(faiss.downcast_index(index.base_index), selector, share)
            return _kinds.IndexRefineSearchParameters(k_factor=1.0, base_index_params=base)
        chosen = {} if selector is None else {"sel": selector}
        if LISTS in self.parameters:
            lists = min(int(self._ivf.nlist), int(np.ceil(self.parameters[LISTS] / share)))
            return _kinds.SearchParametersIVF(nprobe=lists, **chosen)
        if EFFORT in self.parameters:
            return _kinds.SearchParametersHNSW(efSearch=self.parameters[EFFORT], **chosen)
        return _kinds.SearchParameters(**chosen) if chosen else None


def _nearest(found: Sequence[tuple[int, Floats, Ints]], k: int) -> Ints:
    """Return (n, k) positions of the greatest products over all parts."""
    if len(found) == 1:
        start, _, positions = found[0]
        return np.where(positions < 0, -1, positions + start)
    products = np.hstack([np.where(there < 0, -np.inf, scores) for _, scores, there in found])
    positions = np.hstack([np.where(there < 0, -1, there + start) for start, _, there in found])
    first = np.argpartition(-products, k - 1, axis=1)[:, :k]
    order = np.take_along_axis(first, np.argsort(-np.take_along_axis(products, first, 1), axis=1, kind="stable"), 1)
    return np.take_along_axis(positions, order, 1)
