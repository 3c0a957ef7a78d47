"""Views of a cell, alone and together, on open tasks; each step and each part left out, with controls.

    python -m benchmarks.views [--only baron-3 xin] [--beside FIGURES.json]

`--beside` takes macro-F1 of other methods on the same tasks, as {"method": {"task": 0.9}}, and shows them in the same
tables. What was measured before is kept under `benchmarks/work/views`, with the hash of the code that made it.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from time import perf_counter
from typing import Any, TypeAlias

import numpy as np
from sklearn.metrics import accuracy_score, f1_score

import scvec as sv
import scvec.views
from benchmarks import views_tasks
from benchmarks.common import WORK, machine, make_parser, markdown, save
from benchmarks.views_tasks import Task, World, tasks, world
from scvec.core.types import Doubles, Floats
from scvec.core.vectors import unit_rows
from scvec.views import VIEWS, Joining, Labelled, called, fit_views
from scvec.views.joined import joined
from scvec.views.regression import Softmax, fit_softmax
from scvec.views.shift import MIN_CELLS
from scvec.views.view import FEW

Figures: TypeAlias = dict[str, dict[str, dict[str, float]]]
KINDS = {"whole": "all genes", "few": "few genes", "simulated": "simulated shifts"}
OUT = WORK / "views"


def main() -> None:
    parser = make_parser("views", __doc__)
    parser.add_argument("--only", nargs="*", default=[], help="names of tasks")
    parser.add_argument("--beside", type=Path, help="figures of other methods")
    args = parser.parse_args()
    chosen = [task for task in tasks() if not args.only or task.name in args.only]
    figures: Figures = {}
    for task in chosen:
        figures[task.name] = measured(task)
    beside = json.loads(args.beside.read_text(encoding="utf-8")) if args.beside else {}
    for name, by_task in beside.items():
        for task in chosen:
            if task.name in by_task:
                figures[task.name][name] = {"macro_f1": by_task[task.name]}
    if args.only:
        print(table(chosen, figures))
    else:
        values = {"tasks": {task.name: {"kind": task.kind, **figures[task.name]} for task in chosen}}
        save("views", "python -m benchmarks.views --beside FIGURES.json", values, table(chosen, figures))
