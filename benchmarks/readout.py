"""A readout of a frozen language model against k-NN, logistic regression and its own ablations; and what it costs.

    python -m benchmarks.readout --store STORE [--model FOLDER]

Without --model the model is SmolLM2-135M, from its package. Runs done before are not repeated; all take an hour on two
cores. Memory is the peak of a process that trains one readout, compared with one without a language model.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import scvec as sv
from benchmarks import smollm2
from benchmarks.common import HERE, RESULTS, WORK, import_texts, make_parser, markdown, save
from scvec.bench import Suite, plan, run
from scvec.bench.tasks import LABEL
from scvec.evaluation import plots
from scvec.interpret import train
from scvec.interpret.readout.spec import Ablation

SUITE = HERE / "suites" / "readout.toml"
OUT = WORK / "readout"
ABLATIONS: tuple[Ablation, ...] = ("none", "no-llm")


def measured(store: str, reference: Path, ablation: Ablation, epochs: int) -> dict[str, Any]:
    """Return the peak memory and the history of a training in a process of its own."""
    asked = ["--store", store, "--one", str(reference), "--ablation", ablation, "--epochs", str(epochs)]
    done = subprocess.run([sys.executable, "-m", "benchmarks.readout", *asked], check=True, capture_output=True)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def one(store: str, reference: Path, ablation: Ablation, epochs: int) -> None:
    """Train one readout and print what it took."""
    spec = replace(Suite.read(SUITE).readouts[0], ablation=ablation, epochs=epochs)
    readout = train(sv.Store(store), None, reference, label_key=LABEL, spec=spec)
    # The peak of this program: getrusage starts from the size of the parent process.
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    peak = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM:"))
    print(json.dumps({"peak_mib": round(peak / 1024), "history": list(readout.history)}))


def draw(store: str, reference: Path, path: Path) -> dict[str, Any]:
    """Draw the learning curve of a readout; return memory and history with and without a language model."""
    epochs = Suite.read(SUITE).readouts[0].epochs
    found: dict[str, Any] = {ablation: measured(store, reference, ablation, epochs) for ablation in ABLATIONS}
    plots.learning(found["none"]["history"], path, "A readout of SmolLM2-135M, pancreas")
    return found


def costs(rows: list[dict[str, Any]], found: dict[str, Any]) -> str:
    """Return a table of seconds, and a line about memory."""
    tasks = list(dict.fromkeys(row["task"] for row in rows))
    methods = list(dict.fromkeys(row["method"] for row in rows))
    by_place = {(row["method"], row["task"]): row for row in rows}
    table = []
    for method in methods:
        cells = []
        for task in tasks:
            row = by_place.get((method, task), {})
            seconds = [f"{row[key][0]:.1f}" for key in ("build_s", "query_s") if key in row]
            cells.append(" / ".join(seconds))
        table.append((method, *cells))
    peaks = " and ".join(f"{found[key]['peak_mib']:,} MiB ({key})" for key in ABLATIONS)
    title = "Seconds of training or building / of the query, medians:"
    return f"{title}\n\n{markdown(('method', *tasks), table)}\n\nPeak memory of a training: {peaks}."


def main() -> None:
    parser = make_parser("readout", __doc__)
    parser.add_argument("--store", default=str(WORK / "store"), help="with gene texts and vectors of minilm")
    parser.add_argument("--model", help="a folder, a GGUF file or a name on the hub")
    parser.add_argument("--one", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--ablation", choices=ABLATIONS, default="none", help=argparse.SUPPRESS)
    parser.add_argument("--epochs", type=int, help=argparse.SUPPRESS)
    args = parser.parse_args()
    os.environ["SCVEC_LLM"] = args.model or os.environ.get("SCVEC_LLM") or str(smollm2.folder())
    if args.one:
        one(args.store, args.one, args.ablation, args.epochs)
        return
    store, suite = sv.Store(args.store), Suite.read(SUITE)
    sv.embed.genes(store, import_texts(store, "human"), encoder="minilm")
    results = run(suite, OUT, store)
    first = plan(suite, OUT, store).tasks[0]
    found = draw(args.store, first.reference, OUT / "learning.png")
    table = next(path for path in results.files if path.suffix == ".md").read_text(encoding="utf-8").strip()
    values = {**results.to_dict(), "files": [], "trainings": found}
    save("readout", "python -m benchmarks.readout", values, f"{table}\n\n{costs(list(results.rows), found)}")
    for picture in (path for path in (*results.files, OUT / "learning.png") if path.suffix == ".png"):
        shutil.copyfile(picture, RESULTS / f"readout-{picture.name}")


if __name__ == "__main__":
    main()
