"""The compiled loops, against the plain definitions in float64."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from functools import partial
from pathlib import Path
from threading import Barrier
from typing import Any, Literal

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st
from threadpoolctl import threadpool_info

from scvec.core.jit import EXACT, THREADS, jit, n_threads, over_rows, side_by_side
from scvec.core.types import freeze
from scvec.embed import compiled, kernel
from scvec.embed.kernel import by_torch, farthest, project
from scvec.embed.projection import normalise
from scvec.errors import MatrixError
from scvec.index.compiled import half_by_bits
from scvec.index.distances import pair_distances
from scvec.ingest.cells import compiled as undoing
from scvec.ingest.cells.scale import Values

Form = Literal["counts", "scaled", "cut"]
seeds = st.integers(0, 2**31)


def cells(seed: int, n: int, g: int, density: float, form: Form = "counts") -> tuple[sp.csr_matrix[np.float32], Values]:
    """Return cells, some of them empty, in shuffled order of columns, some zeros stored."""
    rng = np.random.default_rng(seed)
    dense = rng.poisson(3.0, (n, g)) * (rng.random((n, g)) < density) * (rng.random((n, 1)) < 0.8)
    values, total = dense.astype(np.float64), None
    if form != "counts":
        values = values / np.maximum(values.sum(1, keepdims=True), 1) * 500.0
        total = 700.0 if form == "cut" else None
    stored = (dense > 0) | (rng.random((n, g)) < 0.05)
    rows, columns = np.nonzero(stored)
    order = np.lexsort((rng.random(len(rows)), rows))
    data = values[rows, columns][order].astype(np.float32)
    indptr = np.concatenate([[0], np.cumsum(stored.sum(1))])
    x = sp.csr_matrix((data, columns[order].astype(np.int32), indptr.astype(np.int64)), shape=(n, g))
    return x, Values("counts" if form == "counts" else "log1p", uncut=total)


def plain_normalise(x: Any, values: Values, columns: Any, share: float | None) -> np.ndarray[Any, Any]:
    linear = x.toarray().astype(np.float64)
    known = linear if columns is None else linear @ columns.toarray()
    totals = (linear if share is None else known).sum(axis=1)
    if values.uncut is not None:
        share = None
        totals[:] = values.uncut
    return np.asarray(np.log1p(known * (1e4 * (share or 1.0) / np.where(totals > 0, totals, 1))[:, None]))


def shared(rng: np.random.Generator, g: int) -> sp.csr_matrix[np.float32]:
    """Return (g, g + 3) shares of columns that genes have, most of them none."""
    shares = rng.random((g, g + 3)) * (rng.random((g, g + 3)) < 2 / (g + 3))
    return sp.csr_matrix(shares.astype(np.float32))


@given(
    seeds,
    st.integers(0, 9),
    st.integers(1, 40),
    st.floats(0, 1),
    st.sampled_from(["counts", "scaled", "cut"]),
    st.sampled_from(["all", "some", "merged", "shared"]),
    st.sampled_from([None, 0.3]),
)
def test_normalising_is_its_definition(
    seed: int, n: int, g: int, density: float, form: Form, genes: str, share: float | None
) -> None:
    """Whether columns are of a gene each, of none, several of one, or shared; in any order, with zeros stored."""
    x, values = cells(seed, n, g, density, form)
    rng = np.random.default_rng(seed)
    columns = None
    if genes == "shared":
        columns = shared(rng, g)
    elif genes != "all":
        own = rng.permutation(g)[: max(1, g // 2)]
        to = rng.permutation(g + 3)[: len(own)] if genes == "some" else rng.integers(0, max(1, g // 3), len(own))
        columns = sp.csr_matrix((np.ones(len(own), np.float32), (own, to)), shape=(g, g + 3))
    before = x.copy()
    known = normalise(x, values, 1e4, columns, share)
    expected = plain_normalise(x, values, columns, share)
    assert known.dtype == np.float32
    assert known.shape == expected.shape
    np.testing.assert_allclose(known.toarray(), expected, rtol=1e-6)
    assert (known.data > 0).all(), "an empty cell has no values"
    assert known.nnz == (expected > 0).sum(), "each gene once"
    for i in range(n):  # the same bits alone
        np.testing.assert_array_equal(normalise(x[i], values, 1e4, columns, share).toarray(), known[i].toarray())
    for name in ("data", "indices", "indptr"):
        np.testing.assert_array_equal(getattr(x, name), getattr(before, name))


@given(
    st.lists(st.floats(1e-300, 1e30), min_size=1),
    st.lists(st.floats(1e-300, 14), min_size=1),
)
def test_logarithms_and_powers_are_to_ten_digits(linear: list[float], logged: list[float]) -> None:
    for x in (*linear, 0.0, 1e-300, 2**0.5 - 1, np.nextafter(2**0.5 - 1, 2)):
        assert compiled.log1p(np.float64(x)) == pytest.approx(np.log1p(x), rel=1e-10, abs=0)
    for x in (*logged, 0.0, 1e-300, 0.5 * np.log(2), 14.0):
        assert undoing.expm1(np.float64(x)) == pytest.approx(np.expm1(x), rel=1e-10, abs=0)


def test_a_column_that_is_not_there_is_refused() -> None:
    x, values = cells(0, 5, 12, 0.5)
    for wrong in (12, -1):
        broken = x.copy()
        broken.indices[3] = wrong
        with pytest.raises(MatrixError, match="out of range"):
            normalise(broken, values, 1e4)
        with pytest.raises(MatrixError, match="out of range"):
            normalise(broken, values, 1e4, sp.csr_matrix(np.full((12, 2), 0.5, np.float32)))


@given(seeds, st.integers(0, 12), st.integers(1, 60), st.integers(1, 150), st.sampled_from([None, "sum", "length"]))
def test_projecting_is_the_product(seed: int, n: int, g: int, d: int, by: kernel.By | None) -> None:
    x, _ = cells(seed, n, g, 0.4, "scaled")
    weights = np.random.default_rng(seed).standard_normal((g, d)).astype(np.float32)
    dense = x.toarray().astype(np.float64)
    size = {None: np.ones(n), "sum": dense.sum(1), "length": np.linalg.norm(dense, axis=1)}[by]
    expected = dense @ weights.astype(np.float64) / np.where(size > 0, size, 1)[:, None]
    found = project(x, weights, by)
    assert found.dtype == np.float32
    assert found.shape == (n, d)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5 * max(1.0, np.abs(dense).max(initial=0)))
    np.testing.assert_array_equal(project(x, freeze(weights), by), found)


def test_a_row_has_the_same_bits_in_any_batch_and_on_any_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    x, values = cells(3, 2500, 300, 0.3)
    weights = freeze(np.random.default_rng(3).standard_normal((300, 100)).astype(np.float32))
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(4)), raising=False)
    monkeypatch.setenv("NUMBA_NUM_THREADS", "1")
    whole = project(normalise(x, values, 1e4), weights, "length")
    for threads, size in (("4", 2500), ("1", 7), ("3", 999)):
        monkeypatch.setenv("NUMBA_NUM_THREADS", threads)
        parts = [x[i : i + size] for i in range(0, 2500, size)]
        again = [project(normalise(part, values, 1e4), weights, "length") for part in parts]
        np.testing.assert_array_equal(np.concatenate(again).view(np.uint32), whole.view(np.uint32))


def test_packed_weights_are_kept_as_long_as_the_weights_and_only_where_these_cannot_change() -> None:
    x, _ = cells(1, 4, 20, 0.9)
    weights = np.ones((20, 5), np.float32)
    first = project(x, weights)
    weights *= 2
    np.testing.assert_array_equal(project(x, weights), 2 * first)
    held, frozen = len(kernel._packed), freeze(weights.copy())
    project(x, frozen)
    assert len(kernel._packed) == held + 1
    del frozen
    assert len(kernel._packed) == held


def test_genes_of_cells_and_of_weights_must_be_as_many() -> None:
    x, _ = cells(1, 4, 20, 0.9)
    with pytest.raises(ValueError, match="20 genes, the weights 19"):
        project(x, np.ones((19, 5), np.float32))
    with pytest.raises(ValueError, match="code 2 for 2 labels"):
        farthest(x, np.zeros((2, 20), np.float32), np.full(4, 2), np.float32(1), 3)


def test_torch_multiplies_as_the_loops_do() -> None:
    torch = pytest.importorskip("torch")
    x, _ = cells(5, 40, 80, 0.3, "scaled")
    weights = np.random.default_rng(5).standard_normal((80, 33)).astype(np.float32)
    np.testing.assert_allclose(by_torch(x, weights, torch.device("cpu")), project(x, weights), atol=1e-4)
    np.testing.assert_allclose(project(x, weights, "length", "cpu:0"), project(x, weights, "length"), atol=1e-5)


@pytest.mark.gpu
@pytest.mark.parametrize("d", [1, 46, 384])
def test_a_gpu_multiplies_as_the_loops_do(d: int) -> None:
    x, _ = cells(6, 500, 2000, 0.1, "scaled")
    weights = np.random.default_rng(6).standard_normal((2000, d)).astype(np.float32)
    for by in ("sum", "length", None):
        found, expected = project(x, weights, by, "cuda"), project(x, weights, by)
        np.testing.assert_allclose(found, expected, atol=1e-5 * max(1.0, float(np.abs(expected).max())))


@settings(max_examples=50)
@given(seeds, st.integers(0, 8), st.integers(1, 40), st.integers(1, 12))
def test_the_farthest_genes_are_those_of_a_plain_loop(seed: int, n: int, g: int, wanted: int) -> None:
    """To the bit, ties in the order that the matrix has them."""
    rng = np.random.default_rng(seed)
    x, _ = cells(seed, n, g, 0.6)
    x.data = np.minimum(x.data, 2)
    labels = (rng.integers(0, 3, (3, g)) / 10).astype(np.float32)
    codes, seen = rng.integers(-1, 3, n), np.float32(rng.random())
    excess, genes = farthest(x, labels, codes, seen, wanted)
    for i in range(n):
        row = slice(x.indptr[i], x.indptr[i + 1])
        data, own = x.data[row], x.indices[row]
        length = np.sqrt((data.astype(np.float64) ** 2).sum())
        over = (data * (1.0 / (length if length > 0 else 1.0))).astype(np.float32) * seen - labels[codes[i], own]
        top = np.argsort(-over, kind="stable")[:wanted]
        top = top[over[top] > 0] if codes[i] >= 0 else top[:0]
        assert genes[i].tolist() == own[top].tolist() + [-1] * (wanted - len(top))
        assert excess[i] == pytest.approx(over[top].sum(), abs=1e-6)


@settings(max_examples=50)
@given(seeds, st.integers(0, 9), st.integers(1, 20), st.integers(0, 6), st.integers(1, 70))
def test_pair_distances_are_those_of_pairs(seed: int, n: int, stored_rows: int, k: int, d: int) -> None:
    rng = np.random.default_rng(seed)
    queries, stored = (rng.standard_normal((m, d)).astype(np.float32) for m in (n, stored_rows))
    for one in (queries, stored):
        one /= np.linalg.norm(one, axis=1, keepdims=True)
    if n:
        queries[0] = stored[0]
    ids = rng.integers(-1, stored_rows, (n, k))
    for kept in (stored, stored.astype(np.float16), stored[::2][: max(1, stored_rows // 2)]):
        named = np.minimum(ids, len(kept) - 1)
        found = pair_distances(queries, kept, named)
        left, right = np.repeat(queries, k, axis=0).astype(np.float64), kept[named.ravel()].astype(np.float64)
        pairs = np.maximum(0.0, 1.0 - np.einsum("nd,nd->n", left, right))
        expected = np.where(named < 0, np.inf, pairs.reshape(n, k))
        assert found.shape == (n, k)
        np.testing.assert_allclose(found, expected, atol=1e-12)
        assert (found >= 0).all()
        for i in range(n):
            np.testing.assert_array_equal(pair_distances(queries[i : i + 1], kept, named[i : i + 1])[0], found[i])


@pytest.mark.parametrize("kind", [np.float32, np.float16])
def test_near_ties_are_told_apart_as_plain_sums_tell_them(kind: Any) -> None:
    """Rows that are one last digit of one number from another: sums in float32 would call them equal, or swap them."""
    rng = np.random.default_rng(0)
    one = rng.standard_normal(48)
    stored = np.tile(one / np.linalg.norm(one), (48, 1)).astype(kind)
    place = np.arange(48)
    stored[place, place] = np.nextafter(stored[place, place], kind(1))
    queries = stored[[0, 7]].astype(np.float32)
    found = pair_distances(queries, stored, np.tile(place, (2, 1)))
    for i, query in enumerate(queries.tolist()):
        plain = [1 - math.fsum(a * float(b) for a, b in zip(query, row, strict=True)) for row in stored.tolist()]
        np.testing.assert_allclose(found[i], np.maximum(plain, 0), atol=2e-15, rtol=0)
        apart = np.abs(np.subtract.outer(plain, plain)) > 1e-14
        assert apart.mean() > 0.5
        np.testing.assert_array_equal(
            np.less.outer(found[i], found[i])[apart & (found[i] > 0)],
            np.less.outer(plain, plain)[apart & (found[i] > 0)],
        )


@pytest.mark.parametrize("kind", [np.float32, np.float16])
def test_stored_vectors_can_stay_on_the_disk(kind: Any, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    stored = rng.standard_normal((50, 24)).astype(kind)
    (tmp_path / "vectors").write_bytes(b"head of" + stored.tobytes())
    mapped = np.memmap(tmp_path / "vectors", kind, "r", offset=7, shape=stored.shape)
    queries, ids = rng.standard_normal((9, 24)).astype(np.float32), rng.integers(-1, 50, (9, 5))
    np.testing.assert_array_equal(pair_distances(queries, mapped, ids), pair_distances(queries, stored, ids))


def test_positions_and_types_that_cannot_be_read_are_refused() -> None:
    queries, stored = np.ones((2, 3), np.float32), np.ones((4, 3), np.float32)
    for wrong in (4, -2):  # alone, and beside positions that can be read
        for positions in ([[wrong], [wrong]], [[3, 0], [wrong, -1]]):
            with pytest.raises(IndexError, match="of 4 stored vectors"):
                pair_distances(queries, stored, np.array(positions))
    with pytest.raises(ValueError, match="float64"):
        pair_distances(queries, stored.astype(np.float64), np.zeros((2, 1), np.int64))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="queries"):
        pair_distances(queries, stored[:, :2], np.zeros((2, 1), np.int64))


def test_every_float16_is_read_as_it_is() -> None:
    every = np.arange(65536, dtype=np.uint16)
    found = np.array([half_by_bits(one) for one in every], np.float32)
    np.testing.assert_array_equal(found, every.view(np.float16).astype(np.float32))


def test_threads_are_those_that_the_environment_allows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(8)), raising=False)
    for name in THREADS:
        monkeypatch.delenv(name, raising=False)
    assert n_threads() == 8
    monkeypatch.setenv("OMP_NUM_THREADS", "3,2")
    assert n_threads() == 3
    monkeypatch.setenv("NUMBA_NUM_THREADS", "2")
    assert n_threads() == 2
    monkeypatch.setenv("NUMBA_NUM_THREADS", "99")
    assert n_threads() == 8
    done: list[int] = []
    over_rows(lambda lo, hi: done.extend(range(lo, hi)), 100, 7)
    assert sorted(done) == list(range(100))

    def fail(lo: int, _hi: int) -> None:
        raise KeyError(lo)

    with pytest.raises(KeyError):
        over_rows(fail, 100, 7)


def of_blas() -> list[int]:
    return [pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"]


@pytest.mark.parametrize("threads", [1, 3])
def test_jobs_run_side_by_side_and_each_computes_on_its_thread_alone(
    monkeypatch: pytest.MonkeyPatch, threads: int
) -> None:
    monkeypatch.setenv("NUMBA_NUM_THREADS", str(threads))
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(8)), raising=False)
    before = of_blas()
    met = Barrier(threads)

    def job(number: int) -> tuple[int, int, set[int]]:
        met.wait(30)  # as many as there are threads come here at once
        (inner,) = side_by_side([n_threads])
        return number, max(inner, n_threads()), set(of_blas())

    found = side_by_side([partial(job, number) for number in range(2 * threads)])
    assert found == [(number, 1, {1}) for number in range(2 * threads)]
    assert side_by_side([]) == []

    def fail() -> int:
        raise KeyError("no")

    with pytest.raises(KeyError):
        side_by_side([fail, lambda: 2])
    assert n_threads() == threads
    assert of_blas() == before


SECOND = """
import sys, warnings
warnings.simplefilter("error")
import numpy as np, scipy.sparse as sp
from scvec.embed.projection import normalise
from scvec.embed.kernel import project
from scvec.ingest.cells.scale import Values
known = normalise(sp.csr_matrix(np.eye(5, dtype=np.float32)), Values("counts"), 1e4)
print(project(known, np.ones((5, 3), np.float32)).sum() > 0)
from scvec.embed import compiled
print(*(sum(one.stats.cache_hits.values()) for one in (compiled.fill, compiled.project_rows)))
"""


def test_a_second_process_does_not_compile_again(tmp_path: Path) -> None:
    given = {**os.environ, "NUMBA_NUM_THREADS": "1", "NUMBA_CACHE_DIR": str(tmp_path)}
    for kept in ("0", "1"):
        made = subprocess.run([sys.executable, "-c", SECOND], env=given, capture_output=True, text=True, check=True)
        assert made.stdout.split() == ["True", kept, kept]


def test_loops_are_compiled_where_nothing_can_be_kept() -> None:
    """Numba finds no folder for a function that is in no file, as for a file in a folder that it may not write to."""
    names: dict[str, Any] = {}
    exec("def double(x):\n    return 2 * x", names)
    assert jit(EXACT)(names["double"])(21) == 42
