"""Whether a query is unlike the donors that were held out, so that its errors may be higher than was measured on these.

Cells of a query are compared with held-out cells that were called the same label, so that another mix of types is no
difference; the median over the labels is taken, so that one new type is none. How far donors differ from each other
says what is usual.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from scvec.core.types import Bools, Floats, Ints
from scvec.knn.calibration import Calibration

MIN_CELLS = 10
"""A label is compared if so many cells are called it on both sides."""

MIN_LABELS = 2
"""So many labels have to be compared: otherwise a new type and another study look alike."""

MARGIN = 1.0
"""How much more novel than the most unusual of the donors held out a query has to be, in units of novelty."""


MOST_DOUBT, MOST_SHIFT = 0.15, 9.0
"""Where calls are less sure than held-out ones by more, or cells more novel, they fit no label: they are new, and not
shifted. Other studies, platforms and species: doubt .09 at most, shift 8.1; cells of another tissue: .29, and 10.8.
"""


@dataclass(frozen=True, slots=True)
class Shift:
    """How much more novel a query is than held-out cells of the same labels.

    Attributes
    ----------
    shift
        Median over the labels of the difference of their mean novelty; NaN if too few labels can be compared.
    usual
        The largest that a part of the reference has against the others; negative infinity if there is one part.
    n_labels
        Number of labels that were compared.
    doubt
        Median over the labels of the difference of their mean confidence: how much less sure the query's calls are.
    """

    shift: float
    usual: float
    n_labels: int
    doubt: float

    @property
    def is_unlike(self) -> bool:
        """Whether the query is more novel than any donor that was held out is to the others."""
        return bool(self.shift > max(self.usual, 0.0) + MARGIN)

    @property
    def excess(self) -> float:
        """By how much more novel the query is than the most unusual of these donors, if all of it is shifted; else 0.

        Another study or platform makes cells of all labels more novel, and their calls hardly less sure. Cells that fit
        no label are not a shift, by `MOST_DOUBT` and `MOST_SHIFT`.
        """
        shifted = self.is_unlike and self.doubt <= MOST_DOUBT and self.shift <= MOST_SHIFT
        return self.shift - max(self.usual, 0.0) if shifted else 0.0


def shift_of(calibration: Calibration, novelty: Floats, confidence: Floats, codes: Ints) -> Shift | None:
    """Return how far a query is from the held-out cells; None without folds, as in atlases of earlier versions.

    Parameters
    ----------
    calibration
        The reference's.
    novelty, confidence, codes
        (n,) novelty and confidence of the query's cells, and the labels that they are called; -1 for none.
    """
    held = calibration.held
    if held.fold is None:
        return None
    own = calibration.novelty(held.signals)
    found = _differences(novelty, codes, own, held.called)
    usual = [_part(own, held.called, held.fold == fold) for fold in np.unique(held.fold)]
    usual = [one for one in usual if np.isfinite(one)]
    less = _differences(-confidence, codes, -calibration.held_confidence(), held.called)
    return Shift(_median(found), max(usual, default=-np.inf), len(found), _median(less))


def _part(novelty: Floats, codes: Ints, chosen: Bools) -> float:
    return _median(_differences(novelty[chosen], codes[chosen], novelty[~chosen], codes[~chosen]))


def _differences(novelty: Floats, codes: Ints, other: Floats, other_codes: Ints) -> list[float]:
    """Return by how much the mean of the first cells is larger than that of the others, of each label of both."""
    both = np.intersect1d(codes[codes >= 0], other_codes)
    sides = [(novelty[codes == label], other[other_codes == label]) for label in both]
    # Sorted: any order of the cells gives the same sum.
    return [
        float(np.sort(one).mean() - np.sort(two).mean()) for one, two in sides if min(len(one), len(two)) >= MIN_CELLS
    ]


def _median(differences: list[float]) -> float:
    return float(np.median(differences)) if len(differences) >= MIN_LABELS else float("nan")
