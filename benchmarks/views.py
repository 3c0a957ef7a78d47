"""Views of a cell, alone and together, on open tasks; each step and each part left out, with controls.

    python -m benchmarks.views [--only baron-3 xin] [--beside FIGURES.json]

`--beside` takes macro-F1 of other methods on the same tasks, as {"method": {"task": 0.9}}, and shows them in the same
tables. What was measured before is kept under `benchmarks/work/views`, with the hash of the code that made it.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TypeAlias

from benchmarks.common import WORK, make_parser, save
from benchmarks.views_tasks import tasks

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
