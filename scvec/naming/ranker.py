"""How features become chances: a linear ranker, fitted on labels of other studies."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np
import scipy.sparse as sp

from scvec.core.types import Doubles
from scvec.naming.features import FEATURES

WEIGHTS: Mapping[str, float] = MappingProxyType(
    {
        "mention": 0.853,
        "definition": 0.971,
        "name": 1.234,
        "gene_in_name": 0.045,
        "gene_in_definition": 0.149,
        "mention_above": 0.052,
        "mention_below": 0.025,
        "definition_above": 0.239,
        "definition_below": 0.156,
        "n_words": -0.479,
        "in_brackets": -0.765,
        "n_children": 0.558,
        "is_leaf": 0.349,
        "n_synonyms": 0.29,
        "tissue_in_name": 0.504,
        "tissue_in_definition": 1.02,
        "tissue_above": 1.501,
        "other_organ": -1.195,
        "meaning": 0.0,
        "marker": 0.0,
    }
)
"""Of each feature, as ``python -m benchmarks.naming --fit`` finds them to within .02, without an encoder."""

WITH_MEANING: Mapping[str, float] = MappingProxyType(
    {
        "mention": 0.78,
        "definition": 0.66,
        "name": 0.78,
        "gene_in_name": 0.06,
        "gene_in_definition": 0.13,
        "mention_above": 0.02,
        "mention_below": 0.02,
        "definition_above": 0.24,
        "definition_below": 0.14,
        "n_words": -0.47,
        "in_brackets": -0.68,
        "n_children": 0.52,
        "is_leaf": 0.37,
        "n_synonyms": 0.31,
        "tissue_in_name": 0.61,
        "tissue_in_definition": 0.97,
        "tissue_above": 1.87,
        "other_organ": -0.94,
        "meaning": 1.34,
        "marker": 0.0,
    }
)
"""The same with one, minilm."""

WITH_MARKERS: Mapping[str, float] = MappingProxyType(
    {
        "mention": 0.36,
        "definition": 0.87,
        "name": 1.35,
        "gene_in_name": 0.08,
        "gene_in_definition": 0.1,
        "mention_above": 0.06,
        "mention_below": 0.06,
        "definition_above": 0.21,
        "definition_below": 0.07,
        "n_words": -0.3,
        "in_brackets": -0.74,
        "n_children": 0.41,
        "is_leaf": 0.19,
        "n_synonyms": 0.17,
        "tissue_in_name": 0.47,
        "tissue_in_definition": 1.0,
        "tissue_above": 1.27,
        "other_organ": -1.1,
        "meaning": 0.0,
        "marker": 0.89,
    }
)
"""The same with marker sets, without an encoder."""

OF_TERM, OF_KIN, OFFSET = 0.173, 1.144, 0.673
"""How the logarithms of the ranker's chances of a term, and of all terms within two steps of it, tell whether the term,
its parent or its child is right: logistic regression on the first five names for types of studies held
out, by words alone."""

STANDS_OUT = 0.4
"""The lowest score of a first name that stands out."""


def chances(features: Doubles, weights: Mapping[str, float] = WEIGHTS) -> Doubles:
    """Return (C, T) the ranker's chance of each term, which add up to one for each cluster; `features` are (C, T, F).

    Source: the conditional logit of McFadden 1974, as ListNet ranks lists (10.1145/1273496.1273513).
    """
    scores = features @ np.array([weights[name] for name in FEATURES])
    scores -= scores.max(axis=1, keepdims=True)
    made = np.exp(scores)
    return np.asarray(made / made.sum(axis=1, keepdims=True))


def scores_of(chance: Doubles, kin: sp.csr_matrix[np.float32]) -> Doubles:
    """Return (C, T) the chance that a term, its parent or its child is right.

    Terms that mean nearly the same share the ranker's chance: where a term's kin have much of it, the ranker knows what
    kind of cell it is, if not which one.

    Parameters
    ----------
    chance
        (C, T) the ranker's chance of each term.
    kin
        (T, T) 1 for terms within two steps of each other, and for each term itself.
    """
    of_kin = np.asarray((kin @ chance.T).T)
    known = OF_TERM * _log(chance) + OF_KIN * _log(of_kin) + OFFSET
    return np.asarray(1 / (1 + np.exp(-known)))


def _log(chance: Doubles) -> Doubles:
    return np.asarray(np.log(np.maximum(chance, 1e-300)))
