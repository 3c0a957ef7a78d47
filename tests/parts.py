"""Indexes made in parts on disk, as the tests need them, and exact search in its shortest form."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from scvec import index as indexes
from scvec.core.types import Floats, Ints
from scvec.index import Index

Kept = Literal["float32", "float16"]


def clustered(n: int, d: int = 32, seed: int = 0) -> Floats:
    """Return unit vectors about 30 centres: cells have types."""
    rng = np.random.default_rng(7)
    centres = rng.standard_normal((30, d))
    rng = np.random.default_rng(seed)
    x = centres[rng.integers(0, 30, n)] + 0.6 * rng.standard_normal((n, d))
    return np.asarray(x / np.linalg.norm(x, axis=1, keepdims=True), np.float32)


@contextmanager
def threads(n: int) -> Iterator[None]:
    """Have FAISS work with so many threads, whatever it was started with."""
    import faiss

    before = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(n)
    try:
        yield
    finally:
        faiss.omp_set_num_threads(before)


def make(
    folder: Path, factory: str, ids: Ints, vectors: Floats, parts: list[Ints], dtype: Kept = "float32"
) -> list[Path]:
    """Write parts of the cells at given positions, and return their folders."""
    folder.mkdir(parents=True, exist_ok=True)
    trained = None
    if factory != "exact":
        trained = folder / "trained.faiss"
        indexes.train(factory, vectors, 0, trained)
    folders = []
    for number, positions in enumerate(parts):
        part = folder / f"part{number}"
        part.mkdir()
        blocks = [(ids[some], vectors[some]) for some in np.array_split(positions, 2)]
        indexes.make_part(part, factory, trained, vectors.shape[1], dtype, blocks)
        folders.append(part)
    return folders


def opened(folder: Path, factory: str, ids: Ints, vectors: Floats, n_parts: int = 1, dtype: Kept = "float32") -> Index:
    """Return an index of (n,) ascending ids in so many parts."""
    parts = np.array_split(np.arange(len(ids)), n_parts)
    return indexes.open_parts(factory, make(folder, factory, ids, vectors, parts, dtype), {})


def truth(ids: Ints, vectors: Floats, queries: Floats, k: int, among: Ints | None = None) -> tuple[Ints, Floats]:
    """Return the ids and distances of the k nearest, in float64 and ordered by (distance as float32, id)."""
    # One pair at a time: a product of matrices sums equal vectors in other orders.
    dots = np.stack([np.einsum("nd,d->n", vectors.astype(np.float64), query.astype(np.float64)) for query in queries])
    distances = np.maximum(0.0, 1.0 - dots).astype(np.float32)
    if among is not None:
        distances[:, ~np.isin(ids, among)] = np.inf
    order = np.lexsort((np.broadcast_to(ids, distances.shape), distances), axis=1)[:, :k]
    far = np.take_along_axis(distances, order, 1)
    return np.where(np.isfinite(far), ids[order], -1), far


def shared(found: Ints, true: Ints) -> float:
    """Return the mean share of the true ids that were found."""
    return float(np.mean([len(set(a) & set(b)) / len(b) for a, b in zip(found.tolist(), true.tolist(), strict=True)]))


def assert_distances(index: Index, queries: Floats, ids: Ints, distances: NDArray[np.floating]) -> None:
    """Hold distances against those of the stored vectors, ascending."""
    stored = index.vectors(ids.ravel()).reshape(*ids.shape, -1).astype(np.float64)
    expected = np.maximum(0, 1 - np.einsum("nd,nkd->nk", queries.astype(np.float64), stored))
    np.testing.assert_allclose(distances, expected, atol=1e-7)
    assert (np.diff(distances, axis=1) >= 0).all()
