"""Tools and recipes on cells of another donor, study, platform or species, and on few genes: the suite studies.toml.

    python -m benchmarks.studies [--store STORE] [--peers .venv-peers] [--further NAME=SCRIPT] [--only WORD ...]

Runs done before are not repeated; changed code is a new run. A further script takes the arguments of
`benchmarks/peers/annotate.py` and writes the same files. `--only`, `--own` and `--seeds` run a part; the tables are of
all records that are there. `--tables` runs nothing.
"""

from __future__ import annotations

import os
import shutil
import sys
from argparse import ArgumentTypeError
from dataclasses import replace
from pathlib import Path

import scvec as sv
from benchmarks import studies_table
from benchmarks.common import DATA, HERE, RESULTS, WORK, make_parser, save
from benchmarks.peers import run as peers
from benchmarks.profiles import write_profiles
from scvec.bench import Results, Suite, Task, plan, run

SUITE = HERE / "suites" / "studies.toml"
OUT = WORK / "studies"
PEERS = ("celltypist", "singler", "symphonypy", "random-forest")
"""Logistic regression is a control of every suite."""


def main() -> None:
    parser = make_parser("studies", __doc__)
    parser.add_argument("--store", default=str(OUT / "store"), help="no gene texts are needed")
    parser.add_argument("--out", type=Path, default=OUT, help="the tasks' files and the records")
    parser.add_argument("--peers", type=Path, metavar="FOLDER", help="the peers' environment")
    parser.add_argument("--tools", nargs="*", choices=PEERS, default=PEERS, help="the peers to run")
    parser.add_argument("--further", type=_named, nargs="*", default=[], metavar="NAME=SCRIPT", help="other tools")
    parser.add_argument("--only", nargs="+", metavar="WORD", default=[""], help="tasks whose names contain one")
    parser.add_argument("--own", nargs="*", metavar="WORD", default=[""], help="recipes and controls whose names do")
    parser.add_argument("--seeds", nargs="+", type=int, help="some of the suite's")
    parser.add_argument("--tables", action="store_true", help="of the records that are there")
    args = parser.parse_args()
    store, suite = sv.Store(args.store), read_suite(args.out)
    if not args.tables:
        part = replace(suite, tasks=_some(suite.tasks, args.only), seeds=tuple(args.seeds or suite.seeds))
        run(part, args.out, store, chosen=lambda one: _names(one.method.name, args.own))
        if args.peers:
            python = args.peers / "bin" / "python"
            peers.measure(plan(part, args.out, store), python, args.tools, dict(args.further))
    keep(suite, args.out, store)


def read_suite(out: Path) -> Suite:
    """Return the suite; what its variables name is made first."""
    write_profiles(out / "profiles")
    os.environ.setdefault("SCVEC_DATA", str(DATA))
    os.environ["SCVEC_PROFILES"] = str((out / "profiles").resolve())
    return Suite.read(SUITE)


def keep(suite: Suite, out: Path, store: sv.Store) -> None:
    """Write tables and plots into the results."""
    made = plan(suite, out, store)
    for path in Results.write(made).files:
        if path.suffix == ".png":
            shutil.copyfile(path, RESULTS / f"studies-{path.name}")
    summary = studies_table.summarise(made)
    studies_table.draw(summary, RESULTS / "studies.png")
    further = [name for name, kind in zip(summary.methods, summary.kinds, strict=True) if kind == "peer"]
    further = [one for one in further if one.removesuffix(" (peer)") not in peers.PEERS]
    note = f"\n\nBy scripts given as `--further`, which are not part of the project: {', '.join(further)}."
    text = studies_table.text(summary) + (note if further else "")
    save("studies", "python -m benchmarks.studies", summary.to_dict(), text, quiet=True)
    print(studies_table.overview(summary))


def _some(tasks: tuple[Task, ...], words: list[str]) -> tuple[Task, ...]:
    found = tuple(one for one in tasks if _names(one.name, words))
    return found or sys.exit(f"no task's name contains {' or '.join(words)}")


def _names(name: str, words: list[str]) -> bool:
    return any(word in name for word in words)


def _named(text: str) -> tuple[str, Path]:
    name, _, script = text.partition("=")
    if not name or not Path(script).is_file():
        raise ArgumentTypeError(f"{text}: expected NAME=SCRIPT, of a script that exists")
    return name, Path(script)


if __name__ == "__main__":
    main()
