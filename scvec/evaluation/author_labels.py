"""The author's labels of a query's cells."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, TypeAlias

from scvec.annotation.result import Annotation
from scvec.core.types import Strings
from scvec.errors import InputError, LabelError
from scvec.ingest.cells import Cells, open_cells
from scvec.ingest.cells.file import labels_of as labels_of_column
from scvec.ingest.cells.frames import Column
from scvec.ingest.cells.options import ReadOptions
from scvec.ontology.spelling import spelling

ALIKE = 0.8
"""How similar two spellings must be, 0 to 1, for one to be suggested in place of the other."""


Given: TypeAlias = "str | Sequence[str] | Any"
"""Values of cells: a column of their ``obs``, by name; or the values, a pandas Series among them."""


def read_author_labels(
    query: Cells, label_key: str, parameter: str = "label_key", read: ReadOptions | None = None
) -> Strings:
    """Return (n,) the author's labels, from a column of a query's ``obs``; "" for a cell that has none.

    Raises as `scvec.evaluate` does; `read` is how the query is read.
    """
    read = read or ReadOptions()
    with open_cells(query, read.obs, read.selection) as file:
        return file.labels_where_any(label_key, parameter, read.unlabelled)


def labels_of(calls: Annotation, given: Given, parameter: str) -> Strings:
    """Return (n,) labels for the cells of `calls`, "" for a cell that has none.

    Those of a Series that has the cells' names are matched by name.

    Raises
    ------
    InputError
        If there is no such column, no cell has a label, or the labels are not of these cells.
    """
    if isinstance(given, str):
        return calls.query.labels(given, parameter)
    wanted = f"one value for each of the {len(calls):,} cells"
    names = getattr(given, "index", None)
    if hasattr(names, "is_unique"):  # of pandas
        given = _by_name(calls, given, parameter, wanted)
    if len(given) != len(calls):
        raise InputError(f"`{parameter}` has {len(given):,} values", wanted, "give the labels of the annotated cells")
    unlabelled = () if calls.source is None else calls.source.read.unlabelled
    return labels_of_column(Column.of(getattr(given, "array", given)), f"`{parameter}`", unlabelled)


def _by_name(calls: Annotation, series: Any, parameter: str, wanted: str) -> Any:
    """Return a Series in the order of the calls; one with other names than the cells', as numbers, stays as it is."""
    names = [str(one) for one in series.index]
    if names == calls.obs_names.tolist() or not len(series):
        return series
    own = dict(zip(names, range(len(names)), strict=True))
    if len(own) == len(names) and all(name in own for name in calls.obs_names.tolist()):
        return series.iloc[[own[name] for name in calls.obs_names.tolist()]]
    if series.index.inferred_type == "integer":
        return series
    lacking = [name for name in calls.obs_names.tolist() if name not in own]
    seen = f"`{parameter}` has no value for {len(lacking):,} of the annotated cells ({', '.join(lacking[:3])}, ...)"
    raise InputError(seen, wanted, "give the labels of the annotated cells, by their names")


def ids_by_label(labels: Strings, ids: Strings) -> dict[str, str]:
    """Return the id of each label, given (n,) labels and ids of cells; raise `LabelError` if one has two."""
    pairs = sorted(set(zip(labels.tolist(), ids.tolist(), strict=True)))
    for (label, one), (other, two) in pairwise(pairs):
        if label == other:
            raise LabelError(f"label {label!r} has ids {one!r} and {two!r}", "one id for each label", "fix obs")
    return dict(pairs)


def note_lacking(lacking: Sequence[str], atlas_labels: Sequence[str]) -> tuple[str, ...]:
    """Return a note on the classes that the atlas lacks, with similar labels of the atlas; none if it lacks none."""
    shown = [or_near(one, atlas_labels) for one in lacking]
    fix = "; if the atlas has another name for one, map it with `label_map`" if shown != list(lacking) else ""
    return (f"the atlas has no cell of: {', '.join(shown)}; they cannot be called right{fix}",) if shown else ()


def or_near(label: str, others: Sequence[str]) -> str:
    """Return a label with the most similar one of `others`, if one is similar: ``"T_cell (t_cell?)"``."""
    spelled = {spelling(one): one for one in others}
    near = difflib.get_close_matches(spelling(label), spelled, n=1, cutoff=ALIKE)
    return f"{label} ({spelled[near[0]]}?)" if near else label
