"""10,000 queries in a million vectors: scvec's search, FAISS on the same index, hnswlib, usearch, and exact search.

    python -m benchmarks.search --store STORE --atlas ATLAS --query QUERY.h5ad

The methods take turns; seconds are medians, ratios are medians of the ratios within a turn. Indexes are built once and
kept in ``benchmarks/work``. hnswlib and usearch are skipped if they are not installed: see `benchmarks.ways`.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import faiss
import numpy as np

from benchmarks import ways
from benchmarks.common import RESULTS, WORK, make_parser, markdown, save
from benchmarks.ways import EF, GRAPHS, Judge, K, Parameters, Search, Way
from scvec.atlas import Atlas, open_atlas
from scvec.atlas.query_cells import open_query
from scvec.core.jit import n_threads
from scvec.core.types import Floats, Ints, silent
from scvec.evaluation import plots
from scvec.index import Exact, IndexSpec, Stored, resolve
from scvec.index.base import LISTS
from scvec.ingest.cells.options import ReadOptions
from scvec.store import Store

N_QUERIES, N_JUDGED, ROUNDS, TARGETS = 10_000, 1000, 3, (0.95, 0.99)
SWEEPS = {LISTS: (1, 2, 4, 8, 16), EF: (15, 30, 60, 120, 240, 480)}
MOST_LISTS, MOST_EF = 64, 2048
REFINED = 3
"""How many entries after an index's *candidates* the entry of *refined* follows."""

TEXT = """# Search

{n_queries:,} query cells in {n:,} x {d}, {k} neighbours, {threads} threads; medians of {rounds} turns. The vectors are
those of {atlas}; the queries are cells of another seed, all given in one call. *Recall* is at {k}, as ann-benchmarks
defines it, on distances recomputed for {judged:,} of the queries, against exact search. Reference and query are
resampled with noise from 2,142 real cells, and so are denser than a million real cells: for those, two lists of 2,048
would hardly suffice, and codes would do better because neighbours are less similar.

*Reaches* is the recall that the method was tuned for: scvec by `scvec.index.tune` on cells of the index, the others on
the judged queries themselves. FAISS is listed three times for each of scvec's indexes, with the same lists visited:

- *k only*: asked for {k} neighbours, by its codes alone, at the recall that this gives;
- *candidates*: asked for as many candidates as scvec, without sorting them by true distance;
- *refined*: as many candidates, sorted by true distance by FAISS itself (`RFlat`), from float32 vectors in memory.

*Times refined* and *times candidates* are relative to these, on the same index with the same parameters. FAISS without
refinement does not reach such recall, so that *refined* is the bare library to compare with. Memory is what must be in
RAM: the index as written, and for *refined* and exact search also the vectors; scvec maps its vectors from disk, where
they take {vector_bytes:,.0f} MB. Build: seconds to train and fill, with {threads} threads. Other work ran on the
machine: a ratio within a turn is more reliable than seconds, and differences of a tenth mean little.
"""


@dataclass(frozen=True)
class Entry:
    """A search with parameters, and its measurements.

    Attributes
    ----------
    way, parameters
        What was run.
    target
        The recall that it was tuned for; None for a point of a curve.
    base
        Position of the *candidates* entry that its ratio is relative to; None for no ratio.
    recall
        The recall that it reached.
    seconds
        For all queries, one value per turn.
    """

    way: Way
    parameters: Parameters
    target: float | None
    base: int | None
    recall: float
    seconds: list[float] = field(default_factory=list)


def embedded(path: Path, atlas: Atlas, n: int) -> Floats:
    """Return the vectors of the first `n` non-empty cells of a file, as a query computes them."""
    found: list[Floats] = []
    with open_query(path, atlas, ReadOptions()) as cells:
        for first, _, known in cells.batches("embedding", silent):
            vectors, empty = cells.vectors(np.arange(first, first + known.shape[0]), known)
            found.append(vectors[~empty])
            if sum(map(len, found)) >= n:
                break
    return np.concatenate(found)[:n]


def first_rows(stored: Stored, n: int | None) -> Stored:
    """Return the first `n` vectors, still mapped."""
    if n is None or n >= len(stored):
        return stored
    return Stored([(stored.rows[:n], stored.vectors(stored.rows[:n]))])


def entries_of_lists(factory: str, judge: Judge, folder: Path, flat: faiss.IndexFlatIP, at: int) -> list[Entry]:
    """Return scvec's and FAISS's searches of inverted lists; `at` is the position of the first entry."""
    stored = judge.stored
    index, n_bytes, built = ways.of_faiss(factory, stored, folder)
    vector_bytes = 4 * stored.dimension * len(stored)
    found: list[Entry] = []

    def add(
        name: str, search: Search, parameters: Parameters, target: float | None, base: int | None, more: int
    ) -> None:
        way = Way(f"{name}, {factory}", search, n_bytes + more, built)
        found.append(Entry(way, parameters, target, base, judge.recall(search, parameters)))

    for target in TARGETS:
        parameters = ways.tuned(index, judge, target)
        base = at + len(found)  # the other base of ratios follows `REFINED` entries later
        add("FAISS, candidates", ways.bare(index, over=True), parameters, target, base, 0)
        add("scvec", ways.scvec(index), parameters, target, base, 0)
        add("FAISS, k only", ways.bare(index, over=False), parameters, target, base, 0)
        add("FAISS, refined", ways.refined(index, flat), parameters, target, base, vector_bytes)
    for lists in SWEEPS[LISTS]:
        add("scvec", ways.scvec(index), {**parameters, LISTS: lists}, None, None, 0)
        add("FAISS, refined", ways.refined(index, flat), {**parameters, LISTS: lists}, None, None, vector_bytes)
    if "SQ8" in factory:  # its own order is good enough for a comparison alone
        alone = ways.bare(index, over=False)
        for target in TARGETS:
            add("FAISS, k only", alone, judge.least(alone, LISTS, MOST_LISTS, target), target, None, 0)
    return found


def entries_of_graph(name: str, judge: Judge, folder: Path) -> list[Entry]:
    """Return a graph's searches: the tuned ones, and the points of its curve."""
    way = GRAPHS[name](judge.stored, folder)
    asked: list[tuple[Parameters, float | None]] = [
        (judge.least(way.search, EF, MOST_EF, target), target) for target in TARGETS
    ]
    asked += [({EF: ef}, None) for ef in SWEEPS[EF]]
    return [Entry(way, how, target, None, judge.recall(way.search, how)) for how, target in asked]


def measure(entries: Sequence[Entry], queries: Floats, rounds: int) -> None:
    """Time all entries, in turn."""
    for turn in range(rounds + 1):
        for entry in entries:
            start = time.perf_counter()
            entry.way.search(queries, entry.parameters)
            if turn:
                entry.seconds.append(time.perf_counter() - start)


def exact(judge: Judge, flat: faiss.IndexFlatIP, n: int) -> list[Entry]:
    """Return exact searches, timed on the judged queries alone and scaled to `n`."""

    def alone(queries: Floats, parameters: Parameters) -> Ints:
        del parameters
        return np.asarray(flat.search(queries, K)[1], np.int64)

    found = []
    n_bytes = 4 * judge.stored.dimension * len(judge.stored)
    for name, search, taken in (
        ("scvec, exact", ways.scvec(Exact(judge.stored)), 0),
        ("FAISS, Flat", alone, n_bytes),
    ):
        entry = Entry(Way(name, search, taken, 0.0), {}, 1.0, None, judge.recall(search, {}))
        measure([entry], judge.queries, 1)
        entry.seconds[0] *= n / len(judge.queries)
        found.append(entry)
    return found


def table(entries: Sequence[Entry]) -> str:
    """Return the tuned entries as Markdown."""
    rows = []
    for entry in sorted((one for one in entries if one.target), key=lambda one: (one.target, median(one.seconds))):
        bases = [] if entry.base is None else [entry.base + REFINED, entry.base]
        ratios = [f"{ratio_of(entry, entries[base]):.2f}" for base in bases] or ["", ""]
        rows.append(
            (
                f"{entry.target:.2f}" + ("" if entry.recall >= (entry.target or 0) else ", missed"),
                entry.way.name,
                ", ".join(f"{key} {value}" for key, value in entry.parameters.items()),
                f"{entry.recall:.4f}",
                f"{median(entry.seconds):.2f}",
                *ratios,
                f"{entry.way.n_bytes / 1e6:,.0f}",
                f"{entry.way.build_s:,.0f}",
            )
        )
    header = (
        "reaches",
        "way",
        "with",
        "recall",
        "seconds",
        "times refined",
        "times candidates",
        "memory, MB",
        "build, s",
    )
    return markdown(header, rows)


def ratio_of(entry: Entry, base: Entry) -> float:
    """Return the median of the ratios within a turn."""
    return median(one / other for one, other in zip(entry.seconds, base.seconds, strict=True))


def picture(entries: Sequence[Entry], n_queries: int, path: Path, title: str) -> None:
    """Draw seconds against recall, one line per method."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt
    from matplotlib import ticker

    figure, axes = plt.subplots(figsize=(7.4, 4.6), layout="constrained")
    names = list(dict.fromkeys(one.way.name for one in entries if one.target is None))
    indexes = list(dict.fromkeys(name.split(", ")[-1] for name in names))
    for name in names:
        own = sorted((one.recall, median(one.seconds)) for one in entries if one.way.name == name)
        colour = plots.COLOURS[indexes.index(name.split(", ")[-1]) % len(plots.COLOURS)]
        line = {"lw": 1.8, "ms": 5.5} if name.startswith("scvec") else {"lw": 1.0, "ms": 4, "ls": plots.DASHES}
        axes.plot(*zip(*own, strict=True), marker="o", color=colour, label=name, **line)
    for target in TARGETS:
        axes.axvline(target, color=plots.FAINT, lw=0.8, zorder=0)
    axes.set_yscale("log")
    axes.yaxis.set_minor_formatter(ticker.NullFormatter())
    axes.yaxis.set_major_locator(ticker.LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter(ticker.FormatStrFormatter("%g"))
    axes.set_xlabel(f"recall at {K}")
    axes.set_ylabel(f"seconds for {n_queries:,} queries")
    axes.set_title(title, fontsize=10, loc="left")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=8)
    path.parent.mkdir(exist_ok=True)
    figure.savefig(path, dpi=plots.DPI)
    plt.close(figure)


def run(atlas: Atlas, query: Path, args: argparse.Namespace) -> None:
    """Measure, and write the results."""
    stored = first_rows(atlas.index.stored, args.limit_rows)
    folder = WORK / "search" / f"{atlas.name}-{len(stored)}"
    queries = embedded(query, atlas, args.queries)
    faiss.omp_set_num_threads(n_threads())
    judge = Judge(stored, queries[:N_JUDGED])
    flat = ways.flat(stored)
    auto = resolve(IndexSpec(), len(stored), stored.dimension)
    factories = [one for one in dict.fromkeys([auto, *args.factories]) if one not in ("auto", "exact")]
    entries: list[Entry] = []
    for factory in factories:
        entries += entries_of_lists(factory, judge, folder, flat, len(entries))
    for name in ways.graphs(list(GRAPHS)):
        entries += entries_of_graph(name, judge, folder)
    measure(entries, queries, ROUNDS)
    entries += exact(judge, flat, len(queries))
    shape = f"{len(stored):,} x {stored.dimension}"
    text = TEXT.format(
        n_queries=len(queries),
        n=len(stored),
        d=stored.dimension,
        k=K,
        threads=n_threads(),
        rounds=ROUNDS,
        atlas=f"an atlas of recipe {atlas.recipe.name}",
        judged=len(judge.queries),
        vector_bytes=stored.itemsize * stored.dimension * len(stored) / 1e6,
    )
    judged = f"Exact searches are timed on {len(judge.queries):,} queries, and their seconds scaled."
    text += f"\n{table(entries)}\n\n{judged}\n\n![Seconds against recall](search.png)"
    picture(entries, len(queries), RESULTS / "search.png", f"{len(queries):,} queries in {shape}")
    values = {"shape": shape, "n_queries": len(queries), "entries": [_told(one) for one in entries]}
    save("search", "python -m benchmarks.search " + args.told, values, text)


def _told(entry: Entry) -> dict[str, Any]:
    way = {key: value for key, value in asdict(entry).items() if key not in ("way", "parameters")}
    about = {"way": entry.way.name, "parameters": dict(entry.parameters)}
    return about | way | {"n_bytes": entry.way.n_bytes, "build_s": entry.way.build_s}


def main() -> None:
    parser = make_parser("search", __doc__)
    parser.add_argument("--store", required=True)
    parser.add_argument("--atlas", required=True)
    parser.add_argument("--query", required=True, type=Path)
    parser.add_argument("--queries", type=int, default=N_QUERIES)
    parser.add_argument("--limit-rows", type=int, help="search only this many of the atlas's cells")
    parser.add_argument("--factories", nargs="*", default=["auto", "IVF2048,SQ8", "IVF2048,RaBitQfs"])
    args = parser.parse_args()
    limit = [] if args.limit_rows is None else ["--limit-rows", str(args.limit_rows)]
    given = ["--queries", str(args.queries), *limit, "--factories", *args.factories]
    args.told = " ".join(["--store STORE --atlas ATLAS --query QUERY.h5ad", *given])
    run(open_atlas(Store(args.store), args.atlas), args.query, args)


if __name__ == "__main__":
    main()
