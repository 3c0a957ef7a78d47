"""Roll-up: from labels to the terms of the Cell Ontology that enough votes agree on."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from scvec.annotation.result import Annotation, Terms
from scvec.atlas import Atlas
from scvec.core.text import counted
from scvec.errors import InputError, KeyNotFoundError, must_be
from scvec.ontology import Ontology, open_ontology, roll_up


@dataclass(frozen=True, slots=True)
class RollUp:
    """How labels become terms.

    Attributes
    ----------
    ontology
        The Cell Ontology.
    ids
        (L,) the id of each label of the atlas, in the order of the labels' names; "" where a label has none.
    support
        The share of a cell's votes that its term needs.
    """

    ontology: Ontology
    ids: tuple[str, ...]
    support: float


def roll_up_of(atlas: Atlas, support: float | None) -> RollUp | None:
    """Return how the labels of an atlas become terms; None if `support` is None, which asks for no terms.

    Raises
    ------
    InputError
        If `support` is not a share above 0, or no label of the atlas has an id.
    NotInStoreError
        If the store has no Cell Ontology.
    """
    if support is None:
        return None
    if not 0 < support <= 1:
        raise must_be("roll_up", "above 0 and at most 1", support)
    ontology = open_ontology(atlas.store)
    id_of = atlas.label_ids
    ids = tuple(_in_use(id_of[label], ontology) for label in sorted(id_of))
    if not any(ids):
        raise InputError(
            f"`roll_up` needs labels with ids of the Cell Ontology, and no label of atlas {atlas.name!r} has one",
            "ids such as CL:0000169",
            "build the atlas with `label_id_key` or `match_labels`",
        )
    return RollUp(ontology, ids, support)


def with_terms(calls: Annotation, how: RollUp | None) -> Annotation:
    """Add to each cell's call the deepest term that enough of its votes agree on.

    Where the label with most votes has enough of them, that is its own term; where votes are split among kinds of one
    cell type, it is what these have in common. None adds no terms.
    """
    if how is None:
        return calls
    ontology = how.ontology
    found = roll_up(calls.scores, how.ids, ontology, how.support)
    has = found.ids.astype(bool)
    names = np.array([ontology.name(one) if one else "" for one in found.ids.tolist()], dtype=object)
    depth = np.array([ontology.depth(one) if one else -1 for one in found.ids.tolist()], np.int64)
    n_without = int((~has).sum())
    have = "has" if n_without == 1 else "have"
    note = f"{counted(n_without, 'cell')} {have} no term of the {ontology} with {how.support:.0%} of the votes"
    return replace(calls, terms=Terms(found.ids, names, depth, found.support), notes=(*calls.notes, note))


def _in_use(label_id: str, ontology: Ontology) -> str:
    """Return the current id of a label: for an obsolete id, that of its replacement; "" where there is none."""
    try:
        return label_id and ontology.resolve(label_id)
    except KeyNotFoundError:
        return ""
