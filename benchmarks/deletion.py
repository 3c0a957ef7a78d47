"""Deletes genes from cells in some order, and calls the cells again: what `benchmarks.attribution` measures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import scipy.sparse as sp

import scvec as sv
from benchmarks.common import WORK
from scvec.annotation.result import Annotation
from scvec.atlas import Atlas
from scvec.core.types import Floats, Ints
from scvec.explain import Attribution
from scvec.ingest.matching import match_genes

NUMBERS = (0, 1, 2, 5, 10, 20, 50, 100)
ORDERS = {
    "attribution": "what a gene contributes to the call, most first, as long as it is above 0",
    "attribution, label": "the same, of all cells with this call together",
    "reference difference": "a cell's log expression times the difference of the means of the same two labels in the "
    "reference, most first, as long as it is above 0",
    "most expressed": "counts, most first",
    "as expressed": "for each gene of *attribution*, another one with the nearest count that is left",
    "random": "any genes that the cell expresses",
    "speaks against": "what a gene contributes, least first, as long as it is below 0",
}


@dataclass(frozen=True)
class Cells:
    """Cells to delete genes from.

    Attributes
    ----------
    file
        Their counts, including genes without a text.
    gene_of
        (n_vars,) position of each column's gene among the explained genes; -1 for none.
    counts
        (n, g) counts of the explained genes.
    explained
        The attribution of each cell.
    together
        (n, g) what genes contribute to the calls of all cells with the explained label.
    difference
        (n, g) values of the order *reference difference*.
    """

    file: ad.AnnData
    gene_of: Ints
    counts: Floats
    explained: Attribution
    together: Floats
    difference: Floats


def by_gene(path: Path, atlas: Atlas, gene_ids: Ints) -> tuple[ad.AnnData, Ints, sp.csr_matrix[np.float32]]:
    """Return a file's cells, (n_vars,) the gene of each column, -1 for none, and the (n, g) counts by gene."""
    with sv.ingest.open_cells(path) as file, file.matrix() as matrix:
        match = match_genes(matrix, [atlas.gene_table]).only(gene_ids)
        n_vars = matrix.n_genes
    place = {gene: i for i, gene in enumerate(gene_ids.tolist())}
    gene_of = np.full(n_vars, -1, np.int64)
    gene_of[match.columns] = [place[one] for one in match.gene_ids.tolist()]
    cells, here = ad.read_h5ad(path), np.flatnonzero(gene_of >= 0)
    ones = np.ones(len(here), np.float32)
    columns = sp.csr_matrix((ones, (here, gene_of[here])), shape=(n_vars, len(gene_ids)))
    return cells, gene_of, sp.csr_matrix(cells.X @ columns)


def logged(counts: sp.csr_matrix[np.float32]) -> sp.csr_matrix[np.float32]:
    """Return log1p of counts scaled to 10,000 a cell."""
    totals = np.asarray(counts.sum(axis=1))
    return sp.csr_matrix(counts.multiply(1e4 / np.maximum(totals, 1.0))).log1p()


def cells_of(
    reference: Path, query: Path, label_key: str, atlas: Atlas, explained: Attribution, by_label: Attribution
) -> Cells:
    """Gather what the orders of genes depend on, from the explained cells and from all cells by label."""
    file, gene_of, counts = by_gene(query, atlas, explained.gene_ids)
    rows = file.obs_names.get_indexer(explained.groups.tolist())
    others, _, known = by_gene(reference, atlas, explained.gene_ids)
    labels, expressed = others.obs[label_key].astype(str).to_numpy(), logged(known)
    means = {one: np.asarray(expressed[labels == one].mean(axis=0)).ravel() for one in np.unique(labels)}
    pairs = zip(explained.label.tolist(), explained.against.tolist(), strict=True)
    apart = np.stack([means[own] - means[other] for own, other in pairs])
    difference = logged(counts[rows]).toarray() * apart
    place = {name: i for i, name in enumerate(by_label.groups.tolist())}
    together = by_label.contributions[[place[one] for one in explained.label.tolist()]]
    return Cells(file[rows].copy(), gene_of, counts[rows].toarray(), explained, together, difference)


def genes_by(order: str, cells: Cells, i: int, rng: np.random.Generator) -> Ints:
    """Return positions of genes that cell i expresses, in the order of deletion; only genes that the order covers."""
    counts = cells.counts[i]
    here = rng.permutation(np.flatnonzero(counts > 0))  # ties are in random order
    if order == "random":
        return np.asarray(here)
    if order == "as expressed":
        return _as_expressed(counts, genes_by("attribution", cells, i, rng)[: NUMBERS[-1]], here)
    added = cells.explained.contributions[i]
    value = {
        "attribution": added,
        "attribution, label": cells.together[i],
        "speaks against": -added,
        "reference difference": cells.difference[i],
        "most expressed": counts,
    }[order][here]
    order_of = np.argsort(-value, kind="stable")
    return np.asarray(here[order_of][value[order_of] > 0])


def _as_expressed(counts: Floats, genes: Ints, here: Ints) -> Ints:
    """Return for each of `genes` another gene of `here` with the nearest count, each at most once."""
    free = here[~np.isin(here, genes)]
    found: list[int] = []
    for gene in genes[: len(free)].tolist():
        nearest = int(np.abs(counts[free] - counts[gene]).argmin())
        found.append(int(free[nearest]))
        free = np.delete(free, nearest)
    return np.array(found, np.int64)


def called_again(cells: Cells, order: str, calls: Annotation, atlas: Atlas, seed: int) -> list[dict[str, Any]]:
    """Delete genes in an order, and return the new calls' figures for each number of genes."""
    rng, n_cells = np.random.default_rng(seed), cells.file.n_obs
    chosen = [genes_by(order, cells, i, rng) for i in range(n_cells)]
    parts = [_without(cells, [genes[:n] for genes in chosen]) for n in NUMBERS]
    path = WORK / "attribution" / "altered.h5ad"
    names = [f"{n} {name}" for n in NUMBERS for name in cells.file.obs_names]
    altered = ad.AnnData(sp.vstack(parts, format="csr"), var=cells.file.var)
    altered.obs_names = names
    altered.write_h5ad(path)
    now = sv.annotate(path, atlas).label_before_rejection.reshape(len(NUMBERS), n_cells)
    place = calls.obs_names.tolist()
    before = calls.label_before_rejection[[place.index(name) for name in cells.file.obs_names]]
    total = np.asarray(cells.file.X.sum(axis=1)).ravel()
    rows = []
    for n, part, found in zip(NUMBERS, parts, now, strict=True):
        flipped = found != before
        rows.append(
            {
                "order": order,
                "n": n,
                "cells": n_cells,
                "flipped": int(flipped.sum()),
                "flipped_to_runner_up": int((found[flipped] == cells.explained.against[flipped]).sum()),
                "empty": int((found == sv.UNKNOWN).sum()),
                "ran_out": int(sum(len(genes) < n for genes in chosen)),
                "genes": float(np.mean([min(n, len(genes)) for genes in chosen])),
                "counts": float(np.mean(1 - np.asarray(part.sum(axis=1)).ravel() / total)),
            }
        )
    return rows


def _without(cells: Cells, genes: Sequence[Ints]) -> sp.csr_matrix[np.float32]:
    """Return the cells' counts without the given genes of each cell."""
    counts = sp.csr_matrix(cells.file.X, copy=True)
    for i, gone in enumerate(genes):
        own = slice(counts.indptr[i], counts.indptr[i + 1])
        counts.data[own][np.isin(cells.gene_of[counts.indices[own]], gone)] = 0
    counts.eliminate_zeros()
    return counts
