"""Records of runs: one JSON file per run, written completely or not at all."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from scvec._version import __version__
from scvec.bench.methods import Kind
from scvec.bench.suite import slug
from scvec.bench.tasks import Prepared
from scvec.core.files import placing
from scvec.core.limits import bounded_json, read_file
from scvec.core.types import Strings
from scvec.errors import InputError
from scvec.evaluation.result import compare

Record: TypeAlias = dict[str, Any]

FAILURES = (InputError, ValueError, RuntimeError)
"""What a method may raise on a task that it cannot handle."""


def figures(task: Prepared, called: Strings, unsure: Mapping[str, NDArray[np.floating[Any]]]) -> Record:
    """Return how calls, which are labels of the reference, compare with the author labels.

    Parameters
    ----------
    task
        The task.
    called
        (n,) label called for each of the query's cells.
    unsure
        (n,) uncertainties by name, larger where a method is less sure: they are judged by how well they detect cells
        of types that the reference lacks.

    Returns
    -------
        ``accuracy`` and ``macro_f1`` over the query's classes; ``accuracy_known`` and ``macro_f1_known`` on the cells
        whose class the reference has; ``auroc_<name>`` of detecting the other cells, if there are any. ``called``, for
        each cell the position in ``labels``, for intervals over cells.
    """
    from sklearn.metrics import roc_auc_score

    truth, known, labels = task.truth, task.known, task.translated(called)
    seen = np.isin(truth.astype(str), known)
    whole = compare(labels, truth, known)
    inside = compare(labels[seen], truth[seen], known)
    found: Record = {"n_cells": whole.n_cells, "accuracy": whole.accuracy, "macro_f1": whole.macro_f1}
    found |= {"accuracy_known": inside.accuracy, "macro_f1_known": inside.macro_f1}
    if not seen.all():
        found["not_in_reference"] = list(whole.not_in_atlas)
        found |= {f"auroc_{name}": float(roc_auc_score(~seen, values)) for name, values in unsure.items()}
    names, codes = np.unique(labels.astype(str), return_inverse=True)
    rounded = {key: round(value, 5) if isinstance(value, float) else value for key, value in found.items()}
    return {**rounded, "labels": names.tolist(), "called": codes.tolist()}


def failure(error: Exception) -> Record:
    """Return the record of why a run failed."""
    return {"failed": " ".join(str(error).split()) or type(error).__name__}


def record(digest: str, task: Prepared, method: str, kind: Kind, seed: int | None, found: Record) -> Record:
    """Return the record of a run."""
    about = {"digest": digest, "task": task.task.name, "task_digest": task.digest}
    return {**about, "method": method, "kind": kind, "seed": seed, "scvec": __version__, **found}


def write(out: Path, made: Record) -> Path:
    """Write a record into the folder of a suite, and return its path."""
    seed = "" if made["seed"] is None else f"-seed{made['seed']}"
    name = f"{slug(made['task'])}-{slug(made['method'])}{seed}-{made['digest'][:12]}.json"
    with placing(out / "runs" / name) as part:
        part.write_text(json.dumps(made) + "\n", encoding="utf-8")
    return out / "runs" / name


def read(out: Path) -> dict[str, Record]:
    """Return all records by digest, those written last at the end; files that are not records are skipped."""
    found: dict[str, Record] = {}
    for path in sorted((out / "runs").glob("*.json"), key=lambda one: (one.stat().st_mtime_ns, one.name)):
        try:
            made = bounded_json(read_file(path))
            found[made["digest"]] = made
        except (ValueError, KeyError, TypeError):
            continue
    return found
