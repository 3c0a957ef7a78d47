"""Linear probes: whether a logistic regression on genes' vectors tells the members of a set, of families not seen."""

from __future__ import annotations

import numpy as np

from scvec.core.types import Bools, Doubles, Floats, Ints

N_FOLDS = 5
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
    scores = [_auroc(vectors, inside, kin, seed + 1000 * i) for i, inside in enumerate(members)]
    return {"auroc": np.array(scores, np.float64)}


def _auroc(vectors: Floats, inside: Bools, kin: Ints, seed: int) -> float:
    from sklearn.metrics import roc_auc_score
    from sklearn.model_selection import StratifiedGroupKFold

    genes = drawn(inside, seed)
    x, y, groups = vectors[genes].astype(np.float64), inside[genes], kin[genes]
    found = []
    folds = StratifiedGroupKFold(N_FOLDS, shuffle=True, random_state=seed % 2**32)
    for learnt, asked in folds.split(x, y, groups):
        # A family larger than a fold may leave it with genes of one kind.
        if np.unique(y[learnt]).size == np.unique(y[asked]).size == 2:
            found.append(float(roc_auc_score(y[asked], _scores(x[learnt], y[learnt], x[asked]))))
    return float(np.mean(found)) if found else float("nan")


def drawn(inside: Bools, seed: int) -> Ints:
    """Return the positions of a set's genes and of the others that are drawn, ascending."""
    outside = np.flatnonzero(~inside)
    n = min(len(outside), NEGATIVES * int(inside.sum()))
    others = np.random.default_rng(seed).permutation(outside)[:n]
    return np.sort(np.concatenate([np.flatnonzero(inside), others])).astype(np.int64)


def _scores(x: Doubles, y: Bools, asked: Doubles) -> Doubles:
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    scale = StandardScaler().fit(x)
    width = np.sqrt(x.shape[1])
    model = LogisticRegression(C=1.0, class_weight="balanced", max_iter=1000).fit(scale.transform(x) / width, y)
    return np.asarray(model.decision_function(scale.transform(asked) / width))
