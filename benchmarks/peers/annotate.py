"""Label a query with another tool, in that tool's environment: nothing of scvec is imported here.

    python benchmarks/peers/annotate.py --method celltypist --reference reference.h5ad --query query.h5ad \
        --label-key label [--batch-key batch] [--layer counts] [--seed 0] --out calls.csv

Both files hold counts, in X or in a layer, or values of the scale that is named. They are scaled to 10,000 a cell
over all genes of each file, log1p is taken, and last they are cut to the genes whose names both have. Nothing but the
batch is read of the query's `obs`.

calls.csv has a row for each cell of the query: obs_name, label, score. A score is the tool's own and larger where
it is surer; scores of two tools are on two scales. calls.json beside it has versions, seconds and memory.

Exit status 1: the tool failed on this task, and neither file is there. 2: nothing was tried, as something asked for
is not there. Either says why in one line.
"""

from __future__ import annotations

import argparse
import importlib
import json
import logging
import os
import platform
import resource
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

# One thread, unless another number is asked for: read when numpy, numba and OpenMP are loaded.
os.environ["OMP_NUM_THREADS"] = os.environ.get("OMP_NUM_THREADS", "1")
os.environ["NUMBA_NUM_THREADS"] = os.environ.get("NUMBA_NUM_THREADS", os.environ["OMP_NUM_THREADS"])

import anndata as ad
import numpy as np
import pandas as pd
import scipy.sparse as sp

TARGET_SUM = 1e4
LABEL, BATCH = "label", "batch"
N_VARIABLE = 2000
COMMON = ("anndata", "numpy", "scipy", "scikit-learn")
LINEAR: dict[str, Callable[[Any], Any]] = {
    "counts": lambda values: values,
    "linear": lambda values: values,
    "log1p": np.expm1,
    "log2": lambda values: np.exp2(values) - 1,
}
"""How values of a scale become linear."""


class RequestError(Exception):
    """Something asked for is not there."""


@dataclass(frozen=True)
class Task:
    """Reference and query, log1p, of the same genes in the same order.

    `reference.obs` has `LABEL`; both have `BATCH`, which is one value for all cells where no batches are known.
    """

    reference: ad.AnnData
    query: ad.AnnData
    seed: int
    batches: bool


@dataclass(frozen=True)
class Calls:
    """(n,) labels and scores of the query's cells, and what a reader of the figures has to know."""

    labels: Sequence[str]
    scores: Sequence[float]
    note: str = ""


@dataclass(frozen=True)
class Method:
    """A tool: `train` learns from the reference, and what it returns labels the query."""

    train: Callable[[Task], Callable[[], Calls]]
    modules: tuple[str, ...]
    packages: tuple[str, ...] = ()


def celltypist(task: Task) -> Callable[[], Calls]:
    """One-vs-rest logistic regression on scaled genes; the score is the largest of its probabilities.

    Genes are selected, 300 a type, as CellTypist's manual offers where most genes are noise: on references of a
    thousand cells it is as accurate as without, better on rare types, and trains in half the time.
    """
    import celltypist as tool

    note = ""
    selects = task.reference.n_vars > 300
    if not selects:
        note = "no feature selection: it needs more than 300 genes"
    # Its check wants totals of 10,000, which are gone since the genes were cut.
    model = tool.train(
        task.reference,
        labels=LABEL,
        check_expression=False,
        feature_selection=selects,
        n_jobs=1,
        random_state=task.seed,
    )

    def annotate() -> Calls:
        found = tool.annotate(task.query, model=model)
        labels = found.predicted_labels["predicted_labels"]
        return Calls(labels.tolist(), found.probability_matrix.max(axis=1).tolist(), note)

    return annotate


def symphonypy(task: Task) -> Callable[[], Calls]:
    """Harmony on the reference, the query mapped into it, 5 nearest neighbours: the steps of its manual.

    The score is minus its mapping metric, the distance of a cell to the reference's clusters, which the manual gives
    for cells that the reference has none of. The share of the neighbours tells those hardly.

    Harmony always runs, over one batch if no batches are known, which moves no cell. Left out, as the manual allows,
    symphonypy 0.2.4 stores the clusters' centroids where its correction divides by their sizes and so expects sums,
    and the query lands far from the reference.
    """
    import scanpy as sc
    import symphonypy as tool

    # Harmony's clusters start from the global generator.
    np.random.seed(task.seed)  # noqa: NPY002
    reference = task.reference.copy()
    batch = BATCH if task.batches else None
    sc.pp.highly_variable_genes(reference, n_top_genes=N_VARIABLE, batch_key=batch)
    reference = reference[:, reference.var["highly_variable"]].copy()
    sc.pp.scale(reference, max_value=10)
    sc.pp.pca(reference, n_comps=30, zero_center=False, random_state=task.seed)
    tool.pp.harmony_integrate(reference, key=BATCH, random_seed=task.seed)

    def annotate() -> Calls:
        query = task.query.copy()
        tool.tl.map_embedding(query, reference, key=BATCH)
        tool.tl.per_cell_confidence(query, reference)
        tool.tl.transfer_labels_kNN(query, reference, LABEL)
        note = "" if task.batches else "no batches known: integrated as one batch, as the path without stores no sums"
        return Calls(query.obs[LABEL].tolist(), (-query.obs["symphony_per_cell_dist"]).tolist(), note)

    return annotate


def singler(task: Task) -> Callable[[], Calls]:
    """Rank correlation with the reference's cells, fine-tuned; the score is the lead over the second label.

    Markers as by default. Those for single cells, `marker_method="auc"`, need one more package and did no better.
    """
    import singler as tool

    genes = task.reference.var_names.tolist()
    labels = task.reference.obs[LABEL].tolist()
    if len(set(labels)) < 2:
        # It would end the process, and nothing would be said.
        raise ValueError("the reference has one label only")
    # It wants genes in rows.
    built = tool.train_single(sp.csr_matrix(task.reference.X.T), labels, genes, test_features=genes)

    def annotate() -> Calls:
        found = tool.classify_single(sp.csr_matrix(task.query.X.T), built)
        return Calls(found["best"], found["delta"].tolist())

    return annotate


def scanpy_ingest(task: Task) -> Callable[[], Calls]:
    """The query in the reference's principal components, 15 nearest neighbours; the score is their share.

    The genes are the 2,000 most variable, as in the reference of its tutorial: with all of them it is worse.
    These are the steps of `scanpy.tl.ingest`, which keeps the neighbours to itself.
    """
    import scanpy as sc
    from scanpy.tools._ingest import Ingest

    reference = task.reference.copy()
    sc.pp.highly_variable_genes(reference, n_top_genes=N_VARIABLE)
    variable = reference.var["highly_variable"].to_numpy()
    reference = reference[:, variable].copy()
    sc.pp.pca(reference, random_state=task.seed)
    sc.pp.neighbors(reference, random_state=task.seed)
    ingest = Ingest(reference)

    def annotate() -> Calls:
        ingest.fit(task.query[:, variable].copy())
        ingest.neighbors(random_state=task.seed)
        ingest.map_labels(LABEL, "knn")
        labels = ingest._obs[LABEL].to_numpy(str)
        votes = reference.obs[LABEL].to_numpy(str)[ingest._indices]
        return Calls(labels.tolist(), (votes == labels[:, None]).mean(axis=1).tolist())

    return annotate


def logistic_regression(task: Task) -> Callable[[], Calls]:
    """Multinomial logistic regression, settings of `scvec.evaluation.baselines`: the two check each other."""
    from sklearn.linear_model import LogisticRegression

    return classifier(LogisticRegression(max_iter=500, random_state=task.seed), task)


def random_forest(task: Task) -> Callable[[], Calls]:
    from sklearn.ensemble import RandomForestClassifier

    return classifier(RandomForestClassifier(n_estimators=500, random_state=task.seed), task)


def classifier(model: Any, task: Task) -> Callable[[], Calls]:
    """Fit a classifier of scikit-learn; the score is the largest probability."""
    model.fit(task.reference.X, task.reference.obs[LABEL].to_numpy(str))

    def annotate() -> Calls:
        shares = model.predict_proba(task.query.X)
        return Calls(model.classes_[shares.argmax(axis=1)].tolist(), shares.max(axis=1).tolist())

    return annotate


METHODS: dict[str, Method] = {
    "celltypist": Method(celltypist, ("celltypist",), ("celltypist",)),
    "symphonypy": Method(symphonypy, ("scanpy", "symphonypy"), ("symphonypy", "harmonypy", "scanpy")),
    "singler": Method(singler, ("singler",), ("singler",)),
    "scanpy-ingest": Method(scanpy_ingest, ("scanpy", "umap", "pynndescent"), ("scanpy", "pynndescent", "umap-learn")),
    "logistic-regression": Method(logistic_regression, ("sklearn.linear_model",)),
    "random-forest": Method(random_forest, ("sklearn.ensemble",)),
}


def read_task(asked: argparse.Namespace) -> Task:
    """Read both files, and give them the same genes."""
    reference = read_cells(asked.reference, asked.layer, asked.reference_scale)
    query = read_cells(asked.query, asked.layer, asked.query_scale)
    shared, left, right = np.intersect1d(
        reference.var_names.to_numpy(str), query.var_names.to_numpy(str), return_indices=True
    )
    if not len(shared):
        raise RequestError(f"{asked.reference} and {asked.query} have no gene name in common")
    known: dict[str, Any] = {LABEL: column(reference, asked.label_key, asked.reference), BATCH: "all"}
    asking: dict[str, Any] = {BATCH: "all"}
    if asked.batch_key is not None:
        known[BATCH] = column(reference, asked.batch_key, asked.reference)
        if asked.batch_key in query.obs:
            asking[BATCH] = column(query, asked.batch_key, asked.query)
    return Task(
        cut(reference, left, shared, known),
        cut(query, right, shared, asking),
        asked.seed,
        batches=asked.batch_key is not None,
    )


def read_cells(path: Path, layer: str | None, scale: str = "counts") -> ad.AnnData:
    """Read a file of counts, or of another scale, and make log1p of them."""
    try:
        cells = ad.read_h5ad(path)
    except (OSError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise RequestError(f"{path} cannot be read as h5ad: {first_line(error)}") from error
    if layer is not None and layer not in cells.layers:
        raise RequestError(f"{path} has no layer {layer!r}; it has {', '.join(cells.layers) or 'none'}")
    values = cells.X if layer is None else cells.layers[layer]
    if values is None:
        raise RequestError(f"{path} has no X; name a matrix of counts with --layer")
    counts = sp.csr_matrix(values, dtype=np.float64)
    good = np.isfinite(counts.data) & (counts.data >= 0)
    if scale == "counts":
        good &= counts.data == np.floor(counts.data)
    if not good.all():
        raise RequestError(f"{path}: {'X' if layer is None else layer} holds other numbers than {scale}; name --layer")
    counts.data = LINEAR[scale](counts.data)
    totals = counts.sum(axis=1).A1
    counts.data *= np.repeat(TARGET_SUM / np.where(totals > 0, totals, 1), np.diff(counts.indptr))
    return ad.AnnData(counts.log1p().astype(np.float32), obs=cells.obs, var=pd.DataFrame(index=cells.var_names))


def column(cells: ad.AnnData, key: str, path: Path) -> pd.Categorical:
    """Return an annotation as strings."""
    if key not in cells.obs:
        raise RequestError(f"{path} has no obs column {key!r}; it has {', '.join(cells.obs) or 'none'}")
    values = cells.obs[key]
    absent = values.isna() | (values.astype(str).str.strip() == "")
    if absent.any():
        raise RequestError(f"{path}: obs[{key!r}] lacks {int(absent.sum())} of {len(values)} values")
    return pd.Categorical(values.astype(str))


def cut(cells: ad.AnnData, columns: Any, genes: Any, obs: dict[str, Any]) -> ad.AnnData:
    """Return those columns, and of `obs` what is given: no tool can see the query's labels."""
    values = sp.csr_matrix(cells.X[:, columns])
    result = ad.AnnData(values, obs=pd.DataFrame(obs, index=cells.obs_names), var=pd.DataFrame(index=genes))
    # What scanpy's own log1p leaves behind, for tools that look whether it was taken.
    result.uns["log1p"] = {"base": None}
    return result


def run(method: Method, task: Task) -> tuple[Calls, dict[str, Any]]:
    """Return calls and what they cost; the seconds are without imports and without reading files."""
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("default")
        start = time.perf_counter()
        annotate = method.train(task)
        trained = time.perf_counter()
        calls = annotate()
        done = time.perf_counter()
    if not len(calls.labels) == len(calls.scores) == task.query.n_obs:
        raise ValueError(f"{len(calls.labels)} labels and {len(calls.scores)} scores for {task.query.n_obs} cells")
    if not np.isfinite(calls.scores).all():
        raise ValueError("a score is no number")
    # Deprecations are the tools' own affair; that a model did not converge is ours.
    told = {f"{one.category.__name__}: {first_line(one.message)}" for one in seen if warns(one.category)}
    cost = {"train_s": round(trained - start, 3), "annotate_s": round(done - trained, 3), "warnings": sorted(told)}
    return calls, cost


def warns(category: type[Warning]) -> bool:
    return issubclass(category, UserWarning | RuntimeWarning)


def first_line(error: object) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def peak_rss_mb() -> float:
    """Return the most memory held so far, in MB of 2**20 bytes.

    Linux hands a child the `ru_maxrss` of whoever started it, so that a large parent would be measured.
    """
    try:
        lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
        return round(next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024, 1)
    except (OSError, StopIteration):
        unit = 2**20 if sys.platform == "darwin" else 2**10
        return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit, 1)


def load(name: str) -> Method:
    """Import a method's modules, so that their import is not timed."""
    method = METHODS[name]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for module in method.modules:
            try:
                importlib.import_module(module)
            except ImportError as error:
                raise RequestError(f"{name} needs benchmarks/peers/requirements.txt installed: {error}") from error
    return method


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--method", required=True, choices=METHODS)
    parser.add_argument("--reference", required=True, type=Path)
    parser.add_argument("--query", required=True, type=Path)
    parser.add_argument("--label-key", required=True, help="obs column of the reference")
    parser.add_argument("--batch-key", help="obs column of the reference, and of the query if it is there")
    parser.add_argument("--layer", help="where the counts are, if not in X")
    for which in ("reference", "query"):
        parser.add_argument(f"--{which}-scale", choices=LINEAR, default="counts", help="of its values")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", required=True, type=Path, help="a CSV; the JSON is written beside it")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    asked = parse(arguments)
    report = asked.out.with_suffix(".json")
    logging.disable(logging.INFO)
    with tempfile.TemporaryDirectory() as scratch:
        # On import, celltypist makes a folder for models to download, in the home folder if nobody says where.
        os.environ.setdefault("CELLTYPIST_FOLDER", scratch)
        try:
            if asked.out.suffix != ".csv" or not asked.out.parent.is_dir():
                raise RequestError(f"--out {asked.out} is no .csv in a folder that is there")
            # Calls of an earlier run are not to be taken for those of this one.
            for path in (asked.out, report):
                path.unlink(missing_ok=True)
            method, task = load(asked.method), read_task(asked)
        except RequestError as error:
            print(error, file=sys.stderr)
            return 2
        try:
            calls, cost = run(method, task)
        except Exception as error:  # noqa: BLE001 - a tool may raise anything
            print(f"{asked.method} failed on {asked.reference}: {first_line(error)}", file=sys.stderr)
            return 1
    packages = sorted({*method.packages, *COMMON})
    about = {
        "method": asked.method,
        "note": calls.note,
        "seed": asked.seed,
        "n_reference": task.reference.n_obs,
        "n_query": task.query.n_obs,
        "n_genes": task.reference.n_vars,
        **cost,
        "peak_rss_mb": peak_rss_mb(),
        "threads": os.environ["OMP_NUM_THREADS"],
        "versions": {"python": platform.python_version(), **{name: version(name) for name in packages}},
    }
    report.write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")
    table = pd.DataFrame({"obs_name": task.query.obs_names, "label": calls.labels, "score": calls.scores})
    table.to_csv(asked.out, index=False)
    return 0


if __name__ == "__main__":
    sys.exit(main())
