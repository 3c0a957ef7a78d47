"""How far a cell is from labels, in units of the spread of the cells within a label.

Mahalanobis' distance to each label's mean, with one covariance for all labels, as linear discriminant analysis has it.
Lee et al. 2018 ("A simple unified framework for detecting out-of-distribution samples") tell by it what is new.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from scvec.core.types import Doubles, Floats, Ints, freeze

RIDGE = 0.1
"""The covariance is taken together with this multiple of its mean variance, the same in all directions."""

ARRAYS = ("map", "centres", "known")


@dataclass(frozen=True, slots=True)
class Spread:
    """The means of labels, and the spread of cells around them.

    Attributes
    ----------
    map
        (d, d) maps points to where the spread within labels is one in all directions.
    centres
        (L, d) the labels' means, mapped.
    known
        (L,) True for the labels that have cells.
    """

    map: Floats
    centres: Floats
    known: np.ndarray[Any, np.dtype[np.bool_]]

    def __post_init__(self) -> None:
        for name in ARRAYS:
            object.__setattr__(self, name, freeze(getattr(self, name)))

    @classmethod
    def of(cls, points: Floats, codes: Ints, n_labels: int) -> Spread:
        """Return the spread of (n, d) points with (n,) labels."""
        sizes, d = np.bincount(codes, minlength=n_labels), points.shape[1]
        means = np.zeros((n_labels, d))
        np.add.at(means, codes, points)
        means /= np.maximum(sizes, 1)[:, None]
        inside = points - means[codes]
        covariance = (inside.T @ inside) / max(1, len(points))
        variance = float(np.trace(covariance)) / d or 1.0
        covariance += RIDGE * variance * np.eye(d)
        values, axes = np.linalg.eigh(covariance)
        turned = axes / np.sqrt(values)
        return cls(turned.astype(np.float32), (means @ turned).astype(np.float32), sizes > 0)

    def distances(self, points: Floats) -> Doubles:
        """Return (n, L) squared distances of (n, d) points to the labels; infinity to a label without cells."""
        # In float64, though results are float32: BLAS rounds by the number of rows, and batches must not be seen.
        centres = self.centres.astype(np.float64)
        mapped = np.asarray(points, np.float64) @ self.map.astype(np.float64)
        squares = (mapped**2).sum(axis=1)[:, None] - 2.0 * (mapped @ centres.T) + (centres**2).sum(axis=1)
        return np.where(self.known, np.maximum(squares, 0), np.inf)

    def to_own(self, points: Floats, codes: Ints) -> Floats:
        """Return (n,) squared distances to each cell's own label; NaN for a code of another label."""
        return _own(self.distances(points), codes).astype(np.float32)

    def lead(self, points: Floats, codes: Ints) -> Floats:
        """Return (n,) by how much the nearest other label is farther than the own; NaN where there is none.

        In squared distances: for linear discriminant analysis, twice the difference of the logits.
        """
        squares = self.distances(points)
        own = _own(squares, codes)
        here = np.flatnonzero(np.isfinite(own))
        squares[here, codes[here]] = np.inf
        other = squares.min(axis=1, initial=np.inf)
        return np.where(np.isfinite(other), other - own, np.nan).astype(np.float32)

    def arrays(self) -> dict[str, np.ndarray[Any, Any]]:
        """Return what is saved."""
        return {name: getattr(self, name) for name in ARRAYS}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray[Any, Any]]) -> Spread:
        """Return the spread of which `arrays` was saved."""
        return cls(**{name: arrays[name] for name in ARRAYS})


def _own(squares: Doubles, codes: Ints) -> Doubles:
    n_labels = squares.shape[1]
    there = (codes >= 0) & (codes < n_labels)
    own = squares[np.arange(len(codes)), np.where(there, codes, 0)]
    return np.where(there & np.isfinite(own), own, np.nan)
