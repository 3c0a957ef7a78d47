"""A query that is shifted: its cells are moved by what its labels have in common, as much as they agree.

A study or a platform moves all cells the same way, whatever their type. So the mean of each called label is compared
with the reference's, and the cells are moved back by what these differences have in common. Differences that do not
agree are not a shift: what is common is shrunk by the James-Stein factor (James and Stein 1961), 0 if it is no
larger than chance makes it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

from scvec.core.types import Bools, Doubles, Floats, Ints

SHRINK = 20.0
"""A label's difference counts n / (n + SHRINK), n its cells in the query."""

MIN_LABELS, MIN_CELLS = 3, 50
"""With fewer called labels or trusted cells nothing is moved: a shift could not be told from a type."""


UNIT, BLOCK = 2.0**24, 16_384
"""Points are summed as multiples of 1 / UNIT, of so many cells at a time."""


@dataclass(frozen=True, slots=True)
class Shift:
    """How far a query lies from its reference, in the view's components.

    Attributes
    ----------
    offset
        (d,) what is subtracted from each cell; zeros where nothing is moved.
    agreement
        0 to 1: how far the labels' differences agree, the factor by which what they have in common was shrunk.
    n_labels
        The number of labels that it was estimated from.
    """

    offset: Floats
    agreement: float
    n_labels: int

    def moved(self, points: Floats) -> Floats:
        """Return (n, d) points, moved."""
        return points - self.offset


def shift_of(points: Floats, calls: Ints, trusted: Bools, centres: Floats, sizes: Ints) -> Shift:
    """Return the shift of a query.

    Parameters
    ----------
    points
        (n, d) all cells of the query, not moved.
    calls
        (n,) the label that each is called.
    trusted
        (n,) cells that may steer: not those that may be new to the reference, or are called a label without a centre.
    centres, sizes
        (L, d) mean of each label's reference cells, and (L,) their number.
    """
    counts = np.bincount(calls[trusted], minlength=len(sizes)) * (sizes > 0)
    present = np.flatnonzero(counts)
    if len(present) < MIN_LABELS or counts.sum() < MIN_CELLS:
        return Shift(np.zeros(points.shape[1], np.float32), 0.0, len(present))
    means = label_sums(points, np.where(trusted, calls, -1), len(sizes))[present] / counts[present, None]
    apart, weights = means - centres[present], counts[present] / (counts[present] + SHRINK)
    weights /= weights.sum()
    common = weights @ apart
    chance = float((weights @ (apart - common) ** 2).sum()) / (len(present) - 1)
    agreement = max(0.0, 1.0 - chance / max(float(common @ common), 1e-12))
    return Shift((agreement * common).astype(np.float32), agreement, len(present))


def label_sums(points: Floats, codes: Ints, n_labels: int) -> Doubles:
    """Return (L, d) sums of (n, d) points by label, which no order of the cells changes.

    They are summed as integers: floating point rounds a sum by the order of its parts.
    """
    sums = np.zeros((n_labels, points.shape[1]), np.int64)
    for start in range(0, len(points), BLOCK):
        own = codes[start : start + BLOCK]
        known = np.flatnonzero(own >= 0)
        ones = np.ones(len(known), np.int64)
        member = sp.csr_matrix((ones, (own[known], np.arange(len(known)))), shape=(n_labels, len(known)))
        sums += member @ np.rint(points[start : start + BLOCK][known].astype(np.float64) * UNIT).astype(np.int64)
    return sums / UNIT
