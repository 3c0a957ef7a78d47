"""Views of a cell, alone and together, on open tasks: each view and each step left out, with controls.

    python -m benchmarks.views [--only baron-3 xin] [--beside FIGURES.json]

`--beside` takes macro-F1 of other methods on the same tasks, as {"method": {"task": 0.9}}, and shows them in the same
tables. What was fitted before is kept under `benchmarks/work/views`, by a hash of the code that fits it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeAlias

import numpy as np
from sklearn.cluster import KMeans
from sklearn.metrics import accuracy_score, f1_score

import scvec
from benchmarks import views_tasks
from benchmarks.common import WORK, make_parser, markdown, save
from benchmarks.views_tasks import Task, World, tasks, world
from scvec.core.types import Bools, Doubles, Floats, silent
from scvec.embed.recipe import RECIPES
from scvec.embed.refine import fit_head
from scvec.embed.sample import Sample
from scvec.knn.folds import retrieve
from scvec.knn.options import DEFAULT
from scvec.views import NEIGHBORS, VIEWS, Joining, View, Views, fit_views, joined
from scvec.views.corrected import GENES, fit_corrected
from scvec.views.joining import SHARPNESS
from scvec.views.regression import fit_softmax
from scvec.views.shift import shift_of
from scvec.views.teaching import taught

Figures: TypeAlias = dict[str, dict[str, dict[str, float]]]
OUT = WORK / "views"
KINDS = {"whole": "all genes", "few": "few genes", "simulated": "simulated shifts"}
DEFAULT_VIEWS = tuple(RECIPES["refined"].views)
ROOMS = tuple(Path(scvec.__file__).parent / name for name in ("views", "embed", "knn"))


def main() -> None:
    parser = make_parser("views", __doc__)
    parser.add_argument("--only", nargs="*", default=[], help="names of tasks")
    parser.add_argument("--beside", type=Path, help="figures of other methods")
    args = parser.parse_args()
    chosen = [task for task in tasks() if not args.only or task.name in args.only]
    figures: Figures = {}
    for task in chosen:
        figures[task.name] = _measured(task)
        print(task.name, f"{figures[task.name][TOGETHER]['macro_f1']:.3f}", flush=True)
    beside = json.loads(args.beside.read_text(encoding="utf-8")) if args.beside else {}
    for name, by_task in beside.items():
        for task in chosen:
            if task.name in by_task:
                figures[task.name][name] = {"macro_f1": by_task[task.name]}
    if args.only:
        print(_text(chosen, figures))
    else:
        values = {"tasks": {task.name: {"kind": task.kind, "methods": figures[task.name]} for task in chosen}}
        save("views", "python -m benchmarks.views --beside FIGURES.json", values, _text(chosen, figures))


TOGETHER = "**together: moved, then taught**"


def _measured(task: Task) -> dict[str, dict[str, float]]:
    """Return accuracy and macro-F1 by method; what was measured with the same code is read."""
    path = OUT / f"{task.name}-{_code(Path(__file__), Path(views_tasks.__file__), *ROOMS)}.json"
    if not path.exists():
        own = world(task)
        votes = _kept_votes(task, own)
        called = {name: own.names[shares.argmax(axis=1)] for name, shares in _methods(own, votes).items()}
        found = {name: _figures(own, labels) for name, labels in called.items()}
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(found), encoding="utf-8")
    kept: dict[str, dict[str, float]] = json.loads(path.read_text(encoding="utf-8"))
    return kept


def _code(*parts: Path) -> str:
    files = [path for part in parts for path in (sorted(part.rglob("*.py")) if part.is_dir() else [part])]
    return hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()[:12]


def _kept_votes(task: Task, own: World) -> Doubles:
    """Return the votes of neighbours, whose head takes longest to train; those by the same code are read."""
    path = OUT / f"{task.name}-{_code(Path(views_tasks.__file__), *ROOMS[1:])}.npy"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        np.save(path, _votes(own))
    return np.asarray(np.load(path), np.float64)


def _figures(own: World, called: np.ndarray) -> dict[str, float]:
    present = np.unique(own.truth.astype(str))
    macro = f1_score(own.truth, called, labels=present, average="macro", zero_division=0)
    return {"accuracy": float(accuracy_score(own.truth, called)), "macro_f1": float(macro)}


def _methods(own: World, votes: Doubles) -> dict[str, Doubles]:
    """Return (n, L) shares by method."""
    of = fit_views(own.cells, VIEWS, 0)
    points = {name: view.project(own.query) for name, view in of.items()}
    shares = {name: view.shares(points[name]) for name, view in of.items()}
    default = {name: of[name] for name in DEFAULT_VIEWS}
    found = {f"{name} alone": one for name, one in {NEIGHBORS: votes, **shares}.items()}
    alone = joined({NEIGHBORS: votes, **{name: shares[name] for name in default}}, Joining())
    found["together, each cell alone"] = alone
    found["together, taught, not moved"] = taught(alone, points["corrected"], np.ones(len(alone), bool))
    found["together, moved, not taught"] = _settled(default, Joining(), votes, points, teach=False)
    found[TOGETHER] = _settled(default, Joining(), votes, points)
    for name in default:
        rest = {other: view for other, view in default.items() if other != name}
        found[f"without {name}"] = _settled(rest, Joining(), votes, points)
    found[f"without {NEIGHBORS}"] = _settled(default, Joining({NEIGHBORS: 0.0}), votes, points)
    found["with linear"] = _settled({**default, "linear": of["linear"]}, Joining(), votes, points)
    found["linear in place of neighbors"] = _settled(
        {**default, "linear": of["linear"]}, Joining({NEIGHBORS: 0.0}), votes, points
    )
    found["all views count alike"] = _settled(default, Joining(dict.fromkeys(SHARPNESS, 0.4)), votes, points)
    return found | _controls(own, default, votes, points)


def _settled(
    of: Mapping[str, View],
    joining: Joining,
    votes: Doubles,
    points: Mapping[str, Floats],
    *,
    teach: bool = True,
) -> Doubles:
    """Return the shares of a query that the views adapt to."""
    views, every = Views(of, joining), np.ones(votes.shape[1], bool)
    trusted: Bools = np.ones(len(votes), bool)
    own = {name: points[name] for name in of}
    if teach:
        return views.settle(votes.astype(np.float32), own, every, trusted).shares.astype(np.float64)
    shares = {name: view.shares(points[name]) for name, view in of.items()}
    view, total = of["corrected"], joined({NEIGHBORS: votes, **shares}, joining)
    arrays = view.arrays()
    for _ in range(3):
        shift = shift_of(points["corrected"], total, trusted, arrays["centres"], arrays["sizes"])
        shares["corrected"] = view.shares(shift.moved(points["corrected"]))
        total = joined({NEIGHBORS: votes, **shares}, joining)
    return total


def _controls(
    own: World, default: Mapping[str, View], votes: Doubles, points: Mapping[str, Floats]
) -> dict[str, Doubles]:
    """Return what is left where components are those of random genes."""
    rng = np.random.default_rng(0)
    usable = np.flatnonzero(own.cells.measured)
    drawn = np.zeros(len(own.cells.measured), bool)
    drawn[rng.choice(usable, min(GENES, len(usable)), replace=False)] = True
    random = fit_corrected(replace(own.cells, measured=drawn), 0)
    its = {**points, "corrected": random.project(own.query)}
    dropped = _with_modules_dropped(own, default["corrected"], points["corrected"])
    return {
        "candidate: corrected, trained with modules of genes dropped, alone": dropped,
        "control: corrected on random genes, alone": random.shares(its["corrected"]),
        "control: together, corrected on random genes": _settled(
            {**default, "corrected": random}, Joining(), votes, its
        ),
    }


def _with_modules_dropped(own: World, view: View, points: Floats) -> Doubles:
    """Return shares by a head that is trained on the cells, and on three copies that lack .3 of 30 modules of genes."""
    rng, arrays = np.random.default_rng(0), view.arrays()
    weights, mean = arrays["weights"], arrays["mean"]
    cells = own.cells.logged[:, view.genes].toarray() - mean
    lengths = np.maximum(np.linalg.norm(weights, axis=1, keepdims=True), 1e-9)
    modules = KMeans(min(30, len(weights)), n_init=1, random_state=0).fit_predict(weights / lengths)
    copies = [cells, *(cells * (rng.random((len(cells), 30)) >= 0.3)[:, modules] for _ in range(3))]
    seen = np.vstack([(one @ weights).astype(np.float32) for one in copies])
    return fit_softmax(seen, np.tile(own.cells.codes, 4), own.cells.n_labels).shares(points)


def _votes(own: World) -> Floats:
    """Return (n, L) votes of the nearest neighbours, by a head that is trained without texts on the shared genes."""
    cells, genes = own.cells, own.cells.logged.shape[1]
    sample = Sample(
        logged=cells.logged,
        counts=None,
        totals=np.ones(len(cells)),
        codes=cells.codes,
        names=tuple(own.names.tolist()),
        batches=cells.batches.astype(str).astype(object),
    )
    recipe, every = RECIPES["refined"].without_text(), np.ones(genes, bool)
    head = fit_head(recipe, np.arange(genes), np.zeros((genes, 0), np.float32), sample, silent).head
    known, asked = (head.vectors(one, every)[0] for one in (cells.logged, own.query))
    return retrieve(known, cells.codes, cells.n_labels, asked, DEFAULT)[1].shares


def _text(chosen: Sequence[Task], figures: Figures) -> str:
    """Return the tables: means by kind of task, then macro-F1 of the main methods by task."""
    kinds = [kind for kind in KINDS if any(task.kind == kind for task in chosen)]
    names = list(dict.fromkeys(name for task in chosen for name in figures[task.name]))

    def mean(name: str, kind: str | None) -> float | str:
        some = [figures[task.name].get(name) for task in chosen if kind in (None, task.kind)]
        return float(np.mean([one["macro_f1"] for one in some if one])) if all(some) else "-"

    rows = [[name, *(mean(name, kind) for kind in kinds), mean(name, None)] for name in names]
    header = ["macro-F1, mean over tasks", *(KINDS[kind] for kind in kinds), "all"]
    aside = ("without", "control", "candidate", "count", "in place", "with linear", "not ")
    main = [name for name in names if not any(word in name for word in aside)]
    by_task = [
        [task.name, *(figures[task.name].get(name, {}).get("macro_f1", "-") for name in main)] for task in chosen
    ]
    return f"# Views of a cell\n\n{markdown(header, rows)}\n\n{markdown(['task', *main], by_task)}"


if __name__ == "__main__":
    main()
