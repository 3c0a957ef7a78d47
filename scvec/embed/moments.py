"""Means and mean squares of a reference's cells, scaled to unit length."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

from scvec.core.types import Floats
from scvec.embed.kernel import add_rows, factors
from scvec.embed.sample import Sample


@dataclass(frozen=True, slots=True)
class Moments:
    """Means and mean squares of a reference's cells, scaled to unit length.

    Attributes
    ----------
    labels
        (L, g) the mean cell of each label.
    mean
        (g,) the mean of `labels`, over the labels that have cells.
    power
        (g,) mean square over all cells; sums to one.
    """

    labels: Floats
    mean: Floats
    power: Floats

    @classmethod
    def of(cls, sample: Sample) -> Moments:
        """Return the moments of a sample."""
        cells, codes, n_labels, n = sample.logged, sample.codes, sample.n_labels, len(sample)
        scales, sizes = factors(cells, "length"), np.maximum(np.bincount(codes, minlength=n_labels), 1)
        labels = add_rows(cells, scales / sizes[codes], codes, n_labels).astype(np.float32)
        squares = sp.csr_matrix((cells.data**2, cells.indices, cells.indptr), shape=cells.shape)
        power = add_rows(squares, scales**2 / n, np.zeros(n, np.int64), 1)[0].astype(np.float32)
        present = np.bincount(codes, minlength=n_labels) > 0
        return cls(labels, labels[present].mean(axis=0), power)
