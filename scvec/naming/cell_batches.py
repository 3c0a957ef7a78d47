"""Single cells, read once more after their clusters were."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import scipy.sparse as sp

from scvec.annotation.result import Annotation
from scvec.core.types import Ints, Progress
from scvec.errors import InputError
from scvec.ingest.cells import Cells, open_cells
from scvec.ingest.cells.options import ReadOptions
from scvec.ingest.matching import match_names
from scvec.naming.expression import Genes, matched
from scvec.store import Store, as_store

TITLE = "calling cells"

Batch = tuple[int, "sp.csr_matrix[np.float32]"]


def cell_batches(
    cells: Cells | Annotation, store: Store | str | Path, read: ReadOptions, gene_ids: Ints, progress: Progress
) -> Iterator[Batch]:
    """Yield the first cell's number, and (m, g) log1p(counts per 10,000) of cells.

    Parameters
    ----------
    cells, store, read
        As for `scvec.naming.groups_of`; of calls, all cells of their query are read.
    gene_ids
        (g,) the genes of the cells' groups.
    progress
        Shows how many cells are done.

    Raises
    ------
    InputError
        If the cells were changed meanwhile.
    """
    if isinstance(cells, Annotation):
        query = cells.query
        table = query.match.named_by or query.match.gene_table
        with query.opened() as opened:
            matrix, key = opened.matrix, query.match.key
            genes = Genes.of(match_names(matrix.gene_names(key), key, table, matrix.genomes))
            yield from genes.batches(matrix, TITLE, progress)
        return
    with open_cells(cells, read.obs, read.selection) as file, file.matrix(read.layer, read.scale) as matrix:
        genes = Genes.of(matched(matrix, as_store(store), read)[0])
        if not np.array_equal(genes.ids, gene_ids):
            raise InputError(f"{file.path} was changed while it was read", "the same genes", "try again")
        yield from genes.batches(matrix, TITLE, progress)
