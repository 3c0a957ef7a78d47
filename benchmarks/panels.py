"""A query of other genes, called by an atlas of all genes, against an atlas that was built for its genes (`--panel`).

    python -m benchmarks.panels [--seeds 5] [--again]

The tasks are those of the suite studies.toml with few genes or another species; figures of other tools are those of
`results/studies.json`, which has the same tasks. Runs done before, by the same code, are not repeated. Needs no gene
texts, and ten minutes.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter, process_time
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

import scvec as sv
from benchmarks.common import RESULTS, WORK, make_parser, markdown, save
from benchmarks.studies import read_suite
from benchmarks.studies_table import INTERVAL, Sampled
from scvec.annotation import Annotation
from scvec.atlas import Atlas
from scvec.atlas.fitted import KEPT_CELLS
from scvec.bench import Suite, Task, records
from scvec.bench.code import code_digest
from scvec.bench.records import Record
from scvec.bench.tasks import BATCH, LABEL, Prepared, digest, prepare
from scvec.core.files import placing
from scvec.embed.recipe import RECIPES, Recipe

OUT = WORK / "panels"
WHOLE, REBUILT = "atlas of all genes (the default)", "atlas rebuilt for the genes (--panel)"
SEEDS = 5
NOISE = 0.01
"""A difference of macro-F1 that is not called one."""


Beside: TypeAlias = dict[str, list[tuple[int | None, float]]]
"""By task, the seeds and macro-F1 of a tool."""


Seconds: TypeAlias = NDArray[np.float64]
"""(2,) seconds, and CPU seconds of the process, which other work on the machine changes less."""


@dataclass(frozen=True)
class Panel:
    """A query of other genes, and the seed by which its genes are drawn and atlases are fitted."""

    task: Prepared
    seed: int

    @property
    def name(self) -> str:
        """The name of its task."""
        return self.task.task.name

    @property
    def recipe(self) -> Recipe:
        """The default recipe, which needs no texts, with this seed."""
        return replace(RECIPES["refined"].without_text(), random_state=self.seed)

    @property
    def kept(self) -> Path:
        """The file of what was measured, by the same code."""
        return OUT / "runs" / f"{self.task.folder.name}-{self.seed}-{digest(self.task.digest, code_digest())[:12]}.json"


def main() -> None:
    parser = make_parser("panels", __doc__)
    parser.add_argument("--seeds", type=int, default=SEEDS, help="how often genes are drawn")
    parser.add_argument("--again", action="store_true", help="measure all again")
    args = parser.parse_args()
    store, suite = sv.Store(OUT / "store"), read_suite(OUT)
    if args.again:
        shutil.rmtree(OUT / "runs", ignore_errors=True)
    wanted = list(panels(suite, store, args.seeds))
    measure(wanted, store)
    rows = [row for one in wanted for row in json.loads(one.kept.read_text(encoding="utf-8"))]
    apart = differences(wanted, rows)
    values = {"rows": [_without_calls(row) for row in rows], "differences": apart}
    save("panels", "python -m benchmarks.panels", values, text(rows, apart, others(suite)))


def panels(suite: Suite, store: sv.Store, n_seeds: int) -> Iterator[Panel]:
    """Yield the tasks of few genes by each seed; where no genes are drawn, by the suite's, which are of the fit alone.

    Of few random genes, the choice matters most: three draws do not tell apart what differs by some hundredths.
    """
    for task in suite.tasks:
        if is_asked(task):
            for seed in range(n_seeds) if task.draws else suite.seeds:
                yield Panel(prepare(task, seed if task.draws else None, OUT, store), seed)


def is_asked(task: Task) -> bool:
    """Return whether a query of a task measures fewer genes than the reference, as a panel or another species does."""
    return task.group == "few genes" or task.query_taxon is not None


def measure(wanted: Sequence[Panel], store: sv.Store) -> None:
    """Measure what was not; an atlas of all genes serves all panels of one reference and seed, as it does a user."""
    left = [one for one in wanted if not one.kept.is_file()]
    if left:
        _measured(left[0], _built(left[0], store, None)[0], store)  # compiles, and reads files into the system's cache
    for shared in dict.fromkeys((one.task.reference_digest, one.seed) for one in left):
        of = [one for one in left if (one.task.reference_digest, one.seed) == shared]
        atlas, _ = _built(of[0], store, None)
        for one in of:
            made = _measured(one, atlas, store)
            one.kept.parent.mkdir(parents=True, exist_ok=True)
            with placing(one.kept) as part:
                part.write_text(json.dumps(made), encoding="utf-8")
            print(one.name, one.seed, *(f"{row['macro_f1']:.3f}" for row in made), flush=True)


def _built(panel: Panel, store: sv.Store, genes: Path | None) -> tuple[Atlas, Seconds]:
    """Build an atlas, on the genes of a file or all, and return it with the seconds that it takes."""
    name = "whole" if genes is None else "rebuilt"
    store.remove(f"atlases/{name}")
    batch_key = BATCH if panel.task.task.batch_key else None
    start = _now()
    atlas = sv.atlas.build(
        store,
        name,
        panel.task.reference,
        label_key=LABEL,
        batch_key=batch_key,
        recipe=panel.recipe,
        panel=genes,
        panel_taxon=None if genes is None else panel.task.task.query_taxon,
    )
    return atlas, _now() - start


def _measured(panel: Panel, atlas: Atlas, store: sv.Store) -> list[Record]:
    """Return a row for each of both ways."""
    first, first_s = _timed(panel, sv.atlas.open(store, atlas.name))
    again, again_s = _timed(panel, sv.atlas.open(store, atlas.name))
    if first.query.atlas.is_panel != (panel.task.task.query_genes is not None):
        raise RuntimeError(f"{panel.name}: queries of few genes, and only these, should be called by a fit on them")
    if not np.array_equal(first.label, again.label):
        raise RuntimeError(f"{panel.name}: a fit that was kept does not call as the one that was made")
    rebuilt, build_s = _built(panel, store, panel.task.query)
    calls, query_s = _timed(panel, rebuilt)
    n_genes = len(first.query.atlas.embedding.gene_ids)
    about = {"task": panel.name, "seed": panel.seed, "n_genes": n_genes, "cells": len(first.query.atlas.filled)}
    whole = {"method": WHOLE, **_seconds_of(first_s, again_s)}
    other = {"method": REBUILT, **_seconds_of(build_s + query_s, query_s)}
    other["cells"] = len(rebuilt.filled)
    return [
        {**about, **said, **records.figures(panel.task, one.label, {})}
        for said, one in ((whole, first), (other, calls))
    ]


def _seconds_of(first: Seconds, again: Seconds) -> dict[str, float]:
    keys = ("first_s", "first_cpu_s", "again_s", "again_cpu_s")
    return {key: round(float(one), 2) for key, one in zip(keys, [*first, *again], strict=True)}


def _timed(panel: Panel, atlas: Atlas) -> tuple[Annotation, Seconds]:
    start = _now()
    calls = sv.annotate(panel.task.query, atlas, taxon=panel.task.task.query_taxon)
    return calls, _now() - start


def _now() -> Seconds:
    return np.array([perf_counter(), process_time()])


def _without_calls(row: Record) -> Record:
    return {key: value for key, value in row.items() if key not in ("labels", "called", "n_cells")}


def differences(wanted: Sequence[Panel], rows: Sequence[Record]) -> dict[str, dict[str, float]]:
    """Return by task the default minus `--panel`: mean over seeds, and its interval over cells that are drawn again."""
    found = {}
    for name in dict.fromkeys(one.name for one in wanted):
        drawn = []
        for one in wanted:
            if one.name == name:
                sampled = Sampled.of(one.task)
                whole, other = (_row(rows, name, method, one.seed) for method in (WHOLE, REBUILT))
                drawn.append(sampled.macro_f1(whole) - sampled.macro_f1(other))
        low, high = np.percentile(np.mean(drawn, axis=0), INTERVAL)
        mean = np.mean([_of(rows, name, WHOLE, "macro_f1")]) - np.mean([_of(rows, name, REBUILT, "macro_f1")])
        found[name] = {"mean": round(float(mean), 5), "low": round(float(low), 5), "high": round(float(high), 5)}
    return found


def _row(rows: Sequence[Record], task: str, method: str, seed: int) -> Record:
    return next(one for one in rows if (one["task"], one["method"], one["seed"]) == (task, method, seed))


def _of(rows: Sequence[Record], task: str, method: str, key: str) -> list[Any]:
    return [one[key] for one in rows if (one["task"], one["method"]) == (task, method)]


def others(suite: Suite) -> dict[str, Beside]:
    """Return macro-F1 of other tools and of controls by task and seed, from the studies; 0 where they failed.

    The seed is None where nothing is drawn, or where it is that of the tool alone.
    """
    found = json.loads((RESULTS / "studies.json").read_text(encoding="utf-8"))
    kinds = {name: one["kind"] for name, one in found["summary"].items()}
    draws = {task.name: task.draws for task in suite.tasks if is_asked(task)}
    return {
        name: {
            task: [(one["seed"] if draws[task] else None, one.get("macro_f1", 0.0)) for one in made]
            for task, made in by_task.items()
            if task in draws
        }
        for name, by_task in found["runs"].items()
        if kinds.get(name, "peer") != "recipe"
    }


HEAD = """# A query of other genes

The default calls a query of few genes by a fit on these genes, of the cells that the atlas keeps ({kept} of each
label); one of another species by what was fitted on all genes. `--panel` builds an atlas on the genes that both have,
of all cells. Baron's pancreas and Voigt's retina, donor 3 held out, and Baron's mice, compared by ids of their labels.
Genes are drawn at random from all of the query, by {n} seeds, or are the reference's most variable ones; where none
are drawn, {m} seeds are those of the fit. Macro-F1, means of the seeds. Figures of other tools and of controls are of
the same tasks, from `benchmarks/results/studies.json` (`python -m benchmarks.studies`), with fewer seeds; in brackets,
the default minus each, on the seeds that both have."""
TIMES = """## Seconds

From an opened atlas to the calls of {n} to {of} cells, in one process that has imported and compiled all. *First
call*: of the default, with the fit, which is then kept in the store; of `--panel`, with the build. *Again*: another
query of the same genes. Medians over seeds; in brackets, CPU seconds of both cores. Other work ran on the machine at
the same time, which lengthens the seconds more than the CPU's."""
APART = """## The default minus `--panel`

With the interval that holds 95 % of the differences when cells are drawn again within each class, the same for both."""


def text(rows: Sequence[Record], apart: dict[str, dict[str, float]], beside: dict[str, Beside]) -> str:
    """Return the tables as Markdown."""
    tasks = list(apart)
    seeds = sorted({len(_of(rows, task, WHOLE, "seed")) for task in tasks})
    parts = [
        HEAD.format(n=seeds[-1], m=seeds[0], kept=KEPT_CELLS),
        _means(rows, tasks, beside),
        APART,
        _apart(apart),
        verdict(apart),
    ]
    sizes = [len(one["called"]) for one in rows]
    parts += [TIMES.format(n=min(sizes), of=max(sizes)), _seconds(rows, tasks)]
    return "\n\n".join([*parts, "## Every seed", _every_seed(rows, tasks, beside)])


def verdict(apart: dict[str, dict[str, float]]) -> str:
    """Return in words whether the default is below `--panel` on any task."""
    below = [f"{name} ({one['mean']:+.3f})" for name, one in apart.items() if one["mean"] < -NOISE]
    if not below:
        return f"The default is below `--panel` by more than {NOISE} on no task."
    some = f"{len(below)} of {len(apart)} tasks: {', '.join(below)}"
    return f"The default is below `--panel` by more than {NOISE} on {some}."


def _means(rows: Sequence[Record], tasks: Sequence[str], beside: dict[str, Beside]) -> str:
    own = {one: [float(np.mean(_of(rows, task, one, "macro_f1"))) for task in tasks] for one in (WHOLE, REBUILT)}
    table: list[list[object]] = [[name, *means, float(np.mean(means))] for name, means in own.items()]
    for name, by_task in beside.items():
        means = [float(np.mean([value for _, value in by_task[task]])) for task in tasks if task in by_task]
        apart = [_ahead(rows, task, by_task[task]) for task in tasks if task in by_task]
        cells = [f"{mean:.3f} ({ahead:+.3f})" for mean, ahead in zip(means, apart, strict=True)]
        if len(cells) == len(tasks):
            table.append([name, *cells, f"{np.mean(means):.3f} ({np.mean(apart):+.3f})"])
    left_out = [name for name, by_task in beside.items() if not by_task.keys() >= set(tasks)]
    said = f"\n\nNot run on all of these tasks, so not in the table: {', '.join(left_out)}." if left_out else ""
    return markdown(["method", *tasks, "mean"], table) + said


def _ahead(rows: Sequence[Record], task: str, made: Sequence[tuple[int | None, float]]) -> float:
    """Return the default minus a tool, on the seeds that both have; all of the default's where no genes are drawn."""
    by_seed = dict(zip(_of(rows, task, WHOLE, "seed"), _of(rows, task, WHOLE, "macro_f1"), strict=True))
    usual = float(np.mean(list(by_seed.values())))
    return float(np.mean([by_seed.get(seed, usual) - value for seed, value in made]))


def _apart(apart: dict[str, dict[str, float]]) -> str:
    rows = [[name, f"{one['mean']:+.3f}", f"{one['low']:+.3f} to {one['high']:+.3f}"] for name, one in apart.items()]
    return markdown(["task", "difference", "interval"], rows)


def _seconds(rows: Sequence[Record], tasks: Sequence[str]) -> str:
    table = []
    for task in tasks:
        took = [
            "{:.1f} ({:.1f})".format(*(np.median(_of(rows, task, method, key + end)) for end in ("_s", "_cpu_s")))
            for method in (WHOLE, REBUILT)
            for key in ("first", "again")
        ]
        cells = [str(_of(rows, task, method, "cells")[0]) for method in (WHOLE, REBUILT)]
        table.append([task, *took, *cells])
    header = ["task", "default: first call", "again", "`--panel`: first call", "again"]
    return markdown([*header, "default: reference cells", "`--panel`: reference cells"], table)


def _every_seed(rows: Sequence[Record], tasks: Sequence[str], beside: dict[str, Beside]) -> str:
    table = []
    for task in tasks:
        own = [_of(rows, task, method, "macro_f1") for method in (WHOLE, REBUILT)]
        made = [*own, *([value for _, value in by_task.get(task, [])] for by_task in beside.values())]
        table.append([task, *(" ".join(f"{one:.3f}" for one in some) for some in made)])
    return markdown(["task", WHOLE, REBUILT, *beside], table)


if __name__ == "__main__":
    main()
