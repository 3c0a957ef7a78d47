"""Matching authors' labels to terms of the Cell Ontology: each label by one route, none by guessing."""

from __future__ import annotations

import difflib
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, TypeAlias, get_args

import numpy as np

from scvec.core.files import read_pairs
from scvec.core.types import Strings
from scvec.errors import KeyNotFoundError
from scvec.ontology.spelling import LETTERS, spelling
from scvec.ontology.terms import Ontology, as_id

Route: TypeAlias = Literal["map", "id", "name", "synonym", "spelling", "ambiguous", "unmatched"]
"""How a label was matched: by the user's own map, or because it is the term's id, name or exact synonym, or one of the
last two in another spelling. Or why it was not: it fits several terms, or none."""

ROUTES: tuple[Route, ...] = get_args(Route)
NO_MAP: Mapping[str, str] = MappingProxyType({})
N_NEAREST = 3


@dataclass(frozen=True, slots=True)
class Match:
    """How one label was matched.

    Attributes
    ----------
    label, route
        The label, and how it was matched.
    id, name
        The term; "" where there is none.
    candidates
        (id, name) of the terms that an ambiguous label could mean, or of those closest to an unmatched one, for the
        user to choose from.
    """

    label: str
    route: Route
    id: str = ""
    name: str = ""
    candidates: tuple[tuple[str, str], ...] = ()

    def __str__(self) -> str:
        shown = " or ".join(f"{name} ({term_id})" for term_id, name in self.candidates)
        return self.label + (f" ({'could be' if self.route == 'ambiguous' else 'near'}: {shown})" if shown else "")

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as JSON types."""
        found = {"label": self.label, "route": self.route, "id": self.id, "name": self.name}
        return found | {"candidates": [list(one) for one in self.candidates]}


@dataclass(frozen=True, slots=True)
class LabelMatch:
    """How labels were matched, each label once, in the order given; `release` is the ontology's."""

    release: str
    matches: tuple[Match, ...]

    @property
    def ids(self) -> dict[str, str]:
        """The id of each label that has one."""
        return {one.label: one.id for one in self.matches if one.id}

    def by(self, *routes: Route) -> tuple[Match, ...]:
        """Return the matches by one of these routes."""
        return tuple(one for one in self.matches if one.route in routes)

    def ids_of(self, labels: Strings) -> Strings:
        """Return (n,) the ids of (n,) labels; "" where a label has none."""
        ids = self.ids
        return np.array([ids.get(one, "") for one in labels.tolist()], dtype=object)

    def __str__(self) -> str:
        return f"{len(self.ids):,} of {len(self.matches):,} labels have a term of Cell Ontology {self.release}"

    def notes(self) -> list[str]:
        """Return notes for the user, one line each."""
        counts = Counter(one.route for one in self.matches if one.id)
        lines = [f"{self}: {', '.join(f'{counts[one]:,} by {one}' for one in ROUTES if counts[one]) or 'none'}"]
        unmatched: tuple[Route, ...] = ("ambiguous", "unmatched")
        for route in unmatched:
            left = self.by(route)
            if left:
                shown = "; ".join(map(str, left[:5])) + ("; ..." if len(left) > 5 else "")
                lines.append(f"{len(left):,} left out as {route}: {shown}")
        return lines

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as JSON types."""
        counts = Counter(one.route for one in self.matches)
        return {
            "release": self.release,
            "n_labels": len(self.matches),
            "n_matched": len(self.ids),
            "routes": {route: counts[route] for route in ROUTES if counts[route]},
            "labels": [one.to_dict() for one in self.matches],
        }


def match_labels(ontology: Ontology, labels: Iterable[str], own: Mapping[str, str] = NO_MAP) -> LabelMatch:
    """Find the term of each label, by the first route that leads to one.

    The routes are, in order: `own`; the label as an id; as a name; as an exact synonym (both ignoring case); as one of
    these two in another spelling (`scvec.ontology.spelling`). A label that fits several terms is ambiguous and gets
    none. So is a label that consists of a single letter, such as *alpha* or *C cell*, unless a term has exactly that
    name, as *B cell* does: the ontology's only *alpha cell* is in the retina.

    Parameters
    ----------
    ontology
        The ontology to search.
    labels
        As the authors wrote them; repeated ones count once.
    own
        Your own ids, by label; "" for none. Labels that do not occur are ignored.

    Raises
    ------
    KeyNotFoundError
        If `own` has an id that `ontology` does not have.
    """
    names = _Names(ontology)
    return LabelMatch(ontology.release, tuple(names.match(one, own) for one in dict.fromkeys(labels)))


class _Names:
    """Look-up tables of an ontology's names, synonyms and spellings."""

    def __init__(self, ontology: Ontology) -> None:
        self.ontology = ontology
        self.names, self.synonyms, self.spellings = (defaultdict[str, set[str]](set) for _ in range(3))
        self.own_spelling: dict[str, str] = {}
        for term in ontology.terms.values():
            self.names[term.name.casefold()].add(term.id)
            self.own_spelling[term.id] = spelling(term.name)
            self.spellings[self.own_spelling[term.id]].add(term.id)
            for synonym in term.synonyms:
                self.synonyms[synonym.casefold()].add(term.id)
                self.spellings[spelling(synonym)].add(term.id)

    def match(self, label: str, own: Mapping[str, str]) -> Match:
        if label in own:
            return self._mapped(label, own[label])
        if as_id(label):
            return self._as_id(label)
        plain, spelled = label.strip().casefold(), spelling(label)
        routes: tuple[tuple[Route, set[str]], ...] = (
            ("name", self.names.get(plain, set())),
            ("synonym", self.synonyms.get(plain, set())),
            ("spelling", self.spellings.get(spelled, set())),
        )
        for route, found in routes:
            if not found:
                continue
            sure = found if spelled not in LETTERS else {one for one in found if self.own_spelling[one] == spelled}
            if len(sure) == 1:
                return self._found(label, route, *sure)
            others = self._nearest(spelled) if spelled in LETTERS else []
            return Match(label, "ambiguous", candidates=self._named(dict.fromkeys([*sorted(found), *others])))
        return Match(label, "unmatched", candidates=self._named(self._nearest(spelled)))

    def _mapped(self, label: str, said: str) -> Match:
        if not said:
            return Match(label, "unmatched")
        try:
            return self._found(label, "map", self.ontology.resolve(said))
        except KeyNotFoundError as error:
            raise KeyNotFoundError(f"the label map, for {label!r}: {error.seen}", error.expected, error.fix) from error

    def _as_id(self, label: str) -> Match:
        try:
            return self._found(label, "id", self.ontology.resolve(label))
        except KeyNotFoundError:
            return Match(label, "unmatched")

    def _found(self, label: str, route: Route, term_id: str) -> Match:
        return Match(label, route, term_id, self.ontology.name(term_id))

    def _named(self, ids: Iterable[str]) -> tuple[tuple[str, str], ...]:
        return tuple((one, self.ontology.name(one)) for one in ids)

    def _nearest(self, spelled: str) -> list[str]:
        """Return terms whose names contain all the words, or else are spelt similarly.

        Names that end in the label come first: a subtype's name usually ends in the name of its supertype.
        """
        words = set(spelled.split())
        within = [one for one in self.spellings if words and words <= set(one.split())]
        within.sort(key=lambda one: (not one.endswith(f" {spelled}"), len(one.split()), len(one), one))
        close = within[:N_NEAREST] or difflib.get_close_matches(spelled, self.spellings, n=N_NEAREST, cutoff=0.6)
        ids = [term_id for one in close for term_id in sorted(self.spellings[one])]
        return list(dict.fromkeys(ids))[:N_NEAREST]


def read_map(path: str | Path) -> dict[str, str]:
    """Read a map from labels to ids: a JSON object, or a CSV or TSV file with the columns ``label`` and ``id``.

    Raises
    ------
    FileError
        If the file is missing or in neither format.
    """
    return {label: term_id or "" for label, term_id in read_pairs(path, "label", "id", "the label map").items()}
