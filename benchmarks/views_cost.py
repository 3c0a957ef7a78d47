"""What further views cost: build, query and store of the recipe `refined` against the same with neighbours alone.

    python -m benchmarks.views_cost [--cells 20000 200000] [--before FOLDER]

References and the query of 20,000 cells are made by `benchmarks.scale` (16 MB a thousand cells, in the work folder).
Each build and each query is a process of its own, `scvec` from start to end; the ways take turns, in changing order,
and ratios are those within a turn. FOLDER is a checkout of an earlier version, to compare with. Turns
are kept in the work folder, so that a run that was stopped goes on.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median

from benchmarks.common import HERE, WORK, make_parser, markdown, save
from benchmarks.resample import RealCells, read
from benchmarks.scale import SOURCE, write
from scvec.bench.code import code_digest
from scvec.bench.tasks import digest
from scvec.core.jit import n_threads
from scvec.core.text import counted

OUT = WORK / "views_cost"
QUERY_CELLS = 20_000
ROUNDS, LARGE_ROUNDS, LARGE = 5, 2, 100_000
QUERIES = 2
"""Queries of each way in a turn."""
VIEWS, ALONE, BEFORE = "refined", "neighbours alone", "version before"
RECIPES = {VIEWS: "refined", ALONE: str(HERE / "suites" / "one-view.toml"), BEFORE: "refined"}
WANTED = {"build_s": 1.5, "build_cpu_s": 1.5, "query_s": 1.3, "query_cpu_s": 1.3, "store_bytes": 1.5}
SHOWN = {
    "build_s": "build, s",
    "build_cpu_s": "build, CPU s",
    "build_mb": "build, peak MB",
    "query_s": "query, s",
    "query_cpu_s": "query, CPU s",
    "query_mb": "query, peak MB",
    "off_s": "query without adapting, s",
    "store_bytes": "store, bytes",
}

FILE = "bytes of "

Turn = dict[str, dict[str, float]]


def main() -> None:
    parser = make_parser("views_cost", __doc__)
    parser.add_argument("--cells", type=int, nargs="+", default=[20_000], help="sizes of references")
    parser.add_argument("--before", type=Path, metavar="FOLDER", help="a checkout of an earlier version")
    parser.add_argument("--rounds", type=int, help=f"default: {ROUNDS}, {LARGE_ROUNDS} from {LARGE:,} cells on")
    args = parser.parse_args()
    OUT.mkdir(parents=True, exist_ok=True)
    found: dict[int, list[Turn]] = {}
    for n in args.cells:
        found[n] = turns = measured(n, args)
        print(n, {key: ratio(turns, key, ALONE) for key in WANTED}, flush=True)
    before = " --before FOLDER" if args.before else ""
    rounds = f" --rounds {args.rounds}" if args.rounds else ""
    command = f"python -m benchmarks.views_cost --cells {' '.join(map(str, args.cells))}{before}{rounds}"
    save("views_cost", command, {"turns": found}, text(found, ways(args), version_before(args)))


def ways(args: argparse.Namespace) -> list[str]:
    """Return what is compared."""
    return [VIEWS, ALONE, *([BEFORE] if args.before else [])]


def version_before(args: argparse.Namespace) -> str:
    """Return the version of the earlier checkout."""
    if args.before is None:
        return ""
    code = "from scvec import __version__; print(__version__)"
    # -P: from that checkout, and not from the folder in which this runs, which has a scvec of its own.
    return subprocess.run(
        [sys.executable, "-P", "-c", code], env=_environment(args.before), capture_output=True, text=True, check=True
    ).stdout.strip()


def measured(n: int, args: argparse.Namespace) -> list[Turn]:
    """Build and query by each way in turn; turns measured before, of the same code, count."""
    reference, query = _cells(n, 0), _cells(QUERY_CELLS, 1)
    names = ways(args)
    kept = OUT / f"turns-{n}-{digest(names, version_before(args), code_digest())[:12]}.json"
    turns: list[Turn] = json.loads(kept.read_text(encoding="utf-8")) if kept.exists() else []
    for turn in range(len(turns), args.rounds or (ROUNDS if n < LARGE else LARGE_ROUNDS)):
        made: Turn = {name: _built(name, n, reference, args.before) for name in _ordered(names, turn)}
        for name in _ordered(names, turn):
            made[name] |= _queried(name, n, query, args.before)
        turns.append(made)
        kept.write_text(json.dumps(turns), encoding="utf-8")
        print(n, turn, *(f"{name}: {made[name]}" for name in names), sep="\n  ", flush=True)
    return turns


def _ordered(names: Sequence[str], turn: int) -> list[str]:
    at = turn % len(names)
    return [*names[at:], *names[:at]]


def _cells(n: int, seed: int) -> Path:
    path = OUT / f"{n}-{seed}.h5ad"
    if not path.exists():
        source: RealCells = read(SOURCE, label_key="cell_type1", donor_key="donor")
        write(path, source, range(n), seed=seed)
    return path


def _store(name: str, n: int) -> Path:
    return OUT / f"store-{n}-{name.replace(' ', '-')}"


def _built(name: str, n: int, reference: Path, before: Path | None) -> dict[str, float]:
    store = _store(name, n)
    shutil.rmtree(store, ignore_errors=True)
    words = ["atlas", "build", "one", str(reference), "--label-key", "cell_type", "--batch-key", "donor"]
    took = _run([*words, "--recipe", RECIPES[name], "--store", str(store)], before if name == BEFORE else None)
    sizes = sizes_of(store)
    of_files = {FILE + kind: size for kind, size in sizes.items()}
    return {f"build_{key}": value for key, value in took.items()} | {"store_bytes": sum(sizes.values())} | of_files


def _queried(name: str, n: int, query: Path, before: Path | None) -> dict[str, float]:
    code = before if name == BEFORE else None
    words = ["query", str(query), "--atlas", "one", "--store", str(_store(name, n)), "--out", str(OUT / "out.parquet")]
    took = [_run(words, code) for _ in range(QUERIES)]
    found = {f"query_{key}": median(one[key] for one in took) for key in took[0]}
    if name == VIEWS:
        found["off_s"] = _run([*words, "--adapt", "off"], code)["s"]
    return found


def _environment(code: Path | None) -> dict[str, str]:
    # Compiled modules are kept, as on users' machines: without them, compiling takes seconds of each start.
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return kept | {"PYTHONPATH": str((code or HERE.parent).resolve())}


def _run(words: list[str], code: Path | None) -> dict[str, float]:
    """Run scvec; return seconds, CPU seconds and peak memory in MB."""
    command = [sys.executable, "-m", "scvec", *words, "--quiet"]
    start = time.perf_counter()
    with subprocess.Popen(command, env=_environment(code), cwd=OUT, stdout=subprocess.DEVNULL) as process:
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    seconds = time.perf_counter() - start
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command)
    return {
        "s": round(seconds, 2),
        "cpu_s": round(used.ru_utime + used.ru_stime, 2),
        "mb": round(used.ru_maxrss / 1024),
    }


def sizes_of(store: Path) -> dict[str, int]:
    """Return the bytes of a store by what they are."""
    sizes: dict[str, int] = {}
    for path in store.rglob("*"):
        if path.is_file():
            sizes[_kind(path)] = sizes.get(_kind(path), 0) + path.stat().st_size
    return sizes


def _kind(path: Path) -> str:
    """Return what a file of a store is."""
    if path.parent.parent.name == "fitted":
        return path.name
    table = next((one.name for one in path.parents if one.suffix == ".lance"), None)
    if table is not None:
        return f"table {table}" if path.suffix == ".lance" else "tables, versions and so on"
    return "index" if "index" in path.parts or path.suffix == ".faiss" else "other"


def ratio(turns: Sequence[Turn], key: str, other: str) -> float:
    """Return the median ratio, within a turn, of all views to another way."""
    return round(median(one[VIEWS][key] / one[other][key] for one in turns), 3)


TEXT = """# What further views cost

The recipe `refined`, whose calls are made by three views, against the same with its neighbours alone
(`views = []`){before}. A query of {n_query:,} cells; cells are resampled from Baron's pancreas (`benchmarks.scale`),
{threads} threads. Each build and query is a process from start to end. Medians of the turns; a ratio is the median of
those within a turn. The goal: at most 1.5 times the seconds of a build and the bytes of a store, and 1.3 times those
of a query. Other work on a machine lengthens seconds more than CPU seconds. Turns of an earlier run of the same code
count. Both recipes keep cells for queries of few genes (`sample.parquet`)."""


def text(found: Mapping[int, Sequence[Turn]], names: Sequence[str], version: str) -> str:
    """Return the tables as Markdown."""
    before = f", and against scvec {version}" if version else ""
    parts = [TEXT.format(before=before, n_query=QUERY_CELLS, threads=n_threads())]
    for n, turns in found.items():
        parts += [f"## {n:,} reference cells, {counted(len(turns), 'turn')}", _table(turns, names)]
        parts += ["Bytes of the store, by file:", _files(turns[-1], names), "Every turn:", _every_turn(turns, names)]
    return "\n\n".join(parts)


def _table(turns: Sequence[Turn], names: Sequence[str]) -> str:
    rows = []
    for key, shown in SHOWN.items():
        values = [median(one[name][key] for one in turns) if key in turns[0][name] else None for name in names]
        ratios = [ratio(turns, key, name) if key in turns[0][name] else None for name in names[1:]]
        wanted = WANTED.get(key)
        rows.append([shown, *map(_number, values), *map(_times, ratios), "" if wanted is None else f"{wanted}"])
    return markdown(["", *names, *(f"times {name}" for name in names[1:]), "goal"], rows)


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:,.1f}" if value < 1000 else f"{value:,.0f}"


def _times(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"


def _files(turn: Turn, names: Sequence[str]) -> str:
    kinds = {key for one in turn.values() for key in one if key.startswith(FILE)}
    ordered = sorted(kinds, key=lambda key: -turn[VIEWS].get(key, 0))
    rows = [[kind.removeprefix(FILE), *(f"{turn[name].get(kind, 0):,.0f}" for name in names)] for kind in ordered]
    return markdown(["file", *names], rows)


def _every_turn(turns: Sequence[Turn], names: Sequence[str]) -> str:
    rows = [
        [f"{shown}, {name}", *(_number(one[name][key]) for one in turns)]
        for key, shown in SHOWN.items()
        for name in names
        if key in turns[0][name]
    ]
    return markdown(["", *(f"turn {i + 1}" for i in range(len(turns)))], rows)


if __name__ == "__main__":
    main()
