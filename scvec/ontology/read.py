"""A file of the Cell Ontology, in any form it is published in, to an `Ontology`."""

from __future__ import annotations

import json
import re
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Any

import pyarrow as pa

from scvec.errors import FileError
from scvec.ontology.formats import Parsed, parse_graphs, parse_guide, parse_obo
from scvec.ontology.terms import ROOT, Ontology, as_id

COMPRESSED = {b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd"}
WANTED = "the Cell Ontology as OBO, as OBO-graphs JSON, or as JSON of cellxgene-ontology-guide; plain, .gz or .zst"
CURE = "fetch the file again, or scvec ontology pull"


def read_ontology(path: str | Path, release: str | None = None, *, date: str | None = None) -> Ontology:
    """Read the Cell Ontology from a file; its form is told by its content.

    Parameters
    ----------
    path
        ``cl.obo``, ``cl.json``, a file of cellxgene-ontology-guide, or a smaller or larger edition of these; plain,
        gzipped or compressed with zstd. Terms of other ontologies in it are left out.
    release
        What to call it; None: the date of the version it gives itself, that version, or the date in the file's name.
    date
        What to call it if none of these tells.

    Raises
    ------
    FileError
        If it is missing, truncated, of another form, does not hold together, or nothing tells its release.
    """
    path = Path(path)
    try:
        parsed = _parsed(_content(path))
        _check(parsed)
    except (KeyError, TypeError, AttributeError) as error:
        raise FileError(f"{path} has an entry of another form ({error!r:.80})", WANTED, CURE) from error
    except (OSError, ValueError) as error:
        raise FileError(f"{path} {str(error)[:160]}", WANTED, CURE) from error
    tag = release or _release(parsed.version, path.name) or date
    if not tag:
        seen = f"{path} says neither its version nor, in its name, its date"
        raise FileError(seen, "a release to call it by", "name it with --release TAG")
    return Ontology(tag, parsed.terms, parsed.obsolete)


def _content(path: Path) -> str:
    if not path.is_file():
        raise FileNotFoundError("is a folder" if path.is_dir() else "is not there")
    raw = path.read_bytes()
    try:
        for magic, kind in COMPRESSED.items():
            if raw.startswith(magic):
                with pa.CompressedInputStream(pa.BufferReader(raw), kind) as stream:
                    raw = stream.read()
        return raw.decode("utf-8-sig")
    except OSError as error:
        raise ValueError(f"is cut short or damaged ({error})") from error
    except UnicodeDecodeError as error:
        raise ValueError(f"is no text ({error})") from error


def _parsed(text: str) -> Parsed:
    start = text[:4096].lstrip()
    if start.startswith("{"):
        return _parsed_json(text)
    if start.startswith("format-version:") or "[Term]" in text:
        return parse_obo(text)
    if start.startswith("<"):
        raise ValueError("begins with '<', as a page of HTML or OWL does")
    raise ValueError(f"begins with {start[:20]!r}" if start else "is empty")


def _parsed_json(text: str) -> Parsed:
    try:
        values: Any = json.loads(text)
    except ValueError as error:
        raise ValueError(f"holds JSON that is cut short or damaged ({error})") from error
    if "graphs" in values:
        return parse_graphs(values)
    if not any(map(as_id, values)):
        raise ValueError("holds JSON without a term of the Cell Ontology")
    return parse_guide(values)


def _check(parsed: Parsed) -> None:
    """Raise `ValueError` if the terms do not hold together, as those of a file that was cut."""
    if ROOT not in parsed.terms:
        raise ValueError(f"has no term {ROOT}, cell")
    for term in parsed.terms.values():
        absent = [one for one in term.parents if one not in parsed.terms]
        if absent:
            raise ValueError(f"says that {term.id} is a kind of {absent[0]}, and has no such term")
    # An id cannot be in use and retired; an edition that merges one without taking it out keeps it in use.
    for one in parsed.terms.keys() & parsed.obsolete.keys():
        del parsed.obsolete[one]
    try:
        TopologicalSorter({one.id: one.parents for one in parsed.terms.values()}).prepare()
    except CycleError as error:
        raise ValueError(f"says that {' is a kind of '.join(error.args[1][::-1])}") from error


def _release(version: str, name: str) -> str:
    dated = re.search(r"\d{4}-\d{2}-\d{2}", version)
    if dated:
        return dated[0]
    if re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", version):
        return version
    found = re.search(r"\d{4}-\d{2}-\d{2}", name)
    return found[0] if found else ""
