"""Planted doublets: whether the doublet score finds sums of two cells of different labels among single cells.

    python -m benchmarks.doublets [--seeds 3]

Each query is a donor that the atlas lacks, with a doublet for every five of its cells added: the sum of the counts of
two of its cells whose authors' labels differ, as it is, or thinned to the counts of one cell. Its own cells count as
single, though some of them will be doublets.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from statistics import mean
from typing import Any

import anndata as ad
import numpy as np
import scipy.sparse as sp

import scvec as sv
from benchmarks.common import make_parser, markdown, save
from benchmarks.views_tasks import Task, tasks
from scvec.report.findings.cell_measures import COUNTS, DOUBLET, GENES, Measured, measured_in
from scvec.report.findings.unexpected_genes import FEW_CELLS

NAMES = ("baron-3", "retina-ab", "retina-ba", "rpe-1", "rpe-2", "rpe-3")
FORMS = ("sums", "thinned sums")
SCORES = {
    DOUBLET: "doublet score",
    COUNTS: "counts (control)",
    GENES: "genes (control)",
    "novelty": "novelty (control)",
    "doubt": "1 - confidence (control)",
}
TAIL = 0.05


def main() -> None:
    parser = make_parser("doublets", __doc__)
    parser.add_argument("--seeds", type=int, default=3)
    args = parser.parse_args()
    chosen = {task.name: task for task in tasks() if task.name in NAMES}
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for name in NAMES:
            for row in measured(chosen[name], Path(folder), args.seeds):
                rows.append(row)
                print(row, flush=True)
    save("doublets", "python -m benchmarks.doublets", {"rows": rows}, text(rows, args.seeds))


def measured(task: Task, folder: Path, seeds: int) -> Iterator[dict[str, Any]]:
    """Yield what each score says of a task's planted doublets, and of types that the reference lacks."""
    reference, query = task.reference.read(), task.query.read()
    if "donor" not in reference.obs:
        reference.obs["donor"] = "one"
    atlas = _built(folder / task.name, reference)
    for seed in range(seeds):
        for form in FORMS:
            cells = planted(query, form, seed)
            yield {"task": task.name, "form": form, "seed": seed, **_scored(cells, atlas)}
    yield {"task": task.name, "form": "new types", "seed": 0, "flagged": dict(_left_out(folder, task, query))}


def _built(folder: Path, reference: ad.AnnData) -> sv.Atlas:
    store = sv.Store(folder)
    return sv.atlas.build(store, "reference", reference, taxon="human", label_key="label", batch_key="donor")


def planted(query: ad.AnnData, form: str, seed: int) -> ad.AnnData:
    """Return cells with doublets added; `obs` has ``planted``."""
    rng, counts = np.random.default_rng(seed), sp.csr_matrix(query.X, dtype=np.float64)
    n, labels = query.n_obs, query.obs["label"].to_numpy(str)
    pairs = rng.integers(0, n, (2, 8 * n))
    first, second = pairs[:, labels[pairs[0]] != labels[pairs[1]]][:, : n // 5]
    sums = sp.csr_matrix(counts[first] + counts[second])
    if form == FORMS[1]:
        totals = np.asarray(sums.sum(axis=1)).ravel()
        wanted = np.asarray(counts.sum(axis=1)).ravel()[rng.integers(0, n, len(first))]
        share = np.repeat(np.minimum(1.0, wanted / totals), np.diff(sums.indptr))
        sums.data = rng.binomial(sums.data.astype(np.int64), share).astype(np.float64)
        sums.eliminate_zeros()
    made = ad.AnnData(sp.csr_matrix(sp.vstack([counts, sums]), dtype=np.float32), var=query.var[[]])
    made.obs["planted"] = np.arange(made.n_obs) >= n
    made.obs_names = [f"c{i}" for i in range(made.n_obs)]
    return made


def _of(cells: ad.AnnData, atlas: sv.Atlas) -> tuple[sv.Annotation, Measured]:
    calls = sv.annotate(cells, atlas)
    with calls.query.opened() as opened:
        found = measured_in(opened, calls, np.ones(len(calls), bool), 0, sv.core.types.silent)
    assert found is not None
    return calls, found


def _scored(cells: ad.AnnData, atlas: sv.Atlas) -> dict[str, Any]:
    """Return the AUROC of each score, and the shares of single cells and doublets above the limit."""
    from sklearn.metrics import roc_auc_score

    calls, found = _of(cells, atlas)
    at, is_planted = found.query.cells, cells.obs["planted"].to_numpy()
    values = {name: found.query.values[name] for name in (DOUBLET, COUNTS, GENES)}
    values |= {"novelty": calls.novelty[at], "doubt": 1 - calls.confidence[at]}
    aurocs = {name: float(roc_auc_score(is_planted[at], np.nan_to_num(one))) for name, one in values.items()}
    above = _above(found)
    return {
        "auroc": aurocs,
        "flagged": {"single": above[~is_planted[at]].mean(), "planted": above[is_planted[at]].mean()},
    }


def _above(found: Measured) -> Any:
    """Return which cells are above all but `TAIL` of the reference's cells of their label."""
    limits, known = {}, found.reference
    for label in found.names.tolist():
        own = known.values[DOUBLET][known.labels == label]
        limits[label] = np.quantile(own, 1 - TAIL) if len(own) >= FEW_CELLS else np.inf
    return found.query.values[DOUBLET] > np.array([limits[one] for one in found.query.labels.tolist()])


def _left_out(folder: Path, task: Task, query: ad.AnnData) -> Iterator[tuple[str, float]]:
    """Yield labels, and the share of their cells above the limit when the reference lacks the label."""
    reference = task.reference.read()
    if "donor" not in reference.obs:
        reference.obs["donor"] = "one"
    names, sizes = np.unique(query.obs["label"].to_numpy(str), return_counts=True)
    for label in names[np.argsort(-sizes, kind="stable")][:3]:
        rest = reference[(reference.obs["label"] != label).to_numpy()].copy()
        own = query[(query.obs["label"] == label).to_numpy()].copy()
        if len(rest) < len(reference):
            yield str(label), float(_above(_of(own, _built(folder / f"{task.name}-{label}", rest))[1]).mean())


def text(rows: list[dict[str, Any]], seeds: int) -> str:
    """Return the tables."""
    parts = [
        "# Planted doublets\n\nAUROC of planted doublets against the query's own cells, mean of "
        f"{seeds} seeds (least). Sums have the counts of both cells; thinned sums those of one."
    ]
    for form in FORMS:
        table = []
        for name in NAMES:
            own = [one["auroc"] for one in rows if (one["task"], one["form"]) == (name, form)]
            if own:
                of = {key: [one[key] for one in own] for key in SCORES}
                table.append([name, *(f"{mean(each):.3f} ({min(each):.3f})" for each in of.values())])
        parts.append(f"## {form.capitalize()}\n\n{markdown(('query', *SCORES.values()), table)}")
    table = []
    for name in NAMES:
        of = {form: [one["flagged"] for one in rows if (one["task"], one["form"]) == (name, form)] for form in FORMS}
        new = next((one["flagged"] for one in rows if (one["task"], one["form"]) == (name, "new types")), {})
        if of[FORMS[0]]:
            shares = [
                mean(one["single"] for one in of[FORMS[0]]),
                *(mean(one["planted"] for one in of[f]) for f in FORMS),
            ]
            table.append([name, *shares, ", ".join(f"{label} {share:.2f}" for label, share in new.items())])
    header = ("query", "single cells", *FORMS, "cells of a type that the reference lacks")
    said = "Share of cells above 95 % of the reference's cells of their label, which the report counts."
    return "\n\n".join([*parts, f"## Above the limit\n\n{said}\n\n{markdown(header, table)}"])


if __name__ == "__main__":
    main()
