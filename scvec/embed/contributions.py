"""What each gene of a cell contributes to the similarity of its vector with a direction."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

from scvec.core.types import Doubles, Floats, Ints
from scvec.embed import kernel


@dataclass(frozen=True, slots=True)
class Contributions:
    """Genes' contributions to the similarity of cells with directions.

    Gene j contributes ``(amounts[i, j] - offset[j]) * scale[i] * weights[j] @ gradient[i]`` to cell i. The sum over all
    genes, plus ``baseline[i]``, is ``total[i]``.

    Attributes
    ----------
    amounts
        (n, g) amount of each gene in a cell.
    offset
        (g,) the amount at which a gene contributes nothing; 0 for genes that the cells' matrix lacks.
    weights
        (g, d) the genes' vectors.
    gradient
        (n, d) gradient of the similarity by the cell's vector before scaling to unit length, up to `scale`.
    scale
        (n,) factor of a cell's gradient.
    baseline
        (n,) similarity of a cell in which each gene is at its offset.
    total
        (n,) similarity: the scalar product with the cell's unit vector.
    """

    amounts: sp.csr_matrix[np.float32]
    offset: Floats
    weights: Floats
    gradient: Floats
    scale: Doubles
    baseline: Doubles
    total: Doubles

    def of_cells(self, rows: Ints) -> Doubles:
        """Return (m, g) the contributions in the cells at `rows`."""
        amounts = np.asarray(self.amounts[rows].todense(), np.float64) - self.offset
        return np.asarray(amounts * self.scale[rows, None] * (self.gradient[rows] @ self.weights.T))

    def of_groups(self, codes: Ints, n_groups: int) -> Doubles:
        """Return (n_groups, g) the sums over the cells of each group; `codes` is (n,), -1 for no group.

        If all cells of a group share one gradient, their amounts are summed first. A group's sums have the same bits
        whatever the other groups are.
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
        """Return the sums of m groups whose cells share the (m, d) gradients."""
        return np.asarray(self._excess(self.scale, codes, len(gradients)) * self._along(gradients))

    def _varying(self, codes: Ints, like: Floats) -> Doubles:
        """Return the sums of groups, as many as `like` has rows, whose cells differ in their gradients."""
        here, gradients = np.flatnonzero(codes >= 0), np.zeros(like.shape)
        np.add.at(gradients, codes[here], self.gradient[here] * self.scale[here, None])
        products = kernel.products(self.amounts, self.weights, self.gradient)
        added = kernel.add_rows(products, self.scale, codes, len(like))
        return np.asarray(added - self.offset * self._along(gradients.astype(np.float32)))

    def excess_of_groups(self, codes: Ints, n_groups: int) -> Doubles:
        """Return (n_groups, g) the amount of each gene above its offset, summed over the cells of each group."""
        return self._excess(np.ones(len(codes)), codes, n_groups)

    def _excess(self, scale: Doubles, codes: Ints, n_groups: int) -> Doubles:
        here = codes >= 0
        sizes = np.bincount(codes[here], scale[here], n_groups)
        return kernel.add_rows(self.amounts, scale, codes, n_groups) - np.outer(sizes, self.offset)

    def _along(self, vectors: Floats) -> Floats:
        """Return (m, g) products of all weights with (m, d) vectors; a row's bits do not depend on other rows."""
        every = sp.csr_matrix(np.ones((len(vectors), len(self.weights)), np.float32))
        return np.asarray(kernel.products(every, self.weights, vectors).data.reshape(every.shape))


LEAST = 1e-9
"""How near to zero a path may pass, as a share of the lengths of its ends: the gradient is unbounded there."""


def along_path(ends: Doubles, starts: Doubles, towards: Doubles) -> Doubles:
    """Return (n, d) the mean gradient of the cosine with a direction, along straight paths from `starts` to `ends`.

    Genes add up linearly to the difference between the ends of a path. So their integrated gradients (Sundararajan et
    al. 2017, arXiv 1703.01365) are products with the mean gradient, and add up to the gain in cosine. The integral is
    computed in closed form.

    Parameters
    ----------
    ends, starts
        (n, d) vectors of any length. A path that starts at zero has a constant direction; the gradient at its end is
        used, with which the products add up to the whole cosine.
    towards
        (n, d) directions; their length is a factor of the cosine.
    """
    way = ends - starts
    length = _lengths(way)
    along = way / np.where(length > 0, length, 1.0)
    s0, s1 = _dot(starts, along), _dot(ends, along)
    # The path passes zero at the distance h, in the direction `aside`, which is constant.
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
    """Return (n, d) `towards` divided by the vectors' lengths: the gradient of the cosine at fixed length; or zero."""
    lengths = _lengths(vectors)
    return towards * np.divide(1.0, lengths, out=np.zeros_like(lengths), where=lengths > 0)
