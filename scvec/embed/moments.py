"""Means and mean squares of a reference's cells, scaled to unit length."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

from scvec.core.types import Floats
from scvec.core.vectors import unit_rows
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
        cells, codes, n_labels = unit_rows(sample.logged), sample.codes, sample.n_labels
        sizes = np.maximum(np.bincount(codes, minlength=n_labels), 1)
        one_hot = sp.csr_matrix((1.0 / sizes[codes], (codes, np.arange(len(codes)))), shape=(n_labels, len(codes)))
        labels = np.asarray((one_hot @ cells).toarray(), np.float32)
        power = np.asarray(cells.multiply(cells).mean(axis=0), np.float32).ravel()
        present = np.bincount(codes, minlength=n_labels) > 0
        return cls(labels, labels[present].mean(axis=0), power)
