"""The records of the suite of studies as one summary: means with intervals, ranks, and losses to the best tool."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from benchmarks.common import markdown
from scvec.bench import Plan, Runs, runs_of
from scvec.bench.records import Record
from scvec.bench.tasks import Prepared
from scvec.evaluation import plots

DRAWS = 1_000
INTERVAL = (2.5, 97.5)
DIGITS = 4
"""Of macro-F1 when methods are ranked: what differs by less is a tie."""


@dataclass(frozen=True)
class Summary:
    """Methods by tasks.

    Attributes
    ----------
    methods, kinds
        (m,) names, and whether each is a recipe, a control or a peer.
    tasks, groups
        (t,) names of the tasks, and the group of each.
    seeds
        By method and task, for each run: seed, accuracy, macro-F1, or why it failed.
    macro_f1, accuracy
        (m, t) means over the runs; 0 where all runs failed, NaN where none was done.
    drawn
        (m, t, d) macro-F1 for cells drawn again, each time with one of the seeds.
    missing
        By method, how many runs of the plan are still to be done.
    """

    methods: tuple[str, ...]
    kinds: tuple[str, ...]
    tasks: tuple[str, ...]
    groups: tuple[str, ...]
    seeds: dict[str, dict[str, list[Record]]]
    macro_f1: NDArray[np.float64]
    accuracy: NDArray[np.float64]
    drawn: NDArray[np.float64]
    missing: dict[str, int]

    @cached_property
    def complete(self) -> NDArray[np.bool_]:
        """(m,) whether a method was run on all tasks."""
        return np.asarray(~np.isnan(self.macro_f1).any(axis=1))

    @cached_property
    def ranks(self) -> NDArray[np.float64]:
        """(m,) mean rank over the tasks among the methods that are complete; NaN for the others."""
        ranks = np.full(len(self.methods), np.nan)
        values = self.macro_f1[self.complete].round(DIGITS)
        ranks[self.complete] = rankdata(-values, axis=0).mean(axis=1)
        return ranks

    @cached_property
    def losses(self) -> NDArray[np.float64]:
        """(m, t) macro-F1 below the best of all methods on the task."""
        return np.asarray(np.nan_to_num(self.macro_f1).max(axis=0) - self.macro_f1)

    def mean(self, chosen: NDArray[np.bool_] | None = None) -> NDArray[np.float64]:
        """Return (m, 3) mean macro-F1 over all or some tasks, and its interval."""
        chosen = np.ones(len(self.tasks), bool) if chosen is None else chosen
        ends = np.percentile(self.drawn[:, chosen].mean(axis=1), INTERVAL, axis=1)
        return np.stack([self.macro_f1[:, chosen].mean(axis=1), *ends], axis=1)

    def ahead(self, first: int) -> NDArray[np.float64]:
        """Return (m, 3) mean macro-F1 of a method minus that of each, on the same drawn cells, with its interval."""
        differences = (self.drawn[first] - self.drawn).mean(axis=1)
        means = self.macro_f1.mean(axis=1)
        return np.stack([means[first] - means, *np.percentile(differences, INTERVAL, axis=1)], axis=1)

    def of_group(self, group: str) -> NDArray[np.bool_]:
        """Return (t,) which tasks are of a group."""
        return np.array([one == group for one in self.groups])

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON types."""
        means, worst = self.mean(), self.losses
        rows = {}
        for i, name in enumerate(self.methods):
            if not self.complete[i]:
                continue
            at = int(worst[i].argmax())
            rows[name] = {
                "kind": self.kinds[i],
                "mean_macro_f1": _rounded(means[i]),
                "mean_rank": round(float(self.ranks[i]), 3),
                "worst_loss": round(float(worst[i, at]), 5),
                "worst_task": self.tasks[at],
                "by_group": {one: _rounded(self.mean(self.of_group(one))[i]) for one in dict.fromkeys(self.groups)},
            }
        tasks = dict(zip(self.tasks, self.groups, strict=True))
        return {"draws": DRAWS, "tasks": tasks, "summary": rows, "runs": self.seeds}


def _rounded(values: NDArray[np.float64]) -> list[float]:
    return [round(float(one), 5) for one in values]


def summarise(plan: Plan) -> Summary:
    """Return the summary of a plan's records, and of other tools on its tasks."""
    found = runs_of(plan)
    prepared = {one.digest: one for one in plan.tasks}
    kinds = {one.method: one.kind for one in found}
    tasks = {one.name: one.group for one in plan.suite.tasks}
    place = {name: i for i, name in enumerate(kinds)}, {name: i for i, name in enumerate(tasks)}
    shape = len(kinds), len(tasks)
    macro_f1, accuracy, drawn = (np.full(one, np.nan) for one in (shape, shape, (*shape, DRAWS)))
    seeds: dict[str, dict[str, list[Record]]] = {name: {} for name in kinds}
    sampled: dict[str, Sampled] = {}
    for one in found:
        made = [record for record in one.records if record is not None]
        if not made:
            continue
        i, j = place[0][one.method], place[1][one.task.name]
        good = [record for record in made if "failed" not in record]
        macro_f1[i, j], accuracy[i, j] = (
            np.mean([record.get(key, 0.0) for record in made]) for key in ("macro_f1", "accuracy")
        )
        drawn[i, j] = _drawn(one, good, prepared, sampled, plan.suite.seeds) if good else 0.0
        keys = ("seed", "accuracy", "macro_f1", "build_s", "query_s", "failed")
        seeds[one.method][one.task.name] = [{key: record[key] for key in keys if key in record} for record in made]
    missing = {name: sum(one.records.count(None) for one in found if one.method == name) for name in kinds}
    names = tuple(kinds), tuple(kinds.values()), tuple(tasks), tuple(tasks.values())
    return Summary(*names, seeds, macro_f1, accuracy, drawn, {name: n for name, n in missing.items() if n})


def _drawn(
    runs: Runs,
    good: Sequence[Record],
    prepared: dict[str, Prepared],
    sampled: dict[str, Sampled],
    seeds: tuple[int, ...],
) -> NDArray[np.float64]:
    """Return (d,) macro-F1 on drawn cells; which seed is drawn is the same for all methods on a task."""
    by_seed = []
    for record in good:
        digest = record["task_digest"]
        if digest not in sampled:
            sampled[digest] = Sampled.of(prepared[digest])
        by_seed.append(sampled[digest].macro_f1(record))
    rng = np.random.default_rng([len(seeds), *runs.task.name.encode()])
    chosen = rng.integers(len(seeds), size=DRAWS) % len(by_seed)
    return np.asarray(np.array(by_seed)[chosen, np.arange(DRAWS)])


@dataclass(frozen=True)
class Sampled:
    """A query's cells, drawn again within each class, so that no class is lost.

    Attributes
    ----------
    classes
        (k,) author labels.
    codes
        (n,) position of each cell's label in them.
    cells
        (d, n) positions of the drawn cells.
    """

    classes: NDArray[np.str_]
    codes: NDArray[np.int64]
    cells: NDArray[np.int64]

    @classmethod
    def of(cls, task: Prepared) -> Sampled:
        """Draw the cells of a task's query."""
        classes, codes = np.unique(task.truth.astype(str), return_inverse=True)
        rng = np.random.default_rng([len(codes), *task.task.name.encode()])
        members = [np.flatnonzero(codes == i) for i in range(len(classes))]
        cells = np.concatenate([one[rng.integers(len(one), size=(DRAWS, len(one)))] for one in members], axis=1)
        return cls(classes, codes, cells)

    def macro_f1(self, record: Record) -> NDArray[np.float64]:
        """Return (d,) macro-F1 of a run's calls over the query's classes."""
        k, n_draws = len(self.classes), len(self.cells)
        code_of = {name: i for i, name in enumerate(self.classes.tolist())}
        called = np.array([code_of.get(name, k) for name in record["labels"]], np.int64)[record["called"]]
        pairs = (self.codes * (k + 1) + called)[self.cells] + np.arange(n_draws)[:, None] * k * (k + 1)
        counts = np.bincount(pairs.ravel(), minlength=n_draws * k * (k + 1)).reshape(n_draws, k, k + 1)
        right = np.diagonal(counts, axis1=1, axis2=2)
        both = counts.sum(axis=2) + counts.sum(axis=1)[:, :k]
        return np.asarray((2 * right / both).mean(axis=1))


def text(summary: Summary) -> str:
    """Return the tables as Markdown."""
    parts = ["# Another donor, study, platform or species, and few genes", HEAD, overview(summary), DIFFERENCES]
    parts += [_differences(summary)]
    for group in dict.fromkeys(summary.groups):
        parts += [f"## {group}", "Macro-F1 / accuracy, means of the seeds; the best macro-F1 is bold:"]
        parts += [_by_task(summary, group)]
    failed = _failures(summary)
    parts += ["## Failures", "They count as 0.", failed] if failed else []
    return "\n\n".join([*parts, "## Every seed", "Macro-F1 of each run:", _every_seed(summary)])


HEAD = (
    "Macro-F1 over the query's classes, those that the reference lacks among them. *Mean*: over the tasks, each the "
    "mean of its seeds, with the interval that holds 95 % of the means when cells are drawn again within each class, "
    "and one of the seeds is drawn; the choice of tasks is not in it. *Rank*: mean over the tasks, 1 is best. *Worst "
    "loss*: how far a method is below the best of all on the task where that is most."
)
DIFFERENCES = "The default minus each of the others, mean macro-F1 on the same drawn cells:"


def overview(summary: Summary) -> str:
    """Return the table of all methods that were run on all tasks."""
    groups = list(dict.fromkeys(summary.groups))
    header = ["method", "mean", "interval", "rank", "worst loss", "on", *groups]
    means = summary.mean()
    rows = []
    for i in sorted(np.flatnonzero(summary.complete).tolist(), key=lambda i: -means[i, 0]):
        at = int(summary.losses[i].argmax())
        of_groups = [float(summary.mean(summary.of_group(one))[i, 0]) for one in groups]
        interval = f"{means[i, 1]:.3f} to {means[i, 2]:.3f}"
        rank, loss = f"{summary.ranks[i]:.2f}", float(summary.losses[i, at])
        rows.append([summary.methods[i], float(means[i, 0]), interval, rank, loss, summary.tasks[at], *of_groups])
    left_out = [name for name, there in zip(summary.methods, summary.complete, strict=True) if not there]
    table = markdown(header, rows)
    if summary.missing:
        left = ", ".join(f"{n} of {name}" for name, n in summary.missing.items())
        table += f"\n\n**Provisional**, with fewer seeds for some: still to be run are {left}."
    return table + (f"\n\nNot run on all tasks, so not ranked: {', '.join(left_out)}." if left_out else "")


def _differences(summary: Summary) -> str:
    first = summary.kinds.index("recipe")
    ahead = summary.ahead(first)
    rows = [
        [name, f"{ahead[i, 0]:+.3f}", f"{ahead[i, 1]:+.3f} to {ahead[i, 2]:+.3f}"]
        for i, name in enumerate(summary.methods)
        if i != first and summary.complete[i] and summary.complete[first]
    ]
    return markdown([f"{summary.methods[first]} minus", "difference", "interval"], rows)


def _by_task(summary: Summary, group: str) -> str:
    columns = np.flatnonzero(summary.of_group(group)).tolist()
    rows = []
    for i, name in enumerate(summary.methods):
        row = [name]
        for j in columns:
            value, best = summary.macro_f1[i, j], np.nan_to_num(summary.macro_f1[:, j]).max()
            shown = f"**{value:.3f}**" if value.round(DIGITS) == best.round(DIGITS) else f"{value:.3f}"
            row.append("not run" if np.isnan(value) else f"{shown} / {summary.accuracy[i, j]:.3f}")
        rows.append(row)
    return markdown(["method", *(summary.tasks[j] for j in columns)], rows)


def _failures(summary: Summary) -> str:
    lines = {
        f"- {method} failed on {task}: {run['failed']}": None
        for method, by_task in summary.seeds.items()
        for task, made in by_task.items()
        for run in made
        if "failed" in run
    }
    return "\n".join(lines)


def _every_seed(summary: Summary) -> str:
    rows = []
    for task in summary.tasks:
        row = [task]
        for method in summary.methods:
            made = summary.seeds[method].get(task, [])
            row.append(" ".join(f"{one['macro_f1']:.3f}" if "macro_f1" in one else "failed" for one in made))
        rows.append(row)
    return markdown(["task", *summary.methods], rows)


def draw(summary: Summary, path: Path) -> None:
    """Draw the means of all tasks and of each group, with their intervals; nothing where no method ran on all."""
    if not summary.complete.any():
        return
    groups = list(dict.fromkeys(summary.groups))
    chosen = [np.ones(len(summary.tasks), bool), *(summary.of_group(one) for one in groups)]
    complete = np.flatnonzero(summary.complete)
    values = np.stack([summary.mean(one)[complete] for one in chosen], axis=1)
    methods = [(summary.methods[i], summary.kinds[i]) for i in complete]
    names, title = [f"all {len(summary.tasks)} tasks", *groups], "Mean macro-F1 over tasks"
    plots.dots(names, methods, values, path, title, "mean; the line is the 95 % interval over cells and seeds")
