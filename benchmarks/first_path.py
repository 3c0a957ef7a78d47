"""Every recipe and control on two tasks of real cells, from NCBI's files to labelled queries.

    python -m benchmarks.first_path

Tasks: Baron human pancreas, donors 1, 2 and 4 to donor 3; PBMC 3k, 30 % of the cells held out at random within
each label.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
from sklearn.model_selection import train_test_split

import scvec as sv
from benchmarks.common import DATA, WORK, import_texts, markdown, save
from scvec.controls import logistic_regression
from scvec.evaluation import compare, given_labels

GENEPT, TOPN = sv.RECIPES["genept-w"], sv.RECIPES["topn"]
METHODS: dict[str, sv.Recipe] = {
    "genept-w, minilm": GENEPT,
    "genept-w, tfidf": GENEPT.with_encoder("tfidf"),
    "genept-w centred, minilm": replace(GENEPT, centre=True),
    "genept-w centred, tfidf": replace(GENEPT, encoder="tfidf", centre=True),
    "topn 2048, minilm": TOPN,
    "topn 200, minilm": replace(TOPN, top_n=200),
    "expression (control)": sv.RECIPES["expression"],
    "random (control)": sv.RECIPES["random"],
    "random centred (control)": replace(sv.RECIPES["random"], centre=True),
}
LOGISTIC = "logistic regression (control)"


@dataclass(frozen=True)
class Task:
    name: str
    reference: Path
    query: Path
    label_key: str


def tasks() -> Iterator[Task]:
    """Write reference and query of each task, and yield it."""
    baron = ad.read_h5ad(DATA / "cells" / "pancreas_baron_human.h5ad")
    held_out = (baron.obs["donor"] == "human3").to_numpy()
    yield written("baron donors 1, 2, 4 -> 3", "baron", baron, held_out, "cell_type1")
    pbmc = ad.read_h5ad(DATA / "cells" / "pbmc3k.h5ad")
    labels = pbmc.obs["classified"].astype(str)
    chosen = train_test_split(np.arange(pbmc.n_obs), test_size=0.3, stratify=labels, random_state=0)[1]
    yield written("pbmc3k, 30 % of cells", "pbmc3k", pbmc, np.isin(np.arange(pbmc.n_obs), chosen), "classified")


def written(name: str, stem: str, cells: ad.AnnData, held_out: np.ndarray[Any, Any], label_key: str) -> Task:
    task = Task(name, WORK / f"{stem}_reference.h5ad", WORK / f"{stem}_query.h5ad", label_key)
    cells[~held_out].write_h5ad(task.reference)
    cells[held_out].write_h5ad(task.query)
    return task


def measure(store: sv.Store, task: Task) -> list[dict[str, Any]]:
    rows = []
    for name, recipe in METHODS.items():
        start = time.perf_counter()
        atlas = sv.atlas.build(
            store, "bench", task.reference, label_key=task.label_key, recipe=recipe, taxon="human", overwrite=True
        )
        built = time.perf_counter()
        calls = sv.annotate(task.query, atlas)
        called = time.perf_counter()
        result = sv.evaluate(calls, task.query, label_key=task.label_key)
        rows.append(row(task, name, result, built - start, called - built))
    start = time.perf_counter()
    labels = logistic_regression(task.reference, task.query, label_key=task.label_key)
    result = compare(labels, given_labels(task.query, task.label_key), calls.labels)
    rows.append(row(task, LOGISTIC, result, time.perf_counter() - start, 0.0))
    coverage = atlas.manifest["coverage"]
    matched = f"{coverage['n_matched']:,} of {coverage['n_genes']:,} genes"
    print(f"{task.name}: {matched}, {coverage['share']:.1%} of the expression")
    return rows


def row(task: Task, method: str, result: sv.Evaluation, build_s: float, query_s: float) -> dict[str, Any]:
    figures = {"accuracy": round(result.accuracy, 4), "macro_f1": round(result.macro_f1, 4)}
    return {"task": task.name, "method": method, **figures, "build_s": round(build_s, 2), "query_s": round(query_s, 2)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--store", default=str(WORK / "store"), help="kept between runs: encoding takes minutes once")
    store = sv.Store(parser.parse_args().store)
    WORK.mkdir(exist_ok=True)
    texts = import_texts(store, "human")
    for encoder in ("minilm", "tfidf"):
        sv.embed.genes(store, texts, encoder=encoder)
    rows = [one for task in tasks() for one in measure(store, task)]
    tables = []
    for task in dict.fromkeys(one["task"] for one in rows):
        chosen = [(one["method"], one["accuracy"], one["macro_f1"]) for one in rows if one["task"] == task]
        tables.append(f"## {task}\n\n" + markdown(("method", "accuracy", "macro-F1"), chosen))
    head = (
        f"# Recipes and controls\n\nGene texts {texts.release} ({len(texts):,} genes), distance-weighted vote of 15 "
        "neighbours, one run each, macro-F1 over the query's classes. Random vectors are one draw."
    )
    save("first_path", "python -m benchmarks.first_path", {"rows": rows}, "\n\n".join([head, *tables]))


if __name__ == "__main__":
    main()
