"""The files of an evaluation: the label map that it reads, and the folder that it writes."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import polars as pl

from scvec.core.files import placing, read_pairs
from scvec.core.spreadsheets import guarded
from scvec.errors import InputError
from scvec.evaluation import plots
from scvec.evaluation.result import Evaluation


def check_folder(out: Path) -> None:
    """Raise if an evaluation cannot be written to `out`: it is a file."""
    if out.exists() and not out.is_dir():
        raise InputError(f"`out` {out} is a file", "a folder", "name a folder")


def write_evaluation(evaluation: Evaluation, out: Path, title: str) -> list[Path]:
    """Write metrics as JSON, tables as CSV and plots as PNG into `out`, and return their paths.

    If the calls have confidences, there are plots of their reliability and of accuracy against coverage. Other files in
    `out` stay. All are made before the first one is placed, so that no interruption leaves some of them.
    """
    part = out.absolute().with_name(f".{out.absolute().name}.part")
    shutil.rmtree(part, ignore_errors=True)  # left by a process that was killed
    try:
        made = _written(evaluation, part, title)
        out.mkdir(parents=True, exist_ok=True)
        return [path.replace(out / path.name) for path in made]
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _written(evaluation: Evaluation, out: Path, title: str) -> list[Path]:
    paths = [out / name for name in ("metrics.json", "per_class.csv", "confusion.csv", "confusion.png")]
    with placing(paths[0]) as part:
        part.write_text(json.dumps(evaluation.to_dict(), indent=1) + "\n", encoding="utf-8")
    with placing(paths[1]) as part:
        guarded(evaluation.per_class()).write_csv(part, float_precision=4)
    columns = {f"called {name}": evaluation.confusion[:, i] for i, name in enumerate(evaluation.called)}
    table = pl.DataFrame({"label": list(evaluation.classes), **columns})
    with placing(paths[2]) as part:
        guarded(table).write_csv(part)
    plots.confusion(evaluation, paths[3], title)
    if evaluation.trust is not None:
        paths += [out / "reliability.png", out / "coverage.png"]
        plots.reliability(evaluation.trust, paths[-2], title)
        plots.coverage(evaluation.trust, evaluation.rejection, paths[-1], title)
    return paths


def summary(evaluation: Evaluation) -> str:
    """Return the figures in one line, those of rejection, confidences and sets in another, other calls in a third."""
    one, n_classes = evaluation, len(evaluation.classes)
    line = f"{one.n_cells:,} cells, accuracy {one.accuracy:.3f}, macro-F1 {one.macro_f1:.3f} over {n_classes} classes"
    if one.not_in_atlas:
        n_known = n_classes - len(one.not_in_atlas)
        line += f"; {one.known_accuracy:.3f} and {one.known_macro_f1:.3f} over the {n_known} that the atlas has"
    parts = [str(part) for part in (one.rejection, one.trust, one.sets) if part is not None]
    others = [f"{name}: {score}" for name, score in one.other_calls.items()]
    return "\n".join([line, *(["; ".join(parts)] if parts else []), *(["; ".join(others)] if others else [])])


def read_label_map(path: str | Path) -> dict[str, str]:
    """Read a label map: a JSON object, or CSV or TSV with the columns ``query`` and ``atlas``.

    Raises
    ------
    FileError
        If the file is missing or has another format.
    """
    return {
        label: name for label, name in read_pairs(path, "query", "atlas", "`label_map`").items() if name is not None
    }
