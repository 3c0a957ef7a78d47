"""The report of a query: the time of its parts, the size of the page, and its speed in a browser.

    python -m benchmarks.report --store STORE --references R.h5ad ... --queries Q.h5ad ...

References and queries are files of `benchmarks.scale`, of different seeds. Atlases that the store lacks are built.
Every report is made in a process of its own, and then opened in headless Chromium.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from statistics import median
from typing import Any

import h5py
import numpy as np

from benchmarks import browser
from benchmarks.common import HERE, WORK, make_parser, markdown, save

RECIPES, ENCODER = ("refined", "genept-w"), "minilm"
MAX_SECONDS, MAX_MB = 120, 15
PARTS = ("doubts", "attributions", "attributions of doubts", "cell_map", "markers")
COLUMNS = ("recipe", "reference", "query", "of the query", *(one.replace("cell_map", "map") for one in PARTS), "page")
BROWSED = ("query", "MB", "ready, s", "frames/s panning", "longest", "zooming", "longest", "filter, s", "find, s")

TEXT = """# Report

The HTML report of a query. The goal for 100,000 cells is at most {max_mb} MB, and at most {max_s} s beyond the query
itself. Cells with about {genes:,.0f} genes and {labels} labels, drawn by `benchmarks.scale`; {threads} threads; one
process per report, whose seconds include imports and compiling; {turns}. Seconds are CPU time, summed over threads,
including busy waiting. *In all*: beyond the query; *wall*: the same by the clock. The peak is that of the process,
including mapped files, and *query's* is the peak before the report. References other than the first are used with the
largest query only.

{table}

Names of cells have 18 characters, as from 10x; each further character adds 0.1 MB for 100,000 cells.

## In a browser

{browser}, {wide} x {high} pixels, drawn by {drawn_by}: {gpu} The page of the {recipe}
atlas of {reference:,} cells. *Ready*: the map can be used; *frames* per second over {moved:g} s of dragging the map and
of zooming by wheel, and the longest frame in seconds; a filter by doubt, the search for a cell, and a recolouring by
confidence, until the next frame is shown, each for the first time.

{browsed}"""
SOFTWARE = "without a GPU, all points are drawn by the CPU cores, which other work shares."


def main() -> None:
    parser = make_parser("report", __doc__)
    parser.add_argument("--store", required=True)
    parser.add_argument("--references", nargs="+", type=Path, default=[])
    parser.add_argument("--queries", nargs="+", type=Path, required=True)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--recipes", nargs="+", default=list(RECIPES))
    parser.add_argument("--atlas", help="make one report with this atlas, and print what it took as JSON")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    if args.atlas:
        print(json.dumps(made(args.store, args.atlas, args.queries[0], args.out)))
    else:
        run(args)


def made(store: str, name: str, path: Path, out: Path) -> dict[str, Any]:
    """Make a report, and return the seconds of its parts and the peak memory.

    The parts are timed where `scvec.report.findings.summary` calls them: this is the real run, in its own order.
    """
    start = _now()
    seconds: dict[str, float] = {}
    cpu: dict[str, float] = {}

    def took(part: str, since: tuple[float, float]) -> None:
        seconds[part], cpu[part] = (now - then for now, then in zip(_now(), since, strict=True))

    import scvec as sv
    from scvec.atlas import open_atlas
    from scvec.report.page import write_report

    atlas = open_atlas(sv.Store(store), name)
    calls = sv.annotate(path, atlas)
    took("query", start)
    before = _peak()
    module = import_module("scvec.report.findings.summary")

    def timed(part: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*given: Any, **named: Any) -> Any:
            begin = _now()
            result = function(*given, **named)
            took(f"{part} of doubts" if part in seconds else part, begin)
            return result

        return call

    for part in ("doubts", "attributions", "cell_map", "markers"):
        setattr(module, part, timed(part, getattr(module, part)))
    begin = _now()
    found = module.overview(calls, path, atlas, command=f"scvec report {path.name} --atlas {name}")
    took("overview", begin)
    named = replace(found, calls=replace(calls, obs_names=_barcodes(len(calls))))
    begin = _now()
    write_report(named, out)
    took("page", begin)
    return {
        "seconds": seconds,
        "cpu_seconds": cpu,
        "peak_mb": _peak(),
        "query_peak_mb": before,
        "mb": out.stat().st_size / 1e6,
        "n_query": len(calls),
        "n_reference": len(atlas.rows),
        "n_labels": len(calls.labels),
        "n_doubted": int((found.doubts.group != "").sum()),
        "n_groups": len(found.doubts.groups),
        "dimension": atlas.embedding.dimension,
    }


def _now() -> tuple[float, float]:
    """Return wall-clock time and this process's CPU time, in seconds."""
    return time.perf_counter(), time.process_time()


def _peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _barcodes(n: int) -> np.ndarray[Any, Any]:
    """Return cell names like those from 10x."""
    letters = np.array(list("ACGT"))[np.random.default_rng(0).integers(0, 4, (n, 16))]
    return np.array([f"{''.join(one)}-1" for one in letters.tolist()], object)


def run(args: argparse.Namespace) -> None:
    """Measure, and write the results."""
    from scvec.core.jit import n_threads

    folder = WORK / "report"
    folder.mkdir(parents=True, exist_ok=True)
    turns: list[list[dict[str, Any]]] = []
    for recipe in args.recipes:
        for reference in args.references:
            name = f"report-{recipe}-{reference.stem}"
            _build(args.store, name, reference, recipe)
            for query in args.queries if reference == args.references[0] else args.queries[-1:]:
                out = folder / f"{name}-{query.stem}.html"
                command = [sys.executable, "-m", "benchmarks.report", "--store", args.store, "--atlas", name]
                command += ["--queries", str(query), "--out", str(out)]
                done = [{"recipe": recipe, "page": out.name, **_child(command)} for _ in range(args.rounds)]
                turns.append(done)
                print(name, query.name, {part: round(s, 2) for part, s in done[0]["seconds"].items()}, flush=True)
    # The first atlas is used with all queries.
    pages = [one[0] for one in turns[: len(args.queries)]]
    browsed = [{"n_query": one["n_query"], "mb": one["mb"], **_browsed(folder / one["page"])} for one in pages]
    with h5py.File(args.queries[-1]) as file:
        genes = len(file["X/data"]) / (len(file["X/indptr"]) - 1)
    drawn_by = browsed[-1]["drawn_by"]
    text = TEXT.format(
        max_s=MAX_SECONDS,
        max_mb=MAX_MB,
        genes=genes,
        labels=turns[0][0]["n_labels"],
        threads=n_threads(),
        turns="one turn of each" if args.rounds == 1 else f"medians of {args.rounds} turns",
        table=table(turns),
        browser=browsed[-1]["browser"],
        wide=browser.WIDE,
        high=browser.HIGH,
        drawn_by=drawn_by,
        gpu=SOFTWARE if "SwiftShader" in drawn_by else "",
        recipe=pages[0]["recipe"],
        reference=pages[0]["n_reference"],
        moved=browser.SECONDS,
        browsed=browsed_table(browsed),
    )
    values = {"genes": genes, "threads": n_threads(), "turns": turns, "browser": browsed}
    save(
        "report", "python -m benchmarks.report --store STORE --references R.h5ad ... --queries Q.h5ad ...", values, text
    )


def _build(store: str, name: str, reference: Path, recipe: str) -> None:
    import scvec as sv
    from scvec.errors import NotInStoreError

    opened = sv.Store(store)
    try:
        sv.atlas.open_atlas(opened, name)
    except NotInStoreError:
        asked = sv.RECIPES[recipe].with_encoder(ENCODER)
        sv.atlas.build(opened, name, reference, label_key="cell_type", batch_key="donor", recipe=asked)


def _child(command: list[str]) -> dict[str, Any]:
    """Run a command, and return what it printed."""
    said = subprocess.run(command, stdout=subprocess.PIPE, text=True, cwd=HERE.parent, check=True).stdout
    result: dict[str, Any] = json.loads(said)
    return result


def _browsed(path: Path) -> dict[str, Any]:
    print("browsing", path.name, flush=True)
    return browser.measured(path, "ACGTAC")


def table(turns: list[list[dict[str, Any]]]) -> str:
    """Return the parts of every report as Markdown."""
    rows = []
    for done in turns:
        first = done[0]
        cpu = {part: median(one["cpu_seconds"].get(part, 0.0) for one in done) for part in (*PARTS, "query", "page")}
        beyond, spent = (
            median(one[clock]["overview"] + one[clock]["page"] for one in done) for clock in ("seconds", "cpu_seconds")
        )
        rows.append(
            (
                f"{first['recipe']}, {first['dimension']}",
                f"{first['n_reference']:,}",
                f"{first['n_query']:,}",
                *(f"{cpu[part]:.1f}" for part in ("query", *PARTS, "page")),
                f"{spent:.1f}",
                f"{beyond:.1f}",
                f"{median(one['query_peak_mb'] for one in done):,.0f}",
                f"{max(one['peak_mb'] for one in done):,.0f}",
                f"{first['mb']:.1f}",
            )
        )
    return markdown((*COLUMNS, "in all", "wall", "query's peak, MB", "peak, MB", "page, MB"), rows)


def browsed_table(browsed: list[dict[str, Any]]) -> str:
    """Return the browser's figures as Markdown."""
    rows = [
        (
            f"{one['n_query']:,}",
            f"{one['mb']:.1f}",
            f"{one['ready_s']:.1f}",
            f"{one['pan']['frames_per_s']:.0f}",
            f"{one['pan']['longest_s']:.2f}",
            f"{one['zoom']['frames_per_s']:.0f}",
            f"{one['zoom']['longest_s']:.2f}",
            *(f"{one[name]:.2f}" for name in ("filter_s", "find_s", "recolour_s")),
        )
        for one in browsed
    ]
    return markdown((*BROWSED, "recolour, s"), rows)


if __name__ == "__main__":
    main()
