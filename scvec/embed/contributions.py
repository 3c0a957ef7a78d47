"""What each gene of a cell contributes to how far its vector lies along a direction."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

from scvec.types import Doubles, Floats, Ints

LEAST = 1e-9
"""How near to zero a way may pass, as a share of its ends' lengths: the gradient has no limit there."""

FEW = 8
"""Cells that are taken one by one: for more, one product of a group's amounts with their gradients is quicker."""


@dataclass(frozen=True, slots=True)
class Contributions:
    """Genes' contributions to the similarity of cells with directions.

    Gene j adds ``(amounts[i, j] - offset[j]) * weights[j] @ gradient[i]`` to cell i, and with ``baseline[i]``, all
    genes add up to ``total[i]``.

    Attributes
    ----------
    amounts
        (n, g) how much of each gene is in a cell.
    offset
        (g,) what a gene is counted from; 0 for those that the cells' matrix lacks.
    weights
        (g, d) the genes' vectors.
    gradient
        (n, d) how the similarity follows the cell's vector before it is scaled to length one.
    baseline
        (n,) the similarity of a cell in which each gene is at its offset.
    total
        (n,) the similarity: of the cell's vector of length one, by scalar product.
    """

    amounts: sp.csr_matrix[np.float32]
    offset: Floats
    weights: Floats
    gradient: Doubles
    baseline: Doubles
    total: Doubles

    def of_cells(self, rows: Ints) -> Doubles:
        """Return (m, g) the contributions in some of the cells."""
        amounts = np.asarray(self.amounts[rows].todense(), np.float64) - self.offset
        return np.asarray(amounts * (self.gradient[rows].astype(np.float32) @ self.weights.T))

    def of_groups(self, codes: Ints, n_groups: int) -> Doubles:
        """Return (n_groups, g) the sums over the cells of each group; `codes` is (n,), -1 for none."""
        sums = np.zeros((n_groups, len(self.offset)))
        for group in np.unique(codes[codes >= 0]).tolist():
            rows = np.flatnonzero(codes == group)
            if len(rows) <= FEW:
                sums[group] = self.of_cells(rows).sum(axis=0)
                continue
            gradient = self.gradient[rows]
            along = self.amounts[rows].T @ gradient - np.outer(self.offset, gradient.sum(axis=0))
            sums[group] = np.einsum("gd,gd->g", self.weights, along)
        return sums

    def excess_of_groups(self, codes: Ints, n_groups: int) -> Doubles:
        """Return (n_groups, g) how much of each gene is above its offset, added up over the cells of each group."""
        here = codes >= 0
        ones = np.ones(int(here.sum()), np.float32)
        groups = sp.csr_matrix((ones, (codes[here], np.flatnonzero(here))), shape=(n_groups, len(codes)))
        sizes = np.bincount(codes[here], minlength=n_groups)
        return np.asarray((groups @ self.amounts).todense(), np.float64) - np.outer(sizes, self.offset)


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
    short = (length[:, 0] == 0) | ~starts.any(axis=1)
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
