"""What one GPU gains: exact search against the card's own rates, other engines, encoding, and the kernel.

    python -m benchmarks.gpu --minutes 8
    python -m benchmarks.gpu --dry

It needs torch, numba and numpy; what else is there (Triton, FAISS, cuVS, SciPy) is measured too, and what is not is
named. The most valuable figures come first, and all that are known are written after each step. Without a GPU this
says so and ends with exit code 2; `--dry` runs all steps on the CPU, with few vectors. Vectors are drawn around
centres, like cells of types.
"""

from __future__ import annotations

import gc
import os
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from importlib.util import find_spec
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.common import RESULTS, make_parser, markdown, save
from benchmarks.on_device import copied, drawn, encoder, multiplied, seconds_of, truth, uploaded, waited
from scvec.core.device import SearchEngine, choose
from scvec.core.types import Floats, Neighbors
from scvec.index.base import Index, recall, search
from scvec.index.exact import Exact
from scvec.index.stored import Stored
from scvec.index.torch_exact import SPARE, TorchExact

K = 15
TOKENS = 128
CUTS = ((64, 128, 256), (4, 8), (2, 3, 4))
"""Queries, warps and stages of the kernel's programs."""


@dataclass(frozen=True)
class Sizes:
    """How much is measured.

    Attributes
    ----------
    checked, checked_queries
        Vectors and queries that every engine is compared on with the CPU.
    searched
        Vectors and dimensions of exact search, the most valuable first.
    queries, truth
        Queries; and of how many the true neighbours are found.
    swept, swept_queries
        Vectors and queries on which cuts of the kernel are compared.
    streamed, limit
        Vectors that are read from their file in a search, and the memory that it may take on the device.
    copied, matrix
        Bytes of a copy, and rows of a square matrix.
    cells, genes, known
        Cells, genes, and the genes of each, that are multiplied by gene vectors of 384 dimensions.
    texts, steps
        Texts that are encoded at a time, and steps of training.
    lists
        Inverted lists of FAISS.
    """

    checked: int = 100_000
    checked_queries: int = 1_000
    searched: tuple[tuple[int, int], ...] = (
        (33_000_000, 46),
        (100_000_000, 46),
        (1_000_000, 46),
        (10_000_000, 46),
        (10_000_000, 384),
    )
    queries: int = 10_000
    truth: int = 200
    swept: int = 4_000_000
    swept_queries: int = 2048
    streamed: int = 10_000_000
    limit: int = 2**29
    copied: int = 2**30
    matrix: int = 8192
    cells: int = 16_384
    genes: int = 20_000
    known: int = 2_000
    texts: int = 1024
    steps: int = 100
    lists: int = 4096


DRY = Sizes(
    checked=3_000,
    checked_queries=20,
    searched=((20_000, 46), (2_000, 384)),
    queries=40,
    truth=10,
    swept=5_000,
    swept_queries=256,
    streamed=9_000,
    limit=2**20,
    copied=2**16,
    matrix=64,
    cells=64,
    genes=300,
    known=20,
    texts=2,
    steps=2,
    lists=16,
)


@dataclass
class Bench:
    """A run: what is measured, on what, and what is known so far.

    Attributes
    ----------
    device
        Torch's name of the device.
    sizes
        How much is measured.
    deadline
        When to end, by `time.monotonic`.
    values
        What was measured, by step.
    """

    device: str
    sizes: Sizes
    deadline: float
    values: dict[str, Any] = field(default_factory=dict)

    def rate(self, name: str) -> float:
        """Return one of the card's own rates; NaN if it was not measured."""
        return float(self.values.get("card", {}).get(name, np.nan))

    def peak(self) -> float:
        """Return the most bytes that tensors took on a GPU since the last call."""
        if not self.device.startswith("cuda"):
            return float("nan")
        import torch

        most = torch.cuda.max_memory_allocated(self.device)
        torch.cuda.reset_peak_memory_stats(self.device)
        return float(most)


@dataclass(frozen=True)
class Step:
    """One step, left out if less time is left than it needs.

    Attributes
    ----------
    name, heading
        Its name in the JSON, and its heading in the table.
    need
        Seconds that it takes on an H100, with room to spare.
    measure
        Returns its values: a list of rows, each a mapping with the same keys, or one mapping.
    """

    name: str
    heading: str
    need: float
    measure: Callable[[Bench], Any]


def card(bench: Bench) -> dict[str, Any]:
    """Return what the card is, and its own rates."""
    import torch

    known: dict[str, Any] = {"name": "the CPU", "torch": torch.__version__, "cuda": torch.version.cuda}
    if bench.device.startswith("cuda"):
        about = torch.cuda.get_device_properties(bench.device)
        known |= {"name": about.name, "memory_bytes": about.total_memory}
        known["capability"] = f"{about.major}.{about.minor}"
    known["copy"] = copied(bench.device, bench.sizes.copied)
    known["upload"] = uploaded(bench.device, bench.sizes.copied)
    for kind in ("float16", "tf32", "float32"):
        known[kind] = multiplied(bench.device, bench.sizes.matrix, kind)
    for name in ("triton", "faiss", "cuvs", "scipy", "numba"):
        known[name] = "installed" if find_spec(name) else "not installed"
    return known


def ways(index: TorchExact) -> list[tuple[str, TorchExact | None, str]]:
    """Return exact search by Triton, and by torch alone: name, index (None if it cannot run) and why not."""
    from scvec.index import device_scan

    lacks = (index.notes or ("Triton's kernel needs a GPU",))[0] if index.is_plain else ""
    return [("Triton", None if lacks else index, lacks), ("torch", index.by(device_scan.by_torch), "")]


OTHERS: tuple[SearchEngine, ...] = ("cuvs-brute-force", "cuvs-cagra", "faiss-cagra")
"""Engines that search the vectors themselves, apart from torch."""


def others(bench: Bench, stored: Stored) -> Iterator[tuple[str, Index | None, str]]:
    """Yield engines of other libraries: name, index (None if it cannot run) and why not."""
    from scvec.errors import InputError
    from scvec.index.engines import Kind, Lack, engine_for, installed
    from scvec.index.engines.opening import over

    for name in OTHERS:
        try:
            made = over(stored, engine_for(Kind("exact"), bench.device, name, installed(bench.device)))
        except InputError as error:
            yield name, None, str(error)
            continue
        yield (name, None, made.why) if isinstance(made, Lack) else (name, made, "")
        freed()


def asked(bench: Bench, n: int, d: int) -> Floats:
    """Return (n, d) unit vectors to search for."""
    queries = drawn(n, d, 1, bench.device).astype(np.float32)
    return np.asarray(queries / np.linalg.norm(queries, axis=1, keepdims=True), np.float32)


def correct(bench: Bench) -> list[dict[str, Any]]:
    """Compare every engine with the CPU's exact search."""
    sizes = bench.sizes
    rows: list[dict[str, Any]] = []
    vectors, queries = drawn(sizes.checked, 46, 0, bench.device), asked(bench, sizes.checked_queries, 46)

    def row(name: str, index: Index | None, why: str, place: str, expected: Neighbors) -> None:
        one: dict[str, Any] = {"engine": name, "stored": dtype.__name__, "vectors": place, "note": why}
        if index is not None:
            found = search(index, queries, K)
            one["same ids"] = same(found.ids, expected.ids)
            one["same distances"] = same(found.distances, expected.distances)
            if isinstance(index, TorchExact):
                one["confirmed at once"] = float(index.confirmed(queries, K).mean())
        rows.append(one)

    for dtype in (np.float16, np.float32):
        stored = Stored([(np.arange(sizes.checked), vectors.astype(dtype))])
        expected = search(Exact(stored), queries, K)
        for limit, place in ((None, "in memory"), (sizes.checked * 46, "streamed")):
            for way in ways(TorchExact(stored, bench.device, memory=limit)):
                row(*way, place, expected)
        for other in others(bench, stored):
            row(*other, "in memory", expected)
    return rows


def same(found: np.ndarray[Any, Any], expected: np.ndarray[Any, Any]) -> float:
    """Return the share of equal numbers."""
    return float((found == expected).mean())


def exact(bench: Bench, n: int, d: int) -> list[dict[str, Any]]:
    """Measure exact search among n vectors of d dimensions."""
    sizes = bench.sizes
    rows: list[dict[str, Any]] = []
    vectors, queries = drawn(n, d, 0, bench.device), asked(bench, sizes.queries, d)
    true = truth(vectors, queries[: sizes.truth], K, bench.device)
    stored = Stored([(np.arange(n), vectors)])
    freed()
    start = time.perf_counter()
    opened = TorchExact(stored, bench.device)
    opening = time.perf_counter() - start
    rounds = 1 if n * d > 10**9 else 2
    for name, index, lacks in ways(opened):
        row: dict[str, Any] = {"vectors": n, "dimensions": d, "engine": name, "note": lacks}
        if index is not None:
            bench.peak()
            inner, _ = seconds_of(partial(index.proposed, queries, K + SPARE), rounds)
            outer, found = seconds_of(partial(search, index, queries, K), rounds)
            shown = Neighbors(found.ids[: sizes.truth], found.distances[: sizes.truth])
            row |= {"opening s": opening, "seconds": outer, "on the device s": inner, "peak GB": bench.peak() / 1e9}
            row |= {"recall": recall(shown, true), "TFLOP/s": 2 * sizes.queries * n * d / inner / 1e12}
            row["of float16 rate"] = row["TFLOP/s"] * 1e12 / bench.rate("float16")
            row["of copy"] = 2 * n * d / inner / bench.rate("copy")
            row["confirmed at once"] = float(index.confirmed(queries[: sizes.truth], K).mean())
            row["held"] = "yes" if index.all_held else "no"
        rows.append(row)
    return rows


def swept(bench: Bench) -> list[dict[str, Any]]:
    """Compare cuts of Triton's kernel."""
    import torch

    from scvec.index import device_scan, halves, torch_exact

    way, lacks = torch_exact.best_maxima(torch.device(bench.device), 46, 1)
    if way is device_scan.by_torch:
        return [{"note": lacks or "Triton's kernel needs a GPU"}]
    from scvec.index.block_maxima import Shape, by_triton

    rows = []
    for d in (46, 384):
        n = bench.sizes.swept * 46 // d // device_scan.BLOCK * device_scan.BLOCK
        m = bench.sizes.swept_queries
        vectors = torch.from_numpy(drawn(n, d, 0, bench.device)).to(bench.device)
        kept, queries = halves.halves(vectors, 1, n), halves.halves(vectors[: min(m, n)].float(), 2, m)
        out = torch.empty((n // device_scan.BLOCK, m), device=bench.device)
        for cut in (Shape(*one) for one in product(*CUTS)):
            row: dict[str, Any] = {"dimensions": d, "queries": cut.queries, "warps": cut.warps, "stages": cut.stages}

            try:
                seconds, _ = seconds_of(partial(turn, bench, by_triton, queries, kept, out, 0, cut), 2)
            except Exception as error:  # noqa: BLE001 - a cut that does not fit
                rows.append(row | {"note": type(error).__name__})
                continue
            done = 4 * m * n * halves.padded(d) / seconds
            rows.append(row | {"ms": 1e3 * seconds, "TFLOP/s with padding and halves": done / 1e12})
    return rows


def turn(bench: Bench, way: Callable[..., None], *given: Any) -> None:
    """Call something and wait for the device."""
    way(*given)
    waited(bench.device)


def streamed(bench: Bench) -> list[dict[str, Any]]:
    """Measure a search that reads the vectors from their file, with little memory on the device."""
    import tempfile

    n, queries = bench.sizes.streamed, asked(bench, bench.sizes.queries, 46)
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "vectors.npy")
        vectors = drawn(n, 46, 0, bench.device)
        true = truth(vectors, queries[: bench.sizes.truth], K, bench.device)
        np.save(path, vectors)
        stored = Stored([(np.arange(n), np.load(path, mmap_mode="r"))])
        for name, index, lacks in ways(TorchExact(stored, bench.device, memory=bench.sizes.limit)):
            row: dict[str, Any] = {"engine": name, "vectors": n, "limit GB": bench.sizes.limit / 1e9, "note": lacks}
            if index is not None:
                bench.peak()
                seconds, found = seconds_of(partial(search, index, queries, K), 1)
                share = recall(Neighbors(found.ids[: bench.sizes.truth], found.distances[: bench.sizes.truth]), true)
                row |= {"seconds": seconds, "recall": share, "peak GB": bench.peak() / 1e9}
                row["GB/s of the file"] = n * 92 / seconds / 1e9
            rows.append(row)
    return rows


def by_faiss(bench: Bench) -> list[dict[str, Any]]:
    """Measure FAISS, if it is there with code for GPUs: inverted lists of bytes."""
    if not find_spec("faiss"):
        return [{"note": "FAISS is not installed"}]
    import tempfile

    from scvec.index import faiss_gpu, kinds, train
    from scvec.index.faiss import Faiss

    n, factory = bench.sizes.swept, f"IVF{bench.sizes.lists},SQ8"
    stored = Stored([(np.arange(n), drawn(n, 46, 0, bench.device))])
    queries = asked(bench, bench.sizes.queries, 46)
    lacks = faiss_gpu.lacking(bench.device)
    if lacks:
        return [{"note": lacks}]
    true = truth(stored._vectors[0], queries[: bench.sizes.truth], K, bench.device)
    with tempfile.TemporaryDirectory() as folder:
        path, start = Path(folder, "trained.faiss"), time.perf_counter()
        train(factory, stored.vectors(stored.rows[:: max(1, n // (64 * bench.sizes.lists))]), 0, path, bench.device)
        training = time.perf_counter() - start
        index = kinds.read(path, to_fill=True)
    for _, block in stored.blocks(10**6):
        kinds.fill(index, factory, block)
    made, rows = Faiss(factory, stored, [index], device=bench.device), []
    for visited in (one for one in (8, 32, 128) if one <= bench.sizes.lists):
        seconds, found = seconds_of(partial(search, made.using({"nprobe": visited}), queries, K), 1)
        shown = Neighbors(found.ids[: bench.sizes.truth], found.distances[: bench.sizes.truth])
        row = {"index": factory, "vectors": n, "training s": training, "lists visited": visited, "seconds": seconds}
        rows.append(row | {"recall": recall(shown, true), "note": " ".join(made.notes)})
    return rows


def by_others(bench: Bench) -> list[dict[str, Any]]:
    """Measure the engines of other libraries."""
    n, queries = bench.sizes.swept, asked(bench, bench.sizes.queries, 46)
    stored = Stored([(np.arange(n), drawn(n, 46, 0, bench.device))])
    true = truth(stored._vectors[0], queries[: bench.sizes.truth], K, bench.device)
    rows, start = [], time.perf_counter()
    for name, index, why in others(bench, stored):
        row: dict[str, Any] = {"engine": name, "vectors": n, "note": why}
        if index is not None:
            row["opening s"] = time.perf_counter() - start
            row["seconds"], found = seconds_of(partial(search, index, queries, K), 1)
            shown = Neighbors(found.ids[: bench.sizes.truth], found.distances[: bench.sizes.truth])
            row["recall"] = recall(shown, true)
        rows.append(row)
        start = time.perf_counter()
    return rows


def encoded(bench: Bench) -> list[dict[str, Any]]:
    """Measure a text model: the shape of all-MiniLM-L6-v2, random weights, all texts of the same length."""
    import torch

    rows, texts = [], bench.sizes.texts
    kinds = (torch.float16, torch.float32) if bench.device.startswith("cuda") else (torch.float32,)
    for dtype in kinds:
        model = encoder(bench.device, dtype)
        tokens = torch.randn((texts, TOKENS, 384), device=bench.device, dtype=dtype)

        with torch.inference_mode():
            seconds, _ = seconds_of(partial(turn, bench, model, tokens))
        rows.append({"type": str(dtype).removeprefix("torch."), "tokens": TOKENS, "texts/s": texts / seconds})
    return rows


def cells_of(bench: Bench) -> Any:
    """Return a SciPy matrix of cells."""
    import scipy.sparse as sp

    sizes, rng = bench.sizes, np.random.default_rng(0)
    kinds = np.stack([np.sort(rng.choice(sizes.genes, sizes.known, replace=False)) for _ in range(64)])
    indices = kinds[np.arange(sizes.cells) % 64].ravel().astype(np.int32)
    starts = np.arange(0, len(indices) + 1, sizes.known)
    return sp.csr_matrix((rng.random(len(indices), np.float32), indices, starts), shape=(sizes.cells, sizes.genes))


def projected(bench: Bench) -> list[dict[str, Any]]:
    """Measure the product of cells and gene vectors."""
    if not find_spec("scipy"):
        return [{"note": "cells are SciPy matrices, and SciPy is not installed"}]
    from scvec.embed.kernel import project

    cells, rows = cells_of(bench), []
    weights = np.random.default_rng(0).standard_normal((bench.sizes.genes, 384), np.float32)
    for device in dict.fromkeys(("cpu", bench.device)):
        seconds, _ = seconds_of(partial(project, cells, weights, device=device), 1)
        rows.append({"device": device, "cores": os.cpu_count(), "cells/s": bench.sizes.cells / seconds})
    return rows


def trained(bench: Bench) -> list[dict[str, Any]]:
    """Measure steps of training a head, which is computed on the CPU."""
    if not find_spec("scipy"):
        return [{"note": "training takes SciPy matrices, and SciPy is not installed"}]
    from scvec.embed.recipe import RECIPES
    from scvec.embed.refine.train import text_parts, train
    from scvec.embed.sample import Sample

    n, steps, rng = bench.sizes.cells, bench.sizes.steps, np.random.default_rng(0)
    codes, names = np.arange(n) % 20, tuple(f"type {one:02}" for one in range(20))
    sample = Sample(cells_of(bench), None, np.ones(n), codes, names, np.full(n, "one", object))
    texts = text_parts(rng.standard_normal((bench.sizes.genes, 384), np.float32), 0.1)
    seconds, _ = seconds_of(lambda: train(RECIPES["refined"], texts, sample, steps, lambda _: None), 1)
    row = {"device": "cpu, which computes it wherever scvec runs", "cores": os.cpu_count(), "genes": bench.sizes.genes}
    return [row | {"cells": n, "steps/s": steps / seconds}]


def steps_of(sizes: Sizes) -> list[Step]:
    """Return all steps, the most valuable first."""

    def one(n: int, d: int) -> Step:
        need = 10 + n * d / 1e8
        heading = f"Exact search: {sizes.queries:,} queries, {n:,} vectors of {d} dimensions in float16"
        return Step(f"exact {n} x {d}", heading, need, lambda bench: exact(bench, n, d))

    first, *others = [one(n, d) for n, d in sizes.searched]
    return [
        Step("card", "The card, in bytes and operations per second", 10, card),
        Step("correct", f"Against exact search on the CPU: {sizes.checked:,} vectors", 30, correct),
        first,
        Step("cuts", "Cuts of Triton's kernel", 30, swept),
        *others,
        Step("encoded", "Encoding texts", 5, encoded),
        Step("streamed", "Exact search of vectors that stay in their file", 20, streamed),
        Step("others", f"Engines of other libraries: {sizes.queries:,} queries", 60, by_others),
        Step("faiss", f"Inverted lists by FAISS: {sizes.queries:,} queries", 60, by_faiss),
        Step("projected", "Cells @ gene vectors", 20, projected),
        Step("trained", "Training a head", 20, trained),
    ]


def freed() -> None:
    """Give back the device's memory."""
    import torch

    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def ran(step: Step, bench: Bench) -> Any:
    """Return what a step measures; a note if it fails, or if too little time is left."""
    left = bench.deadline - time.monotonic()
    if left < step.need:
        return [{"note": f"left out: it needs {step.need:.0f} s, and {max(0, left):.0f} s were left"}]
    try:
        return step.measure(bench)
    except Exception as error:  # noqa: BLE001 - one step that fails leaves the others
        traceback.print_exc()
        return [{"note": f"failed: {type(error).__name__}: {next(iter(str(error).splitlines()), '')}"[:300]}]
    finally:
        freed()


def table(values: Any) -> str:
    """Return values as a Markdown table."""
    if isinstance(values, dict):
        return markdown(("", "value"), [(name, shown(value)) for name, value in values.items()])
    names = list(dict.fromkeys(name for row in values for name in row if name != "note"))
    names += ["note"] if any(row.get("note") for row in values) else []
    return markdown(names, [[shown(row.get(name, "")) for name in names] for row in values])


def shown(value: object) -> object:
    """Return a number with as many digits as it needs."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return value
    if value != value:
        return "not measured"
    return f"{value:,.4g}" if abs(value) < 1e5 and isinstance(value, float) else f"{value:,.0f}"


def written(steps: Sequence[Step], bench: Bench, command: str, folder: Path) -> None:
    """Write what is known so far."""
    done = [step for step in steps if step.name in bench.values]
    text = "# A GPU\n\n" + "\n\n".join(f"## {step.heading}\n\n{table(bench.values[step.name])}" for step in done)
    save("gpu", command, bench.values, text, folder=folder, quiet=True)


def main(arguments: list[str] | None = None) -> int:
    parser = make_parser("gpu", __doc__)
    parser.add_argument("--device", help="cuda, one of several such as cuda:1, or cpu (default: cuda; with --dry, cpu)")
    parser.add_argument("--minutes", type=float, default=8.0, help="steps that would not end in this time are left out")
    parser.add_argument("--dry", action="store_true", help="all steps with few vectors, in less than a minute")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of gpu.json and gpu.md")
    args = parser.parse_args(arguments)
    asked = args.device or ("cpu" if args.dry else "cuda")
    device, lacking = choose(asked)
    if device != asked:
        print(f"benchmarks.gpu: {lacking or 'this needs a GPU'}; nothing was measured", file=sys.stderr)
        return 2
    sizes = DRY if args.dry else Sizes()
    bench, steps = Bench(device, sizes, time.monotonic() + 60 * args.minutes), steps_of(sizes)
    given = " --dry" if args.dry else f" --minutes {args.minutes:g}"
    command = f"python -m benchmarks.gpu{given}" + (f" --device {args.device}" if args.device else "")
    args.out.mkdir(parents=True, exist_ok=True)
    for step in steps:
        start = time.perf_counter()
        bench.values[step.name] = ran(step, bench)
        print(f"\n{step.heading} ({time.perf_counter() - start:.1f} s)\n{table(bench.values[step.name])}", flush=True)
        written(steps, bench, command, args.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
