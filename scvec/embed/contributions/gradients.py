"""How a cosine follows a vector: along the straight way from another one, or with its length held."""

from __future__ import annotations

import numpy as np

from scvec.core.types import Doubles

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
