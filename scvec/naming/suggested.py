"""Names of groups of unknown cells, beside the calls of the cells."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from scvec.annotation.result import Annotation
from scvec.annotation.second_opinions import Suggested
from scvec.core.text import counted
from scvec.core.types import UNKNOWN, Bools, Strings
from scvec.errors import InputError
from scvec.naming.result import Names


def titled(group: str) -> str:
    """Return what a group of unknown cells is called in a sentence: ``"unknown 1"``, or ``"group 1"`` for a ``"1"``."""
    return group if group.startswith(UNKNOWN) else f"group {group}"


def no_names(calls: Annotation, why: str) -> Names:
    """Return names of no cell, with the reason as their note."""
    return Names(
        clusters=np.empty(0, object),
        n_cells=np.empty(0, np.int64),
        suggestions=(),
        stands_out=np.empty(0, bool),
        member=np.full(len(calls), -1),
        obs_names=calls.obs_names,
        notes=(why,),
    )


def with_names(calls: Annotation, names: Names) -> Annotation:
    """Return calls with the names of the groups of their unknown cells as `Annotation.suggested`.

    The calls stay as they are: a name stands beside ``"unknown"``, and a cell that has a label gets none.

    Parameters
    ----------
    calls
        The calls.
    names
        Names of groups of the same cells, as ``scvec.name(calls)`` makes them.

    Raises
    ------
    InputError
        If the names are not of these cells.
    """
    if not np.array_equal(names.obs_names, calls.obs_names):
        raise InputError(
            "the names are not of the cells of the calls", "names of these calls", "make them with scvec.name(calls)"
        )
    ids, found, scores = names.of_cells()
    unknown = calls.rejected
    suggested = Suggested(
        term_id=_where(unknown, ids),
        name=_where(unknown, found),
        score=np.where(unknown, scores, np.float32(np.nan)),
        genes=_where(unknown, _genes(names)),
    )
    return replace(
        calls,
        suggested=suggested,
        notes=(*calls.notes, *_notes(names, suggested, unknown), *names.notes),
        provenance={**calls.provenance, "names": dict(names.provenance)},
    )


def _where(cells: Bools, words: Strings) -> Strings:
    return np.where(cells, words, "").astype(object)


def _genes(names: Names) -> Strings:
    """Return (n,) the genes behind the name of each cell's cluster, joined; "" for no name."""
    firsts = [names.first(i) for i in range(len(names))]
    return np.array([", ".join(one.genes) if one else "" for one in firsts] + [""], object)[names.member]


def _notes(names: Names, suggested: Suggested, unknown: Bools) -> list[str]:
    """Return how many of the unknown cells have a name; nothing if there was nothing to name, which the names say."""
    if not len(names):
        return []
    n_named, n_groups = int(names.stands_out.sum()), counted(len(names), "group")
    n_cells = int((suggested.name != "").sum())
    return [
        f"a name stands out for {n_named:,} of {n_groups} of unknown cells, {n_cells:,} of {int(unknown.sum()):,} "
        "such cells; it rests on texts, not on reference cells"
    ]
