"""The Cell Ontology as a value: its terms, their is-a relations, and the ids that are obsolete."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from graphlib import TopologicalSorter
from types import MappingProxyType

from scvec.errors import KeyNotFoundError

ROOT = "CL:0000000"
"""The term *cell*, which says nothing about a cell."""

NO_ANSWER = frozenset({ROOT, "CL:0000003", "CL:0000255", "CL:0000548"})
"""*Cell*, *native cell*, *eukaryotic cell* and *animal cell*: true of every cell that one would label."""

LOOK_UP = "look up the term that is meant"


def as_id(text: str) -> str:
    """Return the id that `text` spells (``CL_0000171``, ``cl:0000171``, an IRI); "" if it spells none."""
    found = re.fullmatch(r"(?:https?://purl\.obolibrary\.org/obo/)?CL[:_](\d{7})", text.strip(), re.IGNORECASE)
    return f"CL:{found[1]}" if found else ""


@dataclass(frozen=True, slots=True)
class Term:
    """A cell type.

    Attributes
    ----------
    id, name, description
        ``"CL:0000236"``, ``"B cell"``, and its definition; "" where the ontology has none.
    synonyms
        Its exact synonyms, sorted. Broad, narrow and related synonyms mean other things and are not kept.
    parents
        The ids of its direct parents (is_a), sorted.
    """

    id: str
    name: str
    description: str = ""
    synonyms: tuple[str, ...] = ()
    parents: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Obsolete:
    """An obsolete id, its former name ("" if it was merged), and the id that replaces it, if any."""

    id: str
    name: str = ""
    replaced_by: str = ""


@dataclass(frozen=True)
class Ontology:
    """The Cell Ontology at one release.

    Attributes
    ----------
    release
        Its tag, usually the date that the ontology states.
    terms
        The terms in use, by id. Their parents are among them, and there are no cycles.
    obsolete
        The obsolete ids, by id.
    """

    release: str
    terms: Mapping[str, Term]
    obsolete: Mapping[str, Obsolete]

    def __post_init__(self) -> None:
        for field in ("terms", "obsolete"):
            by_id: Mapping[str, object] = getattr(self, field)
            object.__setattr__(self, field, MappingProxyType(dict(sorted(by_id.items()))))

    def __str__(self) -> str:
        return f"Cell Ontology {self.release}"

    def __len__(self) -> int:
        return len(self.terms)

    def __contains__(self, term_id: object) -> bool:
        return term_id in self.terms

    def __getitem__(self, term_id: str) -> Term:
        """Return a term by its id; raise `KeyNotFoundError` for an id that is not in use."""
        if term_id not in self.terms:
            raise self._not_in_use(term_id)
        return self.terms[term_id]

    def name(self, term_id: str) -> str:
        """Return a term's name; like all methods, raises `KeyNotFoundError` for an id that is not in use."""
        return self[term_id].name

    def ancestors(self, term_id: str) -> Mapping[str, int]:
        """Return the ancestors of a term, each with the smallest number of steps to it, nearest first.

        The term itself is the first, at 0 steps.
        """
        return self._ancestors[self[term_id].id]

    def depth(self, term_id: str) -> int:
        """Return the number of steps from a term to the top, on the longest path.

        By the shortest path, four in ten terms would have an ancestor that is at least as deep as they are. By the
        longest, a term is always deeper than its ancestors, so the deepest of several ancestors is the most specific.
        """
        return self._depths[self[term_id].id]

    def is_a(self, term_id: str, ancestor: str) -> bool:
        """Whether a term is `ancestor` or a descendant of it."""
        return self[ancestor].id in self.ancestors(term_id)

    def resolve(self, text: str) -> str:
        """Return the id in use for an id in any spelling; for an obsolete id, that of the term that replaces it.

        Raises
        ------
        KeyNotFoundError
            If it is not an id of this release, or is obsolete and not replaced by a term of the Cell Ontology.
        """
        found, passed = as_id(text) or text, set[str]()
        while found in self.obsolete and found not in passed:
            passed.add(found)
            found = self.obsolete[found].replaced_by
        return found if found in self.terms else self[as_id(text) or text].id  # raises, with the reason

    @cached_property
    def _upwards(self) -> tuple[str, ...]:
        """The ids, each after its parents."""
        return tuple(TopologicalSorter({one.id: one.parents for one in self.terms.values()}).static_order())

    @cached_property
    def _ancestors(self) -> dict[str, Mapping[str, int]]:
        found: dict[str, Mapping[str, int]] = {}
        for term_id in self._upwards:
            steps = {term_id: 0}
            for parent in self.terms[term_id].parents:
                for one, n_steps in found[parent].items():
                    steps[one] = min(n_steps + 1, steps.get(one, n_steps + 1))
            found[term_id] = MappingProxyType(dict(sorted(steps.items(), key=lambda item: (item[1], item[0]))))
        return found

    @cached_property
    def _depths(self) -> dict[str, int]:
        found: dict[str, int] = {}
        for term_id in self._upwards:
            found[term_id] = max((found[one] + 1 for one in self.terms[term_id].parents), default=0)
        return found

    def _not_in_use(self, text: str) -> KeyNotFoundError:
        gone = self.obsolete.get(text)
        if gone is not None:
            called = f" ({gone.name})" if gone.name else ""
            instead = gone.replaced_by
            named = f" ({self.terms[instead].name})" if instead in self else ""
            fix = f"use {instead}{named}" if instead and instead not in self.obsolete else LOOK_UP
            return KeyNotFoundError(f"{text}{called} is obsolete in {self}", "an id in use", fix)
        known = {one.id if as_id(text) else one.name: one for one in self.terms.values()}
        near = [known[one] for one in difflib.get_close_matches(text, known, n=3)]
        nearest = " or ".join(f"{one.id} ({one.name})" for one in near)
        fix = f"use {nearest}, if that is meant" if near else LOOK_UP
        return KeyNotFoundError(f"no term {text!r} in {self}", "an id such as CL:0000236", fix)
