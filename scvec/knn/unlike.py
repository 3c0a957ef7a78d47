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


@dataclass(frozen=True, slots=True)
class Shift:
    """How much more novel a query is than held-out cells of the same labels.

    Attributes
    ----------
    shift
        Median over the labels of the difference of their mean novelty; NaN if too few labels can be compared.
    usual
        The largest that a part of the reference has against the others; NaN if there is one part.
    n_labels
        Number of labels that were compared.
    """

    shift: float
    usual: float
    n_labels: int

    @property
    def is_unlike(self) -> bool:
        """Whether the query is more novel than any donor that was held out is to the others."""
        return bool(self.shift > max(self.usual, 0.0) + MARGIN)


def shift_of(calibration: Calibration, novelty: Floats, codes: Ints) -> Shift | None:
    """Return how far a query is from the held-out cells; None without folds, as in atlases of earlier versions.

    Parameters
    ----------
    calibration
        The reference's.
    novelty, codes
        (n,) novelty of the query's cells, and the labels that they are called; -1 for none.
    """
    held = calibration.held
    if held.fold is None:
        return None
    own = calibration.novelty(held.signals)
    found = _differences(novelty, codes, own, held.called)
    usual = [_part(own, held.called, held.fold == fold) for fold in np.unique(held.fold)]
    usual = [one for one in usual if np.isfinite(one)]
    return Shift(_median(found), max(usual, default=np.nan), len(found))


def _part(novelty: Floats, codes: Ints, chosen: Bools) -> float:
    return _median(_differences(novelty[chosen], codes[chosen], novelty[~chosen], codes[~chosen]))


def _differences(novelty: Floats, codes: Ints, other: Floats, other_codes: Ints) -> list[float]:
    """Return by how much more novel the first cells are than the others, of each label that both have."""
    both = np.intersect1d(codes[codes >= 0], other_codes)
    sides = [(novelty[codes == label], other[other_codes == label]) for label in both]
    return [float(one.mean() - two.mean()) for one, two in sides if min(len(one), len(two)) >= MIN_CELLS]


def _median(differences: list[float]) -> float:
    return float(np.median(differences)) if len(differences) >= MIN_LABELS else float("nan")
