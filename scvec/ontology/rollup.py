"""When votes split between kinds of one cell, the call backs off to the term that enough of them agree on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from scvec.core.types import Floats, Strings, freeze
from scvec.errors import InputError
from scvec.ontology.terms import NO_ANSWER, Ontology

ROUNDING = 1e-6
"""Shares are float32: sums that fall short of what was asked by no more than this reach it."""


@dataclass(frozen=True, slots=True)
class RolledUp:
    """What can be said of n cells.

    Attributes
    ----------
    ids
        (n,) the answer: the id of the label with most votes, or of one of its ancestors; "" where nothing can be said,
        and where the label with most votes has enough of them and no id.
    support
        (n,) the share of the votes that are for the answer or a kind of it; 0 where nothing can be said.
    rolled
        (n,) whether the label with most votes does not stand: its ancestor does, or nothing.
    """

    ids: Strings
    support: Floats
    rolled: NDArray[np.bool_]

    def __post_init__(self) -> None:
        for field in ("ids", "support", "rolled"):
            object.__setattr__(self, field, freeze(getattr(self, field)))


def roll_up(scores: Floats, label_ids: Sequence[str], ontology: Ontology, support: float) -> RolledUp:
    """Say of each cell the most that `support` of its votes agree on.

    The label with most votes (of equal ones, the first) stands if it has them. If not, the deepest of its ancestors
    does whose votes, its own and those for all kinds of it, are as many; of equally deep ones the nearest, then the one
    of lowest id. What is true of any cell (`NO_ANSWER`) is no answer.

    Parameters
    ----------
    scores
        (n, L) each label's share of a cell's votes; a row of zeros is a cell that nobody voted on.
    label_ids
        (L,) the labels' ids, in any spelling, obsolete ones too; "" for a label without one, which then supports
        nothing but itself. Several labels may have one id, and support it together.
    ontology
        What is a kind of what.
    support
        Above 0, at most 1.

    Raises
    ------
    InputError
        If `support` is out of range, or there are not as many ids as labels.
    KeyNotFoundError
        If an id is not one of `ontology`'s.
    """
    if not 0 < support <= 1:
        raise InputError(f"a support of {support}", "a share of the votes, above 0 and at most 1", "ask for another")
    if scores.shape[1] != len(label_ids):
        raise InputError(f"{len(label_ids)} ids for {scores.shape[1]} labels", "one for each", 'give "" where none is')
    current = [one and ontology.resolve(one) for one in label_ids]
    answers, below, ways = _ways_up(current, ontology)
    n_cells = len(scores)
    ids, reached, rolled = np.full(n_cells, "", object), np.zeros(n_cells, np.float32), np.zeros(n_cells, bool)
    voted = scores.max(axis=1, initial=0) > 0
    winner = scores.argmax(axis=1) if len(current) else np.zeros(n_cells, int)
    for code in np.unique(winner[voted]):
        cells, way = np.flatnonzero(voted & (winner == code)), ways[code]
        shares = scores[cells].astype(np.float64) @ below[:, way]
        enough = shares >= support - ROUNDING
        said, first = enough.any(axis=1), enough.argmax(axis=1) if way else np.zeros(len(cells), int)
        for_all = np.array([answers[one] for one in way], object)
        ids[cells[said]] = for_all[first[said]]
        reached[cells[said]] = shares[said, first[said]]
        rolled[cells] = ~said | (ids[cells] != current[code])
    return RolledUp(ids, reached, rolled)


def _ways_up(current: Sequence[str], ontology: Ontology) -> tuple[list[str], NDArray[np.float64], list[list[int]]]:
    """Return what can be answered, (L, A) which labels support it, and of each label its answers, the best first.

    A label without an id has an answer of its own, which says nothing.
    """
    terms = sorted({above for one in current if one for above in ontology.ancestors(one)})
    column = {term: i for i, term in enumerate(terms)}
    answers = terms + [""] * sum(not one for one in current)
    below = np.zeros((len(current), len(answers)))
    ways: list[list[int]] = []
    n_own = len(terms)
    for row, one in enumerate(current):
        if one:
            steps = ontology.ancestors(one)
            best_first = sorted(steps.keys() - NO_ANSWER, key=lambda term: (-ontology.depth(term), steps[term], term))
            ways.append([column[term] for term in best_first])
        else:
            ways.append([n_own])
            n_own += 1
        below[row, ways[-1]] = 1
    return answers, below, ways
