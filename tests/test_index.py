"""Every kind of index against exact search, on ids and on recomputed distances."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scvec import index as indexes
from scvec.errors import InputError
from scvec.index import Index, among
from scvec.index.exact import Exact
from scvec.spec import IndexSpec
from scvec.types import Floats, Ints, Neighbors

RNG = np.random.default_rng(0)
K = 15


def unit(n: int, d: int = 32) -> Floats:
    x = RNG.standard_normal((n, d)).astype(np.float32)
    return np.asarray(x / np.linalg.norm(x, axis=1, keepdims=True), np.float32)


VECTORS = unit(1500)
IDS = RNG.permutation(10_000)[:1500].astype(np.int64)
QUERIES = unit(40)


def vectors_of(ids: Ints) -> Floats:
    position = {int(one): row for row, one in enumerate(IDS)}
    return VECTORS[[position[int(one)] for one in ids]]


def truth(queries: Floats, k: int) -> tuple[Ints, np.ndarray[Any, np.dtype[np.float64]]]:
    """Exact search in its shortest form."""
    distances = 1 - queries.astype(np.float64) @ VECTORS.astype(np.float64).T
    order = np.lexsort((np.broadcast_to(IDS, distances.shape), distances), axis=1)[:, :k]
    return IDS[order], np.take_along_axis(distances, order, 1)


def restricted(queries: Floats, k: int, rows: Ints) -> tuple[Ints, np.ndarray[Any, np.dtype[np.float64]]]:
    """Exact search among some rows, in its shortest form."""
    ids, distances = truth(queries, len(IDS))
    keep = np.isin(ids, rows)
    return tuple(one[keep].reshape(len(queries), -1)[:, :k] for one in (ids, distances))  # type: ignore[return-value]


def search(index: Index, queries: Floats = QUERIES, k: int = K) -> Neighbors:
    return indexes.search(index, vectors_of, queries, k)


@pytest.mark.parametrize("factory", ["exact", "Flat", "HNSW32", "IVF16,Flat", "HNSW32,SQ8", "IVF8,SQ8", "PCA16,Flat"])
def test_against_exact_search(factory: str, tmp_path: Path) -> None:
    index = indexes.build(factory, IDS, VECTORS)
    assert len(index) == 1500
    found = search(index)
    ids, distances = truth(QUERIES, K)
    # Whatever was found, its distance is the true one of that cell, ascending.
    recomputed = 1 - np.einsum(
        "nd,nkd->nk", QUERIES, vectors_of(found.ids.ravel()).reshape(40, K, 32).astype(np.float64)
    )
    np.testing.assert_allclose(found.distances, recomputed, atol=1e-6)
    assert (np.diff(found.distances, axis=1) >= 0).all()
    assert all(len(set(row)) == K for row in found.ids.tolist())
    if factory in ("exact", "Flat"):
        np.testing.assert_array_equal(found.ids, ids)
        np.testing.assert_allclose(found.distances, distances, atol=1e-6)
    # IVF and PCA lose true neighbours among these random vectors, the hardest of data; they find most.
    floor = {"exact": 1, "Flat": 1, "HNSW32": 0.95, "HNSW32,SQ8": 0.95, "IVF16,Flat": 0.6, "PCA16,Flat": 0.5}
    shared = np.mean([len(set(a) & set(b)) / K for a, b in zip(found.ids.tolist(), ids.tolist(), strict=True)])
    assert shared >= floor.get(factory, 0.5)
    assert indexes.recall(found, Neighbors(ids, distances.astype(np.float32))) == pytest.approx(shared, abs=0.01)
    index.save(tmp_path / "index")
    again = indexes.load(factory, tmp_path / "index")
    assert again.parameters == index.parameters
    np.testing.assert_array_equal(search(again).ids, found.ids)


@pytest.mark.parametrize("factory", ["exact", "Flat", "HNSW32", "IVF16,Flat"])
def test_the_batch_size_does_not_matter(factory: str) -> None:
    index = indexes.build(factory, IDS, VECTORS)
    whole = search(index)
    for size in (1, 7, 23):
        parts = [search(index, QUERIES[i : i + size]) for i in range(0, 40, size)]
        np.testing.assert_array_equal(np.concatenate([one.ids for one in parts]), whole.ids)
        np.testing.assert_array_equal(np.concatenate([one.distances for one in parts]), whole.distances)


@pytest.mark.parametrize("factory", ["exact", "Flat", "HNSW16", "IVF2,Flat"])
def test_ties_stand_in_the_order_of_ids(factory: str) -> None:
    base = unit(3)
    vectors = np.repeat(base, 20, axis=0)
    ids = np.random.default_rng(2).permutation(60).astype(np.int64)
    index = indexes.build(factory, ids, vectors)
    by_id = vectors[np.argsort(ids)]
    found = indexes.search(index, lambda wanted: by_id[wanted], base, 20)
    for row, query in zip(found.ids, range(3), strict=True):
        assert row.tolist() == sorted(ids[query * 20 : query * 20 + 20].tolist())


@pytest.mark.parametrize("factory", ["exact", "Flat", "HNSW16"])
def test_fewer_cells_than_k(factory: str) -> None:
    index = indexes.build(factory, IDS[:4], VECTORS[:4])
    found = search(index)
    assert (found.ids[:, 4:] == -1).all()
    assert np.isinf(found.distances[:, 4:]).all()
    assert (found.ids[:, :4] >= 0).all()


def test_no_queries() -> None:
    assert search(Exact(IDS, VECTORS), QUERIES[:0]).ids.shape == (0, K)


def test_equal_vectors_are_at_distance_zero() -> None:
    found = search(indexes.build("Flat", IDS, VECTORS), VECTORS[:50], 1)
    assert found.ids[:, 0].tolist() == IDS[:50].tolist()
    assert (found.distances >= 0).all()
    assert found.distances.max() < 1e-6


@pytest.mark.parametrize("factory", ["Flatt", "", "IVF5000,Flat", "PQ7", "IVF4,HNSW"])
def test_factories_that_mean_nothing_or_do_not_fit(factory: str) -> None:
    with pytest.raises(InputError, match="exact, or a FAISS factory string"):
        indexes.build(factory, IDS, VECTORS)


def test_recall_is_measured_without_the_cell_itself() -> None:
    ids = np.sort(IDS)
    spec = IndexSpec(factory="IVF64,Flat")
    poor = indexes.build(spec.factory, ids, VECTORS)
    good = indexes.measure(indexes.build("Flat", ids, VECTORS), ids, VECTORS, spec)
    assert good == {"recall": 1.0, "k": 15, "queries": 500, "against": "exact"}
    measured = indexes.measure(poor, ids, VECTORS, spec)["recall"]
    chosen = np.sort(np.random.default_rng(0).permutation(1500)[:500])
    distances = 1 - VECTORS[chosen].astype(np.float64) @ VECTORS.astype(np.float64).T
    distances[np.arange(500), chosen] = np.inf
    true = np.argsort(distances, axis=1)[:, :15]
    row_of = {int(one): row for row, one in enumerate(ids)}
    found = indexes.search(poor, lambda wanted: VECTORS[[row_of[int(one)] for one in wanted]], VECTORS[chosen], 16)
    hits = [
        len(set(t.tolist()) & {row_of.get(int(i), -1) for i in f if row_of.get(int(i)) != c}) / 15
        for t, f, c in zip(true, found.ids, chosen, strict=True)
    ]
    assert measured == pytest.approx(np.mean(hits), abs=0.005)
    assert measured < 1


@pytest.fixture
def large(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have some hundred rows count as many: fewer than thousands are searched exactly."""
    monkeypatch.setattr(among, "MIN_ROWS", 0)


# Which kinds FAISS 1.15 can tell the rows to search among.
SELECTING = {
    "exact": True,
    "Flat": True,
    "SQ8": True,
    "HNSW32": True,
    "HNSW32,SQ8": True,
    "IVF16,Flat": True,
    "IVF8,SQ8": True,
    "IVF8,PQ8x4fs": True,
    "PCA16,Flat": True,
    "PCA16,IVF8,Flat": True,
    "PCA16,HNSW16": True,
    "PQ8x4": False,
    "PQ8x4fs": False,
    "NSG16": False,
    "Flat,RFlat": False,
    "IVF8,PQ8x4,RFlat": False,
}
LOSSY = {"IVF8,PQ8x4fs": 0.4, "PCA16,Flat": 0.5, "PCA16,IVF8,Flat": 0.5, "PCA16,HNSW16": 0.5}


@pytest.mark.usefixtures("large")
@pytest.mark.parametrize("share", [0.02, 0.3, 0.8])
@pytest.mark.parametrize("factory", SELECTING)
def test_among_some_rows_against_exact_search_of_these(factory: str, share: float) -> None:
    index = indexes.build(factory, IDS, VECTORS)
    assert index.selects is SELECTING[factory]
    rows = np.random.default_rng(5).choice(IDS, int(share * len(IDS)), replace=False)
    found = indexes.search(indexes.narrowed(index, rows, vectors_of), vectors_of, QUERIES, K)
    ids, distances = restricted(QUERIES, K, rows)
    assert np.isin(found.ids, rows).all()
    assert all(len(set(row)) == K for row in found.ids.tolist())
    recomputed = 1 - np.einsum("nd,nkd->nk", QUERIES, vectors_of(found.ids.ravel()).reshape(40, K, 32).astype(float))
    np.testing.assert_allclose(found.distances, recomputed, atol=1e-6)
    shared = np.mean([len(set(a) & set(b)) / K for a, b in zip(found.ids.tolist(), ids.tolist(), strict=True)])
    if share < 0.1 or not index.selects or factory in ("exact", "Flat"):
        np.testing.assert_array_equal(found.ids, ids)
        np.testing.assert_allclose(found.distances, distances, atol=1e-6)
    assert shared >= LOSSY.get(factory, 0.9 if share < 0.5 else 0.6)


@pytest.mark.usefixtures("large")
@pytest.mark.parametrize("factory", ["HNSW16", "IVF32,Flat"])
def test_rows_far_from_the_query_are_found(factory: str) -> None:
    """Two far groups of cells: the query's own is left out, so that its graph or its lists hold none of the rest."""
    rng = np.random.default_rng(3)
    centre = np.repeat(np.eye(2, 16) * 5, 600, axis=0)
    vectors = (centre + rng.standard_normal((1200, 16))).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    ids = np.arange(1200)
    index, other = indexes.build(factory, ids, vectors), ids[600:]
    bare = index.candidates(vectors[:50], K, other)
    found = indexes.search(indexes.narrowed(index, other, vectors.__getitem__), vectors.__getitem__, vectors[:50], K)
    expected = indexes.search(Exact(other, vectors[other]), vectors.__getitem__, vectors[:50], K)
    assert (bare < 0).any() == (factory == "HNSW16")
    np.testing.assert_array_equal(found.ids, expected.ids)


@pytest.mark.usefixtures("large")
@pytest.mark.parametrize("factory", ["exact", "Flat", "HNSW32", "IVF16,Flat", "NSG16"])
@pytest.mark.parametrize("n_rows", [1, 5, 20, 700])
def test_among_rows_the_batch_size_does_not_matter(factory: str, n_rows: int) -> None:
    index = indexes.narrowed(indexes.build(factory, IDS, VECTORS), IDS[:n_rows], vectors_of)
    assert len(index) == n_rows
    whole = indexes.search(index, vectors_of, QUERIES, K)
    assert ((whole.ids >= 0).sum(axis=1) == min(K, n_rows)).all()
    parts = [indexes.search(index, vectors_of, QUERIES[i : i + 7], K) for i in range(0, 40, 7)]
    np.testing.assert_array_equal(np.concatenate([one.ids for one in parts]), whole.ids)


def test_few_rows_are_searched_exactly() -> None:
    index = indexes.build("PCA4,HNSW8", IDS, VECTORS)
    rows = IDS[:700]
    for n_least, same in ((0, False), (701, True)):
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(among, "MIN_ROWS", n_least)
            found = indexes.search(indexes.narrowed(index, rows, vectors_of), vectors_of, QUERIES, K)
            assert np.array_equal(found.ids, restricted(QUERIES, K, rows)[0]) is same


def test_all_rows_are_the_index_itself() -> None:
    index = indexes.build("HNSW32", IDS, VECTORS)
    assert indexes.narrowed(index, IDS, vectors_of) is index


@given(st.data())
def test_exact_search_among_any_rows(data: st.DataObject) -> None:
    rows = np.array(data.draw(st.lists(st.sampled_from(IDS.tolist()), min_size=1, max_size=30, unique=True)))
    k = data.draw(st.integers(1, 20))
    index = Exact(IDS, VECTORS)
    ids, _ = restricted(QUERIES[:3], k, rows)
    np.testing.assert_array_equal(index.candidates(QUERIES[:3], k, rows), ids)
    np.testing.assert_array_equal(
        indexes.search(indexes.narrowed(index, rows, vectors_of), vectors_of, QUERIES[:3], k).ids[:, : len(rows)], ids
    )
