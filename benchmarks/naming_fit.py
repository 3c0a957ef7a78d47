"""Fitting the ranker of names, and judging ranks of terms."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.optimize import minimize

import scvec as sv
from scvec.core.types import Doubles, Floats
from scvec.naming.features import FEATURES

RIDGE, KIN = 3e-3, 0.1
"""The penalty on squared weights; and the part of the target that is shared by the term's parents and children."""

FARTHEST = 12
"""Steps in the ontology that count at most."""


@dataclass(frozen=True)
class Judge:
    """Knows which terms are near others.

    `near` counts a term, its parents and its children.
    """

    ontology: sv.ontology.Ontology
    ids: tuple[str, ...]

    def near(self, term: str) -> set[str]:
        """Return a term, its parents and its children."""
        return {term, *self.ontology[term].parents, *self._children[term]}

    @cached_property
    def _children(self) -> dict[str, list[str]]:
        found: dict[str, list[str]] = defaultdict(list)
        for one in self.ontology.terms.values():
            for parent in one.parents:
                found[parent].append(one.id)
        return found

    def steps(self, one: str, other: str) -> int:
        """Return the number of steps between two terms, over the nearest ancestor that they share."""
        up, down = self.ontology.ancestors(one), self.ontology.ancestors(other)
        return min([up[term] + down[term] for term in up.keys() & down.keys()], default=FARTHEST)

    def judged(self, scores: Doubles, terms: Sequence[str]) -> list[dict[str, float]]:
        """Return for each cluster with a term what its ranked terms are worth."""
        made = []
        for row, term in zip(scores, terms, strict=True):
            if term not in self.ids:
                continue
            best = [self.ids[i] for i in np.argsort(-row, kind="stable")[:20]]
            near = self.near(term)
            hits = [one in near for one in best]
            made.append(
                {
                    "exact@1": float(best[0] == term),
                    "exact@5": float(term in best[:5]),
                    "near@1": float(hits[0]),
                    "near@5": float(any(hits[:5])),
                    "near@20": float(any(hits)),
                    "distance": float(min(self.steps(best[0], term), FARTHEST)),
                }
            )
        return made


MEASURES = ("exact@1", "exact@5", "near@1", "near@5", "near@20", "distance")


def mean(judged: Sequence[dict[str, float]]) -> dict[str, float]:
    """Return the means of what was judged; NaN where nothing was."""
    some = [one for one in judged if one]
    return {key: float(np.mean([one[key] for one in some])) if some else float("nan") for key in MEASURES}


def fit(
    features: Sequence[Floats], terms: Sequence[Sequence[str]], judge: Judge, kin: float = KIN, ridge: float = RIDGE
) -> dict[str, float]:
    """Return the weights of the features that make the right terms likely.

    Each cluster counts by one over the root of how many clusters have its term.

    Parameters
    ----------
    features
        (C, T, F) of each study.
    terms
        The right terms; "" for a cluster without one.
    judge
        Knows the terms.
    kin, ridge
        See `KIN` and `RIDGE`.
    """
    positions = {one: i for i, one in enumerate(judge.ids)}
    kept = [[i for i, one in enumerate(own) if one in positions] for own in terms]
    every = np.concatenate([found[rows] for found, rows in zip(features, kept, strict=True)])
    right = [own[i] for own, rows in zip(terms, kept, strict=True) for i in rows]
    counts = Counter(right)
    share = np.array([1 / np.sqrt(counts[one]) for one in right])
    share /= share.sum()
    target = np.zeros(every.shape[:2], np.float32)
    for row, term in enumerate(right):
        near = [positions[one] for one in judge.near(term) if one in positions]
        target[row, near] = kin / len(near)
        target[row, positions[term]] += 1 - kin

    def loss(weights: Doubles) -> tuple[float, Doubles]:
        scores = (every @ weights.astype(np.float32)).astype(np.float64)
        scores -= scores.max(axis=1, keepdims=True)
        chances = np.exp(scores)
        sums = chances.sum(axis=1, keepdims=True)
        value = -(share[:, None] * target * (scores - np.log(sums))).sum() + ridge * (weights**2).sum()
        slope = (share[:, None] * (chances / sums - target)).astype(np.float32)
        return float(value), np.tensordot(slope, every, 2).astype(np.float64) + 2 * ridge * weights

    found = minimize(loss, np.zeros(every.shape[2]), jac=True, method="L-BFGS-B", options={"maxiter": 100})
    return dict(zip(FEATURES, found.x.tolist(), strict=True))


def calibrated(chances: Doubles, hits: Sequence[bool]) -> tuple[float, float, float]:
    """Return the weights of (m, 2) chances' logarithms, and the offset, of the logistic curve to being right."""
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression(C=1e6).fit(np.log(np.maximum(chances, 1e-300)), hits)
    return float(model.coef_[0, 0]), float(model.coef_[0, 1]), float(model.intercept_[0])
