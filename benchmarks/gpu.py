"""What a GPU gains: the kernel, exact search against the card's bandwidth, and FAISS with as many cells as fit.

    python -m benchmarks.gpu --vectors 33000000 --dimension 32

Vectors are drawn around centres, like cells of types. Without a GPU this says so and ends with exit code 2.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import scipy.sparse as sp

from benchmarks.common import make_parser, markdown, save
from scvec.core.device import choose
from scvec.core.types import Floats, Neighbors
from scvec.embed.kernel import project
from scvec.index import Exact, Stored, recall, search
from scvec.index.torch_exact import TorchExact

N_CELLS, N_GENES, N_KNOWN, D_GENES = 16_384, 20_000, 2_000, 384
VECTORS, DIMENSION, QUERIES, K, TRUTH = 33_000_000, 32, 10_000, 15, 200
CENTRES, SPREAD, BATCH = 300, 0.6, 1_000_000
LISTS, NPROBES, SAMPLE_PER_LIST = 16_384, (8, 32, 128), 64
EXACT_QUERIES = (1, 64, 1024)
ROUNDS, COPIED = 3, 2**30

T = TypeVar("T")


def drawn(n: int, d: int, seed: int) -> Floats:
    """Return (n, d) float16 unit vectors around seeded centres."""
    centres = np.random.default_rng(7).standard_normal((CENTRES, d), np.float32)
    rng, found = np.random.default_rng(seed), np.empty((n, d), np.float16)
    for start in range(0, n, BATCH):
        part = found[start : start + BATCH]
        x = centres[rng.integers(0, CENTRES, len(part))] + SPREAD * rng.standard_normal(part.shape, np.float32)
        part[:] = x / np.linalg.norm(x, axis=1, keepdims=True)
    return found  # type: ignore[return-value]


def seconds_of(way: Callable[[], T], rounds: int = ROUNDS) -> tuple[float, T]:
    """Return the least seconds of some turns, after one that is not counted, and the last result."""
    found, least = way(), np.inf
    for _ in range(rounds):
        start = time.perf_counter()
        found = way()
        least = min(least, time.perf_counter() - start)
    return float(least), found


def copied(device: str) -> float:
    """Return the bytes per second that a device reads and writes in a copy within its memory."""
    import torch

    source = torch.ones(COPIED, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)

    def copy() -> None:
        target.copy_(source)
        if device.startswith("cuda"):
            torch.cuda.synchronize(device)

    return 2 * COPIED / seconds_of(copy)[0]


def kernel(device: str) -> float:
    """Return the cells per second that are multiplied by gene vectors."""
    rng = np.random.default_rng(0)
    genes = np.concatenate([np.sort(rng.choice(N_GENES, N_KNOWN, replace=False)) for _ in range(64)]).reshape(
        64, N_KNOWN
    )
    indices = genes[np.arange(N_CELLS) % 64].ravel().astype(np.int32)
    values = rng.random(len(indices), np.float32)
    cells = sp.csr_matrix((values, indices, np.arange(0, len(indices) + 1, N_KNOWN)), shape=(N_CELLS, N_GENES))
    weights = rng.standard_normal((N_GENES, D_GENES), np.float32)
    return N_CELLS / seconds_of(lambda: project(cells, weights, device=device))[0]


def exact(stored: Stored, queries: Floats, device: str) -> list[tuple[int, float, float]]:
    """Return queries at once, queries per second, and bytes of vectors read per second."""
    index, rows = TorchExact(stored, device), []
    for n in (one for one in EXACT_QUERIES if one <= len(queries)):
        seconds, _ = seconds_of(partial(search, index, queries[:n], K))
        rows.append((n, n / seconds, len(stored) * stored.dimension * stored.itemsize / seconds))
    return rows


def by_faiss(stored: Stored, queries: Floats, device: str, factory: str) -> dict[str, Any]:
    """Return the seconds of training; and queries per second, and recall on a sample, by number of lists visited."""
    from scvec.index import faiss_gpu, kinds, train
    from scvec.index.faiss import Faiss

    n, n_lists = len(stored), kinds.lists(factory, stored.dimension)
    sample = stored.vectors(stored.rows[:: max(1, n // (SAMPLE_PER_LIST * n_lists))])
    with tempfile.TemporaryDirectory() as folder:
        path, start = Path(folder, "trained.faiss"), time.perf_counter()
        train(factory, sample, 0, path, device)
        seconds = time.perf_counter() - start
        index = kinds.read(path, to_fill=True)
    for _, block in stored.blocks(BATCH):
        kinds.fill(index, factory, block)
    found = Faiss(factory, stored, [index], device=device)
    oracle = Exact(stored) if device == "cpu" else TorchExact(stored, device)
    truth: Neighbors = search(oracle, queries[:TRUTH], K)
    rows = []
    for nprobe in (one for one in NPROBES if one <= n_lists):
        taken, near = seconds_of(partial(search, found.using({"nprobe": nprobe}), queries, K))
        of_truth = Neighbors(near.ids[:TRUTH], near.distances[:TRUTH])
        rows.append((nprobe, taken, len(queries) / taken, recall(of_truth, truth)))
    why = faiss_gpu.lacking(device)
    return {"training": seconds, "trained_on": len(sample), "notes": [*found.notes] or [why] * bool(why), "rows": rows}


def measure(device: str, n: int, dimension: int, n_queries: int, factory: str) -> tuple[dict[str, Any], str]:
    """Return all measurements, and their tables."""
    stored = Stored([(np.arange(n, dtype=np.int64), drawn(n, dimension, 0))])
    queries = drawn(n_queries, dimension, 1).astype(np.float32)
    cells = {one: kernel(one) for one in dict.fromkeys(("cpu", device))}
    bandwidth, exactly = copied(device), exact(stored, queries, device)
    faiss = by_faiss(stored, queries, device, factory)
    values = {"kernel": cells, "copy": bandwidth, "exact": exactly, "faiss": faiss}
    values |= {"vectors": n, "dimension": dimension, "queries": n_queries, "factory": factory, "k": K}
    shares = [(m, f"{rate:,.0f}", f"{read / 1e9:,.1f}", read / bandwidth) for m, rate, read in exactly]
    rows = [(nprobe, taken, f"{rate:,.0f}", f"{share:.4f}") for nprobe, taken, rate, share in faiss["rows"]]
    head = f"{n:,} vectors of {dimension} dimensions in float16 ({2 * dimension} bytes), {K} neighbours"
    text = f"""# A GPU

{head}; the card copies {bandwidth / 1e9:,.0f} GB/s.

## Cells @ gene vectors

{markdown(("device", "cells a second"), [(one, f"{rate:,.0f}") for one, rate in cells.items()])}

## Exact search

{markdown(("queries at once", "queries a second", "GB/s of vectors", "share of the copy"), shares)}

## FAISS, {factory}: {n_queries:,} queries

Trained on {faiss["trained_on"]:,} vectors in {faiss["training"]:.1f} s. {" ".join(faiss["notes"])}

{markdown(("lists visited", "seconds", "queries a second", f"recall of {min(TRUTH, n_queries)}"), rows)}"""
    return values, text


def main(arguments: list[str] | None = None) -> int:
    parser = make_parser("gpu", __doc__)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--vectors", type=int, default=VECTORS)
    parser.add_argument("--dimension", type=int, default=DIMENSION)
    parser.add_argument("--queries", type=int, default=QUERIES)
    parser.add_argument("--factory", default=f"IVF{LISTS},SQ8")
    args = parser.parse_args(arguments)
    device, lacking = choose(args.device)
    if device == "cpu":
        print(f"benchmarks.gpu: {lacking or 'this needs a GPU'}; nothing was measured", file=sys.stderr)
        return 2
    values, text = measure(device, args.vectors, args.dimension, args.queries, args.factory)
    save("gpu", f"python -m benchmarks.gpu --vectors {args.vectors} --dimension {args.dimension}", values, text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
