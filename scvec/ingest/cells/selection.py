"""Which cells of a file are read: those of a condition, of a table of annotations, or with a label."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from scvec.core.types import Bools
from scvec.errors import InputError
from scvec.ingest.cells.conditions import fulfilled
from scvec.ingest.cells.file import CellFile
from scvec.ingest.cells.unlabelled import in_words, said_instead


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Which cells of a file are read; the others are as if they were not there.

    Attributes
    ----------
    only
        A condition in SQL on the cells' annotations: see `scvec.ReadOptions`.
    only_annotated
        Only cells that the table of annotations has.
    label_key
        Only cells with a label in this column.
    unlabelled
        Labels that mean none, in addition to the usual ones.
    """

    only: str | None = None
    only_annotated: bool = False
    label_key: str | None = None
    unlabelled: Sequence[str] = ()

    def of(self, file: CellFile) -> CellFile:
        """Return the file with the selected cells only; it notes what is left out.

        Raises
        ------
        InputError
            If the condition is invalid, no cell is left, or there is no table of annotations to go by.
        """
        for step in (_annotated, _fulfilling, _labelled):
            file = step(self, file)
        return file


ALL_CELLS = Selection()
"""Leaves no cell out."""


def _annotated(asked: Selection, file: CellFile) -> CellFile:
    if not asked.only_annotated:
        return file
    if file.table is None:
        raise InputError("`only_annotated` without `obs` has no effect", fix="give both, or leave it out")
    has = np.asarray(file.table.rows >= 0)
    if not has.any():
        file.table.expect_complete()
    said = f"{file.path.name}: {_counted(~has)} left out, as the table of annotations lacks them"
    return file if has.all() else file.keeping(has, said, {"not_annotated": int((~has).sum())})


def _fulfilling(asked: Selection, file: CellFile) -> CellFile:
    if asked.only is None:
        return file
    found = fulfilled(asked.only, file.obs_keys, file.column)
    if not found.any():
        seen = f"{file.path}: no cell fulfils `only` {asked.only[:100]!r}"
        raise InputError(seen, f"a condition that some of its {len(found):,} cells fulfil", "look at the values in obs")
    said = f"{file.path.name}: {_counted(found)} are read, those with {asked.only}"
    return file.keeping(found, said, {"only": asked.only})


def _labelled(asked: Selection, file: CellFile) -> CellFile:
    key = asked.label_key
    if key is None:
        return file
    has = file.labels_where_any(key, "label_key", asked.unlabelled) != ""
    instead = said_instead(file.column(key), has)
    said = f"{file.path.name}: {_counted(~has)} left out, as they have no label ({in_words(instead)})"
    return file if has.all() else file.keeping(has, said, {"unlabelled": instead})


def _counted(cells: Bools) -> str:
    return f"{int(cells.sum()):,} of {len(cells):,} cells"
