"""When a call counts as correct although it is not exactly the author's label.

Source: Fischer et al. 2024, "scTab: Scaling cross-tissue single-cell annotation models".
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from scvec.core.types import Strings
from scvec.ontology.terms import Ontology


def is_right(called_ids: Strings, truth_ids: Strings, ontology: Ontology) -> NDArray[np.bool_]:
    """Return which calls are the author's term or a descendant of it.

    A call that is more specific than the author's term is right; one that is less specific is wrong, and so is one
    without an id.

    Parameters
    ----------
    called_ids, truth_ids
        (n,) ids, in any spelling and possibly obsolete; "" where there is none.
    ontology
        The ontology to judge by.

    Returns
    -------
    (n,) bool.

    Raises
    ------
    KeyNotFoundError
        If `ontology` does not have an id.
    """
    pairs = list(zip(called_ids.tolist(), truth_ids.tolist(), strict=True))
    distinct = set(pairs)
    current = {one: one and ontology.resolve(one) for one in {one for pair in distinct for one in pair}}
    right = {
        (called, truth): bool(called and truth) and ontology.is_a(current[called], current[truth])
        for called, truth in distinct
    }
    return np.array([right[pair] for pair in pairs], dtype=bool)


def credited(
    called_labels: Strings, truth_labels: Strings, called_ids: Strings, truth_ids: Strings, ontology: Ontology
) -> Strings:
    """Return (n,) the labels to score: the author's where the call `is_right`, else the label called.

    Macro-F1, accuracy and the confusion matrix of these against `truth_labels` are those of the calls as judged by the
    ontology.
    """
    credit = np.where(is_right(called_ids, truth_ids, ontology), truth_labels, called_labels)
    return np.asarray(credit, dtype=object)
