"""Cells on the genes of their own matrix, without an atlas: matched, log-normalised, added up by group."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

from scvec.core.types import Doubles, Ints, Progress, Strings
from scvec.embed.kernel import add_rows
from scvec.embed.projection import aligner, normalise
from scvec.ingest.cells import Matrix
from scvec.ingest.cells.options import ReadOptions
from scvec.ingest.genes.gene_table import GeneTable, newest_tables, offered_tables
from scvec.ingest.genes.gene_texts import taxon_name
from scvec.ingest.guards import guard, guard_species, other_species, with_second_species
from scvec.ingest.matching import GeneMatch, match_genes
from scvec.store import Store

TARGET_SUM = 1e4
"""What a cell is scaled to before the logarithm."""


@dataclass(frozen=True, slots=True)
class Genes:
    """The genes of a matrix, and how its columns are mapped to them."""

    ids: Ints
    symbols: Strings
    table: GeneTable
    columns: sp.csr_matrix[np.float32]

    @classmethod
    def of(cls, match: GeneMatch) -> Genes:
        """Return the genes of a match, by their ids."""
        ids = np.unique(match.gene_ids)
        symbols = dict(match.gene_table.genes.select("gene_id", "symbol").iter_rows())
        named = np.array([symbols[gene] for gene in ids.tolist()], object)
        return cls(ids, named, match.gene_table, aligner(match, ids))

    def batches(
        self, matrix: Matrix, title: str, progress: Progress, columns: sp.csr_matrix[np.float32] | None = None
    ) -> Iterator[tuple[int, sp.csr_matrix[np.float32]]]:
        """Yield the first cell's number, and (m, g) log1p(counts per 10,000), totals over all genes of the matrix.

        `columns` are those of some of the genes, if only these are wanted.
        """
        for first, batch in matrix.batches(title, progress):
            yield first, normalise(batch, matrix.values, TARGET_SUM, self.columns if columns is None else columns)


@dataclass(frozen=True, slots=True)
class Sums:
    """Sums over the cells of each of C groups that express any gene: (C,) cells, (C, g) values and cells per gene."""

    n_cells: Ints
    values: Doubles
    expressing: Doubles

    @classmethod
    def over(
        cls, batches: Iterator[tuple[int, sp.csr_matrix[np.float32]]], member: Ints, n_groups: int, n_genes: int
    ) -> Sums:
        """Add up batches; `member` is (n,) the group of each cell, -1 for none."""
        n_cells, values = np.zeros(n_groups, np.int64), np.zeros((n_groups, n_genes))
        expressing = np.zeros_like(values)
        for first, known in batches:
            codes = member[first : first + known.shape[0]]
            codes = np.where(np.diff(known.indptr) > 0, codes, -1)
            ones = sp.csr_matrix((np.ones_like(known.data), known.indices, known.indptr), shape=known.shape)
            n_cells += np.bincount(codes[codes >= 0], minlength=n_groups)
            values += add_rows(known, np.ones(len(codes)), codes, n_groups)
            expressing += add_rows(ones, np.ones(len(codes)), codes, n_groups)
        return cls(n_cells, values, expressing)

    @property
    def means(self) -> Doubles:
        """(C, g) means."""
        return np.asarray(self.values / np.maximum(self.n_cells, 1)[:, None])

    @property
    def shares(self) -> Doubles:
        """(C, g) shares of the cells that express a gene."""
        return np.asarray(self.expressing / np.maximum(self.n_cells, 1)[:, None])


def matched(matrix: Matrix, store: Store, read: ReadOptions) -> tuple[GeneMatch, list[str]]:
    """Match a matrix's columns to the genes of `read.taxon` or, of all species, the one that fits best; with notes.

    Raises
    ------
    GeneMatchError
        If too little of the expression is on known genes.
    """
    match = match_genes(matrix, offered_tables(store, read.taxon), gene_key=read.gene_key)
    notes = [match.coverage(matrix.sampled_totals).notes()[0]] if read.taxon is None else []
    if read.taxon is None:
        guard_species(match, newest_tables(store), matrix, is_query=False)
    other = None if read.taxon is None else other_species(match, newest_tables(store), matrix)
    if other is not None:
        notes.append(f"the genes look like {other[1]}, but `taxon` says {taxon_name(match.gene_table.taxon_id)}")
    else:
        match = with_second_species(match, newest_tables(store), matrix)
        notes += [] if match.second is None else [str(match.second)]
    guard(match, matrix)
    return match, notes
