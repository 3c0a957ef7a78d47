"""From labels to terms of the Cell Ontology that enough votes agree on."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from scvec.annotation.result import Annotation, Terms
from scvec.atlas import Atlas
from scvec.errors import InputError, KeyNotFoundError
from scvec.ontology import Ontology, open_ontology, roll_up


@dataclass(frozen=True, slots=True)
class RollUp:
    """How labels become terms.

    Attributes
    ----------
    ontology
        Whose terms.
    ids
        (L,) id of each label of the atlas, sorted by label; "" where it has none.
    support
        The share of its votes that a cell's term is to have.
    """

    ontology: Ontology
    ids: tuple[str, ...]
    support: float


def roll_up_of(atlas: Atlas, support: float | None) -> RollUp | None:
    """Return how the labels of an atlas become terms; None, where `support` is None, for no terms.

    Raises
    ------
    InputError
        If `support` is no share, or no label of the atlas has an id.
    NotInStoreError
        If no Cell Ontology is in the store.
    """
    if support is None:
        return None
    if not 0 < support <= 1:
        raise InputError(f"roll_up = {support!r}", "a share of the votes from 0 to 1", "give another --roll-up")
    ontology = open_ontology(atlas.store)
    id_of = atlas.label_ids
    ids = tuple(_in_use(id_of[label], ontology) for label in sorted(id_of))
    if not any(ids):
        raise InputError(
            f"no label of atlas {atlas.name!r} has an id of the Cell Ontology",
            "ids such as CL:0000169",
            "build it with --label-id-key, or with --match-labels",
        )
    return RollUp(ontology, ids, support)


def with_terms(calls: Annotation, how: RollUp | None) -> Annotation:
    """Return the calls with the deepest term that enough of each cell's votes agree on.

    Where the nearest label has that many votes it is its own term; where votes are split among kinds of one cell, it is
    what these have in common. None asks for no terms.
    """
    if how is None:
        return calls
    ontology = how.ontology
    found = roll_up(calls.scores, how.ids, ontology, how.support)
    has = found.ids.astype(bool)
    names = np.array([ontology.name(one) if one else "" for one in found.ids.tolist()], dtype=object)
    depth = np.array([ontology.depth(one) if one else -1 for one in found.ids.tolist()], np.int64)
    n_without = int((~has).sum())
    note = f"{n_without:,} cells have no term of the {ontology} that {how.support:.0%} of their votes agree on"
    return replace(calls, terms=Terms(found.ids, names, depth, found.support), notes=(*calls.notes, note))


def _in_use(label_id: str, ontology: Ontology) -> str:
    """Return a label's id in use, of an obsolete one that of the term in its place; "" where there is none."""
    try:
        return label_id and ontology.resolve(label_id)
    except KeyNotFoundError:
        return ""
