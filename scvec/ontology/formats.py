"""The formats in which the Cell Ontology is published, each parsed to terms: OBO, OBO-graphs, cellxgene-ontology-guide.

A parser raises `ValueError` for text that is not in its format; whether the terms are consistent is checked in
`scvec.ontology.read`.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from scvec.ontology.terms import Obsolete, Term, as_id

EXACT = "hasExactSynonym"
REPLACED_BY = "http://purl.obolibrary.org/obo/IAO_0100001"
ESCAPED = {"n": "\n", "t": "\t", "W": " "}


@dataclass
class Parsed:
    """What a file holds: the version it states ("" if none), and its terms of the Cell Ontology."""

    version: str = ""
    terms: dict[str, Term] = field(default_factory=dict)
    obsolete: dict[str, Obsolete] = field(default_factory=dict)

    def add(self, term_id: str, name: str, description: str, synonyms: Iterable[str], parents: Iterable[str]) -> None:
        """Add a term in use; of `parents`, only terms of the Cell Ontology are kept."""
        if term_id in self.terms:
            raise ValueError(f"has the term {term_id} twice")
        if not name:
            raise ValueError(f"has no name for {term_id}")
        above = set(filter(None, map(_own_id, parents)))
        self.terms[term_id] = Term(term_id, name, description, tuple(sorted(set(synonyms))), tuple(sorted(above)))

    def retire(self, term_id: str, name: str, replaced_by: str) -> None:
        """Add an obsolete id."""
        self.obsolete[term_id] = Obsolete(term_id, name, as_id(replaced_by) or replaced_by)


def parse_guide(entries: Mapping[str, Any]) -> Parsed:
    """Parse the JSON of cellxgene-ontology-guide: terms by id, each with the steps to its ancestors.

    Ancestors one step away are the parents; the others follow from them. The guide counts part_of as is_a.
    """
    found = Parsed()
    for one, entry in entries.items():
        term_id = as_id(one)
        if not term_id:
            continue
        if entry["deprecated"]:
            found.retire(term_id, entry["label"], entry.get("replaced_by", ""))
        else:
            parents = [other for other, steps in entry["ancestors"].items() if steps == 1]
            found.add(term_id, entry["label"], entry.get("description", ""), entry.get("synonyms", ()), parents)
    return found


def parse_graphs(values: Mapping[str, Any]) -> Parsed:
    """Parse OBO-graphs JSON: nodes, and edges between them."""
    found = Parsed()
    for graph in values["graphs"]:
        found.version = found.version or graph.get("meta", {}).get("version", "")
        parents = defaultdict(list)
        for edge in graph["edges"]:
            if edge["pred"] == "is_a":
                parents[as_id(edge["sub"])].append(edge["obj"])
        for node in graph["nodes"]:
            term_id, meta = as_id(node["id"]), node.get("meta", {})
            if term_id and meta.get("deprecated"):
                instead = [one["val"] for one in meta.get("basicPropertyValues", ()) if one["pred"] == REPLACED_BY]
                found.retire(term_id, node.get("lbl", ""), _short(instead[0]) if instead else "")
            elif term_id:
                synonyms = [one["val"] for one in meta.get("synonyms", ()) if one["pred"] == EXACT]
                description = meta.get("definition", {}).get("val", "")
                found.add(term_id, node.get("lbl", ""), description, synonyms, parents[term_id])
    return found


def parse_obo(text: str) -> Parsed:
    """Parse OBO text: a header, then stanzas of ``tag: value`` lines."""
    if not text.endswith("\n"):
        raise ValueError("ends in the middle of a line, as a truncated file does")
    head, *stanzas = re.split(r"^\[(\w+)\][ \t\r]*$", text, flags=re.MULTILINE)
    found = Parsed("".join(_tags(head)["data-version"][:1]))
    for kind, body in zip(stanzas[::2], stanzas[1::2], strict=True):
        tags = _tags(body)
        term_id = as_id(_first(tags["id"]))
        if kind != "Term" or not term_id:
            continue
        for merged in (as_id(_first([one])) for one in tags["alt_id"]):
            if merged:
                found.retire(merged, "", term_id)
        name = _unescaped("".join(tags["name"][:1]))
        if _first(tags["is_obsolete"]) == "true":
            found.retire(term_id, name, _first(tags["replaced_by"]))
            continue
        synonyms = [said for said, scope in map(_quoted, tags["synonym"]) if scope == "EXACT"]
        description = "".join(said for said, _ in map(_quoted, tags["def"][:1]))
        found.add(term_id, name, description, synonyms, (_first([one]) for one in tags["is_a"]))
    return found


def _own_id(text: str) -> str:
    """Return an id of the Cell Ontology; "" for another ontology's; raise `ValueError` for a malformed one."""
    found = as_id(text)
    if not found and text.rsplit("/", 1)[-1].startswith(("CL:", "CL_")):
        raise ValueError(f"has the parent {text!r}, which is not a valid id")
    return found


def _tags(lines: str) -> defaultdict[str, list[str]]:
    tags = defaultdict(list)
    for line in lines.split("\n"):  # splitlines also breaks at other characters, which occur in texts
        tag, colon, value = line.partition(":")
        if colon:
            tags[tag.strip()].append(value.strip())
        elif line.strip() and not line.startswith("!"):
            raise ValueError(f"has a line that is not 'tag: value': {line[:40]!r}")
    return tags


def _first(values: list[str]) -> str:
    """Return the first word of the first value, without a comment or modifiers after it; "" if there is none."""
    words = values[0].split() if values else []
    return words[0] if words else ""


def _quoted(value: str) -> tuple[str, str]:
    """Return the quoted part of a value, and the word after it."""
    found = re.match(r'"((?:[^"\\]|\\.)*)"\s*(\w*)', value)
    if found is None:
        raise ValueError(f"has a text without quotes: {value[:40]!r}")
    return _unescaped(found[1]), found[2]


def _unescaped(text: str) -> str:
    return re.sub(r"\\(.)", lambda found: ESCAPED.get(found[1], found[1]), text)


def _short(iri: str) -> str:
    """Return ``PO:0000079`` for an IRI that ends in ``PO_0000079``."""
    return iri.rsplit("/", 1)[-1].replace("_", ":", 1)
