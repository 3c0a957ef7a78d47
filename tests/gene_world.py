"""Genes of two species with families, themes that cross them, and summaries: what gene-level tasks are made of."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl

import scvec as sv
from scvec.ingest.genes.ncbi import INFO_COLUMNS, ORTHOLOG_COLUMNS, SUMMARY_COLUMNS
from tests import toy
from tests.toy import FIRST_ID, HUMAN, MOUSE

FAMILIES = ("ABCX", "BRIN", "CELD", "DORM", "ELKT", "FASN", "GRIP", "HOXQ")
WORDS = ("abcxin", "brinase", "celdin", "dormase", "elktin", "fasnin", "gripase", "hoxquin")
THEMES = (
    "insulin secretion in islets",
    "collagen fibrils of the matrix",
    "synaptic vesicles of neurons",
    "oxygen transport in erythrocytes",
    "ciliary beating in airways",
)
N_GENES = 120
"""15 genes of each family, 24 of each theme; each family has 3 genes of each theme."""


def family_of(gene: int) -> int:
    """Return a gene's family."""
    return gene % len(FAMILIES)


def theme_of(gene: int) -> int:
    """Return a gene's theme."""
    return gene // len(FAMILIES) % len(THEMES)


def symbol_of(gene: int, taxon: int = HUMAN) -> str:
    """Return a gene's symbol."""
    symbol = f"{FAMILIES[family_of(gene)]}{gene}"
    return symbol if taxon == HUMAN else symbol.capitalize()


def summary_of(gene: int, taxon: int) -> str:
    """Return what NCBI says of a gene: its family's word, its theme, and a word that its ortholog shares.

    Of each third gene it does not know the theme.
    """
    verb = "takes part in" if taxon == HUMAN else "is needed for"
    theme = THEMES[theme_of(gene)] if gene % 3 else "what is not known"
    what = f"The {WORDS[family_of(gene)]} that {symbol_of(gene, taxon)} encodes {verb} {theme}"
    return f"{what}, as seen in patient{'abcdefghij'[gene % 10]}{'klmnopqrst'[gene // 10 % 10]}{'uv'[gene // 100]}."


def write_ncbi(folder: Path, taxon: int) -> tuple[Path, Path]:
    """Write gene_info and gene_summary of a species."""
    info, summaries = ["\t".join(INFO_COLUMNS)], ["\t".join(SUMMARY_COLUMNS)]
    for i in range(N_GENES):
        gene_id = str(FIRST_ID[taxon] + i)
        row = dict.fromkeys(INFO_COLUMNS, "-") | {
            "#tax_id": str(taxon),
            "GeneID": gene_id,
            "Symbol": symbol_of(i, taxon),
            "Synonyms": f"OLD{i}",
            "description": f"{WORDS[family_of(i)]} {i}",
            "type_of_gene": "protein-coding",
            "Modification_date": "20210701",
        }
        info.append("\t".join(row.values()))
        summaries.append(f"{taxon}\t{gene_id}\tRefSeq\t{summary_of(i, taxon)}")
    paths = folder / f"{taxon}.gene_info.gz", folder / f"{taxon}.gene_summary.gz"
    for path, lines in zip(paths, (info, summaries), strict=True):
        toy.write_lines(path, lines)
    return paths


def write_orthologs(path: Path) -> Path:
    """Write gene_orthologs: gene i of human and of mouse are one to one."""
    rows = [f"{HUMAN}\t{FIRST_ID[HUMAN] + i}\tOrtholog\t{MOUSE}\t{FIRST_ID[MOUSE] + i}" for i in range(N_GENES)]
    toy.write_lines(path, ["\t".join(ORTHOLOG_COLUMNS), *rows])
    return path


def store_of(folder: Path) -> sv.Store:
    """Return a store with the texts of both species."""
    folder.mkdir(exist_ok=True)
    store, orthologs = sv.Store(folder / "store"), write_orthologs(folder / "gene_orthologs.gz")
    for name, taxon in (("human", HUMAN), ("mouse", MOUSE)):
        info, summary = write_ncbi(folder, taxon)
        sv.ingest.texts(store, taxon=name, gene_info=info, gene_summary=summary, gene_orthologs=orthologs)
    return store


def write_sets(path: Path) -> Path:
    """Write the themes as a GMT file; the names of the sets have words of the texts."""
    lines = []
    for k, words in enumerate(THEMES):
        genes = [symbol_of(i) for i in range(N_GENES) if theme_of(i) == k]
        lines.append("\t".join([f"TOY_{'_'.join(words.upper().split()[:2])}", "themes", *genes]))
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def write_planted(path: Path) -> Path:
    """Write vectors that say which theme a gene has, and nothing else."""
    vectors = np.eye(len(THEMES), dtype=np.float32)[[theme_of(i) for i in range(N_GENES)]]
    pl.DataFrame({"gene": [symbol_of(i) for i in range(N_GENES)], "vector": vectors.tolist()}).write_parquet(path)
    return path
