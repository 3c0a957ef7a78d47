"""The genes that a view reads: those that tell labels apart."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp

from scvec.core.types import Bools, Doubles, Ints
from scvec.views.view import Cells, Labelled

LEAST = 20
"""Genes for each label, however many labels there are."""

MIN_CELLS = 3
"""A gene has to be expressed in so many cells."""


def label_means(cells: Labelled) -> tuple[Ints, Ints, Doubles]:
    """Return the labels that have cells, their numbers of cells, and (labels, g) their mean cells."""
    present, own, sizes = np.unique(cells.codes, return_inverse=True, return_counts=True)
    member = sp.csr_matrix((np.ones(len(own)), (own, np.arange(len(own)))), shape=(len(present), len(own)))
    means = (member @ cells.logged).toarray() / sizes[:, None]
    return present, sizes, np.asarray(means, np.float64)


def usable(cells: Labelled) -> Bools:
    """Return (g,) whether a gene is measured and expressed in `MIN_CELLS` cells."""
    counts = np.bincount(cells.logged.indices, minlength=cells.logged.shape[1])
    return np.asarray(cells.measured & (counts >= min(MIN_CELLS, len(cells))))


def telling_genes(cells: Labelled, n: int) -> Ints:
    """Return ascending positions of about `n` genes: for each label in turn those highest above all cells, by z.

    So rare labels have as many genes as frequent ones.
    """
    present, sizes, means = label_means(cells)
    mean, square = _moments(cells.logged)
    variance = np.maximum(square - mean**2, 1e-6)
    allowed = usable(cells)
    if not allowed.any():
        allowed = np.asarray(cells.measured)
    ground = 0.1 * variance[allowed].mean()
    z = (means - mean) / np.sqrt(variance / sizes[:, None] + ground)
    z[:, ~allowed] = -np.inf
    each = min(max(LEAST, n // len(present)), int(allowed.sum()))
    found = np.argpartition(-z, each - 1, axis=1)[:, :each]
    return np.unique(found).astype(np.int64)


def _moments(logged: Cells) -> tuple[Doubles, Doubles]:
    n, g = logged.shape
    values = logged.data.astype(np.float64)
    mean = np.bincount(logged.indices, values, minlength=g) / n
    return mean, np.bincount(logged.indices, values**2, minlength=g) / n


def pairwise_genes(cells: Labelled, each: int, most: int) -> Ints:
    """Return ascending positions of genes that tell two labels apart, at most about `most`.

    For each ordered pair of labels the `each` genes whose means differ most (Aran et al. 2019, SingleR); fewer of
    each pair where all of them would be more than `most`.
    """
    _, _, means = label_means(cells)
    allowed = np.flatnonzero(usable(cells))
    if len(allowed) <= each or len(means) < 2:
        return (allowed if len(allowed) else np.flatnonzero(cells.measured)).astype(np.int64)
    means = means[:, allowed].astype(np.float32)
    tops = []
    for label in range(len(means)):
        over = np.delete(means[label] - means, label, axis=0)
        top = np.argpartition(-over, each - 1, axis=1)[:, :each]
        tops.append(np.take_along_axis(top, np.argsort(-np.take_along_axis(over, top, 1), axis=1, kind="stable"), 1))
    ranked = np.concatenate(tops)
    chosen = np.zeros(len(allowed), bool)
    for place in range(each):
        further = chosen.copy()
        further[ranked[:, place]] = True
        if chosen.any() and further.sum() > most:
            break
        chosen = further
    return allowed[chosen].astype(np.int64)
