"""The losses of a head and their gradients, written out in NumPy.

The head is linear, so these few lines are all of its calculus, and the default recipe does not need torch. The tests
compare them with torch's automatic gradients.
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np

from scvec.core.types import Ints
from scvec.core.vectors import unit_vectors

Array: TypeAlias = np.ndarray[tuple[int, int], np.dtype[np.float32]]
Loss: TypeAlias = tuple[float, Array]
"""A loss, and its gradient by the vectors."""


def unit(vectors: Array) -> tuple[Array, Array]:
    """Return (n, d) vectors scaled to unit length, and (n, 1) their lengths, never zero."""
    lengths = np.maximum(np.linalg.norm(vectors, axis=1), 1e-12).astype(np.float32)
    return unit_vectors(vectors, lengths)[0], lengths[:, None]


def through_unit(gradient: Array, units: Array, lengths: Array) -> Array:
    """Return the gradient by vectors, given the gradient by their unit vectors."""
    return np.asarray((gradient - (gradient * units).sum(axis=1, keepdims=True) * units) / lengths)


def supcon(units: Array, codes: Ints, temperature: float) -> Loss:
    """Return the supervised-contrastive loss of (n, d) unit vectors.

    For each vector it is the mean of -log softmax(cosine / `temperature`) over the other vectors with its label, where
    the softmax is over all other vectors; then the mean over the vectors that have others with their label.
    Source: Khosla et al. 2020 (arXiv 2004.11362), L_out.
    """
    n = len(units)
    similar = (units @ units.T) / np.float32(temperature)
    np.fill_diagonal(similar, -np.inf)
    same = codes[:, None] == codes[None]
    np.fill_diagonal(same, val=False)
    n_same = same.sum(axis=1)
    counted = n_same > 0
    peak = similar.max(axis=1, keepdims=True)
    shares = np.exp(similar - peak)
    whole = shares.sum(axis=1, keepdims=True)
    shares /= whole
    log_shares = np.where(same, similar - peak - np.log(whole), 0.0)
    weight = np.where(counted, 1.0 / max(1, int(counted.sum())), 0.0)[:, None]
    targets = same / np.maximum(n_same, 1)[:, None]
    loss = -float((weight * targets * log_shares).sum())
    by_similar = (weight * (shares - targets)).astype(np.float32)
    return loss, np.asarray((by_similar + by_similar.T) @ units / np.float32(temperature), np.float32).reshape(n, -1)


def triplet(units: Array, codes: Ints, margin: float) -> Loss:
    """Return the batch-hard triplet loss of (n, d) unit vectors.

    For each vector it is the amount by which the cosine to the farthest vector with the same label fails to exceed that
    to the nearest with another label by `margin`. Vectors without both kinds are left out. Source: Hermans et al. 2017
    (arXiv 1703.07737).
    """
    n = len(units)
    similar = units @ units.T
    same = codes[:, None] == codes[None]
    own, other = same & ~np.eye(n, dtype=bool), ~same
    counted = own.any(axis=1) & other.any(axis=1)
    farthest = np.where(own, similar, np.inf).argmin(axis=1)
    nearest = np.where(other, similar, -np.inf).argmax(axis=1)
    rows = np.arange(n)
    short = np.where(counted, similar[rows, nearest] - similar[rows, farthest] + margin, 0.0)
    active = np.flatnonzero(short > 0)
    weight = np.float32(1.0 / max(1, int(counted.sum())))
    by_similar = np.zeros((n, n), np.float32)
    by_similar[active, nearest[active]] += weight
    by_similar[active, farthest[active]] -= weight
    return float(weight * np.maximum(short, 0).sum()), np.asarray((by_similar + by_similar.T) @ units, np.float32)


def proxy(vectors: Array, codes: Ints, axes: Array) -> Loss:
    """Return the cross-entropy of (n, d) vectors towards the axis of their label, one of (L, d) `axes`.

    Source: proxies for labels, Movshovitz-Attias et al. 2017 (arXiv 1703.07464).
    """
    logits = vectors @ axes.T
    logits -= logits.max(axis=1, keepdims=True)
    shares = np.exp(logits)
    whole = shares.sum(axis=1, keepdims=True)
    shares /= whole
    rows = np.arange(len(codes))
    loss = -float(np.mean(logits[rows, codes] - np.log(whole[:, 0])))
    shares[rows, codes] -= 1.0
    return loss, np.asarray(shares @ axes / np.float32(len(codes)), np.float32)
