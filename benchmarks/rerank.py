"""What an LLM gains by reordering labels of unsure calls, against no LLM, random weights, and random and best order.

    python -m benchmarks.rerank --store STORE [--models hf:MODEL openai:MODEL]

Without --models the model is SmolLM2-135M by log-likelihood, with its own weights and with random ones. A model behind
OpenAI's interface is asked at OPENAI_BASE_URL, and may cost money: --max-cost is per task and model.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np

import scvec as sv
from benchmarks import smollm2
from benchmarks.common import DATA, WORK, import_texts, make_parser, markdown, save
from scvec.annotation.result import Annotation
from scvec.core.types import Strings
from scvec.interpret import RerankOptions, rerank

SEEDS = (0, 1, 2)
CELLS_A_LABEL = 5
"""Cells per label in the reference: with more, retrieval is hardly ever unsure, and there is nothing to reorder."""


@dataclass(frozen=True)
class SparseCells:
    """Real cells, split into reference and query."""

    name: str
    file: str
    label_key: str
    tissue: str
    layer: str | None
    held: tuple[str, str] | None
    """Column and value of the cells that are the query; None: a random half of each label."""
    n_query: int
    """Cells drawn for the query: enough that retrieval is unsure of about ten."""


SOURCES = (
    SparseCells(
        "donors 1, 2, 4 to 3", "pancreas_baron_human", "cell_type1", "pancreas", None, ("donor", "human3"), 300
    ),
    SparseCells("half of the cells", "pbmc3k", "classified", "blood", "counts", None, 25),
)


def split(source: SparseCells, seed: int) -> tuple[Path, Path, Strings]:
    """Write a reference of few cells per label and a query; return both, and the query's labels."""
    cells = ad.read_h5ad(DATA / "cells" / f"{source.file}.h5ad")
    labels, rng = cells.obs[source.label_key].astype(str).to_numpy(), np.random.default_rng(seed)
    if source.held is None:
        is_query = np.zeros(cells.n_obs, bool)
        for label in np.unique(labels):
            own = rng.permutation(np.flatnonzero(labels == label))
            is_query[own[: len(own) // 2]] = True
    else:
        is_query = (cells.obs[source.held[0]].astype(str) == source.held[1]).to_numpy()
    reference = [
        rng.permutation(np.flatnonzero(~is_query & (labels == label)))[:CELLS_A_LABEL] for label in np.unique(labels)
    ]
    query = rng.permutation(np.flatnonzero(is_query))[: source.n_query]
    folder = WORK / "rerank"
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{source.file}-{seed}-{part}.h5ad" for part in ("reference", "query")]
    for path, rows in zip(paths, (np.concatenate(reference), query), strict=True):
        cells[np.sort(rows)].copy().write_h5ad(path)
    return paths[0], paths[1], labels[np.sort(query)].astype(object)


def judged(calls: Annotation, truth: Strings) -> dict[str, float]:
    """Return figures of the cells asked about: how many, and the share right by retrieval, model, chance and best."""
    assert calls.reranked is not None
    place = {name: i for i, name in enumerate(calls.obs_names.tolist())}
    cases = calls.provenance["rerank"]["cases"]
    right = {"retrieval": 0.0, "model": 0.0, "chance": 0.0, "best": 0.0}
    for case in cases:
        i, candidates = place[case["name"]], case["candidates"]
        right["retrieval"] += candidates[0] == truth[i]
        right["model"] += calls.reranked.label[i] == truth[i]
        right["chance"] += (truth[i] in candidates) / len(candidates)
        right["best"] += truth[i] in candidates
    found = {key: value / max(1, len(cases)) for key, value in right.items()}
    statuses = [case["status"] for case in cases]
    shares = {one: statuses.count(one) / max(1, len(cases)) for one in ("reordered", "abstained", "rejected")}
    all_cells = {"all_retrieval": float(np.mean(calls.label == truth))}
    all_cells["all_model"] = float(np.mean(calls.reranked.label == truth))
    n_labels = float(np.mean([len(case["candidates"]) for case in cases]))
    return {"n_asked": float(len(cases)), "n_candidates": n_labels, **found, **shares, **all_cells}


def measure(store: sv.Store, source: SparseCells, model: str, max_cost: float | None) -> dict[str, Any]:
    """Return the mean figures over the seeds."""
    runs = []
    for seed in SEEDS:
        reference, query, truth = split(source, seed)
        name = f"bench-rerank-{source.file.replace('_', '-')}-{seed}"
        key = source.label_key
        atlas = sv.atlas.build(store, name, reference, label_key=key, layer=source.layer, overwrite=True)
        calls = sv.annotate(query, atlas, layer=source.layer)
        asked = RerankOptions(model, by="cell", tissue=source.tissue, max_cost=max_cost, random_state=seed)
        calls = rerank(calls, asked)
        runs.append(judged(calls, truth))
        store.remove(f"atlases/{name}")
    return {key: float(np.mean([run[key] for run in runs])) for key in runs[0]}


def main() -> None:
    parser = make_parser("rerank", __doc__)
    parser.add_argument("--store", default=str(WORK / "store"), help="with gene texts and vectors of minilm")
    parser.add_argument("--models", nargs="*", help="addresses, as scvec query --rerank takes them")
    parser.add_argument("--max-cost", type=float)
    args = parser.parse_args()
    store = sv.Store(args.store)
    texts = import_texts(store, "human")
    sv.embed.genes(store, texts, encoder="minilm")
    own = f"hf:{smollm2.folder()}?precision=bfloat16" if not args.models else ""
    models = args.models or [own, f"{own}&weights=random"]
    rows, values = [], []
    for source in SOURCES:
        for model in models:
            found = measure(store, source, model, args.max_cost)
            said = Path(model.split("?")[0]).name + (", random weights" if "weights=random" in model else "")
            values.append({"task": f"{source.tissue}, {source.name}", "model": said, **found})
            shown = ("retrieval", "model", "chance", "best", "reordered", "abstained", "all_retrieval", "all_model")
            counted = f"{found['n_asked']:.0f}, of {found['n_candidates']:.1f} labels"
            rows.append((f"{source.tissue}, {source.name}", said, counted, *(found[key] for key in shown)))
    header = ("task", "model", "cells asked", "retrieval right", "model right", "random order", "best order")
    more = ("reordered", "abstained", "all cells: retrieval", "model")
    sizes = " and ".join(f"{one.n_query} of {one.tissue}" for one in SOURCES)
    head = f"{CELLS_A_LABEL} reference cells a label; query cells: {sizes}; means of seeds {SEEDS}"
    note = (
        "The model was asked about cells whose label has a smaller share of the votes than that at which 5 % of "
        "held-out calls are wrong. *Random order* is the expected share right in a random order; *best order* puts the "
        "right label first if it is among the candidates."
    )
    text = f"# An LLM that reorders\n\n{head}.\n\n{markdown((*header, *more), rows)}\n\n{note}"
    save("rerank", "python -m benchmarks.rerank", {"rows": values}, text)


if __name__ == "__main__":
    main()
