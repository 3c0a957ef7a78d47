"""What two groups of cells express, added up batch by batch, and tested gene by gene."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

from scvec.core.types import Doubles, Ints

ROUNDING = 1e-12
"""A variance below this share of the squared mean is what rounding has left of none."""


@dataclass(frozen=True, slots=True)
class Moments:
    """Sums over the cells of two groups, of g genes; of log-normalised expression, but for `linear`.

    Attributes
    ----------
    n_cells
        (2,) cells in each group.
    sums, squares
        (2, g) of the values and of their squares.
    expressing
        (2, g) cells that express the gene.
    linear
        (2, g) of the values before the logarithm.
    """

    n_cells: Ints
    sums: Doubles
    squares: Doubles
    expressing: Doubles
    linear: Doubles

    @classmethod
    def none(cls, n_genes: int) -> Moments:
        """Return the sums of no cells."""
        return cls(np.zeros(2, np.int64), *(np.zeros((2, n_genes)) for _ in range(4)))

    def add(self, known: sp.csr_matrix[np.float32], codes: Ints) -> Moments:
        """Return the sums with those of (n, g) log-normalised cells; `codes` is (n,), 0 or 1, -1 for none."""
        here = np.flatnonzero(codes >= 0)
        ones = np.ones(len(here))
        groups = sp.csr_matrix((ones, (codes[here], here)), shape=(2, len(codes)))
        values = known.astype(np.float64)

        def summed(data: Doubles) -> Doubles:
            made = sp.csr_matrix((data, values.indices, values.indptr), shape=values.shape)
            return np.asarray((groups @ made).todense(), np.float64)

        return Moments(
            self.n_cells + np.bincount(codes[here], minlength=2),
            self.sums + summed(values.data),
            self.squares + summed(values.data**2),
            self.expressing + summed((values.data > 0).astype(np.float64)),
            self.linear + summed(np.expm1(values.data)),
        )

    @property
    def means(self) -> Doubles:
        """(2, g) of log-normalised expression."""
        return np.asarray(self.sums / self.n_cells[:, None])

    @property
    def shares(self) -> Doubles:
        """(2, g) of the cells that express the gene."""
        return np.asarray(self.expressing / self.n_cells[:, None])

    @property
    def log2_fold_change(self) -> Doubles:
        """(g,) log2 of (mean + 1) of the first group over the second's, of expression before the logarithm."""
        first, second = np.log2(self.linear / self.n_cells[:, None] + 1)
        return np.asarray(first - second)

    def welch(self) -> tuple[Doubles, Doubles]:
        """Return (g,) Welch's t, positive where the first group has more, and (g,) its two-sided p-value.

        Where neither group varies, nothing can be tested: t is 0 and p is 1.
        """
        from scipy.stats import ttest_ind_from_stats

        n, means = self.n_cells[:, None], self.means
        variances = np.maximum(self.squares - n * means**2, 0) / (n - 1)
        variances[variances < ROUNDING * means**2] = 0
        deviations = np.sqrt(variances)
        with np.errstate(divide="ignore", invalid="ignore"):
            first, second = ((means[i], deviations[i], int(self.n_cells[i])) for i in (0, 1))
            t, p = ttest_ind_from_stats(*first, *second, equal_var=False)
        tested = variances.any(axis=0)
        return np.where(tested, t, 0.0), np.where(tested, p, 1.0)
