"""What it costs to build an atlas of many cells: seconds per step, peak memory, and the bare parts' share of the time.

    python -m benchmarks.scale 10k.h5ad --cells 10000; ... 100k.h5ad ... 1m.h5ad
    python -m benchmarks.atlases 10k.h5ad 100k.h5ad 1m.h5ad --store STORE

Each build is a process of its own, on a store with human gene texts and vectors of minilm. The bound is the sum of the
bare parts, one after the other: h5py reads data and indices, the compiled loops run on batches in memory, Lance writes
vectors.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import scvec as sv
from benchmarks.common import WORK, markdown, save
from benchmarks.machine import read_h5ad, write_lance
from scvec.atlas.query_cells import match_to, placed
from scvec.embed.projection import normalise
from scvec.ingest import open_cells
from scvec.ingest.cells.scale import Values

KERNEL_CELLS, WARM_CELLS = 32_768, 4096
NAME = "atlases-benchmark"
NOTE = """

*Bound* is the time of the bare parts, one after the other, on the same file: h5py reads data and indices, the compiled
loops run on batches in memory, Lance writes vectors. *Fit* includes reading a sample, cell by cell, and with `refined`
the training; *index* includes training, filling, and tuning against exact search. *Peak* is resident memory, including
mapped files: the vectors are mapped while recall is measured, 1.5 GB for a million of 384 dimensions. The file of a
million cells, 16 GB, was partly in the system's cache.

![Seconds and memory by cells](atlases.png)"""


def build(store: Path, cells: Path, recipe: str) -> dict[str, Any]:
    """Build an atlas and return seconds by step, and the process's peak memory."""
    steps: dict[str, float] = {}

    @contextmanager
    def progress(title: str, total: int) -> Iterator[Callable[[int], None]]:
        del total
        start = time.perf_counter()
        yield lambda _step: None
        steps[title] = steps.get(title, 0.0) + time.perf_counter() - start

    start = time.perf_counter()
    atlas = sv.atlas.build(
        sv.Store(store),
        NAME,
        cells,
        label_key="cell_type",
        batch_key="donor",
        recipe=sv.RECIPES[recipe],
        overwrite=True,
        progress=progress,
    )
    seconds = time.perf_counter() - start
    sv.atlas.compact(atlas, forget=True)
    index = atlas.manifest["index"]
    return {
        "cells": atlas.manifest["n_cells"],
        "dimension": atlas.manifest["dimension"],
        "seconds": seconds,
        "steps": steps,
        "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "index": {key: index[key] for key in ("factory", "search", "recall")},
    }


def bound(store: Path, cells: Path, n: int, dimension: int) -> dict[str, float]:
    """Return the seconds of the bare parts for `n` cells."""
    read = read_h5ad(cells, cold=False).seconds
    atlas = sv.atlas.open_atlas(sv.Store(store), NAME)
    with open_cells(cells) as file, file.matrix() as matrix:
        stop = min(n, KERNEL_CELLS)
        batches = [batch for _, batch in matrix.batches("reading", stop=stop)]
        match, _ = match_to(matrix, atlas.store, atlas.gene_table, atlas.embedding.gene_ids, None, None)
        columns = placed(match, atlas)
    embedding, counts = atlas.embedding, Values("counts")

    def kernel(batch: Any) -> None:
        embedding.vectors(normalise(batch, counts, embedding.recipe.target_sum, columns[0]), columns[1])

    kernel(batches[0][: min(WARM_CELLS, n)])
    start = time.perf_counter()
    for batch in batches:
        kernel(batch)
    per_cell = (time.perf_counter() - start) / stop
    return {"read": read, "kernel": per_cell * n, "write": write_lance(WORK, n, dimension, sync=False).seconds}


def measured(store: Path, cells: Path, recipe: str) -> dict[str, Any]:
    """Build in a process of its own, and compare it with the bound."""
    command = [
        sys.executable,
        "-m",
        "benchmarks.atlases",
        "--one",
        str(cells),
        "--store",
        str(store),
        "--recipe",
        recipe,
    ]
    made: dict[str, Any] = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    parts = bound(store, cells, made["cells"], made["dimension"])
    steps = made["steps"]
    return made | {
        "recipe": recipe,
        "bound": parts,
        "share_embedding": sum(parts.values()) / steps["embedding cells"],
        "share_all": sum(parts.values()) / made["seconds"],
    }


def report(rows: list[dict[str, Any]]) -> str:
    """Return the table."""
    head = "recipe cells d build_s fit embed_and_write index recall bound_(read,_kernel,_write) bound/embed bound/build"
    head += " embed_us_a_cell peak_MiB"
    lines = []
    for row in rows:
        steps, parts = row["steps"], row["bound"]
        index = sum(steps.get(key, 0.0) for key in ("training the index", "indexing", "measuring recall"))
        embedding = steps["embedding cells"]
        lines.append(
            (
                row["recipe"],
                f"{row['cells']:,}",
                row["dimension"],
                f"{row['seconds']:.1f}",
                f"{row['seconds'] - embedding - index:.1f}",
                f"{embedding:.1f}",
                f"{index:.1f} ({row['index']['factory']})",
                f"{row['index']['recall']:.3f}",
                f"{sum(parts.values()):.1f} ({', '.join(f'{one:.1f}' for one in parts.values())})",
                f"{row['share_embedding']:.2f}",
                f"{row['share_all']:.2f}",
                f"{1e6 * embedding / row['cells']:.0f}",
                f"{row['peak_mib']:.0f}",
            )
        )
    return (
        "# What an atlas costs to build\n\n" + markdown([one.replace("_", " ") for one in head.split()], lines) + NOTE
    )


def draw(rows: list[dict[str, Any]], path: Path) -> None:
    """Draw time and memory against cells."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
    for recipe, marker in zip(dict.fromkeys(row["recipe"] for row in rows), "os^", strict=False):
        own = [row for row in rows if row["recipe"] == recipe]
        cells = [row["cells"] for row in own]
        axes[0].plot(cells, [row["seconds"] for row in own], f"{marker}-", label=f"{recipe}, whole build")
        axes[0].plot(
            cells, [row["steps"]["embedding cells"] for row in own], f"{marker}--", label=f"{recipe}, embedding"
        )
        axes[1].plot(cells, [row["peak_mib"] / 1024 for row in own], f"{marker}-", label=recipe)
    axes[0].plot(cells, [sum(row["bound"].values()) for row in own], ":", color="grey", label=f"bare parts, {recipe}")
    for axis, what in zip(axes, ("seconds", "peak memory, GiB"), strict=True):
        axis.set_xscale("log")
        axis.set_xlabel("cells")
        axis.set_ylabel(what)
        axis.legend(frameon=False, fontsize=8)
        axis.spines[["top", "right"]].set_visible(False)
    axes[0].set_yscale("log")
    axes[1].set_ylim(0)
    figure.savefig(path, dpi=150)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.atlases", description=__doc__)
    parser.add_argument("cells", type=Path, nargs="*", help="h5ad files of benchmarks.scale, ascending")
    parser.add_argument("--store", type=Path, required=True)
    parser.add_argument("--recipe", action="append", help="default: genept-w and refined")
    parser.add_argument("--one", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    recipes = args.recipe or ["genept-w", "refined"]
    if args.one:
        print(json.dumps(build(args.store, args.one, recipes[0])))
        return
    from benchmarks.common import RESULTS

    rows = [measured(args.store, cells, recipe) for recipe in recipes for cells in args.cells]
    files = " ".join(one.name for one in args.cells)
    save("atlases", f"python -m benchmarks.atlases {files} --store STORE", {"rows": rows}, report(rows))
    draw(rows, RESULTS / "atlases.png")


if __name__ == "__main__":
    main()
