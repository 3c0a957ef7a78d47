"""Whether the nearest genes are the right ones: recall and reciprocal rank, by cosine."""

from __future__ import annotations

import numpy as np

from scvec.core.types import Bools, Doubles, Floats, Ints
from scvec.core.vectors import unit_vectors

K = 10
"""Nearest genes that recall looks at."""


def ranking(queries: Floats, pool: Floats, left_out: Bools) -> tuple[Ints, Bools]:
    """Return (q, p) the pool in order of cosine similarity, and which places of the order count.

    Ties are in the order of the pool; a vector of zeros is similar to nothing.

    Parameters
    ----------
    queries, pool
        (q, d) and (p, d) vectors.
    left_out
        (q, p) what is neither right nor wrong for a query: it stands at the end, and does not count.
    """
    similar = unit_vectors(queries)[0].astype(np.float64) @ unit_vectors(pool)[0].astype(np.float64).T
    similar[left_out] = -np.inf
    order = np.argsort(-similar, axis=1, kind="stable")
    return order.astype(np.int64), ~np.take_along_axis(left_out, order, axis=1)


def judged(order: Ints, counts: Bools, right: Bools, k: int = K) -> tuple[Doubles, Doubles]:
    """Return (q,) recall@k and reciprocal ranks of queries; NaN for a query without a right answer.

    Parameters
    ----------
    order, counts
        As `ranking` returns them.
    right
        (q, p) the right answers.
    k
        So many of the nearest are looked at: recall is the share of right ones among them, of as many as there can be.
    """
    hits = np.take_along_axis(right, order, axis=1) & counts
    n_right = hits.sum(axis=1)
    some = n_right > 0
    recall = hits[:, :k].sum(axis=1) / np.minimum(np.maximum(n_right, 1), k)
    reciprocal = 1 / (1 + hits.argmax(axis=1))
    return np.where(some, recall, np.nan), np.where(some, reciprocal, np.nan)


def same_set(vectors: Floats, members: Bools, kin: Ints, *, across_families: bool) -> dict[str, Doubles]:
    """Return (s,) recall@10 and MRR of each set: the means over its genes, each searched among all others.

    Parameters
    ----------
    vectors
        (n, d) of genes.
    members
        (s, n) which genes are in which set. Right for a gene are those that share a set with it.
    kin
        (n,) equal for genes of one family.
    across_families
        Whether kin of a gene do not count.
    """
    inside = members.astype(np.int64)
    right = inside.T @ inside > 0
    own = np.eye(len(kin), dtype=bool)
    left_out = kin[:, None] == kin[None, :] if across_families else own
    order, counts = ranking(vectors, vectors, left_out)
    recall, reciprocal = judged(order, counts, right & ~left_out)
    return {f"recall@{K}": _by_set(recall, members), "mrr": _by_set(reciprocal, members)}


def paired(queries: Floats, pool: Floats) -> dict[str, Doubles]:
    """Return (n,) recall@1 and reciprocal rank of each query, whose right answer is that of the same place."""
    own = np.eye(len(queries), dtype=bool)
    order, counts = ranking(queries, pool, np.zeros_like(own))
    recall, reciprocal = judged(order, counts, own, 1)
    return {"mrr": reciprocal, "recall@1": recall}


def _by_set(values: Doubles, members: Bools) -> Doubles:
    """Return the mean of each set over its genes that have a right answer; NaN if none has."""
    there = members & ~np.isnan(values)
    sums, n = there @ np.nan_to_num(values), there.sum(axis=1)
    return np.where(n > 0, sums / np.maximum(n, 1), np.nan)
