"""A query's cells on an atlas's genes: matched, mapped, log-normalised."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import scipy.sparse as sp

from scvec.atlas.reference import Atlas
from scvec.core.types import Ints, Progress
from scvec.embed.projection import Mask, aligner, measured, normalise
from scvec.ingest.cells import Matrix
from scvec.ingest.genes.gene_table import GeneTable, newest_tables, open_table
from scvec.ingest.genes.gene_texts import taxon_id, taxon_name
from scvec.ingest.genes.orthologs import orthologs
from scvec.ingest.guards import guard, guard_species, other_species
from scvec.ingest.matching import GeneMatch, match_genes
from scvec.store import Store


def match_to_atlas(
    matrix: Matrix, atlas: Atlas, gene_key: str | None, taxon: str | int | None
) -> tuple[GeneMatch, list[str]]:
    """Match the columns of a query to an atlas's genes; see `match_to`."""
    match, notes = match_to(matrix, atlas.store, atlas.gene_table, atlas.embedding.gene_ids, gene_key, taxon)
    return match, [*atlas.gene_notes, *notes]


def match_to(
    matrix: Matrix, store: Store, table: GeneTable, gene_ids: Ints, gene_key: str | None, taxon: str | int | None
) -> tuple[GeneMatch, list[str]]:
    """Match the columns of a query to (g,) genes of `table`; return the match, and notes on the species.

    Raises
    ------
    GeneMatchError
        If too few genes are known, or they look like another species' and `taxon` is not given.
    """
    # The genes of the cells' species: this release, or the last one of another taxon.
    own = table if taxon is None or taxon_id(taxon) == table.taxon_id else open_table(store, taxon)
    match, notes = match_genes(matrix, [own], gene_key=gene_key), []
    if taxon is None:
        guard_species(match, newest_tables(store), matrix, is_query=True)
    else:
        other = other_species(match, newest_tables(store), matrix)
        if other is not None:
            notes.append(f"the genes look like {other[1]}, but `taxon` says {taxon_name(own.taxon_id)}")
    if own.taxon_id != table.taxon_id:
        match = match.through(orthologs(own, table), table)
    match = match.only(gene_ids)
    guard(match, matrix)
    return match, notes


def placed(match: GeneMatch, atlas: Atlas) -> tuple[sp.csr_matrix[np.float32], Mask, float | None]:
    """Return how matched cells are mapped to an atlas's genes.

    Returns
    -------
    columns
        (n_vars, g) from `aligner`.
    measured
        (g,) True for the genes that the cells' matrix has.
    share
        The share of the reference's expression on these genes: an assay of few genes counts only a part of the cell.
        None for another species, whose cells count as whole, however many genes have an ortholog.
    """
    columns = aligner(match, atlas.embedding.gene_ids)
    has = measured(columns)
    return columns, has, atlas.profiles.share(has) if match.named_by is None else None


def log_normalised(
    matrix: Matrix,
    columns: sp.csr_matrix[np.float32],
    share: float | None,
    atlas: Atlas,
    title: str,
    progress: Progress,
) -> Iterator[tuple[int, sp.csr_matrix[np.float32], sp.csr_matrix[np.float32]]]:
    """Yield batches of matched cells: their first cell's number, their values, and (n, g) values on an atlas's genes.

    `columns` and `share` are from `placed`.
    """
    for first, batch in matrix.batches(title, progress):
        yield first, batch, normalise(batch, matrix.values, atlas.embedding.recipe.target_sum, columns, share)
