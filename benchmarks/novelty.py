"""Whether cells of a type that the reference lacks are called unknown: each label in turn is left out of a reference.

    python -m benchmarks.novelty [--others]

Needs no texts and no store: each atlas is built by the recipe `refined` with free weights, in a store of its own. What
each trial found is kept in `benchmarks/work/novelty`, so that other ways to join the signals are tried in seconds;
`--again` makes it again.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
from sklearn.metrics import roc_auc_score

import scvec as sv
from benchmarks.common import DATA, WORK, make_parser, markdown, save
from scvec.annotation.candidates import candidates_of
from scvec.annotation.rejection import TOO_NOVEL
from scvec.annotation.searching import Asked, Sums, found_for
from scvec.atlas.query_cells import open_query
from scvec.core.types import Bools, Doubles, Floats, Ints, Strings, silent
from scvec.knn.calibration import ARRAYS, OF_NOVELTY, Calibration, HeldOut, Signals, calibrate, signals
from scvec.knn.options import DEFAULT

MAX_ERROR = 0.05
MIN_CELLS = 5
"""A label is left out if the query has so many of its cells, and the reference too."""

CELLS = {
    "pancreas": ("pancreas_baron_human.h5ad", "cell_type1"),
    "retina": ("retina_voigt2019_human_donors23.h5ad", "label"),
    "choroid": ("rpe_choroid_voigt2019_human.h5ad", "label"),
}
SIGNALS = ("share", "margin", "far", "odd")


@dataclass(frozen=True)
class Task:
    """Donors of a study as the reference, another as the query."""

    study: str
    query: str
    reference: tuple[str, ...]

    @property
    def name(self) -> str:
        """The name in tables."""
        return f"{self.study}, {self.query}"


TASKS = (
    Task("pancreas", "human3", ("human1", "human2", "human4")),
    Task("retina", "donor2", ("donor3",)),
    Task("choroid", "donor1", ("donor2", "donor3")),
)
"""Those on which the signals were chosen."""

OTHERS = (
    Task("pancreas", "human1", ("human2", "human3", "human4")),
    Task("retina", "donor3", ("donor2",)),
    Task("choroid", "donor2", ("donor1", "donor3")),
)
"""Other donors of the same studies."""


@dataclass(frozen=True)
class Way:
    """What is joined to the novelty, and whether the views are adapted to the query."""

    further: Sequence[str]
    odd: bool = True
    adapted: bool = False


BEFORE, NOW = "distance and unexpected genes (before)", "all"
WAYS: Mapping[str, Way] = {
    BEFORE: Way(()),
    **{f"{name} alone": Way((name,), odd=False) for name in OF_NOVELTY},
    **{f"all but {name}": Way([one for one in OF_NOVELTY if one != name]) for name in OF_NOVELTY},
    "all but unexpected genes": Way(tuple(OF_NOVELTY), odd=False),
    NOW: Way(tuple(OF_NOVELTY)),
    "before, adapted": Way((), adapted=True),
    "all, adapted": Way(tuple(OF_NOVELTY), adapted=True),
}
"""Without adapting, a call depends on its cell alone."""


@dataclass(frozen=True)
class Trial:
    """What was found with one label left out.

    Attributes
    ----------
    task, label
        Which trial it is.
    names
        (L,) the labels of the reference.
    held
        The held-out cells' calls.
    alone, adapted
        The signals of the query's calls, each from its cell alone, and with the views adapted to the query.
    truth
        (n,) author labels of the query.
    """

    task: Task
    label: str
    names: Strings
    held: HeldOut
    alone: Signals
    adapted: Signals
    truth: Strings

    @property
    def new(self) -> Bools:
        """(n,) True for cells of the label that was left out."""
        return np.asarray(self.truth == self.label)

    @property
    def known(self) -> Bools:
        """(n,) True for cells of a label that the reference has."""
        return np.isin(self.truth, self.names)

    def calibration(self, way: Way) -> Calibration:
        """Return the calibration with the signals of one way only; `odd` says nothing where all cells are alike."""
        odd = self.held.odd if way.odd else np.zeros_like(self.held.odd)
        return calibrate(replace(self.held, odd=odd, further={name: self.held.further[name] for name in way.further}))

    def seen(self, way: Way) -> Signals:
        """Return the query's signals for one way."""
        seen = self.adapted if way.adapted else self.alone
        return seen if way.odd else replace(seen, odd=np.zeros_like(seen.odd))


def trials(tasks: Sequence[Task], folder: Path, *, again: bool) -> Iterator[Trial]:
    """Yield each trial, made now or read from where it was kept."""
    for task in tasks:
        file, key = CELLS[task.study]
        cells = ad.read_h5ad(DATA / "cells" / file)
        donors, labels = cells.obs["donor"].astype(str).to_numpy(), cells.obs[key].astype(str).to_numpy()
        ours, theirs = np.isin(donors, task.reference), donors == task.query
        for label in np.unique(labels[theirs]):
            if min((labels[ours] == label).sum(), (labels[theirs] == label).sum()) < MIN_CELLS:
                continue
            path = folder / f"{task.name}, {label}.npz"
            if again or not path.exists():
                reference = cells[ours & (labels != label)].copy()
                _keep(path, _made(task, label, reference, cells[theirs].copy(), key))
            yield _read(path, task, label)


def _made(task: Task, label: str, reference: ad.AnnData, query: ad.AnnData, key: str) -> Trial:
    with tempfile.TemporaryDirectory() as folder:
        batch_key = "donor" if len(task.reference) > 1 else None
        atlas = sv.atlas.build(sv.Store(folder), "known", reference, label_key=key, batch_key=batch_key)
        with open_query(query, atlas, sv.QueryOptions()) as cells:
            chosen = candidates_of(atlas, None, (), ())

            def seen(adapt: bool) -> Signals:
                summed = Sums(cells.query.match, cells.matrix)
                found = found_for(cells, chosen, Asked(DEFAULT, atlas.views, adapt), summed, silent)
                codes = chosen.codes[found.positions]
                return signals(found.neighbors, codes, found.votes, found.odd, found.further)

            alone, adapted = seen(False), seen(True)
        assert atlas.calibration is not None
        names = np.array(atlas.label_names.tolist(), dtype=str)
        return Trial(task, label, names, atlas.calibration.held, alone, adapted, query.obs[key].to_numpy(dtype=str))


def _keep(path: Path, made: Trial) -> None:
    arrays = {f"held.{name}": getattr(made.held, name) for name in ARRAYS}
    arrays |= {f"held.further.{name}": one for name, one in made.held.further.items()}
    for kind, seen in (("alone", made.alone), ("adapted", made.adapted)):
        arrays |= {f"{kind}.{name}": getattr(seen, name) for name in (*SIGNALS, "called")}
        arrays |= {f"{kind}.further.{name}": one for name, one in seen.further.items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, names=made.names, truth=made.truth, **arrays)


def _read(path: Path, task: Task, label: str) -> Trial:
    arrays = dict(np.load(path))

    def under(beginning: str) -> dict[str, Any]:
        own = {key.removeprefix(beginning): one for key, one in arrays.items() if key.startswith(beginning)}
        return {key: one for key, one in own.items() if "." not in key}

    held = HeldOut(**under("held."), further=under("held.further."))
    alone, adapted = (Signals(**under(f"{kind}."), further=under(f"{kind}.further.")) for kind in ("alone", "adapted"))
    return Trial(task, label, arrays["names"], held, alone, adapted, arrays["truth"])


def measured(trial: Trial, way: Way) -> dict[str, Any]:
    """Return how well one way tells new cells from known ones, and what becomes unknown."""
    calibration, seen, new, known = trial.calibration(way), trial.seen(way), trial.new, trial.known
    novelty, confidence = calibration.novelty(seen), calibration.confidence(seen)
    codes = _codes(seen)
    unsure = confidence < calibration.thresholds(MAX_ERROR, len(trial.names))[codes]
    unknown = unsure | (novelty > calibration.too_novel(TOO_NOVEL))
    right = trial.names[codes] == trial.truth
    kept = known & ~unknown
    worst = {label: float(unknown[trial.truth == label].mean()) for label in np.unique(trial.truth[known])}
    return {
        "task": trial.task.name,
        "label": trial.label,
        "cells": int(new.sum()),
        "called": str(_most(trial.names[codes[new]])),
        "auroc": auroc(novelty, new, known),
        "at_5_percent": float((novelty[new] > np.quantile(novelty[known], 0.95)).mean()),
        "unknown_new": float(unknown[new].mean()),
        "unknown_known": float(unknown[known].mean()),
        "error": float((~right[kept]).mean()),
        "auroc_confidence": auroc(-confidence, new, known),
        "unknown_by_label": worst,
    }


def _codes(seen: Signals) -> Ints:
    assert seen.called is not None
    return np.maximum(seen.called, 0)


def _most(labels: Strings) -> Any:
    names, counts = np.unique(labels, return_counts=True)
    return names[counts.argmax()]


def auroc(values: Floats | Doubles, new: Bools, known: Bools) -> float:
    """Return how often a new cell has a larger value than a known one."""
    either = new | known
    return float(roc_auc_score(new[either], values[either]))


COLUMNS = {
    "auroc": "AUROC",
    "at_5_percent": "new above 95 % of known",
    "unknown_new": "new unknown",
    "unknown_known": "known unknown",
    "error": "error of calls kept",
    "auroc_confidence": "AUROC of confidence",
}


def summary(rows: Sequence[dict[str, Any]]) -> str:
    """Return the table of ways: means over the trials, and the worst trial."""
    table = []
    for way in WAYS:
        own = [row for row in rows if row["way"] == way]
        means: list[object] = [float(np.mean([row[key] for row in own])) for key in COLUMNS]
        table.append([way, *means, min(row["auroc"] for row in own), min(row["unknown_new"] for row in own)])
    return markdown(("novelty of", *COLUMNS.values(), "worst AUROC", "least new unknown"), table)


def by_trial(rows: Sequence[dict[str, Any]]) -> str:
    """Return the table of trials, before and now."""
    before, now = ([row for row in rows if row["way"] == way] for way in (BEFORE, NOW))
    header = ("query", "left out", "cells", "mostly called", "AUROC before", "now", "new unknown before", "now ")
    table = [
        [b["task"], b["label"], b["cells"], b["called"], b["auroc"], n["auroc"], b["unknown_new"], n["unknown_new"]]
        for b, n in zip(before, now, strict=True)
    ]
    return markdown(header, table)


def by_label(rows: Sequence[dict[str, Any]]) -> str:
    """Return the share of each label's own cells that become unknown, before and now: means over the trials."""
    ways = [BEFORE, NOW]
    found: dict[tuple[str, str], dict[str, list[float]]] = {}
    for row in rows:
        if row["way"] in ways:
            for label, share in row["unknown_by_label"].items():
                found.setdefault((row["task"], label), {way: [] for way in ways})[row["way"]].append(share)
    table = [[*key, *(float(np.mean(found[key][way])) for way in ways)] for key in sorted(found)]
    return markdown(("query", "label", "unknown before", "now"), table)


def main() -> None:
    parser = make_parser("novelty", __doc__)
    parser.add_argument("--again", action="store_true", help="build every atlas again")
    parser.add_argument("--others", action="store_true", help="other donors too, on which nothing was chosen")
    args = parser.parse_args()
    parts, values = [], {}
    parted = {"Donors on which the signals were chosen": TASKS} | ({"Other donors": OTHERS} if args.others else {})
    for title, tasks in parted.items():
        rows = []
        for trial in trials(tasks, WORK / "novelty", again=args.again):
            rows += [{"way": name, **measured(trial, way)} for name, way in WAYS.items()]
            print(trial.task.name, trial.label, f"{rows[-1]['auroc']:.3f}", flush=True)
        values[title] = rows
        n = len(rows) // len(WAYS)
        parts += [
            f"## {title} ({n} trials)",
            summary(rows),
            by_trial(rows),
            "Known cells that become unknown:",
            by_label(rows),
        ]
    text = (
        "# Cells of a type that the reference lacks\n\nEach label in turn is left out of the reference; its cells in "
        f"the query are new. Means over the trials. Unknown: as `max_error` {MAX_ERROR:g} has it, by novelty or by "
        "confidence. Known cells are those of labels that the reference has; the error is that of known cells whose "
        "call is kept."
    )
    save("novelty", "python -m benchmarks.novelty" + " --others" * args.others, values, "\n\n".join([text, *parts]))


if __name__ == "__main__":
    main()
