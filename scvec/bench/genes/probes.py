"""Linear probes: whether a logistic regression on genes' vectors tells the members of a set, of families not seen."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache, partial
from typing import TypeAlias

import numpy as np

from scvec.core.jit import side_by_side
from scvec.core.types import Bools, Doubles, Floats, Ints

N_FOLDS = 5
Fold: TypeAlias = tuple[Ints, Ints]
NEGATIVES = 3
"""Genes outside of a set that are drawn for each gene in it."""


def probe(vectors: Floats, members: Bools, kin: Ints, seed: int) -> dict[str, Doubles]:
    """Return (s,) the AUROC of each set, on genes whose families the regression has not seen.

    The genes of a set and `NEGATIVES` times as many others, drawn by the seed, are split into `N_FOLDS`, kin together;
    the AUROC is the mean over the folds. Vectors are standardised on the genes that are learnt from, and divided by the
    root of their dimension, so that the penalty (C = 1) weighs alike for all dimensions.

    Parameters
    ----------
    vectors
        (n, d) of genes.
    members
        (s, n) which genes are in which set.
    kin
        (n,) equal for genes of one family.
    seed
        Of negatives and folds, which are the same for all vectors.
    """
    parts = splits(members, kin, seed)
    jobs = [partial(_auroc, vectors, inside, folds) for inside, folds in zip(members, parts, strict=True)]
    return {"auroc": np.array(side_by_side(jobs), np.float64)}


def splits(members: Bools, kin: Ints, seed: int) -> tuple[tuple[Fold, ...], ...]:
    """Return for each set its folds: the genes that are learnt from, and those that are asked for.

    A fold that has only genes of one kind, learnt or asked for, is left out: a large family may leave it so.
    """
    return _splits(members.tobytes(), members.shape, kin.tobytes(), seed)


@lru_cache
def _splits(members: bytes, shape: tuple[int, int], kin: bytes, seed: int) -> tuple[tuple[Fold, ...], ...]:
    """Make the folds once for all vectors."""
    groups = np.frombuffer(kin, np.int64)
    return tuple(
        tuple(_folds(inside, groups, seed + 1000 * i))
        for i, inside in enumerate(np.frombuffer(members, bool).reshape(shape))
    )


def _folds(inside: Bools, kin: Ints, seed: int) -> Iterator[Fold]:
    from sklearn.model_selection import StratifiedGroupKFold

    genes = drawn(inside, seed)
    y = inside[genes]
    for learnt, asked in StratifiedGroupKFold(N_FOLDS, shuffle=True, random_state=seed).split(genes, y, kin[genes]):
        if np.unique(y[learnt]).size == np.unique(y[asked]).size == 2:
            yield genes[learnt], genes[asked]


def drawn(inside: Bools, seed: int) -> Ints:
    """Return the positions of a set's genes and of the others that are drawn, ascending."""
    outside = np.flatnonzero(~inside)
    n = min(len(outside), NEGATIVES * int(inside.sum()))
    others = np.random.default_rng(seed).permutation(outside)[:n]
    return np.sort(np.concatenate([np.flatnonzero(inside), others])).astype(np.int64)


def _auroc(vectors: Floats, inside: Bools, folds: Sequence[Fold]) -> float:
    from sklearn.metrics import roc_auc_score

    found = [
        float(roc_auc_score(inside[asked], _scores(vectors[learnt], inside[learnt], vectors[asked])))
        for learnt, asked in folds
    ]
    return float(np.mean(found)) if found else float("nan")


def _scores(vectors: Floats, inside: Bools, asked: Floats) -> Doubles:
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    scale = StandardScaler().fit(vectors.astype(np.float64))
    x, asked_x = (scale.transform(one.astype(np.float64)) / np.sqrt(one.shape[1]) for one in (vectors, asked))
    if x.shape[1] > len(x):
        # The weights lie in the space of the genes that are learnt from: the same regression in fewer dimensions.
        basis = np.linalg.qr(x.T)[0]
        x, asked_x = x @ basis, asked_x @ basis
    model = LogisticRegression(C=1.0, class_weight="balanced", max_iter=1000).fit(x, inside)
    return np.asarray(model.decision_function(asked_x))
