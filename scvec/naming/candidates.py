"""Types that are given by name, among which clusters and cells are called: read, and matched to terms."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from scvec.errors import FileError, InputError
from scvec.naming.term_texts import TermTexts
from scvec.naming.tissue import parts_of
from scvec.ontology.matching import Match, match_labels
from scvec.ontology.spelling import spelling

Given: TypeAlias = "str | Path | Sequence[str]"

FILES = (".txt", ".csv", ".tsv")
"""A string that ends so is a file, and not a type."""

FILLERS = frozenset({"cell", "neuron", "of", "the", "in", "type"})
"""Words that a name may have beside those that are given and those of the tissue."""

LONGEST = 6
"""Parts between commas that one name may have."""

SHOWN = 3


@dataclass(frozen=True, slots=True)
class Candidates:
    """K types, two at least, each of another term. Make it with `candidates_of`.

    Attributes
    ----------
    labels
        (K,) as they were given.
    ids
        (K,) their terms.
    """

    labels: tuple[str, ...]
    ids: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.labels)


def candidates_of(given: Given, terms: TermTexts, tissue: str | None = None) -> Candidates:
    """Find the terms of types that are given as names, as synonyms or as ids.

    Parameters
    ----------
    given
        The types; or a string with commas or semicolons between them; or a file with one on each line, in which ``#``
        begins a comment. Commas within a name (*CD4-positive, alpha-beta T cell*) are kept: of the parts that follow
        each other, as many as possible make one name.
    terms
        The terms that may name a cluster.
    tissue
        The tissue, in words. It decides about a name that fits no term or several: *alpha* is the term that is called
        *pancreatic alpha cell* in the pancreas.

    Raises
    ------
    FileError
        If the file is missing.
    InputError
        If a type has no term, or several; if two have the same; or if there are fewer than two.
    """
    labels = _read(given, terms)
    if len(labels) < 2:
        raise InputError(
            f"`candidates` has {'one type' if labels else 'no type'}", "at least two to choose from", "give more"
        )
    found = [_matched(one, terms, tissue) for one in match_labels(terms.ontology, labels).matches]
    wrong = [one for one in found if not one.id]
    if wrong:
        raise InputError(
            f"`candidates`: no single term fits {'; '.join(map(_said, wrong))}",
            "names or ids of the Cell Ontology",
            "give an id, or `tissue`" if tissue is None else "give an id",
        )
    own: dict[str, str] = {}
    for label, one in zip(labels, _each(labels, found), strict=True):
        if one.id not in terms.positions:
            raise InputError(f"`candidates`: {label!r} ({one.id}) cannot name cells of a tissue", fix="leave it out")
        if one.id in own:
            both = f"{own[one.id]!r} and {label!r} are one term, {one.name} ({one.id})"
            raise InputError(f"`candidates`: {both}", fix="leave one out")
        own[one.id] = label
    return Candidates(tuple(own.values()), tuple(own))


def _each(labels: Sequence[str], found: Iterable[Match]) -> list[Match]:
    """Return the match of each label, of which some may be repeated."""
    by_label = {one.label: one for one in found}
    return [by_label[one] for one in labels]


def _said(match: Match) -> str:
    shown = ", ".join(f"{name} ({term_id})" for term_id, name in match.candidates[:SHOWN])
    return f"{match.label!r}" + (f" (near: {shown})" if shown else "")


def _read(given: Given, terms: TermTexts) -> list[str]:
    """Return the types, without blank ones."""
    if isinstance(given, str) and not _is_file(given):
        parts = given.replace("\n", ";").split(";")
        found = [one for part in parts for one in _split(part, terms)]
    elif isinstance(given, str | Path):
        found = _lines(Path(given))
    else:
        found = [str(one) for one in given]
    return [one.strip() for one in found if one.strip()]


def _is_file(given: str) -> bool:
    if given.strip().casefold().endswith(FILES):
        return True
    try:
        return Path(given).is_file()
    except (OSError, ValueError):  # too long for a path, or with a zero byte
        return False


def _lines(path: Path) -> list[str]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError as error:
        wanted = "a file with one type on each line"
        raise FileError(f"`candidates` {path} does not exist", wanted, "check the path") from error
    except (OSError, UnicodeDecodeError) as error:
        raise FileError(f"`candidates` {path} cannot be read ({error})", "text, one type on each line") from error
    return [line.split("#")[0].strip().strip('"') for line in text.splitlines()]


def _split(text: str, terms: TermTexts) -> list[str]:
    """Split at commas, but where the longest run of parts is a name."""
    parts = [one.strip() for one in text.split(",")]
    starts = range(len(parts))
    runs = {(i, n): ", ".join(parts[i : i + n]) for i in starts for n in range(2, min(LONGEST, len(parts) - i) + 1)}
    known = {name.casefold() for one in terms.terms for name in (one.name, *one.synonyms)} if runs else set()
    names = {run for run, one in runs.items() if one.casefold() in known}
    found, i = [], 0
    while i < len(parts):
        n = max((n for start, n in names if start == i), default=1)
        found.append(", ".join(parts[i : i + n]))
        i += n
    return found


def _matched(match: Match, terms: TermTexts, tissue: str | None) -> Match:
    """Return the match or, where it fits no term or several, the only one that fits in the tissue."""
    if match.id or tissue is None:
        return match
    wanted, parts = set(spelling(match.label).split()), parts_of(tissue)
    fits = [
        one.id
        for one in terms.terms
        if any(_fits(set(spelling(name).split()), wanted, parts) for name in (one.name, *one.synonyms))
    ]
    if len(fits) != 1:
        others = tuple((one, terms.ontology.name(one)) for one in fits) or match.candidates
        return Match(match.label, match.route, candidates=others)
    return Match(match.label, "synonym", fits[0], terms.ontology.name(fits[0]))


def _fits(words: set[str], wanted: set[str], parts: tuple[str, ...]) -> bool:
    """Whether a name has the words that are wanted, and beside them only those of the tissue."""
    others = words - wanted - FILLERS
    return wanted <= words and bool(others) and all(any(part in one for part in parts) for one in others)
