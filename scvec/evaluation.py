"""Calls against the labels an author gave: accuracy, macro-F1 over the query's classes, per class, confusions."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from scvec.annotation import Annotation
from scvec.errors import FileError, LabelError
from scvec.ingest.cells.h5ad import open_h5ad
from scvec.types import Strings

if TYPE_CHECKING:
    import polars as pl

NO_MAP: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True)
class Evaluation:
    """How calls compare with an author's labels.

    Attributes
    ----------
    n_cells
        Cells compared; every cell counts, those left unknown as wrong.
    accuracy
        Share of cells called right.
    macro_f1
        Mean F1 over the classes present in the query.
    classes
        The query's classes, sorted.
    precision, recall, f1, support
        (c,) for each class.
    called
        The columns of `confusion`: every class or label that occurs, sorted.
    confusion
        (c, m) cells of each class by what they were called.
    not_in_atlas
        Classes of the query that the atlas has no cell of: they cannot be called right.
    """

    n_cells: int
    accuracy: float
    macro_f1: float
    classes: tuple[str, ...]
    precision: NDArray[np.float64]
    recall: NDArray[np.float64]
    f1: NDArray[np.float64]
    support: NDArray[np.int64]
    called: tuple[str, ...]
    confusion: NDArray[np.int64]
    not_in_atlas: tuple[str, ...]

    def per_class(self) -> pl.DataFrame:
        """Return one row a class: label, support, precision, recall, f1."""
        import polars as pl

        keys = ("support", "precision", "recall", "f1")
        return pl.DataFrame({"label": list(self.classes), **{key: getattr(self, key) for key in keys}})

    def to_dict(self) -> dict[str, Any]:
        """Return the figures as JSON types."""
        return {
            "n_cells": self.n_cells,
            "accuracy": round(self.accuracy, 4),
            "macro_f1": round(self.macro_f1, 4),
            "not_in_atlas": list(self.not_in_atlas),
            "per_class": [
                {key: round(value, 4) if isinstance(value, float) else value for key, value in row.items()}
                for row in self.per_class().to_dicts()
            ],
        }


def compare(called: Strings, truth: Strings, atlas_labels: Sequence[str]) -> Evaluation:
    """Compare (n,) labels called with (n,) labels given.

    Raises
    ------
    LabelError
        If no label given is one of the atlas's: the two speak different languages, and every figure would be 0.
    """
    from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

    classes = sorted(set(truth.tolist()))
    known = set(atlas_labels)
    if not known & set(classes):
        raise LabelError(
            f"labels such as {classes[0]!r}, and none that the atlas knows",
            f"labels such as {sorted(known)[0]!r}",
            "map the query's labels to the atlas's with --label-map FILE",
        )
    precision, recall, f1, support = precision_recall_fscore_support(truth, called, labels=classes, zero_division=0)
    everything = sorted({*classes, *called.tolist()})
    confusion = confusion_matrix(truth, called, labels=everything)
    return Evaluation(
        n_cells=len(truth),
        accuracy=float(np.mean(called == truth)),
        macro_f1=float(np.mean(f1)),
        classes=tuple(classes),
        precision=precision,
        recall=recall,
        f1=f1,
        support=np.asarray(support, np.int64),
        called=tuple(everything),
        confusion=confusion[[everything.index(one) for one in classes]],
        not_in_atlas=tuple(one for one in classes if one not in known),
    )


def evaluate(
    calls: Annotation, query: str | Path, *, label_key: str, label_map: Mapping[str, str] = NO_MAP
) -> Evaluation:
    """Compare calls with a column of the query's ``obs``.

    Parameters
    ----------
    calls
        The calls for `query`.
    query
        The h5ad that was annotated.
    label_key
        Its column of labels.
    label_map
        The atlas's label by the query's; a label that is not a key stays as it is.

    Raises
    ------
    KeyNotFoundError, LabelError
        If there is no such column, values are missing, no label is the atlas's, or the map leads to one that is not.
    """
    stray = sorted(set(label_map.values()) - set(calls.labels))
    if stray:
        raise LabelError(
            f"--label-map leads to {stray[0]!r}",
            f"labels of the atlas: {', '.join(calls.labels)}",
            "mend the map",
        )
    truth = np.array([label_map.get(one, one) for one in given_labels(query, label_key).tolist()], dtype=object)
    return compare(calls.label, truth, calls.labels)


def given_labels(query: str | Path, label_key: str) -> Strings:
    """Return (n,) the author's labels in a column of a query's ``obs``; raises as `evaluate` does."""
    with open_h5ad(query) as file:
        return file.labels(label_key, "--label-key")


def read_label_map(path: str | Path) -> dict[str, str]:
    """Read a label map: a JSON object, or CSV or TSV with the columns ``query`` and ``atlas``.

    Raises
    ------
    FileError
        If it is missing or neither.
    """
    import polars as pl

    path = Path(path)
    wanted = 'a JSON object {"query label": "atlas label"}, or CSV or TSV with the columns query and atlas'
    try:
        if path.suffix == ".json":
            found = json.loads(path.read_text(encoding="utf-8"))
            if not isinstance(found, dict) or not all(isinstance(one, str) for one in found.values()):
                raise ValueError("no object of strings")
            return found
        table = pl.read_csv(path, separator="\t" if path.suffix == ".tsv" else ",", infer_schema=False)
        return dict(table.select("query", "atlas").drop_nulls().iter_rows())
    except (OSError, ValueError, pl.exceptions.PolarsError) as error:
        raise FileError(f"--label-map {path}: {str(error)[:100]}", wanted, "mend the file") from error
