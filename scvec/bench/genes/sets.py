"""Sets of genes by name, from the files in which they are published."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeAlias

from scvec.core.limits import bounded_json, read_file
from scvec.core.reading import reading
from scvec.errors import FileError
from scvec.ingest.genes.gene_sets import read_gene_sets

Sets: TypeAlias = Mapping[str, tuple[str, ...]]
FORMATS = ".gmt; .tsv with a set and a gene in each row, under a header; .json with positive_markers by cell type"


def read_sets(path: str | Path) -> Sets:
    """Return the names of the genes of each set.

    ``.gmt``
        MSigDB's, Reactome's, Enrichr's.
    ``.tsv``
        A header, then a set and a gene in each row, such as a cell type and an Ensembl id of the Human Protein Atlas.
    ``.json``
        A tree of cell types with ``positive_markers`` and ``subtypes``, such as CellTypePilot's.

    Each may be gzipped.

    Raises
    ------
    FileError
        If it is missing, of another format, or has no set.
    """
    path = Path(path)
    endings = [one.lower() for one in path.suffixes if one.lower() != ".gz"]
    ending = endings[-1] if endings else ""
    if ending == ".gmt":
        return read_gene_sets(path).sets
    if ending not in (".tsv", ".json"):
        raise FileError(f"gene sets {path}", FORMATS, "convert the file")
    with reading(f"gene sets {path}", FORMATS, "check the file"):
        text = read_file(path).decode("utf-8-sig")
        pairs = list(_rows(text) if ending == ".tsv" else _tree(bounded_json(text)))
    found: dict[str, dict[str, None]] = {}
    for name, gene in pairs:
        found.setdefault(name, {})[gene] = None
    if not found:
        raise FileError(f"gene sets {path} has no set", FORMATS, "name another file")
    return {name: tuple(genes) for name, genes in found.items()}


def _rows(text: str) -> Iterator[tuple[str, str]]:
    rows = csv.reader(text.splitlines(), delimiter="\t")
    next(rows, None)
    for row in rows:
        if len(row) >= 2 and row[0].strip() and row[1].strip():
            yield row[0].strip(), row[1].strip()


def _tree(values: Any, name: str = "") -> Iterator[tuple[str, str]]:
    """Yield each type with each of its markers; a type's name is the key above its markers."""
    if not isinstance(values, dict):
        return
    markers = values.get("positive_markers")
    if name and isinstance(markers, list):
        for gene in markers:
            yield name, str(gene)
    for key, below in values.items():
        yield from _tree(below, str(key))
