"""Groups of unknown cells: what their cells were called before rejection, and what type they look like by texts."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np

from scvec.annotation.result import Annotation
from scvec.core.types import UNKNOWN, Strings
from scvec.errors import InputError
from scvec.naming import Names, Suggestion


@dataclass(frozen=True, slots=True)
class UnknownGroup:
    """A group of unknown cells.

    Attributes
    ----------
    name, n_cells
        Its name, and its number of cells.
    looks_like
        The name from the Cell Ontology that stands out; None where none does.
    others
        The other names, the best first: runners-up, or, where none stands out, all.
    before
        Labels before rejection, with numbers of cells, the most frequent first; none for cells without expression.
    doubts
        Groups of doubtful calls that its cells are in, with numbers of cells, the most frequent first.
    """

    name: str
    n_cells: int
    looks_like: Suggestion | None
    others: tuple[Suggestion, ...]
    before: tuple[tuple[str, int], ...]
    doubts: tuple[tuple[str, int], ...]


def unknown_groups(calls: Annotation, doubted: Strings, names: Names) -> tuple[UnknownGroup, ...]:
    """Return the groups of unknown cells that were named, in the order of `names`.

    Parameters
    ----------
    calls
        The calls.
    doubted
        (n,) the group of doubtful calls of each cell, "" for none.
    names
        Names of groups of the same cells.

    Raises
    ------
    InputError
        If the names are not of these cells.
    """
    if not np.array_equal(names.obs_names, calls.obs_names):
        raise InputError("`names` are not of the cells of the calls", fix="make them with scvec.name(calls)")
    found = []
    for i, name in enumerate(names.clusters.tolist()):
        cells, first = np.flatnonzero(names.member == i), names.first(i)
        found.append(
            UnknownGroup(
                name=str(name),
                n_cells=len(cells),
                looks_like=first,
                others=names.suggestions[i][first is not None :],
                before=_counts(calls.label_before_rejection[cells]),
                doubts=_counts(doubted[cells]),
            )
        )
    return tuple(found)


def _counts(values: Strings) -> tuple[tuple[str, int], ...]:
    """Return how often each value occurs, the most frequent first, without those that mean none."""
    counts = Counter(one for one in values.tolist() if one not in ("", UNKNOWN))
    return tuple(sorted(counts.items(), key=lambda one: (-one[1], one[0])))
