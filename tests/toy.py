"""A small world in real formats: NCBI files of 240 genes, and cells of four types that express them."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse as sp
from anndata import AnnData

from scvec.ingest.genes.ncbi import INFO_COLUMNS, ORTHOLOG_COLUMNS, SUMMARY_COLUMNS

THEMES = {
    "alpha": "glucagon secretion in pancreatic islet alpha cells",
    "beta": "insulin secretion and glucose sensing in pancreatic islet beta cells",
    "ductal": "epithelial bicarbonate transport and keratin filaments in ducts",
    "immune": "antigen presentation and phagocytosis by macrophages of the immune system",
}
LABELS = tuple(THEMES)
LABEL_IDS = {"alpha": "CL:0000171", "beta": "CL:0000169", "ductal": "CL:0002079", "immune": "CL:0000235"}
N_GENES = 240
SYMBOLS = tuple(f"TOY{i}" for i in range(N_GENES))
HUMAN, MOUSE = 9606, 10090
FIRST_ID = {HUMAN: 1000, MOUSE: 5000}
ENSEMBL = {HUMAN: "ENSG", MOUSE: "ENSMUSG"}


def symbol_of(gene: int, taxon: int = HUMAN) -> str:
    """Return a gene's symbol, spelt as that species' are."""
    return SYMBOLS[gene] if taxon == HUMAN else SYMBOLS[gene].capitalize()


def theme_of(gene: int) -> str | None:
    """Return the cell type a gene is a marker of; half of the genes are of none."""
    return LABELS[gene % 8] if gene % 8 < 4 else None


def write_ncbi(folder: Path, taxon: int = 9606) -> tuple[Path, Path]:
    """Write gene_info and gene_summary of the toy genes, as NCBI does, gzipped."""
    info, summary = ["\t".join(INFO_COLUMNS)], ["\t".join(SUMMARY_COLUMNS)]
    for i in range(N_GENES):
        gene_id = str(FIRST_ID.get(taxon, 1000) + i)
        row = dict.fromkeys(INFO_COLUMNS, "-") | {
            "#tax_id": str(taxon),
            "GeneID": gene_id,
            "Symbol": symbol_of(i, taxon),
            "Synonyms": f"OLD{i}|ANCIENT{i}",
            "dbXrefs": f"MIM:{i}|Ensembl:{ENSEMBL.get(taxon, 'ENSG')}{i:011d}",
            "description": f"toy gene number {i}",
            "type_of_gene": "protein-coding",
            "Modification_date": "20210701",
        }
        info.append("\t".join(row.values()))
        if i % 3:
            text = THEMES.get(theme_of(i) or "", "housekeeping in all cells")
            summary.append(f"{taxon}\t{gene_id}\tRefSeq\tThis gene takes part in {text}.")
    paths = folder / "toy.gene_info.gz", folder / "gene_summary.gz"
    for path, lines in zip(paths, (info, summary), strict=True):
        write_lines(path, lines)
    return paths


def write_orthologs(path: Path) -> Path:
    """Write gene_orthologs: gene i of human and of mouse are one to one, but for genes 0 and 1, which share theirs."""
    rows = [(HUMAN, FIRST_ID[HUMAN] + i, "Ortholog", MOUSE, FIRST_ID[MOUSE] + max(i, 1)) for i in range(N_GENES)]
    write_lines(path, ["\t".join(ORTHOLOG_COLUMNS), *("\t".join(map(str, row)) for row in rows)])
    return path


HCOP_COLUMNS = tuple(
    f"{species}_{what}"
    for species in ("human", "mouse")
    for what in ("entrez_gene", "ensembl_gene", "id", "name", "symbol", "chr", "assert_ids")
)


def write_hcop(path: Path, pairs: list[tuple[str, str, str]], species: str = "mouse") -> Path:
    """Write HCOP's fifteen columns: human gene, the species' gene and sources of each pair."""
    header = [name.replace("mouse", species) for name in (*HCOP_COLUMNS, "support")]
    rows = [[human, *"-" * 6, other, *"-" * 6, sources] for human, other, sources in pairs]
    write_lines(path, ["\t".join(row) for row in [header, *rows]])
    return path


def write_lines(path: Path, lines: list[str]) -> None:
    """Write a gzipped table, the same bytes every time."""
    path.write_bytes(gzip.compress(("\n".join(lines) + "\n").encode(), mtime=0))


def cells(n: int = 120, seed: int = 0, *, form: str = "csr", scale: str = "counts") -> AnnData:
    """Return n cells of the four types in turn, labelled; `scale` is counts, log1p or scaled."""
    rng = np.random.default_rng(seed)
    labels = np.array([LABELS[i % 4] for i in range(n)])
    rates = np.full((n, N_GENES), 0.3)
    for gene in range(N_GENES):
        rates[labels == theme_of(gene), gene] = 6.0
    x = rng.poisson(rates * rng.uniform(0.5, 2.0, (n, 1))).astype(np.float32)
    if scale == "log1p":
        x = np.log1p(x / x.sum(1, keepdims=True) * 1e4).astype(np.float32)
    if scale == "scaled":
        x = ((x - x.mean(0)) / (x.std(0) + 1e-3)).astype(np.float32)
    obs = pd.DataFrame(
        {
            "cell_type": pd.Categorical(labels),
            "cl_id": [LABEL_IDS[one] for one in labels],
            "donor": [f"d{i % 3}" for i in range(n)],
        },
        index=[f"s{seed}c{i}" for i in range(n)],
    )
    return AnnData(as_form(x, form), obs=obs, var=pd.DataFrame(index=list(SYMBOLS)))


def as_form(x: np.ndarray[Any, Any], form: str) -> Any:
    """Return a dense matrix as ``"csr"``, ``"csc"`` or ``"dense"``."""
    return {"csr": sp.csr_matrix, "csc": sp.csc_matrix}[form](x) if form != "dense" else x
