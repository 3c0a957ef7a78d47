"""Cells of one species on an atlas of another, through one-to-one orthologs, scored on Cell Ontology ids.

    python -m benchmarks.species

Baron pancreas, human to mouse and mouse to human, all cells of each.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np

import scvec as sv
from benchmarks.common import DATA, WORK, import_texts, markdown, save
from scvec.controls import logistic_regression
from scvec.evaluation import compare, given_labels
from scvec.ingest.genes.orthologs import orthologs
from scvec.ingest.matching import GeneMatch, match_genes

LABEL_KEY = "cell_ontology_id"
METHODS: Mapping[str, sv.Recipe] = {
    "genept-w, minilm": sv.RECIPES["genept-w"],
    "genept-w, tfidf": sv.RECIPES["genept-w"].with_encoder("tfidf"),
    "genept-w centred, minilm": replace(sv.RECIPES["genept-w"], centre=True),
    "topn 200, minilm": replace(sv.RECIPES["topn"], top_n=200),
    "expression (control)": sv.RECIPES["expression"],
    "random (control)": sv.RECIPES["random"],
}
LOGISTIC = "logistic regression (control)"


def cells_of(species: str) -> Path:
    return DATA / "cells" / f"pancreas_baron_{species}.h5ad"


def measure(store: sv.Store, reference: str, query: str) -> list[dict[str, Any]]:
    task = f"{reference} -> {query}"
    truth = given_labels(cells_of(query), LABEL_KEY)
    rows = []
    for name, recipe in METHODS.items():
        atlas = sv.atlas.build(
            store, "species", cells_of(reference), label_key=LABEL_KEY, recipe=recipe, taxon=reference, overwrite=True
        )
        calls = sv.annotate(cells_of(query), atlas, taxon=query)
        result = compare(calls.label, truth, calls.labels)
        coverage = calls.provenance["query"]["coverage"]
        rows.append(row(task, name, result, coverage["n_matched"]))
    labels, n_shared = logistic(store, reference, query)
    return [*rows, row(task, LOGISTIC, compare(labels, truth, calls.labels), n_shared)]


def row(task: str, method: str, result: sv.Evaluation, n_genes: int) -> dict[str, Any]:
    figures = {"accuracy": round(result.accuracy, 4), "macro_f1": round(result.macro_f1, 4)}
    return {"task": task, "method": method, **figures, "n_genes": n_genes, "not_in_atlas": list(result.not_in_atlas)}


def logistic(store: sv.Store, reference: str, query: str) -> tuple[sv.types.Strings, int]:
    """Return the labels by logistic regression on the genes that both have, each named by its id in the reference."""
    own, other = (sv.ingest.open_texts(store, one) for one in (query, reference))
    with sv.ingest.open_h5ad(cells_of(query)) as file, file.matrix() as matrix:
        asked = match_genes(matrix, [own]).through(orthologs(own, other), other)
    with sv.ingest.open_h5ad(cells_of(reference)) as file, file.matrix() as matrix:
        trained = match_genes(matrix, [other])
    paths = [renamed(species, match) for species, match in ((reference, trained), (query, asked))]
    n_shared = len(np.intersect1d(trained.gene_ids, asked.gene_ids))
    return logistic_regression(*paths, label_key=LABEL_KEY), n_shared


def renamed(species: str, match: GeneMatch) -> Path:
    """Write the cells with genes named by id, the first column of each; the others keep names nobody shares."""
    cells = ad.read_h5ad(cells_of(species))
    names = np.array([f"{species}-{i}" for i in range(cells.n_vars)], dtype=object)
    genes, first = np.unique(match.gene_ids, return_index=True)
    names[match.columns[first]] = genes.astype(str)
    cells.var_names = names
    cells.write_h5ad(WORK / f"{species}_by_id.h5ad")
    return WORK / f"{species}_by_id.h5ad"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--store", default=str(WORK / "store"), help="kept between runs: encoding takes minutes once")
    store = sv.Store(parser.parse_args().store)
    WORK.mkdir(exist_ok=True)
    for taxon in ("human", "mouse"):
        texts = import_texts(store, taxon)
        sv.embed.genes(store, texts, encoder="minilm")
    rows = [one for pair in (("human", "mouse"), ("mouse", "human")) for one in measure(store, *pair)]
    tables = []
    for task in dict.fromkeys(one["task"] for one in rows):
        chosen = [one for one in rows if one["task"] == task]
        lacking = ", ".join(chosen[0]["not_in_atlas"]) or "none"
        figures = [(one["method"], one["n_genes"], one["accuracy"], one["macro_f1"]) for one in chosen]
        table = markdown(("method", "genes", "accuracy", "macro-F1"), figures)
        tables.append(f"## {task}\n\nLabels of the query that the atlas lacks: {lacking}.\n\n{table}")
    head = (
        "# Across species\n\nBaron pancreas; genes meet through NCBI's one-to-one orthologs (`--taxon`), labels are "
        "Cell Ontology ids, vote of 15 neighbours, one run each, macro-F1 over the query's classes. Random vectors are "
        "one draw."
    )
    save("species", "python -m benchmarks.species", {"rows": rows}, "\n\n".join([head, *tables]))


if __name__ == "__main__":
    main()
