"""Variants of training a head, one change at a time, and what the training costs.

    python -m benchmarks.refinement --store STORE

The tasks are those of the open suite on which variants differ most; the store is that of `python -m benchmarks.open`.
"""

from __future__ import annotations

import resource
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

import scvec as sv
from benchmarks.common import WORK, make_parser, markdown, save
from benchmarks.open import OUT, SUITE
from scvec.bench import Suite, plan, records
from scvec.bench.tasks import BATCH, LABEL, Prepared
from scvec.embed.recipe import RECIPES, Recipe, Refinement
from scvec.evaluation.author_labels import read_author_labels

REFINED = RECIPES["refined"].with_encoder("minilm")
TASKS = ("baron, human to mouse", "5 cells", "200 genes")
VARIANTS: dict[str, Refinement] = {
    "as it is": Refinement(),
    "triplet loss": Refinement(loss="triplet"),
    "no cross-entropy to proxies": Refinement(proxy=0),
    "no linear probe": Refinement(probe=0),
    "probe of weight 1": Refinement(probe=1),
    "probe of weight 3": Refinement(probe=3),
    "no gene dropout": Refinement(gene_dropout=0),
    "counts thinned to a half": Refinement(thinning=0.5),
    "no text": Refinement(text_weight=0),
    "ten times the text": Refinement(text_weight=1),
    "64 dimensions": Refinement(dimension=64),
    "temperature 0.1": Refinement(temperature=0.1),
    "three times the steps": Refinement(steps=300),
}


def called(store: sv.Store, task: Prepared, recipe: Recipe) -> tuple[float, float]:
    """Return accuracy and macro-F1."""
    panel: dict[str, Any] = {"panel": task.query, "panel_taxon": task.task.query_taxon} if task.task.panel else {}
    batch = BATCH if task.task.batch_key else None
    atlas = sv.atlas.build(
        store, "refinement", task.reference, label_key=LABEL, batch_key=batch, recipe=recipe, overwrite=True, **panel
    )
    calls = sv.annotate(task.query, atlas, taxon=task.task.query_taxon)
    found = records.figures(task, calls.label, {})
    return found["accuracy"], found["macro_f1"]


def measured(store: sv.Store, out: Path, seeds: int) -> list[dict[str, Any]]:
    rows = []
    suite = Suite.read(SUITE)
    for task in plan(suite, out, store).tasks:
        if task.task.name not in TASKS or (task.seed or 0) >= seeds:
            continue
        for name, refine in VARIANTS.items():
            for seed in range(seeds) if task.seed is None else (task.seed,):
                accuracy, f1 = called(store, task, replace(REFINED, refine=refine, random_state=seed))
                rows.append(
                    {"task": task.task.name, "variant": name, "seed": seed, "accuracy": accuracy, "macro_f1": f1}
                )
                print(rows[-1], flush=True)
    return rows


def cost(store: sv.Store, out: Path) -> dict[str, float]:
    """Return seconds and peak memory of building on Baron's donors 1, 3 and 4, in a process of its own."""
    task = next(one for one in plan(Suite.read(SUITE), out, store).tasks if one.task.name == "baron, donor 2")
    code = f"import sys; from benchmarks.refinement import alone; alone({store.uri!r}, {str(task.reference)!r})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    seconds, mebibytes = map(float, done.stdout.split()[-2:])
    return {"cells": len(read_author_labels(task.reference, LABEL)), "seconds": seconds, "peak_mib": mebibytes}


def alone(store: str, reference: str) -> None:
    start = time.perf_counter()
    sv.atlas.build(sv.Store(store), "refinement", reference, label_key=LABEL, batch_key=BATCH, overwrite=True)
    print(time.perf_counter() - start, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


def main() -> None:
    parser = make_parser("refinement", __doc__)
    parser.add_argument("--store", default=str(WORK / "store"))
    parser.add_argument("--out", type=Path, default=OUT, help="where the open suite's files are")
    parser.add_argument("--seeds", type=int, default=1)
    args = parser.parse_args()
    store = sv.Store(args.store)
    rows, made = measured(store, args.out, args.seeds), cost(store, args.out)
    table = []
    for variant in VARIANTS:
        cells: list[object] = [variant]
        for task in TASKS:
            chosen = [one for one in rows if one["variant"] == variant and one["task"] == task]
            cells.append(" / ".join(f"{median(one[key] for one in chosen):.3f}" for key in ("accuracy", "macro_f1")))
        table.append(cells)
    took = f"{made['seconds']:.0f} s and {made['peak_mib']:,.0f} MiB at the peak"
    text = (
        "# Variants of training a head\n\nAccuracy / macro-F1 over the query's classes, one change at a time from the "
        f"default recipe, seeds: {args.seeds}. One cell of a rare class changes F1 by up to .09. "
        "For mouse, and for 200 genes, the atlas is built on the genes that the query has too.\n\n"
        + markdown(("change", *TASKS), table)
        + f"\n\nBuilding an atlas of {made['cells']:,.0f} cells, with its folds and calibration, took {took}."
    )
    save("refinement", "python -m benchmarks.refinement", {"rows": rows, "cost": made}, text)


if __name__ == "__main__":
    main()
