"""From the labels that authors give cells to terms of the Cell Ontology, each by one route, none by a guess."""

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
"""How a label came to its term: by the user's own map, or by being the term's id, name, exact synonym, or one of the
last two in another spelling. Or how it did not: it could be several terms, or it is none."""

ROUTES: tuple[Route, ...] = get_args(Route)
NO_MAP: Mapping[str, str] = MappingProxyType({})
N_NEAREST = 3


@dataclass(frozen=True, slots=True)
class Match:
    """What became of one label.

    Attributes
    ----------
    label, route
        The label, and how it came to its term.
    id, name
        The term; "" where there is none.
    candidates
        (id, name) of the terms that an ambiguous label could be, or of those nearest to an unmatched one: for a reader
        to choose from.
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
    """What became of the labels, each once, in the order they were given; `release` is the ontology's."""

    release: str
    matches: tuple[Match, ...]

    @property
    def ids(self) -> dict[str, str]:
        """The id of each label that has one."""
        return {one.label: one.id for one in self.matches if one.id}

    def by(self, *routes: Route) -> tuple[Match, ...]:
        """Return the labels that took one of these routes."""
        return tuple(one for one in self.matches if one.route in routes)

    def ids_of(self, labels: Strings) -> Strings:
        """Return (n,) the ids of (n,) labels; "" for one that has none."""
        ids = self.ids
        return np.array([ids.get(one, "") for one in labels.tolist()], dtype=object)

    def __str__(self) -> str:
        return f"{len(self.ids):,} of {len(self.matches):,} labels have a term of Cell Ontology {self.release}"

    def notes(self) -> list[str]:
        """Return what a reader should know, a line each."""
        counts = Counter(one.route for one in self.matches if one.id)
        lines = [f"{self}: {', '.join(f'{counts[one]:,} by {one}' for one in ROUTES if counts[one]) or 'none'}"]
        for route in ("ambiguous", "unmatched"):
            left = [one for one in self.matches if one.route == route]
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
    """Find the term of each label, by the first route that leads anywhere.

    The routes are `own`, then the label as an id, a name, an exact synonym (case aside), and as one of these two in
    another spelling (`scvec.ontology.spelling`). Where a route leads to several terms the label is ambiguous and gets
    none. So is one of which a letter is left, as *alpha* or *C cell*, unless a term is named just that, as *B cell* is:
    the ontology's one *alpha cell* is in the retina.

    Parameters
    ----------
    ontology
        Where to look.
    labels
        As the authors wrote them; repeated ones count once.
    own
        The id of a label, as you say; "" for none. Labels that do not occur are passed over.

    Raises
    ------
    KeyNotFoundError
        If `own` leads to an id that is not one of `ontology`'s.
    """
    names = _Names(ontology)
    return LabelMatch(ontology.release, tuple(names.match(one, own) for one in dict.fromkeys(labels)))


class _Names:
    """The names of an ontology's terms, by what they are looked up by."""

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
        """Return terms that have all the words, or else are spelt nearly so.

        First come those that end in the label, as that is where the names of kinds put what they are kinds of.
        """
        words = set(spelled.split())
        within = [one for one in self.spellings if words and words <= set(one.split())]
        within.sort(key=lambda one: (not one.endswith(f" {spelled}"), len(one.split()), len(one), one))
        close = within[:N_NEAREST] or difflib.get_close_matches(spelled, self.spellings, n=N_NEAREST, cutoff=0.6)
        ids = [term_id for one in close for term_id in sorted(self.spellings[one])]
        return list(dict.fromkeys(ids))[:N_NEAREST]


def read_map(path: str | Path) -> dict[str, str]:
    """Read a map from labels to ids: a JSON object, or CSV or TSV with the columns ``label`` and ``id``.

    Raises
    ------
    FileError
        If it is missing or neither.
    """
    return {label: term_id or "" for label, term_id in read_pairs(path, "label", "id", "the label map").items()}
