"""A linear probe: the logits of a logistic regression, as dimensions of a cell vector."""

from __future__ import annotations

import warnings

import numpy as np

from scvec.core.types import Floats
from scvec.core.vectors import unit_rows
from scvec.embed.sample import Sample

SCALE = 30.0
"""Length of a cell in the regression, whose weights have scikit-learn's default penalty."""

ITERATIONS = 200


def probe(sample: Sample, random_state: int) -> tuple[Floats, Floats]:
    """Fit a class-balanced multinomial logistic regression on cells scaled to unit length.

    Returns
    -------
    weights
        (g, L) weights for cells of unit length; zeros for a label without cells.
    intercept
        (L,) intercepts; zero for a label without cells.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    cells = unit_rows(sample.logged)
    cells.data = cells.data * np.float32(SCALE)
    model = LogisticRegression(class_weight="balanced", max_iter=ITERATIONS, random_state=random_state)
    with warnings.catch_warnings():
        # It stops before the last digits, on which no call depends.
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(cells, sample.codes)
    weights, intercept = np.zeros((sample.logged.shape[1], sample.n_labels)), np.zeros(sample.n_labels)
    # For two labels, scikit-learn keeps only the weights of the second.
    two = len(model.classes_) == 2
    weights[:, model.classes_] = np.concatenate([-model.coef_, model.coef_]).T if two else model.coef_.T
    intercept[model.classes_] = np.concatenate([-model.intercept_, model.intercept_]) if two else model.intercept_
    return (weights * SCALE).astype(np.float32), intercept.astype(np.float32)
