"""The reference cells that may vote: all of an atlas, or those that a filter and lists of labels leave."""

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
"""Labels that a note names."""


@dataclass(frozen=True, slots=True)
class Candidates:
    """Cells of an atlas that may vote, and an index of no others. Get them from `candidates_of`.

    Attributes
    ----------
    atlas
        Whose cells they are.
    rows
        (m,) their row ids, ascending.
    index
        Searches among them.
    labels
        (L,) all labels of the atlas.
    codes
        (n,) which of `labels` each cell of the atlas has, in the order of its `obs`.
    notes
        What a reader should know of the choice.
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
        """(L,) how many of them there are of each label."""
        return np.bincount(self.codes[self.atlas.positions(self.rows)], minlength=len(self.labels))

    def nearest(self, queries: Floats, k: int) -> Neighbors:
        """Return the k nearest of them of (n, d) vectors of length one."""
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
        Labels that may be called, all of them if none is given; labels that may not.

    Raises
    ------
    InputError
        If the condition is none, if the atlas has no such label, or if no cell is left.
    """
    labels, codes = atlas.label_names, atlas.label_codes
    for option, names in (("--allow", allow), ("--block", block)):
        for name in names:
            if name not in labels:
                raise _no_such_label(option, name, labels.tolist())
    may = np.array([(not allow or label in allow) and label not in block for label in labels.tolist()])
    rows = atlas.filled[may[codes[atlas.positions(atlas.filled)]]]
    if where is not None:
        rows = np.intersect1d(rows, atlas.where(where))
    asked = _asked(where, allow, block)
    if not len(rows):
        raise InputError(
            f"no cell of atlas {atlas.name!r} is left by {'; '.join(asked)}",
            f"some cells, by their label or their {', '.join(atlas.obs.column_names)}",
            "ask for less",
        )
    index = atlas.narrowed(rows)
    how = ""
    if isinstance(index, Among) and index.is_refused:
        how = f", exactly, as an index {atlas.index.factory} cannot leave cells out"
    notes = (f"{len(rows):,} of {len(atlas.filled):,} cells searched{how}: {'; '.join(asked)}",) if asked else ()
    return Candidates(atlas, rows, index, labels, codes, notes)


def _no_such_label(option: str, name: str, labels: list[str]) -> KeyNotFoundError:
    by_fold = {label.casefold(): label for label in labels}
    near = get_close_matches(name.casefold(), by_fold, n=SHOWN)
    return unknown(f"label for {option}", name, [by_fold[one] for one in near] or labels)


def _asked(where: str | None, allow: Sequence[str], block: Sequence[str]) -> list[str]:
    """Return what was asked, a phrase each."""
    asked = [] if where is None else [f"where {where}"]
    for verb, names in (("allow", allow), ("block", block)):
        if names:
            asked.append(f"{verb} {', '.join(names[:SHOWN])}{', ...' if len(names) > SHOWN else ''}")
    return asked
