"""Planted doublets: whether the doublet score finds sums of two cells of different labels among single cells.

    python -m benchmarks.doublets [--seeds 3]

Each query is a donor that the atlas lacks, with a doublet for every five of its cells added: the sum of the counts of
two of its cells whose authors' labels differ, as it is, or thinned to the counts of one cell. Its own cells count as
single, though some of them will be doublets.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from statistics import mean
from typing import Any

import anndata as ad
import numpy as np
import scipy.sparse as sp

import scvec as sv
from benchmarks.common import make_parser, markdown, save
from benchmarks.views_tasks import Task, tasks
from scvec.atlas import Atlas
from scvec.core.types import Bools, silent
from scvec.report.findings import doubts
from scvec.report.findings.causes import limits
from scvec.report.findings.measuring import COUNTS, DOUBLET, GENES, Measured, measured_in

NAMES = ("baron-3", "retina-ab", "retina-ba", "rpe-1", "rpe-2", "rpe-3")
FORMS = ("sums", "thinned sums")
SCORES = {
    DOUBLET: "doublet score",
    COUNTS: "counts (control)",
    GENES: "genes (control)",
    "novelty": "novelty (control)",
    "doubt": "1 - confidence (control)",
}
ERROR, NEW, N_NEW = 0.05, "left out", 2
"""The accepted error; and how many labels of a query, the largest, are left out of its reference in turn."""


def main() -> None:
    parser = make_parser("doublets", __doc__)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--jobs", type=int, default=2, help="queries that are measured at a time")
    args = parser.parse_args()
    with ProcessPoolExecutor(args.jobs) as pool:
        rows = [row for own in pool.map(partial(of_task, args.seeds), NAMES) for row in own]
    save("doublets", "python -m benchmarks.doublets", {"rows": rows}, text(rows, args.seeds))


def of_task(seeds: int, name: str) -> list[dict[str, Any]]:
    """Return the rows of one query."""
    task = next(task for task in tasks() if task.name == name)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for row in measured(task, Path(folder), seeds):
            rows.append(row)
            print(row, flush=True)
    return rows


def measured(task: Task, folder: Path, seeds: int) -> Iterator[dict[str, Any]]:
    """Yield what each score says of a task's planted doublets, and of types that the reference lacks."""
    query, atlas = task.query.read(), _built(folder / task.name, task.reference.read())
    for seed in range(seeds):
        for form in FORMS:
            cells = planted(query, form, seed)
            yield {"task": task.name, "form": form, "seed": seed, **_scored(cells, atlas)}
    yield {"task": task.name, "form": NEW, "labels": list(_left_out(folder, task, query))}


def _built(folder: Path, reference: ad.AnnData) -> Atlas:
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


def _measures(calls: sv.Annotation, doubted: Bools) -> Measured:
    with calls.query.opened() as opened:
        found = measured_in(opened, calls, doubted, 0, silent)
    if found is None:
        raise RuntimeError("the atlas keeps no cells")
    return found


def _scored(cells: ad.AnnData, atlas: Atlas) -> dict[str, Any]:
    """Return the AUROC of each score; of single cells and doublets, which are doubtful, and which of these marked."""
    from sklearn.metrics import roc_auc_score

    calls, is_planted = sv.annotate(cells, atlas), cells.obs["planted"].to_numpy()
    found = _measures(calls, np.ones(len(calls), bool)).query
    values: dict[str, Any] = {name: found.values[name] for name in (DOUBLET, COUNTS, GENES)}
    values |= {"novelty": calls.novelty[found.cells], "doubt": 1 - calls.confidence[found.cells]}
    truth = is_planted[found.cells]
    aurocs = {name: float(roc_auc_score(truth, np.nan_to_num(one))) for name, one in values.items()}
    doubted, marked = _marked(calls, atlas)
    made: dict[str, Any] = {"auroc": aurocs}
    for name, own in (("single", ~is_planted), ("planted", is_planted)):
        made[name] = {"doubtful": float(doubted[own].mean()), "marked": float(marked[own & doubted].mean())}
    return made


def _marked(calls: sv.Annotation, atlas: Atlas) -> tuple[Bools, Bools]:
    """Return which calls are doubtful, and which of these the report counts as possible doublets."""
    doubted = np.asarray(doubts(calls, atlas, ERROR).group != "")
    found, marked = _measures(calls, doubted), np.zeros(len(calls), bool)
    query, known = found.query, found.reference
    for label in found.names.tolist():
        own, beside = (query.labels == label), ~doubted[query.cells]
        scores = query.values[DOUBLET]
        _, limit = limits(scores[own & beside], known.values[DOUBLET][known.labels == label])
        marked[query.cells[own & ~beside & (scores > limit)]] = True
    return doubted, marked


def _left_out(folder: Path, task: Task, query: ad.AnnData) -> Iterator[dict[str, Any]]:
    """Yield labels that the reference is made to lack, and the shares of their cells that are doubtful and marked."""
    reference = task.reference.read()
    names, sizes = np.unique(query.obs["label"].to_numpy(str), return_counts=True)
    for label in names[np.argsort(-sizes, kind="stable")][:N_NEW]:
        rest = reference[(reference.obs["label"] != label).to_numpy()].copy()
        atlas, own = _built(folder / f"{task.name}-{label}", rest), (query.obs["label"] == label).to_numpy()
        doubted, marked = _marked(sv.annotate(query, atlas), atlas)
        yield {
            "label": str(label),
            "doubtful": float(doubted[own].mean()),
            "marked": float(marked[own & doubted].mean()),
        }


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
    return "\n\n".join([*parts, _causes(rows)])


def _causes(rows: list[dict[str, Any]]) -> str:
    """Return what the report says of doubtful cells."""
    table = []
    for name in NAMES:
        own = [one for one in rows if one["task"] == name]
        if own:
            sums, thinned = ([one for one in own if one["form"] == form] for form in FORMS)
            groups = [("single cells", [one["single"] for one in sums]), (FORMS[0], [one["planted"] for one in sums])]
            groups += [(FORMS[1], [one["planted"] for one in thinned])]
            groups += [
                (f"{one['label']}, left out", [one]) for each in own if each["form"] == NEW for one in each["labels"]
            ]
            for what, found in groups:
                marked = [one["marked"] for one in found if np.isfinite(one["marked"])]
                table.append([name, what, mean(one["doubtful"] for one in found), mean(marked) if marked else "none"])
    header = ("query", "cells", "share that is doubtful", "of these, possible doublets")
    said = (
        f"What the report says of cells that are doubtful at an error of {ERROR:g}: how many it counts as possible "
        "doublets. Cells of a label that the reference lacks are in between known labels, too, so that they can be "
        "counted: the report says so of novel cells."
    )
    return f"## Among doubtful cells\n\n{said}\n\n{markdown(header, table)}"


if __name__ == "__main__":
    main()
