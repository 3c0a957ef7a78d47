"""Rolling up: when votes are split between subtypes, the call is the term on which enough of them agree."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from scvec.core.types import Floats, Strings, freeze
from scvec.errors import InputError, must_be
from scvec.ontology.terms import NO_ANSWER, Ontology

ROUNDING = 1e-6
"""Shares are float32: a sum that misses the required support by no more than this counts as reaching it."""


@dataclass(frozen=True, slots=True)
class RolledUp:
    """The terms of n cells.

    Attributes
    ----------
    ids
        (n,) the id of the label with most votes, or of one of its ancestors; "" where no term has enough support, and
        where the label with most votes has enough of them but no id.
    support
        (n,) the share of the votes for the term and its descendants; 0 where no term has enough.
    """

    ids: Strings
    support: Floats

    def __post_init__(self) -> None:
        for field in ("ids", "support"):
            object.__setattr__(self, field, freeze(getattr(self, field)))


def roll_up(scores: Floats, label_ids: Sequence[str], ontology: Ontology, support: float) -> RolledUp:
    """Return, for each cell, the most specific term on which `support` of its votes agree.

    The label with most votes (of equal ones, the first) is the answer if its share reaches `support`. Otherwise it is
    the deepest of the label's ancestors whose votes, including those for its descendants, reach it; of equally deep
    ancestors the nearest, then the one with the lowest id. A term that is true of any cell (`NO_ANSWER`) is never the
    answer.

    Parameters
    ----------
    scores
        (n, L) each label's share of a cell's votes; a row of zeros is a cell without votes.
    label_ids
        (L,) the labels' ids, in any spelling and possibly obsolete; "" for a label without one, which then supports
        only itself. Labels with the same id support it together.
    ontology
        The ontology to roll up in.
    support
        The share required: above 0, at most 1.

    Raises
    ------
    InputError
        If `support` is out of range, or there are not as many ids as labels.
    KeyNotFoundError
        If `ontology` does not have an id.
    """
    if not 0 < support <= 1:
        raise must_be("support", "above 0 and at most 1", support)
    if scores.shape[1] != len(label_ids):
        raise InputError(
            f"`label_ids` has {len(label_ids)} ids for {scores.shape[1]} labels",
            "one id for each label",
            'give "" for a label without an id',
        )
    current = [one and ontology.resolve(one) for one in label_ids]
    answers, below, ways = _ways_up(current, ontology)
    n_cells = len(scores)
    ids, reached = np.full(n_cells, "", object), np.zeros(n_cells, np.float32)
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
    return RolledUp(ids, reached)


def _ways_up(current: Sequence[str], ontology: Ontology) -> tuple[list[str], NDArray[np.float64], list[list[int]]]:
    """Return the possible answers, which labels support each, and each label's answers, best first.

    Which labels support an answer is an (L, A) matrix of ones and zeros. A label without an id has a column of its
    own, whose answer is the empty string.
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
