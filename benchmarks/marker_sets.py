"""Marker sets by term, for the baseline of naming: MSigDB's C8, and curated lists."""

from __future__ import annotations

import gzip
import json
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import scvec as sv
from benchmarks.common import DATA


def known_sets(texts: sv.ingest.GeneTexts) -> list[tuple[str, frozenset[int]]]:
    """Return the name, a term's id where the file says it, and the human genes of every set."""
    symbols: dict[str, int] = {str(one): int(gene) for gene, one in texts.genes.select("gene_id", "symbol").iter_rows()}
    ensembl: dict[str, int] = {
        one: int(gene) for gene, ids in texts.genes.select("gene_id", "ensembl_ids").iter_rows() for one in ids or ()
    }
    return [
        (term or name, frozenset(gene for one in genes if (gene := symbols.get(one, ensembl.get(one, -1))) >= 0))
        for name, term, genes in _sets()
    ]


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
