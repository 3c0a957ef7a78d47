"""Cross-validation folds of a reference, whole donors where there are several, and the votes of a held-out part."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from scvec.core.types import Floats, Ints, Neighbors, Strings
from scvec.index import Exact, Stored, search
from scvec.knn.options import Voting
from scvec.knn.voting import Votes, vote

MIN_WITH_OTHERS = 0.5
"""Batches are held out whole if at least this share of the cells has others of their label in another fold."""


@dataclass(frozen=True, slots=True)
class Fold:
    """Cells to learn from, and cells that are held out.

    Attributes
    ----------
    seen, held
        Positions, ascending; every cell is in one of the two.
    """

    seen: Ints
    held: Ints


def folds(codes: Ints, batches: Strings, n: int, random_state: int) -> tuple[Fold, ...]:
    """Split cells into at most `n` folds, each held out once.

    Whole batches are held out; the largest goes first, each to the fold with fewest cells. With a single batch, or
    where batches are labels (sorted cells), so that most cells would be held out with all of their label, cells are
    drawn at random within each label.

    Parameters
    ----------
    codes, batches
        (m,) label and batch of each cell.
    n
        Number of folds; at most as many as there are batches.
    random_state
        Seed of the draw.
    """
    names, batch_of, sizes = np.unique(batches.astype(str), return_inverse=True, return_counts=True)
    if len(names) > 1:
        fold_of = _by_size(sizes.tolist(), min(n, len(names)))[batch_of]
    if len(names) == 1 or _with_others(codes, fold_of) < MIN_WITH_OTHERS:
        fold_of = _within_labels(codes, n, np.random.default_rng(random_state))
    parts = (np.flatnonzero(fold_of == fold) for fold in range(int(fold_of.max(initial=-1)) + 1))
    everything = np.arange(len(codes))
    return tuple(Fold(np.setdiff1d(everything, held), held) for held in parts if 0 < len(held) < len(codes))


def _with_others(codes: Ints, fold_of: Ints) -> float:
    """Return the share of the cells that have others of their label in another fold."""
    pairs = np.unique(np.stack([codes, fold_of]), axis=1)
    return float(np.isin(codes, np.flatnonzero(np.bincount(pairs[0]) > 1)).mean())


def _by_size(sizes: Sequence[int], n: int) -> Ints:
    fold_of, filled = np.zeros(len(sizes), np.int64), np.zeros(n, np.int64)
    for batch in np.argsort(-np.asarray(sizes), kind="stable"):
        fold_of[batch] = filled.argmin()
        filled[fold_of[batch]] += sizes[batch]
    return fold_of


def _within_labels(codes: Ints, n: int, rng: np.random.Generator) -> Ints:
    fold_of = np.zeros(len(codes), np.int64)
    start = 0
    for code in np.unique(codes):
        cells = rng.permutation(np.flatnonzero(codes == code))
        # Each label starts at the fold where the last one ended, so that rare ones do not all fall into the first.
        fold_of[cells] = (start + np.arange(len(cells))) % n
        start += len(cells)
    return fold_of


def retrieve(reference: Floats, codes: Ints, n_labels: int, queries: Floats, voting: Voting) -> tuple[Neighbors, Votes]:
    """Return the neighbours of (m, d) queries among (n, d) unit vectors of a reference, and their votes.

    Parameters
    ----------
    reference, codes
        Unit vectors and labels of the reference cells; their positions are the row ids.
    n_labels
        L, the number of codes.
    queries
        Unit vectors.
    voting
        How neighbours vote.
    """
    index = Exact(Stored.of(np.arange(len(reference)), reference))
    found = search(index, queries, voting.k)
    return found, vote(found, codes[found.ids], np.bincount(codes, minlength=n_labels), voting)
