"""Reading a Cell Ontology file, in any format in which it is published."""

from __future__ import annotations

import re
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Any

from scvec.core.limits import bounded_json, read_file
from scvec.core.reading import reading
from scvec.errors import FileError
from scvec.ontology.formats import Parsed, parse_graphs, parse_guide, parse_obo
from scvec.ontology.terms import ROOT, Ontology, as_id

EXPECTED = "the Cell Ontology as OBO, OBO-graphs JSON or cellxgene-ontology-guide JSON; plain, .gz or .zst"
FIX = "download the file again, or run scvec ontology pull"


def read_ontology(path: str | Path, release: str | None = None, *, date: str | None = None) -> Ontology:
    """Read the Cell Ontology from a file; the format is detected from the content.

    Parameters
    ----------
    path
        ``cl.obo``, ``cl.json``, a file of cellxgene-ontology-guide, or a smaller or larger edition of these; plain,
        gzipped or compressed with zstd. Terms of other ontologies are left out.
    release
        The release's tag; None: the date in the version that the file states, else that version, else the date in the
        file's name.
    date
        The tag if the file has none of these.

    Raises
    ------
    FileError
        If it is missing, truncated, in another format or inconsistent, or its release cannot be determined.
    """
    path = Path(path)
    with reading(str(path), EXPECTED, FIX):
        try:
            parsed = _parsed(_content(path))
            _check(parsed)
        except (KeyError, TypeError, AttributeError) as error:
            raise FileError(f"{path} has a malformed entry ({error!r:.80})", EXPECTED, FIX) from error
        except ValueError as error:  # whose words follow the file's name
            raise FileError(f"{path} {str(error)[:160]}", EXPECTED, FIX) from error
    tag = release or _release(parsed.version, path.name) or date
    if not tag:
        raise FileError(f"{path} states no version, and its name has no date", fix="give `release`")
    return Ontology(tag, parsed.terms, parsed.obsolete)


def _content(path: Path) -> str:
    try:
        return read_file(path).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"is not a text file ({error})") from error


def _parsed(text: str) -> Parsed:
    start = text[:4096].lstrip()
    if start.startswith("{"):
        return _parsed_json(text)
    if start.startswith("format-version:") or "[Term]" in text:
        return parse_obo(text)
    if start.startswith("<"):
        raise ValueError("begins with '<', as an HTML page or an OWL file does")
    raise ValueError(f"begins with {start[:20]!r}" if start else "is empty")


def _parsed_json(text: str) -> Parsed:
    try:
        values: Any = bounded_json(text)
    except ValueError as error:
        raise ValueError(f"holds JSON that is truncated or damaged ({error})") from error
    if "graphs" in values:
        return parse_graphs(values)
    if not any(map(as_id, values)):
        raise ValueError("holds JSON without a term of the Cell Ontology")
    return parse_guide(values)


def _check(parsed: Parsed) -> None:
    """Raise `ValueError` if the terms are inconsistent, as those of a truncated file are."""
    if ROOT not in parsed.terms:
        raise ValueError(f"lacks the term {ROOT}, cell")
    for term in parsed.terms.values():
        absent = [one for one in term.parents if one not in parsed.terms]
        if absent:
            raise ValueError(f"lacks the term {absent[0]}, the parent of {term.id}")
    # An id cannot be both in use and obsolete; one that was merged but not removed counts as in use.
    for one in parsed.terms.keys() & parsed.obsolete.keys():
        del parsed.obsolete[one]
    try:
        TopologicalSorter({one.id: one.parents for one in parsed.terms.values()}).prepare()
    except CycleError as error:
        raise ValueError(f"has a cycle: {' is a '.join(error.args[1][::-1])}") from error


def _release(version: str, name: str) -> str:
    dated = re.search(r"\d{4}-\d{2}-\d{2}", version)
    if dated:
        return dated[0]
    if re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", version):
        return version
    found = re.search(r"\d{4}-\d{2}-\d{2}", name)
    return found[0] if found else ""
