"""Checking how much of a file's expression is on known genes, before building or querying."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from scvec.core.progress import shown
from scvec.core.types import Progress
from scvec.ingest.cells import AskedScale, Cells, open_cells
from scvec.ingest.cells.scale import expression
from scvec.ingest.gene_coverage import Coverage
from scvec.ingest.genes.gene_table import offered_tables
from scvec.ingest.matching import match_genes
from scvec.store import Store, as_store


def coverage(
    store: Store | str | Path,
    cells: Cells,
    *,
    taxon: str | int | None = None,
    release: str | None = None,
    layer: str | None = None,
    scale: AskedScale = "auto",
    gene_key: str | None = None,
    progress: Progress | None = None,
) -> Coverage:
    """Report which genes of cells (an AnnData, or a file) are known, by which route, and what their texts are made of.

    Cells with few known genes are not refused. The parameters are those of `scvec.atlas.build`.

    Raises
    ------
    InputError
        If the file, the matrix or a column is invalid.
    NotInStoreError
        If the store has no such gene texts, and no identifiers of the taxon are packaged.
    """
    progress = shown(progress)
    offered = offered_tables(as_store(store), taxon, release)
    with open_cells(cells) as file, file.matrix(layer, scale) as matrix:
        match = match_genes(matrix, offered, gene_key=gene_key)
        totals = np.zeros(matrix.n_genes)
        for _, batch in matrix.batches("reading", progress):
            totals += expression(batch)
        return match.coverage(totals)
