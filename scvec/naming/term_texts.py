"""The terms of the Cell Ontology that may name a cluster, and their texts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal, TypeAlias, get_args

import numpy as np

from scvec.core.types import Strings, freeze
from scvec.ontology import Ontology, Term
from scvec.ontology.terms import NO_ANSWER, ROOT

Part: TypeAlias = Literal["name", "synonyms", "definition"]
"""What a term's text is made of."""

PARTS: tuple[Part, ...] = get_args(Part)

NO_TISSUE = frozenset({"CL:0000257", "CL:0000520", "CL:0000521", "CL:0000628", "CL:0000725", "CL:0001034"})
"""*Eumycetozoan*, *prokaryotic*, *fungal*, *photosynthetic*, *nitrogen fixing cell*, *cell in vitro*: no cells of an
animal's tissue."""


def text_of(term: Term, parts: Sequence[Part] = PARTS) -> str:
    """Return a term's text: ``name. Also called synonym; synonym. Definition``, of which `parts` are taken.

    "" where the term has none of them.
    """
    made: dict[Part, str] = {
        "name": f"{term.name}.",
        "synonyms": f"Also called {'; '.join(term.synonyms)}." if term.synonyms else "",
        "definition": term.description,
    }
    return " ".join(made[one] for one in PARTS if one in parts and made[one])


@dataclass(frozen=True)
class TermTexts:
    """The T terms that may name a cluster. Make it with `term_texts`.

    Attributes
    ----------
    ontology
        The release.
    terms
        (T,) the terms, by id.
    """

    ontology: Ontology = field(repr=False)
    terms: tuple[Term, ...] = field(repr=False)

    def __len__(self) -> int:
        return len(self.terms)

    @cached_property
    def ids(self) -> Strings:
        """(T,) their ids, ascending."""
        return freeze(np.array([one.id for one in self.terms], object))

    @cached_property
    def names(self) -> Strings:
        """(T,) their names."""
        return freeze(np.array([one.name for one in self.terms], object))

    @cached_property
    def positions(self) -> dict[str, int]:
        """The position of each id."""
        return {one.id: i for i, one in enumerate(self.terms)}

    def texts(self, parts: Sequence[Part] = PARTS) -> list[str]:
        """Return (T,) their texts: see `text_of`."""
        return [text_of(one, parts) for one in self.terms]


def term_texts(ontology: Ontology) -> TermTexts:
    """Return the terms that may name a cluster.

    Left out are obsolete ids; what is not a kind of *cell* (nuclei, cytoplasms); `NO_ANSWER`, which says nothing; and
    `NO_TISSUE` with all their kinds. A term without a definition stays: its name and synonyms are its text.
    """

    def may_name(term: Term) -> bool:
        above = ontology.ancestors(term.id)
        return ROOT in above and term.id not in NO_ANSWER and NO_TISSUE.isdisjoint(above)

    return TermTexts(ontology, tuple(one for one in ontology.terms.values() if may_name(one)))
