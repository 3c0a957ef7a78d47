"""Marker sets by term, for the baseline of naming: MSigDB's C8, and curated lists."""

from __future__ import annotations

import gzip
import json
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

import scvec as sv
from benchmarks.common import DATA
from scvec.core.types import Doubles, Ints
from scvec.naming.phrases import phrases_of, words_of

FEWEST, MOST = 3, 500


def marker_sets(ontology: sv.ontology.Ontology, texts: sv.ingest.GeneTexts) -> list[tuple[str, str, frozenset[int]]]:
    """Return the sets whose name is that of a term: (name, term, human genes)."""
    symbols: dict[str, int] = {str(one): int(gene) for gene, one in texts.genes.select("gene_id", "symbol").iter_rows()}
    ensembl: dict[str, int] = {
        one: int(gene) for gene, ids in texts.genes.select("gene_id", "ensembl_ids").iter_rows() for one in ids or ()
    }
    phrases = {phrase: term.id for term in ontology.terms.values() for phrase in phrases_of(term)}
    made = []
    for name, term, genes in _sets():
        found = frozenset(gene for one in genes if (gene := symbols.get(one, ensembl.get(one, -1))) >= 0)
        said = term or _longest(words_of(name), phrases)
        if said in ontology and FEWEST <= len(found) <= MOST:
            made.append((name, said, found))
    return made


def _longest(words: list[str], phrases: Mapping[tuple[str, ...], str]) -> str:
    """Return the term of the longest run of words that names one; "" if there is none."""
    runs = [tuple(words[i:j]) for i in range(len(words)) for j in range(i + 1, len(words) + 1)]
    runs += [(*run, "cell") for run in runs]
    known = [run for run in runs if run in phrases]
    return phrases[max(known, key=len)] if known else ""


def _sets() -> Iterator[tuple[str, str, list[str]]]:
    """Yield the name, the term if the file says it, and the genes of every set."""
    with gzip.open(DATA / "genesets" / "c8.all.v2023.2.Hs.symbols.gmt.gz", "rt", encoding="utf-8") as lines:
        for line in lines:
            name, _, *genes = line.rstrip("\n").split("\t")
            yield name.replace("_", " "), "", genes
    for path in sorted((DATA / "markers").glob("h*_by_cell_type.tsv.gz")):
        by_type: dict[str, list[str]] = defaultdict(list)
        with gzip.open(path, "rt", encoding="utf-8") as lines:
            for line in list(lines)[1:]:
                name, gene = line.rstrip("\n").split("\t")
                by_type[name].append(gene)
        yield from ((name, "", genes) for name, genes in by_type.items())
    with gzip.open(DATA / "markers" / "celltypepilot_marker_atlas.json.gz", "rt", encoding="utf-8") as file:
        for tissue in json.load(file)["tissues"].values():
            yield from _tree(tissue["cell_types"])
    for path in sorted((DATA / "markers" / "pegasus").glob("human*.json")):
        yield from _pegasus(json.loads(Path(path).read_text(encoding="utf-8"))["cell_types"])


def _tree(types: Mapping[str, Any]) -> Iterator[tuple[str, str, list[str]]]:
    for name, one in types.items():
        yield name, one.get("cl_id") or "", one.get("positive_markers", [])
        yield from _tree(one.get("subtypes", {}))


def _pegasus(types: list[Any]) -> Iterator[tuple[str, str, list[str]]]:
    for one in types:
        genes = [gene.rstrip("+") for part in one.get("markers", []) for gene in part["genes"] if gene.endswith("+")]
        yield one["name"], "", genes
        yield from _pegasus(one.get("subtypes", {}).get("cell_types", []))


def over_represented(
    profile: Doubles, gene_ids: Ints, sets: list[tuple[str, str, frozenset[int]]], ids: list[str], n_top: int = 100
) -> Doubles:
    """Return (C, T) for each cluster the best -log10 p of a term's sets among its `n_top` most specific genes."""
    from scipy.stats import hypergeom

    positions = {one: i for i, one in enumerate(ids)}
    place = {int(gene): i for i, gene in enumerate(gene_ids)}
    made = np.zeros((len(profile), len(ids)))
    top = np.zeros(profile.shape, bool)
    np.put_along_axis(top, np.argsort(-profile, axis=1)[:, :n_top], True, axis=1)
    for _, term, genes in sets:
        own = [place[gene] for gene in genes if gene in place]
        if term not in positions or len(own) < FEWEST:
            continue
        hits = top[:, own].sum(axis=1)
        found = -hypergeom.logsf(hits - 1, profile.shape[1], len(own), n_top) / np.log(10)
        made[:, positions[term]] = np.maximum(made[:, positions[term]], found)
    return made
