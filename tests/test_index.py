"""Every kind of index against exact search, on ids and on recomputed distances, in one part and in several."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scvec import index as indexes
from scvec.core.types import Floats
from scvec.errors import InputError, MismatchError
from scvec.index import Among, Exact, Stored, among, exact
from tests.parts import Kept, assert_distances, clustered, make, opened, shared, threads, truth

K, N = 15, 3000
VECTORS, QUERIES = clustered(N), clustered(40, seed=1)
IDS = np.sort(np.random.default_rng(0).permutation(10_000)[:N]).astype(np.int64)

# Every kind: whether FAISS 1.15 can tell it the rows to search among, and the share of neighbours it is to find with
# the usual parameters.
KINDS = {
    "exact": (True, 1.0),
    "Flat": (True, 1.0),
    "SQ8": (True, 0.99),
    "HNSW32": (True, 0.98),
    "HNSW32,SQ8": (True, 0.98),
    "HNSW32,SQfp16": (True, 0.98),
    "IVF64,Flat": (True, 0.98),
    "IVF64,SQ8": (True, 0.98),
    "IVF64,PQ16x4fs": (True, 0.85),
    "IVF64,RaBitQ": (True, 0.9),
    "IVF64,RaBitQfs": (True, 0.9),
    "IVF64,SQ8,RFlat": (True, 0.98),
    "IVF64,PQ16x4fs,RFlat": (True, 0.85),
    "PCA16,Flat": (True, 0.85),
    "PCA16,IVF8,Flat": (True, 0.85),
    "PCA16,HNSW16": (True, 0.85),
    "PQ16x4fs": (False, 0.85),
    "RaBitQfs": (False, 0.85),
    "NSG16": (False, 0.7),
}


@pytest.fixture
def large(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have some hundred rows count as many: fewer than thousands are searched exactly."""
    monkeypatch.setattr(among, "MIN_ROWS", 0)


@pytest.mark.usefixtures("large")
@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize("n_parts", [1, 3])
@pytest.mark.parametrize("factory", KINDS)
def test_against_exact_search(
    factory: str, n_parts: int, dtype: Kept, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    index = opened(tmp_path, factory, IDS, VECTORS, n_parts, dtype)
    assert capfd.readouterr().err == ""
    selects, floor = KINDS[factory]
    assert (len(index), index.factory, index.selects) == (N, factory, selects)
    np.testing.assert_array_equal(index.rows, IDS)
    kept = VECTORS.astype(dtype).astype(np.float32)
    np.testing.assert_array_equal(index.vectors(IDS[[7, 2000, 1]]), kept[[7, 2000, 1]])
    rng = np.random.default_rng(5)
    for share in (1.0, 0.97, 0.6, 0.15):
        rows = np.sort(rng.permutation(IDS)[: int(share * N)])
        narrowed = indexes.narrowed(index, rows)
        found = indexes.search(narrowed, QUERIES, K)
        assert np.isin(found.ids, rows).all()
        assert all(len(set(row)) == K for row in found.ids.tolist())
        assert_distances(index, QUERIES, found.ids, found.distances)
        ids, distances = truth(IDS, kept, QUERIES, K, rows)
        if factory in ("exact", "Flat") or (isinstance(narrowed, Among) and narrowed.is_refused):
            np.testing.assert_array_equal(found.ids, ids)
            np.testing.assert_array_equal(found.distances, distances)
        assert shared(found.ids, ids) >= floor, share


@pytest.mark.usefixtures("large")
@pytest.mark.parametrize("share", [1.0, 0.5])
@pytest.mark.parametrize("factory", ["exact", "Flat", "HNSW32", "IVF16,Flat", "IVF16,RaBitQ", "NSG16"])
def test_batch_size_and_threads_do_not_matter(factory: str, share: float, tmp_path: Path) -> None:
    index = indexes.narrowed(opened(tmp_path, factory, IDS, VECTORS, 2), IDS[: int(share * N)])
    with threads(2):
        whole = indexes.search(index, QUERIES, K)
    for size in (1, 7, 23):
        parts = [indexes.search(index, QUERIES[i : i + size], K) for i in range(0, 40, size)]
        np.testing.assert_array_equal(np.concatenate([one.ids for one in parts]), whole.ids)
        np.testing.assert_array_equal(np.concatenate([one.distances for one in parts]), whole.distances)


@pytest.mark.parametrize("factory", ["exact", "Flat", "HNSW16", "IVF2,Flat"])
def test_ties_stand_in_the_order_of_ids(factory: str) -> None:
    base = clustered(3)
    vectors = np.repeat(base, 20, axis=0)
    ids = np.random.default_rng(2).permutation(60).astype(np.int64)
    found = indexes.search(indexes.build(factory, ids, vectors), base, 20)
    for row, query in zip(found.ids, range(3), strict=True):
        assert row.tolist() == sorted(ids[query * 20 : query * 20 + 20].tolist())


@pytest.mark.parametrize("factory", ["exact", "Flat", "HNSW16"])
def test_fewer_cells_than_k(factory: str) -> None:
    found = indexes.search(indexes.build(factory, IDS[:4], VECTORS[:4]), QUERIES, K)
    assert (found.ids[:, 4:] == -1).all()
    assert np.isinf(found.distances[:, 4:]).all()
    assert (found.ids[:, :4] >= 0).all()


@pytest.mark.parametrize("factory", ["exact", "IVF8,SQ8"])
def test_no_queries(factory: str) -> None:
    index = indexes.build(factory, IDS, VECTORS)
    for one in (index, indexes.narrowed(index, IDS[:2000])):
        assert indexes.search(one, QUERIES[:0], K).ids.shape == (0, K)


def test_equal_vectors_are_at_distance_zero() -> None:
    found = indexes.search(indexes.build("IVF16,SQ8", IDS, VECTORS), VECTORS[:50], 1)
    assert found.ids[:, 0].tolist() == IDS[:50].tolist()
    assert (found.distances >= 0).all()
    assert found.distances.max() < 1e-6


@pytest.mark.parametrize("factory", ["Flatt", "", "IVF5000,Flat", "PQ7", "IVF4,HNSW"])
def test_factories_that_mean_nothing_or_do_not_fit(factory: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="exact, or a FAISS factory string"):
        indexes.train(factory, VECTORS, 0, tmp_path / "trained.faiss")


@given(st.data())
def test_any_parts_have_the_same_neighbours(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    """Cells drawn again and again, so that there are ties, in parts that need not follow each other."""
    n = data.draw(st.integers(1, 60))
    vectors = VECTORS[data.draw(st.lists(st.integers(0, 9), min_size=n, max_size=n))]
    part_of = np.array(data.draw(st.lists(st.integers(0, 3), min_size=n, max_size=n)))
    ids = np.sort(np.array(data.draw(st.lists(st.integers(0, 500), min_size=n, max_size=n, unique=True)), np.int64))
    k = data.draw(st.integers(1, 40))
    rows = np.array(data.draw(st.lists(st.sampled_from(ids.tolist()), min_size=1, unique=True)))
    parts = [np.flatnonzero(part_of == part) for part in np.unique(part_of)]
    expected, restricted = (truth(ids, vectors, QUERIES[:3], k, chosen) for chosen in (None, rows))
    for factory in ("exact", "Flat"):
        folders = make(tmp_path_factory.mktemp("parts"), factory, ids, vectors, parts)
        index = indexes.open_parts(factory, folders, {})
        for found, (true, far) in (
            (indexes.search(index, QUERIES[:3], k), expected),
            (indexes.search(indexes.narrowed(index, rows), QUERIES[:3], k), restricted),
        ):
            if factory == "exact" or n <= k + index.parameters["overfetch"]:
                np.testing.assert_array_equal(found.ids[:, :n], true)
            np.testing.assert_array_equal(found.distances[:, :n], far)


@given(st.integers(1, 50), st.integers(1, 7), st.integers(0, 3), st.integers(0, 2**32))
def test_exact_search_whatever_its_blocks(block: int, queries: int, repeats: int, seed: int) -> None:
    """Blocks that are smaller than k, sorted by how near they are, and full of equal vectors."""
    rng = np.random.default_rng(seed)
    vectors = np.concatenate([VECTORS[:80], *([VECTORS[rng.integers(0, 4, 60)]] * repeats)])
    vectors = vectors[rng.permutation(len(vectors)) if seed % 2 else np.argsort(vectors @ QUERIES[0])]
    ids = np.sort(rng.permutation(1000)[: len(vectors)]).astype(np.int64)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(exact, "BLOCK", block)
        patched.setattr(exact, "QUERIES", queries)
        found = indexes.search(Exact(Stored.of(ids, vectors)), QUERIES[:9], K)
    true, far = truth(ids, vectors, QUERIES[:9], K)
    np.testing.assert_array_equal(found.ids, true)
    np.testing.assert_array_equal(found.distances, far)


@pytest.mark.usefixtures("large")
@pytest.mark.parametrize("factory", ["HNSW16", "IVF32,Flat", "IVF32,SQ8"])
@pytest.mark.parametrize("n_parts", [1, 2])
def test_rows_far_from_the_query_are_found(factory: str, n_parts: int, tmp_path: Path) -> None:
    """Two far groups of cells: the query's own is left out, so that its graph or its lists hold none of the rest."""
    rng = np.random.default_rng(3)
    vectors = (np.repeat(np.eye(2, 16) * 5, 600, axis=0) + rng.standard_normal((1200, 16))).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    mixed = rng.permutation(1200)
    ids, vectors, other = np.arange(1200), vectors[mixed], np.flatnonzero(mixed >= 600)
    queries: Floats = vectors[mixed < 600][:50]
    index = opened(tmp_path, factory, ids, vectors, n_parts).using({"nprobe": 16, "efSearch": 64, "overfetch": 32})
    found = indexes.search(indexes.narrowed(index, other), queries, K)
    assert np.isin(found.ids, other).all()
    floor = 1.0 if factory == "HNSW16" else 0.97  # half of the lists that hold them are visited
    assert shared(found.ids, truth(ids, vectors, queries, K, other)[0]) >= floor


@pytest.mark.usefixtures("large")
@pytest.mark.parametrize("factory", ["exact", "Flat", "HNSW32", "IVF16,Flat", "NSG16"])
@pytest.mark.parametrize("n_rows", [1, 5, 20, 700])
def test_few_rows_are_all_found(factory: str, n_rows: int) -> None:
    index = indexes.narrowed(indexes.build(factory, IDS, VECTORS), IDS[:n_rows])
    assert len(index) == n_rows
    assert ((indexes.search(index, QUERIES, K).ids >= 0).sum(axis=1) == min(K, n_rows)).all()


def test_few_rows_are_searched_exactly() -> None:
    index, rows = indexes.build("PCA4,HNSW8", IDS, VECTORS), IDS[:700]
    for n_least, same in ((0, False), (701, True)):
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(among, "MIN_ROWS", n_least)
            found = indexes.search(indexes.narrowed(index, rows), QUERIES, K)
            assert np.array_equal(found.ids, truth(IDS, VECTORS, QUERIES, K, rows)[0]) is same


@pytest.mark.usefixtures("large")
def test_lists_without_wanted_rows_are_not_visited() -> None:
    """Of one type of cells alone, one list's worth of them is as good as all the lists."""
    index = indexes.build("IVF32,Flat", IDS, VECTORS).using({"nprobe": 3})
    rows = IDS[(VECTORS @ VECTORS[0]) > 0.3]
    assert 0.02 < len(rows) / N < 0.2
    bare = truth(IDS, VECTORS, QUERIES, K, rows)[0]
    found = index.candidates(QUERIES, 47, rows)
    assert (found >= 0).all()
    assert shared(found, bare) > 0.8


def test_all_rows_are_the_index_itself() -> None:
    index = indexes.build("HNSW32", IDS, VECTORS)
    assert indexes.narrowed(index, IDS) is index


def test_a_row_that_is_not_there() -> None:
    index = indexes.build("exact", IDS, VECTORS)
    with pytest.raises(MismatchError, match="row 10001 is not in the index"):
        index.vectors(np.array([IDS[0], 10_001]))


@given(st.integers(0, 2**31), st.integers(1, 8), st.integers(0, 12), st.integers(1, 12))
def test_the_nearest_of_many_equally_near_are_those_of_the_lowest_ids(seed: int, n: int, width: int, k: int) -> None:
    rng = np.random.default_rng(seed)
    ids = np.argsort(rng.random((n, 12)), axis=1)[:, :width].astype(np.int64)
    distances = rng.choice([0.1, 0.1 + 1e-12, 0.2, 0.3], ids.shape)
    ids[rng.random(ids.shape) < 0.2] = -1
    distances[ids < 0] = np.inf
    found = indexes.nearest(ids, distances, k)
    for row, own, far in zip(range(n), ids.tolist(), distances.astype(np.float32).tolist(), strict=True):
        wanted = [*sorted(zip(far, own, strict=True)), *[(np.inf, -1)] * k][:k]
        assert list(zip(found.distances[row].tolist(), found.ids[row].tolist(), strict=True)) == wanted
