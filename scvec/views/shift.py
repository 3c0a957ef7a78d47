"""A query that is shifted: its cells are moved by what its labels have in common, as much as they agree.

A study or a platform moves all cells the same way, whatever their type. So the mean of each called label is compared
with the reference's, and the cells are moved back by what these differences have in common. Differences that do not
agree are no shift: what is common is shrunk by the James-Stein factor (James and Stein 1961), 0 if it is no larger than
chance makes it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from scvec.core.types import Bools, Doubles, Floats, Ints

SHRINK = 20.0
"""A label's difference counts n / (n + SHRINK), n its cells in the query."""

MIN_LABELS, MIN_CELLS = 3, 50
"""With fewer called labels or trusted cells nothing is moved: a shift could not be told from a type."""


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


def shift_of(points: Floats, shares: Doubles, trusted: Bools, centres: Floats, sizes: Ints) -> Shift:
    """Return the shift of a query.

    Parameters
    ----------
    points
        (n, d) all cells of the query, not moved.
    shares
        (n, L) shares by which they are called.
    trusted
        (n,) cells that may steer: not those that may be new to the reference.
    centres, sizes
        (L, d) mean of each label's reference cells, and (L,) their number.
    """
    calls, d = shares.argmax(axis=1), points.shape[1]
    counts = np.bincount(calls[trusted], minlength=len(sizes)) * (sizes > 0)
    present = np.flatnonzero(counts)
    if len(present) < MIN_LABELS or counts.sum() < MIN_CELLS:
        return Shift(np.zeros(d, np.float32), 0.0, len(present))
    differences, weights = [], counts[present] / (counts[present] + SHRINK)
    for label in present:
        own = points[trusted & (calls == label)].astype(np.float64)
        differences.append(np.sort(own, axis=0).mean(axis=0) - centres[label])  # sorted: any order gives the same sum
    apart, weights = np.array(differences), weights / weights.sum()
    common = weights @ apart
    chance = float((weights @ (apart - common) ** 2).sum()) / (len(present) - 1)
    agreement = max(0.0, 1.0 - chance / max(float(common @ common), 1e-12))
    return Shift((agreement * common).astype(np.float32), agreement, len(present))
