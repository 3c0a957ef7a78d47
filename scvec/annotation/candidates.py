"""Candidates: the reference cells that may vote. All of an atlas, or those that match a filter and lists of labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches

import numpy as np

from scvec.atlas import Atlas
from scvec.core.types import Floats, Ints, Neighbors, Strings
from scvec.errors import InputError, KeyNotFoundError, unknown
from scvec.index import Among, Searched

SHOWN = 5
"""Labels that a note lists."""


@dataclass(frozen=True, slots=True)
class Candidates:
    """Cells of an atlas that may vote, and an index of these alone. Make them with `candidates_of`.

    Attributes
    ----------
    atlas
        The reference.
    rows
        (m,) their row ids, ascending.
    index
        Searches among them.
    labels
        (L,) all labels of the atlas.
    codes
        (n,) the label of each cell of the atlas, as a position in `labels`; in the order of its `obs`.
    notes
        What a reader should know about the choice.
    """

    atlas: Atlas
    rows: Ints
    index: Searched
    labels: Strings
    codes: Ints
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def counts(self) -> Ints:
        """(L,) number of candidates of each label."""
        return np.bincount(self.codes[self.atlas.positions(self.rows)], minlength=len(self.labels))

    def nearest(self, queries: Floats, k: int) -> Neighbors:
        """Return the k nearest candidates of (n, d) unit vectors."""
        return self.atlas.search(queries, k, self.index)


def candidates_of(
    atlas: Atlas, where: str | None = None, allow: Sequence[str] = (), block: Sequence[str] = ()
) -> Candidates:
    """Choose the cells of an atlas that may vote.

    Parameters
    ----------
    atlas
        The reference.
    where
        A condition in SQL on the columns of its `obs`; None: no condition.
    allow, block
        Labels that may be called (empty: all), and labels that may not.

    Raises
    ------
    InputError
        If the condition is invalid, a label is not in the atlas, or no cell is left.
    """
    labels, codes = atlas.label_names, atlas.label_codes
    for parameter, names in (("allow", allow), ("block", block)):
        for name in names:
            if name not in labels:
                raise _no_such_label(parameter, name, labels.tolist())
    may = np.array([(not allow or label in allow) and label not in block for label in labels.tolist()])
    rows = atlas.filled[may[codes[atlas.positions(atlas.filled)]]]
    if where is not None:
        rows = np.intersect1d(rows, atlas.where(where))
    filters = _filters(where, allow, block)
    if not len(rows):
        keeps = " that it keeps for queries of few genes" if atlas.is_panel else ""
        raise InputError(
            f"no cell of atlas {atlas.name!r}{keeps} is left ({'; '.join(filters)})",
            f"a filter by label or by {', '.join(atlas.obs.column_names)} that leaves some",
            "filter less",
        )
    index = atlas.narrowed(rows)
    how = ""
    if isinstance(index, Among) and index.is_refused:
        how = f", exactly, because an index {atlas.index.factory} cannot leave cells out"
    notes = (f"{len(rows):,} of {len(atlas.filled):,} cells searched{how}: {'; '.join(filters)}",) if filters else ()
    return Candidates(atlas, rows, index, labels, codes, notes)


def _no_such_label(parameter: str, name: str, labels: list[str]) -> KeyNotFoundError:
    by_fold = {label.casefold(): label for label in labels}
    near = get_close_matches(name.casefold(), by_fold, n=SHOWN)
    return unknown(f"label for `{parameter}`", name, [by_fold[one] for one in near] or labels)


def _filters(where: str | None, allow: Sequence[str], block: Sequence[str]) -> list[str]:
    """Return the filters, a phrase each."""
    filters = [] if where is None else [f"where {where}"]
    for verb, names in (("allow", allow), ("block", block)):
        if names:
            filters.append(f"{verb} {', '.join(names[:SHOWN])}{', ...' if len(names) > SHOWN else ''}")
    return filters
