"""An evaluation as a folder of files."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl

from scvec.errors import InputError
from scvec.evaluation import Evaluation
from scvec.files import placing
from scvec.report import plots


def check_folder(out: Path) -> None:
    """Raise if `out` cannot take a report: it is a file, or pictures cannot be drawn."""
    if out.exists() and not out.is_dir():
        raise InputError(f"--out {out} is a file", "a folder", "name a folder")
    plots.require()


def write_evaluation(evaluation: Evaluation, out: Path, title: str) -> list[Path]:
    """Write metrics as JSON, tables as CSV and the confusion matrix as PNG into `out`, and return their paths."""
    paths = [out / name for name in ("metrics.json", "per_class.csv", "confusion.csv", "confusion.png")]
    with placing(paths[0]) as part:
        part.write_text(json.dumps(evaluation.to_dict(), indent=1) + "\n", encoding="utf-8")
    with placing(paths[1]) as part:
        evaluation.per_class().write_csv(part, float_precision=4)
    columns = {f"called {name}": evaluation.confusion[:, i] for i, name in enumerate(evaluation.called)}
    table = pl.DataFrame({"label": list(evaluation.classes), **columns})
    with placing(paths[2]) as part:
        table.write_csv(part)
    plots.confusion(evaluation, paths[3], title)
    return paths
