"""How long other tools take to label a large query with a large reference; this module does not import scvec.

    python -m benchmarks.peers.scale --method celltypist --reference REF.h5ad --query QUERY.h5ad \
        --label-key cell_type --batch-key donor --out celltypist.json [--beside "scvec query ..."]

Only the query is compared: from its file to its labels, with imports done and the reference learned. Learning from the
reference is timed separately. The command of ``--beside`` runs after each turn of the tool and is timed as a whole,
including its start and imports, so that both are measured in the same minutes.

CellTypist is trained on the first cells only, in mini-batches: it scales all genes as a dense matrix, and the time that
a model takes to label does not depend on the number of cells it learned from. It selects no genes.
"""

from __future__ import annotations

import argparse
import json
import shlex
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import anndata as ad
import numpy as np
import pandas as pd
import scipy.sparse as sp

from benchmarks.peers.annotate import BATCH, LABEL, METHODS, TARGET_SUM, Calls, Task, load, peak_rss_mb

CELLTYPIST_CELLS, ROUNDS = 20_000, 3


def read_log1p(path: Path, genes: list[str] | None = None) -> ad.AnnData:
    """Read counts of these genes, and turn them into log1p values in place."""
    cells = ad.read_h5ad(path)
    if genes is not None and cells.var_names.tolist() != genes:
        cells = cells[:, genes].copy()
    x = sp.csr_matrix(cells.X, dtype=np.float32)
    totals = np.asarray(x.sum(axis=1, dtype=np.float64)).ravel()
    x.data *= np.repeat(TARGET_SUM / np.where(totals > 0, totals, 1), np.diff(x.indptr)).astype(np.float32)
    np.log1p(x.data, out=x.data)
    made = ad.AnnData(x, obs=cells.obs, var=pd.DataFrame(index=cells.var_names))
    made.uns["log1p"] = {"base": None}
    return made


def prepare(path: Path, label_key: str, batch_key: str | None) -> ad.AnnData:
    """Return the reference, with the columns that the tools expect."""
    cells = read_log1p(path)
    cells.obs = pd.DataFrame(
        {
            LABEL: pd.Categorical(cells.obs[label_key].astype(str)),
            BATCH: pd.Categorical(["all"] * cells.n_obs if batch_key is None else cells.obs[batch_key].astype(str)),
        },
        index=cells.obs_names,
    )
    return cells


def read_query(path: Path, genes: list[str], batch_key: str | None) -> ad.AnnData:
    """Return the query, with its batches."""
    cells = read_log1p(path, genes)
    batches = ["all"] * cells.n_obs if batch_key is None else cells.obs[batch_key].astype(str).tolist()
    cells.obs = pd.DataFrame({BATCH: pd.Categorical(batches)}, index=cells.obs_names)
    return cells


def celltypist(task: Task) -> Callable[[], Calls]:
    """Stochastic gradient descent in mini-batches, for references of many cells; defaults otherwise."""
    import celltypist as tool

    few = task.reference[:CELLTYPIST_CELLS]
    how = {"use_SGD": True, "mini_batch": True, "random_state": task.seed}
    model = tool.train(few.copy(), labels=LABEL, check_expression=False, **how)

    def annotate() -> Calls:
        found = tool.annotate(task.query, model=model)
        return Calls(found.predicted_labels["predicted_labels"].tolist(), [])

    return annotate


def measure(args: argparse.Namespace) -> dict[str, Any]:
    """Return the seconds of the tool and of the command beside it, one value per turn."""
    load(args.method)
    reference = prepare(args.reference, args.label_key, args.batch_key)
    genes = reference.var_names.tolist()
    task = Task(reference, read_query(args.query, genes, args.batch_key), 0, batches=args.batch_key is not None)
    start = time.perf_counter()
    annotate = celltypist(task) if args.method == "celltypist" else METHODS[args.method].train(task)
    found: dict[str, Any] = {"method": args.method, "n_reference": reference.n_obs, "n_query": task.query.n_obs}
    found |= {"train_s": time.perf_counter() - start, "read_s": [], "annotate_s": [], "beside_s": []}
    for turn in range(args.rounds):
        start = time.perf_counter()
        read_query(args.query, genes, args.batch_key)
        read = time.perf_counter()
        calls = annotate()
        found["read_s"].append(read - start)
        found["annotate_s"].append(time.perf_counter() - read)
        if args.beside:
            start = time.perf_counter()
            subprocess.run(shlex.split(args.beside), check=True, stdout=subprocess.DEVNULL)
            found["beside_s"].append(time.perf_counter() - start)
        print(turn, {key: round(found[key][-1], 2) for key in ("read_s", "annotate_s", "beside_s") if found[key]})
    right = pd.Series(calls.labels).astype(str).to_numpy() == _labels(args.query, args.label_key)
    found |= {"accuracy": float(right.mean()), "peak_mb": peak_rss_mb()}
    found["query_s"] = median(one + other for one, other in zip(found["read_s"], found["annotate_s"], strict=True))
    return found


def _labels(path: Path, key: str) -> Any:
    return ad.read_h5ad(path, backed="r").obs[key].astype(str).to_numpy()


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.peers.scale",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--method", required=True, choices=METHODS)
    parser.add_argument("--reference", required=True, type=Path)
    parser.add_argument("--query", required=True, type=Path)
    parser.add_argument("--label-key", required=True)
    parser.add_argument("--batch-key")
    parser.add_argument("--beside", help="a command line to time in turn")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--out", required=True, type=Path)
    args = parser.parse_args()
    args.out.write_text(json.dumps(measure(args), indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
