"""A small Cell Ontology, and files of it in the forms it is published in."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa

from scvec.ontology import Obsolete, Ontology, Term

RELEASE = "2026-03-26"
IRI = "http://purl.obolibrary.org/obo/"

LEUKOCYTE, LYMPHOCYTE, T_CELL, B_CELL = "CL:0000738", "CL:0000542", "CL:0000084", "CL:0000236"
CD4, CD8, NKT, ENDOCRINE = "CL:0000624", "CL:0000625", "CL:0000814", "CL:0000163"
BETA, ALPHA, RETINAL, CELL, EUKARYOTIC = "CL:0000169", "CL:0000171", "CL:0004117", "CL:0000000", "CL:0000255"

_TERMS = (
    Term(CELL, "cell", 'A "cell" with its membrane.\nNo more, \\ no less: [that] {is} all!'),
    Term(EUKARYOTIC, "eukaryotic cell", parents=(CELL,)),
    Term(LEUKOCYTE, "leukocyte", "White.", ("immune cell", "white blood cell"), (EUKARYOTIC,)),
    Term(LYMPHOCYTE, "lymphocyte", parents=(LEUKOCYTE,)),
    Term(T_CELL, "T cell", "Matures in the thymus.", ("T lymphocyte", "T-cell"), (LYMPHOCYTE,)),
    Term(B_CELL, "B cell", "", ("B-cell",), (LYMPHOCYTE,)),
    Term(CD4, "CD4-positive, alpha-beta T cell", "", ("CD4+ T cell",), (T_CELL,)),
    Term(CD8, "CD8-positive, alpha-beta T cell", "", ("CD8-positive T cell",), (T_CELL,)),
    # Two ways up, of which one passes by what the other leads through.
    Term(NKT, "mature NK T cell", "", ("NKT cell",), (T_CELL, LEUKOCYTE)),
    Term(ENDOCRINE, "endocrine cell", "", ("secreting cell",), (EUKARYOTIC,)),
    Term(BETA, "type B pancreatic cell", "", ("insulin secreting cell", "pancreatic beta cell"), (ENDOCRINE,)),
    Term(ALPHA, "pancreatic A cell", "", ("glucagon-secreting cell", "pancreatic alpha cell"), (ENDOCRINE,)),
    Term(RETINAL, "retinal ganglion cell A", "", ("alpha cell", "insulin-secreting cell"), (EUKARYOTIC,)),
)
_OBSOLETE = (
    Obsolete("CL:0000044", "", LYMPHOCYTE),
    Obsolete("CL:0000073", "obsolete barrier cell", "CL:0000215"),
    Obsolete("CL:0000215", "obsolete lining cell", BETA),
    Obsolete("CL:0000009", "obsolete fusiform initial", "PO:0000079"),
    Obsolete("CL:0000012", "obsolete cell by class"),
)


def sorted_parents(term: Term) -> Term:
    return Term(term.id, term.name, term.description, term.synonyms, tuple(sorted(term.parents)))


TOY = Ontology(
    RELEASE, {one.id: sorted_parents(one) for one in _TERMS}, {one.id: one for one in sorted(_OBSOLETE, key=str)}
)


def as_obo(ontology: Ontology) -> str:
    """Write as ROBOT does: merged ids with the term they were merged into, comments, modifiers, other ontologies."""
    merged = {one.id: one.replaced_by for one in ontology.obsolete.values() if not one.name}
    lines = ["format-version: 1.2", f"data-version: cl/releases/{ontology.release}/cl-basic.owl", "ontology: cl", ""]
    for term in ontology.terms.values():
        lines += ["[Term]", f"id: {term.id}", f"name: {_escaped(term.name)}"]
        lines += [f"alt_id: {one}" for one, into in merged.items() if into == term.id]
        lines += [f'def: "{_escaped(term.description)}" [GOC:tfm, "not: this"]'] if term.description else []
        lines += [f'synonym: "{_escaped(one)}" EXACT [] {{comment="x"}}' for one in term.synonyms]
        lines += ['synonym: "something else" RELATED []', 'synonym: "wide" BROAD []', "xref: FMA:68646"]
        lines += [f'is_a: {one} {{is_inferred="true"}} ! {ontology.terms[one].name}' for one in term.parents]
        lines += ["is_a: GO:0005623 ! of another ontology", "relationship: part_of CL:0000999 ! is no kind of it", ""]
    for gone in ontology.obsolete.values():
        if gone.name:
            lines += ["[Term]", f"id: {gone.id}", f"name: {_escaped(gone.name)}", "is_obsolete: true"]
            lines += [f"replaced_by: {gone.replaced_by}"] if gone.replaced_by else []
            lines += [""]
    lines += [
        "[Term]",
        "id: GO:0005623",
        "name: another ontology's",
        "",
        "[Typedef]",
        "id: part_of",
        "name: part of",
        "",
    ]
    return "\n".join(lines)


def as_graphs(ontology: Ontology) -> str:
    """Write as ROBOT does, with IRIs for ids."""
    nodes: list[object] = [{"id": f"{IRI}GO_0005623", "lbl": "another ontology's"}, {"id": f"{IRI}cl#abbreviation"}]
    edges: list[object] = [{"sub": _iri(CELL), "pred": f"{IRI}BFO_0000050", "obj": f"{IRI}CL_0000999"}]
    for term in ontology.terms.values():
        synonyms = [{"pred": "hasExactSynonym", "val": one} for one in term.synonyms]
        meta: dict[str, object] = {"synonyms": [*synonyms, {"pred": "hasBroadSynonym", "val": "wide"}]}
        if term.description:
            meta["definition"] = {"val": term.description, "xrefs": ["GOC:tfm"]}
        nodes.append({"id": _iri(term.id), "lbl": term.name, "type": "CLASS", "meta": meta})
        edges += [{"sub": _iri(term.id), "pred": "is_a", "obj": _iri(one)} for one in (*term.parents, "GO:0005623")]
    for gone in ontology.obsolete.values():
        instead = {"pred": f"{IRI}IAO_0100001", "val": _iri(gone.replaced_by)}
        why = {"pred": f"{IRI}IAO_0000231", "val": f"{IRI}IAO_0000227"}
        values = [why, *([instead] if gone.replaced_by else [])]
        node: dict[str, object] = {"id": _iri(gone.id), "meta": {"deprecated": True, "basicPropertyValues": values}}
        nodes.append(node | ({"lbl": gone.name} if gone.name else {}))
    version = f"{IRI}cl/releases/{ontology.release}/cl-basic.owl"
    return json.dumps({"graphs": [{"meta": {"version": version}, "nodes": nodes, "edges": edges}]})


def as_guide(ontology: Ontology) -> str:
    """Write as cellxgene-ontology-guide does: all ancestors, with the fewest steps to each; no version."""
    entries: dict[str, object] = {}
    for term in ontology.terms.values():
        steps = {one: n for one, n in steps_up(ontology, term.id).items() if n}
        entry: dict[str, object] = {"ancestors": steps, "label": term.name, "deprecated": False}
        if term.description:
            entry["description"] = term.description
        if term.synonyms:
            entry["synonyms"] = list(term.synonyms)
        entries[term.id] = entry
    for gone in ontology.obsolete.values():
        entry = {"ancestors": {}, "label": gone.name, "deprecated": True}
        entries[gone.id] = entry | ({"replaced_by": gone.replaced_by} if gone.replaced_by else {})
    return json.dumps(entries)


FORMS: dict[str, Callable[[Ontology], str]] = {"obo": as_obo, "graphs": as_graphs, "guide": as_guide}
COMPRESSIONS: dict[str, Callable[[bytes], bytes]] = {
    "plain": lambda raw: raw,
    "gz": gzip.compress,
    "zst": lambda raw: pa.compress(raw, codec="zstd", asbytes=True),
}


def write(folder: Path, ontology: Ontology = TOY, form: str = "obo", compression: str = "plain") -> Path:
    """Write a file whose name tells nothing but the date."""
    path = folder / f"ontology-{ontology.release}"
    path.write_bytes(COMPRESSIONS[compression](FORMS[form](ontology).encode()))
    return path


def steps_up(ontology: Ontology, term_id: str) -> dict[str, int]:
    """Return the fewest steps to each ancestor, one layer after the other."""
    found, layer, n_steps = {term_id: 0}, {term_id}, 0
    while layer:
        n_steps += 1
        layer = {above for one in layer for above in ontology.terms[one].parents} - found.keys()
        found |= dict.fromkeys(layer, n_steps)
    return found


def longest_way(ontology: Ontology, term_id: str) -> int:
    """Return the most steps to a term without parents, trying every way."""
    return max((longest_way(ontology, one) + 1 for one in ontology.terms[term_id].parents), default=0)


def _escaped(text: str) -> str:
    for one, escaped in (("\\", "\\\\"), ("\n", "\\n"), ("\t", "\\t"), ('"', '\\"'), ("!", "\\!"), ("{", "\\{")):
        text = text.replace(one, escaped)
    return text


def _iri(curie: str) -> str:
    return IRI + curie.replace(":", "_")
