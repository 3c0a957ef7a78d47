"""What each gene of a cell contributes to how far its vector lies along a direction, and along which."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

from scvec.core.types import Doubles, Floats, Ints
from scvec.embed import kernel


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

        Where all cells of a group have one gradient, their amounts are added up first. A group has the same bits
        whatever the others are.
        """
        here = np.flatnonzero(codes >= 0)
        groups, first, inverse = np.unique(codes[here], return_index=True, return_inverse=True)
        shared, sums = self.gradient[here[first]], np.zeros((n_groups, len(self.offset)))
        differs = (self.gradient[here] != shared[inverse]).any(axis=1)
        steady = np.bincount(inverse, differs, len(groups)) == 0
        for chosen, added in ((steady, self._steady), (~steady, self._varying)):
            if chosen.any():
                place = np.where(chosen, np.cumsum(chosen) - 1, -1)
                own = np.full(len(codes), -1, np.int64)
                own[here] = place[inverse]
                sums[groups[chosen]] = added(own, shared[chosen])
        return sums

    def _steady(self, codes: Ints, gradients: Floats) -> Doubles:
        """Return the sums of m groups whose cells have the (m, d) gradients."""
        return np.asarray(self._excess(self.scale, codes, len(gradients)) * self._along(gradients))

    def _varying(self, codes: Ints, like: Floats) -> Doubles:
        """Return the sums of groups, as many as `like` has rows, whose cells have gradients of their own."""
        here, gradients = np.flatnonzero(codes >= 0), np.zeros(like.shape)
        np.add.at(gradients, codes[here], self.gradient[here] * self.scale[here, None])
        products = kernel.products(self.amounts, self.weights, self.gradient)
        added = kernel.add_rows(products, self.scale, codes, len(like))
        return np.asarray(added - self.offset * self._along(gradients.astype(np.float32)))

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


LEAST = 1e-9
"""How near to zero a way may pass, as a share of its ends' lengths: the gradient has no limit there."""


def along_path(ends: Doubles, starts: Doubles, towards: Doubles) -> Doubles:
    """Return (n, d) the mean gradient of the cosine with a direction, on straight ways from `starts` to `ends`.

    Integrated gradients (Sundararajan et al. 2017, arXiv 1703.01365) of genes that a linear map brings to the way's
    difference are products with it, and add up to what the cosine gains. The integral is taken in closed form.

    Parameters
    ----------
    ends, starts
        (n, d) vectors of any length; a way that begins at zero keeps its direction, and has the gradient of its end,
        with which the products add up to the whole cosine.
    towards
        (n, d) directions, of any length, which the cosine is multiplied with.
    """
    way = ends - starts
    length = _lengths(way)
    along = way / np.where(length > 0, length, 1.0)
    s0, s1 = _dot(starts, along), _dot(ends, along)
    # The way passes zero at the distance h, in the direction `aside`, which it keeps.
    foot = starts - s0 * along
    h = np.maximum(_lengths(foot), LEAST * np.maximum(_lengths(starts), _lengths(ends)))
    aside = foot / np.where(h > 0, h, 1.0)
    r0, r1 = np.hypot(s0, h), np.hypot(s1, h)
    t_along, t_aside = _dot(towards, along), _dot(towards, aside)
    rest = towards - t_along * along - t_aside * aside
    with np.errstate(divide="ignore", invalid="ignore"):
        log, sine, inverse = np.arcsinh(s1 / h) - np.arcsinh(s0 / h), s1 / r1 - s0 / r0, 1 / r1 - 1 / r0
        total = (t_along * sine + h * t_aside * inverse) * along
        total += (t_aside * (log - sine) + h * t_along * inverse) * aside + log * rest
        total /= length
    short = (length[:, 0] == 0) | (_lengths(starts) <= LEAST * _lengths(ends))[:, 0]
    total[short] = fixed(ends[short], towards[short])
    return total


def _dot(one: Doubles, other: Doubles) -> Doubles:
    return np.asarray(np.einsum("nd,nd->n", one, other)[:, None])


def _lengths(vectors: Doubles) -> Doubles:
    return np.sqrt(_dot(vectors, vectors))


def fixed(vectors: Doubles, towards: Doubles) -> Doubles:
    """Return (n, d) `towards` divided by the vectors' lengths, the gradient of the cosine with these held; or zero."""
    lengths = _lengths(vectors)
    return towards * np.divide(1.0, lengths, out=np.zeros_like(lengths), where=lengths > 0)
