"""When a call is right though it is not, letter for letter, what the author said.

Source: Fischer et al. 2024, "scTab: Scaling cross-tissue single-cell annotation models".
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from scvec.core.types import Strings
from scvec.ontology.terms import Ontology


def is_right(called_ids: Strings, truth_ids: Strings, ontology: Ontology) -> NDArray[np.bool_]:
    """Say which calls are the author's term or a kind of it.

    A call that says more than the author is right, one that says less is wrong, and so is one without an id.

    Parameters
    ----------
    called_ids, truth_ids
        (n,) ids, in any spelling, obsolete ones too; "" where there is none.
    ontology
        What is a kind of what.

    Returns
    -------
    (n,) bool.

    Raises
    ------
    KeyNotFoundError
        If an id is not one of `ontology`'s.
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
    """Return (n,) the labels to count as called: the author's where the call `is_right`, else the label called.

    Macro-F1, accuracy and confusions of these against `truth_labels` are those of the calls, judged by the ontology.
    """
    credit = np.where(is_right(called_ids, truth_ids, ontology), truth_labels, called_labels)
    return np.asarray(credit, dtype=object)
