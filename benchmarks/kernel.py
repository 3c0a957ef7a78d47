"""How fast counts become vectors: scvec's compiled loops against SciPy, PyTorch, NumPy and plain Numba.

    python -m benchmarks.kernel

Cells of Baron et al. 2016, human, drawn with replacement. The methods take turns; ratios are of the medians.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from functools import partial
from statistics import median
from typing import Any

import anndata
import numba
import numpy as np
import scipy.sparse as sp
import torch

from benchmarks.common import DATA, make_parser, markdown, save
from scvec.core.jit import n_threads, over_rows
from scvec.core.types import freeze
from scvec.embed import compiled
from scvec.embed.kernel import ROWS, TILE, _gene_of, _kept, project
from scvec.embed.kernel import parts as parts_of
from scvec.embed.projection import normalise
from scvec.index.distances import pair_distances
from scvec.ingest.cells.scale import Values, to_linear

N_CELLS, N_VARS, DIMENSIONS, BLOCK, COUNTS, N_ROUNDS = 4096, 20_000, (46, 384, 1536), 512, Values("counts"), 5
N_STORED, N_QUERIES, N_CANDIDATES = {46: 1_000_000, 384: 200_000, 1536: 50_000}, 2048, 47
Ways = dict[str, Callable[[], Any]]


@numba.njit(nogil=True, fastmath={"contract"})  # type: ignore[untyped-decorator]
def by_value(data: Any, genes: Any, indptr: Any, weights: Any, out: Any, lo: int, hi: int) -> None:
    for i in range(lo, hi):
        out[i] = 0
        for p in range(indptr[i], indptr[i + 1]):
            for j in range(weights.shape[1]):
                out[i, j] += data[p] * weights[genes[p], j]


@numba.njit(nogil=True, fastmath={"contract"})  # type: ignore[untyped-decorator]
def by_four(data: Any, genes: Any, indptr: Any, weights: Any, out: Any, lo: int, hi: int) -> None:
    for i in range(lo, hi):
        row, p, stop = out[i], indptr[i], indptr[i + 1]
        row[:] = 0
        while p + 4 <= stop:
            a, b, c, d = data[p], data[p + 1], data[p + 2], data[p + 3]
            e, f, g, h = weights[genes[p]], weights[genes[p + 1]], weights[genes[p + 2]], weights[genes[p + 3]]
            for j in range(weights.shape[1]):
                row[j] += (a * e[j] + b * f[j]) + (c * g[j] + d * h[j])
            p += 4
        while p < stop:
            for j in range(weights.shape[1]):
                row[j] += data[p] * weights[genes[p], j]
            p += 1


def cells() -> sp.csr_matrix[np.float32]:
    """Return (4,096, 20,000) counts."""
    x = sp.csr_matrix(anndata.read_h5ad(DATA / "cells" / "pancreas_baron_human.h5ad").X, dtype=np.float32)[:, :N_VARS]
    return sp.csr_matrix(x[np.random.default_rng(0).integers(0, x.shape[0], N_CELLS)])


def timed(ways: Ways, rounds: int) -> dict[str, list[float]]:
    """Return the seconds of each method; the methods take turns, and a first turn is not counted."""
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(rounds + 1):
        for name, way in ways.items():
            start = time.perf_counter()
            way()
            if turn:
                seconds[name].append(time.perf_counter() - start)
    return seconds


def products(known: sp.csr_matrix[np.float32], weights: Any) -> Ways:
    """Return the ways to multiply."""
    data, genes, indptr = parts_of(known)
    dense = torch.from_numpy(weights.copy())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        parts = [torch.from_numpy(one.copy()) for one in (known.indptr, genes, data)]
        sparse = torch.sparse_csr_tensor(parts[0], parts[1], parts[2], size=known.shape, check_invariants=False)
    out = np.zeros((known.shape[0], weights.shape[1]), np.float32)

    def loop(function: Any) -> Any:
        over_rows(lambda lo, hi: function(data, genes, indptr, weights, out, lo, hi), len(out), 64)
        return out

    def blocks(multiply: Callable[[Any], Any]) -> Any:
        return np.concatenate([multiply(known[i : i + BLOCK].toarray()) for i in range(0, N_CELLS, BLOCK)])

    return {
        "SciPy: csr @ dense": lambda: known @ weights,
        "PyTorch: sparse CSR (MKL)": lambda: (sparse @ dense).numpy(),
        f"NumPy: dense blocks of {BLOCK} cells": lambda: blocks(lambda block: block @ weights),
        f"PyTorch: dense blocks of {BLOCK} cells": lambda: blocks(lambda block: torch.from_numpy(block) @ dense),
        "Numba: value by value": lambda: loop(by_value),
        "Numba: four values at once": lambda: loop(by_four),
        "scvec: project": lambda: project(known, weights),
    }


def scipy_normalise(batch: sp.csr_matrix[np.float32], columns: sp.csr_matrix[np.float32]) -> sp.csr_matrix[np.float32]:
    """Return log-normalised cells, in float64, by SciPy and NumPy."""
    known = sp.csr_matrix(batch.astype(np.float64) @ columns)
    scale = 1e4 / np.maximum(np.asarray(batch.sum(axis=1, dtype=np.float64)).ravel(), 1)
    known.data = np.log1p(known.data * np.repeat(scale, np.diff(known.indptr)))
    return known.astype(np.float32)


def fused(batch: sp.csr_matrix[np.float32], columns: sp.csr_matrix[np.float32], weights: Any, rows: int) -> Any:
    """Return vectors, normalising and multiplying `rows` cells at a time, without a matrix of all cells."""
    (data, indices, indptr), gene_of, n_genes = parts_of(batch), freeze(_gene_of(columns)), columns.shape[1]
    out, packed = np.zeros((batch.shape[0], weights.shape[1]), np.float32), _kept(weights)

    def work(lo: int, hi: int) -> None:
        n, own = hi - lo, freeze(indptr[lo : hi + 1])
        kept, plain, scales = np.zeros(n, np.int64), np.zeros(n, np.bool_), np.ones(n)
        compiled.count(data, indices, own, gene_of, n_genes, False, kept, plain, 0, n)
        starts = np.concatenate([[0], np.cumsum(kept)])
        values, genes = np.empty(starts[-1], np.float32), np.empty(starts[-1], np.int32)
        how = (compiled.OF_ALL, 0.0, 1e4)
        compiled.fill(data, indices, own, gene_of, n_genes, plain, starts, *how, values, genes, 0, n)
        parts = freeze(values), freeze(genes), freeze(starts)
        compiled.scale_rows(parts[0], parts[2], compiled.BY_LENGTH, scales, 0, n)
        compiled.project_rows(*parts, packed, n_genes, TILE, scales, out[lo:hi], 0, n)

    over_rows(work, batch.shape[0], rows)
    return out


def both(batch: sp.csr_matrix[np.float32], columns: sp.csr_matrix[np.float32], weights: Any) -> Ways:
    """Return one pass and two."""
    ways: Ways = {"two passes": lambda: project(normalise(batch, COUNTS, 1e4, columns), weights, "length")}
    return ways | {f"one pass, {n} cells": partial(fused, batch, columns, weights, n) for n in (64, 256, ROWS)}


def distances(d: int, rng: np.random.Generator) -> Ways:
    """Return the ways to recompute the distances of candidates."""
    stored = rng.standard_normal((N_STORED[d], d), dtype=np.float32)
    stored /= np.linalg.norm(stored, axis=1, keepdims=True)
    halves = stored.astype(np.float16)
    queries, ids = stored[:N_QUERIES].copy(), rng.integers(0, len(stored), (N_QUERIES, N_CANDIDATES))
    query_of = np.repeat(np.arange(N_QUERIES), N_CANDIDATES)

    def pairs() -> Any:
        left, right = queries[query_of].astype(np.float64), stored[ids.ravel()].astype(np.float64)
        return np.maximum(0.0, 1.0 - np.einsum("nd,nd->n", left, right)).reshape(ids.shape)

    def converted() -> Any:
        parts = [
            np.einsum("nd,nkd->nk", queries[i : i + 64].astype(np.float64), halves[ids[i : i + 64]].astype(np.float64))
            for i in range(0, N_QUERIES, 64)
        ]
        return np.maximum(0.0, 1.0 - np.concatenate(parts))

    ways: Ways = {
        "NumPy: pairs copied, float32": pairs,
        "scvec: pair_distances, float32": lambda: pair_distances(queries, stored, ids),
        "NumPy: converted in blocks, float16": converted,
        "scvec: pair_distances, float16": lambda: pair_distances(queries, halves, ids),
    }
    first, second, third, fourth = (way() for way in ways.values())
    np.testing.assert_allclose(second, first, atol=1e-12)
    np.testing.assert_allclose(fourth, third, atol=1e-12)
    return ways


def rows_of(d: Any, seconds: dict[str, list[float]], base: str, unit: int, errors: dict[str, float]) -> list[Any]:
    """Return a table's rows, ratios to `base`."""
    first = median(seconds[base])
    return [
        (d, name, f"{unit / median(one):,.0f}", f"{first / median(one):.2f}", f"{errors[name]:.1e}" if errors else "")
        for name, one in seconds.items()
    ]


def main() -> None:
    make_parser("kernel", __doc__).parse_args()
    torch.set_num_threads(n_threads())
    rng, batch = np.random.default_rng(1), cells()
    own = np.sort(rng.permutation(N_VARS)[:18_000])
    columns = sp.csr_matrix((np.ones(len(own), np.float32), (own, np.arange(len(own)))), shape=(N_VARS, len(own)))
    merged = sp.csr_matrix((columns.data, np.maximum(columns.indices, 50), columns.indptr), shape=columns.shape)
    known = normalise(batch, COUNTS, 1e4, columns)
    logged = normalise(batch, COUNTS, 1e4)
    seconds: dict[str, Any] = {}
    ways: Ways = {
        "SciPy and NumPy, float64": lambda: scipy_normalise(batch, columns),
        "scvec: counts": lambda: normalise(batch, COUNTS, 1e4, columns),
        "scvec: counts, some columns of one gene": lambda: normalise(batch, COUNTS, 1e4, merged),
        "scvec: log1p values": lambda: normalise(to_linear(logged, Values("log1p", 1e4), ""), COUNTS, 1e4, columns),
    }
    seconds["normalise"] = timed(ways, N_ROUNDS)
    normalised = rows_of("-", seconds["normalise"], "SciPy and NumPy, float64", N_CELLS, {})
    multiplied, passes, gathered = [], [], []
    for d in DIMENSIONS:
        weights = freeze(rng.standard_normal((known.shape[1], d)).astype(np.float32))
        ways = products(known, weights)
        exact = known[:256].astype(np.float64) @ weights.astype(np.float64)
        scale = np.sqrt(known[:256].multiply(known[:256]).sum(axis=1, dtype=np.float64)).reshape(-1, 1)
        errors = {name: float(np.abs((way()[:256] - exact) / scale).max()) for name, way in ways.items()}
        seconds[f"project {d}"] = timed(ways, N_ROUNDS)
        multiplied += rows_of(d, seconds[f"project {d}"], "SciPy: csr @ dense", N_CELLS, errors)
        seconds[f"fused {d}"] = timed(both(batch, columns, weights), N_ROUNDS)
        passes += rows_of(d, seconds[f"fused {d}"], "two passes", N_CELLS, {})
        seconds[f"distances {d}"] = timed(distances(d, rng), N_ROUNDS)
        gathered += rows_of(d, seconds[f"distances {d}"], "NumPy: pairs copied, float32", N_QUERIES, {})
    head = ("d", "way", "cells a second", "times the first")
    tables = {
        "Log-normalised cells @ gene vectors. Error: the largest in 256 unit vectors, against float64": markdown(
            (*head, "error"), multiplied
        ),
        "Normalising": markdown(head, [row[:4] for row in normalised]),
        "From counts to vectors, in one pass and in two": markdown(head, [row[:4] for row in passes]),
        f"Distances of {N_CANDIDATES} candidates a cell": markdown(head, [row[:4] for row in gathered]),
    }
    values = f"{batch.nnz / N_CELLS:,.0f} of {N_VARS:,} genes"
    text = f"# The kernel\n\n{N_CELLS:,} cells that express {values}, {n_threads()} threads; SciPy has one."
    text += "".join(f"\n\n## {title}\n\n{table}" for title, table in tables.items())
    save("kernel", "python -m benchmarks.kernel", {"seconds": seconds}, text)


if __name__ == "__main__":
    main()
