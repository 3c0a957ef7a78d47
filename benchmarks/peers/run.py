"""Other tools on the tasks of a suite, in the tables of `scvec bench`.

    python -m benchmarks.peers.run SUITE.toml --out OUT --store STORE --python .venv-peers/bin/python

Each tool runs in a process of its own, in the environment of requirements.txt. Runs done before are not repeated. Peers
run on one thread, and their seconds exclude reading files; scvec's include it.
"""

from __future__ import annotations

import json
import subprocess
import tempfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import polars as pl

from benchmarks.common import make_parser
from scvec import Store
from scvec.bench import Plan, Results, Suite, plan, records
from scvec.bench.records import Record
from scvec.bench.tasks import BATCH, LABEL, Prepared, digest
from scvec.core.files import sha256
from scvec.errors import InputError, ScvecError
from scvec.ingest import open_cells

ANNOTATE = Path(__file__).with_name("annotate.py")
UNSEEDED = ("singler", "logistic-regression")
PEERS = ("celltypist", "symphonypy", "scanpy-ingest", "random-forest", *UNSEEDED)
FAILED = 1


def runs(
    made: Plan, methods: Sequence[str], unseeded: Collection[str] = UNSEEDED
) -> Iterator[tuple[Prepared, str, int | None]]:
    """Yield task, tool and seed, each seed after the one before; the seed is None if it does not matter."""
    for at, seed in enumerate(made.suite.seeds):
        for task in made.tasks:
            for method in methods:
                if task.task.draws:
                    if task.seed == seed:
                        yield task, method, seed
                elif method in unseeded:
                    if at == 0:
                        yield task, method, None
                else:
                    yield task, method, seed


def peer(python: Path, task: Prepared, method: str, seed: int | None, folder: Path, script: Path = ANNOTATE) -> Record:
    """Return a tool's record; `failed` says why it could not do the task."""
    out = folder / "calls.csv"
    command: list[str | Path] = [python, script, "--method", method, "--label-key", LABEL, "--out", out]
    command += ["--reference", task.reference, "--query", task.renamed_query, "--seed", str(seed or 0)]
    command += ["--batch-key", BATCH] if task.task.batch_key else []
    command += ["--reference-scale", scale_of(task.reference), "--query-scale", scale_of(task.renamed_query)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        said = done.stderr.strip().splitlines() or [f"exit status {done.returncode}"]
        if done.returncode != FAILED:
            raise InputError(f"{method} did not run on {task.task.name} ({said[-1]})")
        return {"failed": said[-1].replace(f"{task.reference.parent}/", "")}
    about = json.loads(out.with_suffix(".json").read_text(encoding="utf-8"))
    # All columns as strings: a label may look like a number, or be called NA.
    calls = pl.read_csv(out, infer_schema=False)
    with open_cells(task.query) as file:
        if calls["obs_name"].to_list() != file.obs_names.tolist():
            raise ValueError(f"{out} has other cells than {task.query}")
    found = records.figures(
        task, np.array(calls["label"].to_list(), dtype=object), {"score": -calls["score"].cast(pl.Float64).to_numpy()}
    )
    seconds = {"build_s": about.pop("train_s"), "query_s": about.pop("annotate_s")}
    kept = ("note", "n_genes", "warnings", "peak_rss_mb", "threads", "versions")
    return {**found, **seconds, **{key: about[key] for key in kept}}


def scale_of(path: Path) -> str:
    """Return the scale of a file's values, as scvec sees it."""
    with open_cells(path) as file, file.matrix() as matrix:
        return matrix.values.scale


def measure(made: Plan, python: Path, methods: Sequence[str], further: Mapping[str, Path] | None = None) -> Results:
    """Run the tools on the tasks, and rewrite the tables.

    Parameters
    ----------
    made
        The tasks.
    python
        The interpreter of the peers' environment.
    methods
        Names of tools that `annotate.py` runs.
    further
        Scripts by name that take the same arguments as `annotate.py` and write the same files; their seed is 0, except
        where a task draws something.
    """
    further = dict(further or {})
    script_of = dict.fromkeys(methods, ANNOTATE) | further
    hashes = {path: (sha256(path), sha256(ANNOTATE.with_name("requirements.txt"))) for path in script_of.values()}
    done = records.read(made.out)
    with tempfile.TemporaryDirectory() as folder:
        for task, method, seed in runs(made, tuple(script_of), (*UNSEEDED, *further)):
            script = script_of[method]
            key = digest(task.digest, method, seed, hashes[script])
            if key in done:
                continue
            found = peer(python, task, method, seed, Path(folder), script)
            print(f"{task.task.name}, {method}, seed {seed}: {found.get('failed') or found['macro_f1']}", flush=True)
            records.write(made.out, records.record(key, task, f"{method} (peer)", "peer", seed, found))
    return Results.write(made)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = make_parser("peers.run", __doc__)
    parser.add_argument("suite", type=Path)
    parser.add_argument("--out", type=Path, required=True, help="the folder that scvec bench writes")
    parser.add_argument("--store", default="scvec-store", help="the store that scvec bench reads")
    parser.add_argument("--python", type=Path, required=True, help="the interpreter of the peers' environment")
    parser.add_argument("--methods", nargs="+", choices=PEERS, default=PEERS)
    args = parser.parse_args(arguments)
    if not args.python.is_file():
        parser.error(f"no interpreter at {args.python}: create the environment of benchmarks/peers/requirements.txt")
    try:
        made = plan(Suite.read(args.suite), args.out, Store(args.store))
        results = measure(made, args.python, args.methods)
    except ScvecError as error:
        parser.exit(2, f"{error}\n")
    print("\n".join(str(path) for path in results.files))


if __name__ == "__main__":
    main()
