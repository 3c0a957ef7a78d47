"""Ways to search (n, d) unit vectors: scvec, FAISS alone, hnswlib, usearch; indexes are built once and kept on disk.

hnswlib and usearch are not dependencies of scvec: ``pip install hnswlib==0.8.0 usearch==2.26.6``.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import faiss
import numpy as np

from scvec import index as indexes
from scvec.core.jit import n_threads
from scvec.core.types import Floats, Ints, Neighbors
from scvec.index import Index, IndexSpec, Stored, kinds
from scvec.index.base import LISTS, OVERFETCH
from scvec.index.faiss import Faiss

K, BLOCK, LINKS, EF_CONSTRUCTION = 15, 50_000, 16, 100
EF = "ef"
FINENESS = 8
"""An effort exceeds the least sufficient one by at most 1 / `FINENESS` of itself, as in `scvec.index.tune`."""

Parameters = Mapping[str, int]
Search = Callable[[Floats, Parameters], Ints]


@dataclass(frozen=True)
class Way:
    """One library's search of one index.

    Attributes
    ----------
    name
        Name of library and index.
    search
        Returns (n, m) positions of (n, d) queries' neighbours, m at least `K`; the first `K` are its answer.
    n_bytes
        Bytes of the index as written, plus whatever else it needs in memory.
    build_s
        Seconds to build it.
    """

    name: str
    search: Search
    n_bytes: int
    build_s: float


@dataclass(frozen=True)
class Judge:
    """Measures recall, by the distances to the neighbours that a search returns.

    Attributes
    ----------
    stored
        The vectors that are searched.
    queries
        (n, d) queries whose true neighbours are known.
    truth
        Their true neighbours.
    """

    stored: Stored
    queries: Floats
    truth: Neighbors = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "truth", indexes.search(indexes.Exact(self.stored), self.queries, K))

    def recall(self, search: Search, parameters: Parameters) -> float:
        """Return a search's recall at `K`."""
        positions = search(self.queries, parameters)[:, :K]
        distances = self.stored.at(self.queries, positions)
        return indexes.recall(indexes.nearest(self.stored.ids(positions), distances, K), self.truth)

    def least(self, search: Search, key: str, most: int, target: float) -> dict[str, int]:
        """Return the least effort that reaches the target, by doubling and bisection; or `most`."""
        below, effort = (0, 1) if key == LISTS else (K - 1, K)  # a graph's effort is never less than K
        while effort < most and self.recall(search, {key: effort}) < target:
            below, effort = effort, min(most, 2 * effort)
        while effort - below > max(1, effort // FINENESS):
            middle = (below + effort) // 2
            enough = self.recall(search, {key: middle}) >= target
            below, effort = (below, middle) if enough else (middle, effort)
        return {key: effort}


def of_faiss(factory: str, stored: Stored, folder: Path, seed: int = 0) -> tuple[Faiss, int, float]:
    """Return an index as scvec builds it, its size in bytes, and the seconds that it took to train and fill."""
    dimension = stored.dimension

    def make() -> Any:
        n = indexes.sample_rows(factory, dimension, len(stored))
        index = kinds.trained(factory, stored.vectors(indexes.sample(stored.rows, seed, n)), seed)
        for _, vectors in stored.blocks(BLOCK):
            kinds.fill(index, factory, vectors)
        return index

    made, n_bytes, seconds = _kept(folder / f"{factory.replace(',', '-')}.faiss", make, kinds.write, kinds.read)
    return Faiss(factory, stored, [made]), n_bytes, seconds


def tuned(index: Index, judge: Judge, target: float, seed: int = 0) -> dict[str, int]:
    """Return parameters as scvec tunes them on the index's own cells, for more recall if the queries get too little."""
    own = indexes.sample(index.rows, seed)
    for asked in (target, *np.linspace(target, 1, 6)[1:-1].tolist()):
        found = indexes.tune(index, index.vectors(own), own, IndexSpec(factory=index.factory, k=K, recall=asked))
        parameters = dict(found.parameters)
        if judge.recall(scvec(index), parameters) >= target:
            break
    return parameters


def scvec(index: Index) -> Search:
    """Return scvec's search: candidates, with distances recomputed from vectors on disk."""

    def search(queries: Floats, parameters: Parameters) -> Ints:
        return index.stored.positions(indexes.search(index.using(parameters), queries, K).ids)

    return search


def bare(index: Faiss, over: bool) -> Search:
    """Return FAISS's own search of the same index, for `K` neighbours or for as many candidates as scvec uses."""
    ((_, found),) = index._parts

    def search(queries: Floats, parameters: Parameters) -> Ints:
        wanted = K + (parameters[OVERFETCH] if over else 0)
        ids: Ints = found.search(queries, wanted, params=_lists(parameters))[1]
        return ids

    return search


def flat(stored: Stored) -> faiss.IndexFlatIP:
    """Return FAISS's exact index: all vectors in memory."""
    index = faiss.IndexFlatIP(stored.dimension)
    for _, vectors in stored.blocks(BLOCK):
        index.add(vectors)
    return index


def refined(index: Faiss, vectors: faiss.IndexFlatIP) -> Search:
    """Return FAISS's search with its own refinement, ``IVF...,RFlat``, of as many candidates as scvec uses."""
    ((_, base),) = index._parts
    both = faiss.IndexRefine(base, vectors)

    def search(queries: Floats, parameters: Parameters) -> Ints:
        made: Any = faiss
        factor = (K + parameters[OVERFETCH]) / K
        params = made.IndexRefineSearchParameters(k_factor=factor, base_index_params=_lists(parameters))
        ids: Ints = both.search(queries, K, params=params)[1]
        return ids

    return search


def _lists(parameters: Parameters) -> Any:
    made: Any = faiss  # its stubs lack the fields of its parameters
    return made.SearchParametersIVF(nprobe=parameters[LISTS])


def hnswlib(stored: Stored, folder: Path) -> Way:
    """Return hnswlib's graph; its effort is `EF`."""
    import hnswlib as tool

    def make() -> Any:
        index = tool.Index("ip", stored.dimension)
        index.init_index(len(stored), M=LINKS, ef_construction=EF_CONSTRUCTION)
        for positions, vectors in stored.blocks(BLOCK):
            index.add_items(vectors, positions, num_threads=n_threads())
        return index

    def read(path: Path) -> Any:
        index = tool.Index("ip", stored.dimension)
        index.load_index(str(path))
        return index

    made, n_bytes, seconds = _kept(folder / "hnswlib.bin", make, lambda one, path: one.save_index(str(path)), read)

    def search(queries: Floats, parameters: Parameters) -> Ints:
        made.set_ef(parameters[EF])
        return np.asarray(made.knn_query(queries, K, num_threads=n_threads())[0], np.int64)

    return Way(f"hnswlib M={LINKS}", search, n_bytes, seconds)


def usearch(stored: Stored, folder: Path) -> Way:
    """Return usearch's graph on float32 vectors; its effort is `EF`."""
    from usearch.index import Index as Tool

    def make() -> Any:
        index = Tool(ndim=stored.dimension, metric="ip", dtype="f32", connectivity=LINKS, expansion_add=EF_CONSTRUCTION)
        for positions, vectors in stored.blocks(BLOCK):
            index.add(positions, vectors, threads=n_threads())
        return index

    def read(path: Path) -> Any:
        return Tool.restore(str(path))

    made, n_bytes, seconds = _kept(folder / "usearch.bin", make, lambda one, path: one.save(str(path)), read)

    def search(queries: Floats, parameters: Parameters) -> Ints:
        made.expansion_search = parameters[EF]
        return np.asarray(made.search(queries, K, threads=n_threads()).keys, np.int64)

    return Way(f"usearch M={LINKS}", search, n_bytes, seconds)


GRAPHS: dict[str, Callable[[Stored, Path], Way]] = {"hnswlib": hnswlib, "usearch": usearch}


def graphs(names: list[str]) -> list[str]:
    """Return the names of those that are installed."""
    return [name for name in names if find_spec(name) is not None]


def _kept(
    path: Path, make: Callable[[], Any], write: Callable[[Any, Path], Any], read: Callable[[Path], Any]
) -> tuple[Any, int, float]:
    """Return what `make` builds, or built and saved before; the size of its file in bytes, and the seconds it took."""
    told = path.with_suffix(".json")
    if not told.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        start = time.perf_counter()
        made = make()
        seconds = time.perf_counter() - start
        write(made, path)
        told.write_text(json.dumps({"build_s": seconds}))
    return read(path), path.stat().st_size, float(json.loads(told.read_text())["build_s"])
