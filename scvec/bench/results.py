"""The records of a suite as tables and plots."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from scvec._version import __version__
from scvec.bench import records
from scvec.bench.planning import Plan
from scvec.bench.records import Record
from scvec.bench.suite import Task, slug
from scvec.core.files import placing
from scvec.evaluation import plots

RESULTS, TABLES = "results.json", "results.md"
KINDS = ("recipe", "control", "peer")
FIGURES = (
    "accuracy",
    "macro_f1",
    "accuracy_known",
    "macro_f1_known",
    "auroc_score",
    "auroc_distance",
    "auroc_novelty",
    "build_s",
    "query_s",
)
EASY = " *"
EASY_NOTE = (
    "\\* The query is a random share of the same samples, drawn within each label: the easy way. A new donor or study "
    "is harder."
)


@dataclass(frozen=True, slots=True)
class ResultTable:
    """A table of methods by tasks."""

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    def markdown(self) -> str:
        """Return it as Markdown."""
        lines = [self.header, ("---",) * len(self.header), *self.rows]
        return "\n".join("| " + " | ".join(one.replace("|", "\\|") for one in line) + " |" for line in lines)


@dataclass(frozen=True, slots=True)
class Results:
    """The results of a suite so far.

    Attributes
    ----------
    rows
        One per task and method: ``task``, ``group``, ``method``, ``kind``, ``n_runs``, ``failed``, and for each figure
        ``[median, smallest, largest]`` over the seeds.
    groups
        The tables of each group of tasks, the medians first.
    files
        The files written.
    """

    rows: tuple[Record, ...]
    groups: dict[str, tuple[ResultTable, ...]]
    files: tuple[Path, ...]

    @classmethod
    def write(cls, plan: Plan) -> Results:
        """Summarise the records of a plan, and of other tools on its tasks, and write the results into its folder."""
        rows = _rows(plan)
        groups: dict[str, tuple[ResultTable, ...]] = {}
        text = [f"# {plan.suite.name}", _head(plan)]
        files = [plan.out / RESULTS, plan.out / TABLES]
        for name in dict.fromkeys(one.group for one in plan.suite.tasks):
            tasks = [one for one in plan.suite.tasks if one.group == name]
            chosen = [one for one in rows if one["group"] == name]
            title = name or plan.suite.name
            groups[title] = tuple(_tables(tasks, chosen))
            text += [f"## {title}", *(f"{one.title}\n\n{one.markdown()}" for one in groups[title])]
            text += [EASY_NOTE] if any(one.is_random_split for one in tasks) else []
            text += [_failures(chosen)] if any(one["failed"] for one in chosen) else []
            files.append(plan.out / f"macro_f1-{slug(title) or 'tasks'}.png")
            _draw(tasks, chosen, files[-1], title)
        said = {"suite": plan.suite.name, "scvec": __version__, "seeds": list(plan.suite.seeds), "rows": rows}
        for path, words in zip(files, (json.dumps(said, indent=1), "\n\n".join(text)), strict=False):
            with placing(path) as part:
                part.write_text(words + "\n", encoding="utf-8")
        return cls(tuple(rows), groups, tuple(files))

    def to_dict(self) -> dict[str, Any]:
        """Return the results as JSON types."""
        return {"rows": list(self.rows), "files": [str(one) for one in self.files]}


def _head(plan: Plan) -> str:
    seeds = ", ".join(map(str, plan.suite.seeds))
    return (
        f"scvec {__version__}; seeds {seeds}, where a task or a method draws anything. Macro-F1 is over the "
        "query's classes, those that the reference lacks among them. What stands as a control reads no gene text, or "
        "another gene's: where it does as well, text is not what made the call."
    )


@dataclass(frozen=True, slots=True)
class Runs:
    """The runs of a method on a task.

    Attributes
    ----------
    task, method, kind
        What ran on what, and whether it is a recipe, a control or a peer.
    records
        Their records, in the order of the seeds; None for a run that is still to be done.
    """

    task: Task
    method: str
    kind: str
    records: tuple[Record | None, ...]


def runs_of(plan: Plan) -> list[Runs]:
    """Return what was run for each task and method, in the order of the suite: recipes, controls, peers."""
    there = records.read(plan.out)
    found: dict[tuple[str, str], list[Record | None]] = {}
    kinds: dict[str, str] = {}
    for one in plan.runs:
        kinds[one.method.name] = one.method.kind
        found.setdefault((one.task.task.name, one.method.name), []).append(there.get(one.digest))
    task_of = {one.digest: one.task.name for one in plan.tasks}
    # If a tool was run twice on a task, with a newer script say, the record written last counts.
    peers = {
        (task_of[one["task_digest"]], one["method"], one["seed"]): one
        for one in there.values()
        if one["kind"] == "peer" and one["task_digest"] in task_of
    }
    for (task, method, _), made in sorted(peers.items(), key=lambda one: one[0][2] or 0):
        kinds[method] = "peer"
        found.setdefault((task, method), []).append(made)
    order = {name: i for i, name in enumerate(sorted(kinds, key=lambda name: KINDS.index(kinds[name])))}
    return [
        Runs(task, method, kinds[method], tuple(found[task.name, method]))
        for task in plan.suite.tasks
        for method in order
        if (task.name, method) in found
    ]


def _rows(plan: Plan) -> list[Record]:
    """Return a row for each task and method."""
    return [_row(one.task, one.method, one.kind, one.records) for one in runs_of(plan)]


def _row(task: Task, method: str, kind: str, made: Sequence[Record | None]) -> Record:
    good = [one for one in made if one is not None and "failed" not in one]
    failed = dict.fromkeys(one["failed"] for one in made if one is not None and "failed" in one)
    row: Record = {"task": task.name, "group": task.group, "method": method, "kind": kind}
    row |= {"n_runs": len(good), "n_missing": sum(one is None for one in made), "failed": list(failed)}
    for key in FIGURES:
        values = [one[key] for one in good if key in one]
        if values:
            row[key] = [round(float(value), 5) for value in (np.median(values), min(values), max(values))]
    return row


def _tables(tasks: Sequence[Task], rows: Sequence[Record]) -> Iterable[ResultTable]:
    yield _table("Median accuracy / macro-F1:", tasks, rows, ("accuracy", "macro_f1"))
    several = [one for one in rows if one["n_runs"] > 1]
    if several:
        title = "Least to largest over the seeds, accuracy / macro-F1:"
        yield _table(title, tasks, several, ("accuracy", "macro_f1"), ranges=True)
    lacking = {one["task"] for one in rows if any(one.get(key, 1) != one.get(f"{key}_known", 1) for key in FIGURES[:2])}
    lacking |= {one["task"] for one in rows if "auroc_score" in one}
    unseen = [one for one in tasks if one.name in lacking]
    if unseen:
        title = "On cells of classes that the reference has, median accuracy / macro-F1:"
        yield _table(title, unseen, rows, ("accuracy_known", "macro_f1_known"))
        keys = [key for key in FIGURES if key.startswith("auroc") and any(key in one for one in rows)]
        if keys:
            by = " / ".join(key.removeprefix("auroc_") for key in keys)
            yield _table(f"Cells of classes that the reference lacks, AUROC by {by}:", unseen, rows, keys)


def _table(
    title: str, tasks: Sequence[Task], rows: Sequence[Record], keys: Sequence[str], *, ranges: bool = False
) -> ResultTable:
    by_place = {(one["method"], one["task"]): one for one in rows}
    methods = dict.fromkeys(one["method"] for one in rows)
    cells = tuple(
        (method, *(_cell(by_place.get((method, task.name)), keys, ranges) for task in tasks)) for method in methods
    )
    return ResultTable(title, ("method", *(one.name + EASY * one.is_random_split for one in tasks)), cells)


def _cell(row: Record | None, keys: Sequence[str], ranges: bool) -> str:
    if row is None:
        return ""
    if not row["n_runs"]:
        return "failed" if row["failed"] else "not run"
    pick = slice(1, 3) if ranges else slice(0, 1)
    parts = ["-".join(f"{one:.3f}" for one in row[key][pick]) if key in row else "none" for key in keys]
    if not any(key in row for key in keys):
        return ""
    return " / ".join(parts) + (" (some failed)" if row["failed"] else "")


def _failures(rows: Sequence[Record]) -> str:
    lines = [f"- {one['method']} failed on {one['task']}: {why}" for one in rows for why in one["failed"]]
    return "\n".join(lines)


def _draw(tasks: Sequence[Task], rows: Sequence[Record], path: Path, title: str) -> None:
    methods = {one["method"]: one["kind"] for one in rows}
    by_place = {(one["method"], one["task"]): one for one in rows}
    nothing = [np.nan] * 3
    values = [[by_place.get((method, task.name), {}).get("macro_f1", nothing) for task in tasks] for method in methods]
    names = [one.name + EASY * one.is_random_split for one in tasks]
    plots.dots(names, list(methods.items()), np.array(values, float), path, f"{title}: macro-F1")
