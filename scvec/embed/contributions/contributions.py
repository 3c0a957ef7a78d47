"""What each gene of a cell contributes to how far its vector lies along a direction."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

from scvec.embed import kernel
from scvec.types import Doubles, Floats, Ints


@dataclass(frozen=True, slots=True)
class Contributions:
    """Genes' contributions to the similarity of cells with directions.

    Gene j adds ``(amounts[i, j] - offset[j]) * scale[i] * weights[j] @ gradient[i]`` to cell i, and with
    ``baseline[i]``, all genes add up to ``total[i]``.

    Attributes
    ----------
    amounts
        (n, g) how much of each gene is in a cell.
    offset
        (g,) what a gene is counted from; 0 for those that the cells' matrix lacks.
    weights
        (g, d) the genes' vectors.
    gradient
        (n, d) how the similarity follows the cell's vector before it is scaled to length one, but for the scale.
    scale
        (n,) what a cell's gradient is multiplied with.
    baseline
        (n,) the similarity of a cell in which each gene is at its offset.
    total
        (n,) the similarity: of the cell's vector of length one, by scalar product.
    """

    amounts: sp.csr_matrix[np.float32]
    offset: Floats
    weights: Floats
    gradient: Floats
    scale: Doubles
    baseline: Doubles
    total: Doubles

    def of_cells(self, rows: Ints) -> Doubles:
        """Return (m, g) the contributions in some of the cells."""
        amounts = np.asarray(self.amounts[rows].todense(), np.float64) - self.offset
        return np.asarray(amounts * self.scale[rows, None] * (self.gradient[rows] @ self.weights.T))

    def of_groups(self, codes: Ints, n_groups: int) -> Doubles:
        """Return (n_groups, g) the sums over the cells of each group; `codes` is (n,), -1 for none.

        Where all cells have the gradient of their group, the amounts are added up first.
        """
        here = np.flatnonzero(codes >= 0)
        groups, first, inverse = np.unique(codes[here], return_index=True, return_inverse=True)
        own = np.full(len(codes), -1, np.int64)
        own[here] = inverse
        sums, shared = np.zeros((n_groups, len(self.offset))), self.gradient[here[first]]
        if (self.gradient[here] == shared[inverse]).all():
            sums[groups] = self._excess(self.scale, own, len(groups)) * self._along(shared)
            return sums
        products = kernel.products(self.amounts, self.weights, self.gradient)
        added = kernel.add_rows(products, self.scale, own, len(groups))
        gradients = np.zeros((len(groups), self.gradient.shape[1]))
        np.add.at(gradients, inverse, self.gradient[here] * self.scale[here, None])
        sums[groups] = added - self.offset * self._along(gradients.astype(np.float32))
        return sums

    def excess_of_groups(self, codes: Ints, n_groups: int) -> Doubles:
        """Return (n_groups, g) how much of each gene is above its offset, added up over the cells of each group."""
        return self._excess(np.ones(len(codes)), codes, n_groups)

    def _excess(self, scale: Doubles, codes: Ints, n_groups: int) -> Doubles:
        here = codes >= 0
        sizes = np.bincount(codes[here], scale[here], n_groups)
        return kernel.add_rows(self.amounts, scale, codes, n_groups) - np.outer(sizes, self.offset)

    def _along(self, vectors: Floats) -> Floats:
        """Return (m, g) products of all weights with (m, d) vectors: the same bits of one, whatever the others are."""
        every = sp.csr_matrix(np.ones((len(vectors), len(self.weights)), np.float32))
        return np.asarray(kernel.products(every, self.weights, vectors).data.reshape(every.shape))
