"""Other tools beside scvec and its controls, on the tasks of benchmarks.first_path.

    python -m benchmarks.peers.run --python .venv-peers/bin/python

Each tool runs in a process of its own, by the interpreter of the environment that requirements.txt makes.
"""

from __future__ import annotations

import argparse
import json
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

import scvec as sv
from benchmarks.common import WORK, import_texts, markdown, save
from benchmarks.first_path import Task, measure, tasks
from scvec.evaluation import compare, given_labels

ANNOTATE = Path(__file__).with_name("annotate.py")
PEERS = ("celltypist", "singler", "symphonypy", "scanpy-ingest", "logistic-regression", "random-forest")
BATCH = "donor"
COUNTS = "counts"


def peer(python: Path, method: str, task: Task) -> dict[str, Any]:
    """Return the row of a tool; `failed` says why where it has no figures."""
    out = WORK / f"{task.reference.stem}_{method}.csv"
    command: list[str | Path] = [python, ANNOTATE, "--method", method, "--label-key", task.label_key, "--out", out]
    command += ["--reference", task.reference, "--query", task.query]
    with sv.ingest.open_h5ad(task.reference) as file:
        command += ["--batch-key", BATCH] if BATCH in file.obs_keys else []
        command += ["--layer", COUNTS] if COUNTS in file.layers else []
        known = sorted(set(file.labels(task.label_key, "--label-key").tolist()))
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    name = f"{method} (peer)"
    if done.returncode:
        said = done.stderr.strip().splitlines()
        return {"task": task.name, "method": name, "failed": said[-1] if said else f"exit status {done.returncode}"}
    about = json.loads(out.with_suffix(".json").read_text(encoding="utf-8"))
    # As strings, all of them: a label may look like a number, or be called NA.
    calls = pl.read_csv(out, infer_schema=False)
    with sv.ingest.open_h5ad(task.query) as file:
        if calls["obs_name"].to_list() != file.obs_names.tolist():
            raise ValueError(f"{out} has other cells than {task.query}")
    result = compare(np.array(calls["label"].to_list(), dtype=object), given_labels(task.query, task.label_key), known)
    figures = {"accuracy": round(result.accuracy, 4), "macro_f1": round(result.macro_f1, 4)}
    return {**about, "task": task.name, "method": name, **figures}


def cells(row: dict[str, Any]) -> tuple[object, ...]:
    if "failed" in row:
        return (row["method"], "failed", "", "", "")
    seconds = (row["train_s"], row["annotate_s"]) if "train_s" in row else (row["build_s"], row["query_s"])
    return (row["method"], row["accuracy"], row["macro_f1"], *(f"{one:.1f}" for one in seconds))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--python", type=Path, required=True, help="the interpreter of the peers' environment")
    parser.add_argument("--store", default=str(WORK / "store"), help="kept between runs: encoding takes minutes once")
    asked = parser.parse_args()
    store = sv.Store(asked.store)
    WORK.mkdir(exist_ok=True)
    texts = import_texts(store, "human")
    for encoder in ("minilm", "tfidf"):
        sv.embed.genes(store, texts, encoder=encoder)
    rows, tables = [], []
    for task in tasks():
        found = measure(store, task) + [peer(asked.python, method, task) for method in PEERS]
        header = ("method", "accuracy", "macro-F1", "train s", "annotate s")
        tables.append(f"## {task.name}\n\n" + markdown(header, [cells(row) for row in found]))
        rows += found
    said = dict.fromkeys(f"{row['method']}: {row[key]}." for row in rows for key in ("failed", "note") if row.get(key))
    head = (
        "# Other tools beside scvec\n\nOne run each, macro-F1 over the query's classes. Peers run on one thread, in "
        "their own environment, and their seconds are without reading files; scvec's are with it."
    )
    save("peers", "python -m benchmarks.peers.run", {"rows": rows}, "\n\n".join([head, *tables, *said]))


if __name__ == "__main__":
    main()
