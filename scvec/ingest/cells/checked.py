"""One matrix of a file of cells, with a known scale; every value that it returns is checked, and linear."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import scipy.sparse as sp

from scvec.core.types import Ints, Progress, Strings, silent
from scvec.errors import MatrixError, unknown
from scvec.ingest.cells.frames import Frame, refuse_duplicates
from scvec.ingest.cells.locations import Place, reading
from scvec.ingest.cells.matrix import Rows
from scvec.ingest.cells.memory import InMemory
from scvec.ingest.cells.scale import Totals, Values, expression, to_linear
from scvec.ingest.genes.features import TYPE_KEYS, LeftOut
from scvec.ingest.genes.genomes import GENOME_KEYS

VAR_NAMES = "var_names"
GENE_KEYS = ("feature_name", "gene_symbols", "gene_symbol", "gene_name", "gene_ids", "gene_id", "ensembl_id")
"""Columns of ``var`` in which CELLxGENE, 10x readers and others keep alternative gene names."""

N_LOOKED_AT = 100
"""Values of a column that are looked at to tell whether it is text."""

SAMPLE_BLOCKS, SAMPLE_BLOCK_CELLS = 8, 128
"""The scale of a matrix is decided on this many evenly spaced blocks, then checked on every cell."""


@dataclass(frozen=True)
class Matrix:
    """One matrix of a file, with a known scale.

    Attributes
    ----------
    path
        The file.
    key
        ``"X"``, ``"raw"`` or the layer's name.
    values
        The scale of its values.
    var
        The annotations of its genes.
    rows
        Its cells.
    sample
        Cells from all over it, if some were read to decide the scale.
    left_out
        The features that are not genes, by kind, if the sample was read.
    """

    path: Place | InMemory
    key: str
    values: Values
    var: Frame
    rows: Rows
    sample: sp.csr_matrix[np.float32] | None = field(default=None, repr=False)
    left_out: tuple[LeftOut, ...] = ()

    @property
    def where(self) -> str:
        """The file and the matrix, for messages."""
        return f"{self.path}: {self.key}"

    @property
    def n_genes(self) -> int:
        """The number of columns."""
        return self.rows.shape[1]

    @cached_property
    def sampled_totals(self) -> Totals:
        """(n_genes,) expression of each gene in about a thousand cells, for matching the names."""
        sample = read_sample(self.rows, self.where) if self.sample is None else self.sample
        totals = expression(to_linear(sample, self.values, self.where))
        return totals if totals.any() else self._first_totals()

    def _first_totals(self) -> Totals:
        """Return the totals of the first cells that have any, where those of the sample have none.

        Raises
        ------
        MatrixError
            If no cell has any.
        """
        for _, batch in self.batches("reading"):
            totals = expression(batch)
            if totals.any():
                return totals
        raise MatrixError(
            f"{self.where}: no cell has a count of a gene",
            "cells with expression",
            "check the step that made the matrix, such as a filter of cells or barcodes",
        )

    @property
    def gene_keys(self) -> list[str]:
        """Where gene names may be: ``var_names``, and the columns of ``var`` with a usual name for them."""
        return [VAR_NAMES, *(key for key in GENE_KEYS if key in self.var.keys)]

    @property
    def name_like_keys(self) -> list[str]:
        """The other columns of ``var`` with text that differs from gene to gene."""
        known = {*self.gene_keys, *TYPE_KEYS, *GENOME_KEYS}
        return [key for key in self.var.keys if key not in known and self._names_genes(key)]

    def _names_genes(self, key: str) -> bool:
        values = self.var.column(key).values
        return len(values) * 2 > self.n_genes and all(isinstance(one, str) for one in values[:N_LOOKED_AT])

    @cached_property
    def genomes(self) -> Strings | None:
        """(n_genes,) the genome of each gene, "" where it is missing, if a column of ``var`` names several."""
        for key in GENOME_KEYS:
            if key in self.var.keys and len(self.var.column(key).values) > 1:
                return self.var.column(key).gene_names()
        return None

    def gene_names(self, key: str = VAR_NAMES) -> Strings:
        """Return (n_genes,) gene names from ``var_names`` or a column of ``var``; "" where one is missing.

        Raises
        ------
        KeyNotFoundError
            If there is no such column.
        DuplicateNameError
            If ``var_names`` has a name twice. In a column, a gene may have several rows.
        """
        if key == VAR_NAMES:
            names = self.var.names()
            fix = "give a column of var as `gene_key`, or use adata.var_names_make_unique()"
            refuse_duplicates(names, f"{self.where}: gene", fix)
            return names
        if key not in self.var.keys:
            raise unknown("var column for `gene_key`", key, [VAR_NAMES, *self.var.keys], self.path)
        return self.var.column(key).gene_names()

    def to_dict(self) -> dict[str, Any]:
        """Return the matrix's key and scale as JSON types."""
        return {"key": self.key, **self.values.to_dict()}

    def batches(
        self,
        title: str,
        progress: Progress = silent,
        start: int = 0,
        stop: int | None = None,
        at_most: int | None = None,
    ) -> Iterator[tuple[int, sp.csr_matrix[np.float32]]]:
        """Yield (first cell, linear values) in order, checked, for the cells from `start` to `stop`; all by default.

        Values are proportional to counts: logarithms are undone. A batch has `at_most` that many cells, or what fits.

        Raises
        ------
        MatrixError
            If a value does not fit the scale.
        FileError
            If the file is truncated.
        """
        end, step = self.rows.shape[0] if stop is None else min(stop, self.rows.shape[0]), self.rows.batch_cells()
        step = step if at_most is None else min(step, at_most)
        with progress(title, max(0, end - start)) as advance:
            for first in range(start, end, step):
                last = min(first + step, end)
                with reading(self.where):
                    batch = self.rows.read(first, last)
                yield first, to_linear(batch, self.values, self.where)
                advance(last - first)

    def take(self, cells: Ints) -> sp.csr_matrix[np.float32]:
        """Return (m, n_genes) linear values of some cells, checked; others only if they share a chunk with these.

        Parameters
        ----------
        cells
            (m,) their positions, ascending.

        Raises
        ------
        ValueError
            If they do not ascend, or are out of range.
        MatrixError, FileError
            As for `batches`.
        """
        cells = np.asarray(cells, np.int64)
        if len(cells) and (cells[0] < 0 or cells[-1] >= self.rows.shape[0] or (np.diff(cells) < 0).any()):
            raise ValueError(f"positions must ascend within 0 to {self.rows.shape[0] - 1:,}")
        parts = [sp.csr_matrix(np.zeros((0, self.n_genes), np.float32))]
        for first, last in self.rows.together(cells):
            wanted = cells[first:last]
            with reading(self.where):
                block = self.rows.read(int(wanted[0]), int(wanted[-1]) + 1)
            whole = block.shape[0] == len(wanted) and bool((np.diff(wanted) == 1).all())
            own = block if whole else sp.csr_matrix(block[wanted - wanted[0]])
            parts.append(to_linear(own, self.values, self.where))
        return sp.csr_matrix(sp.vstack(parts, format="csr"))


def read_sample(rows: Rows, where: str) -> sp.csr_matrix[np.float32]:
    """Return cells from all over a matrix, each once, to decide its scale on."""
    n_cells = rows.shape[0]
    starts = np.linspace(0, n_cells - SAMPLE_BLOCK_CELLS, SAMPLE_BLOCKS, dtype=int)
    if n_cells <= SAMPLE_BLOCKS * SAMPLE_BLOCK_CELLS:
        starts = np.arange(0, n_cells, SAMPLE_BLOCK_CELLS)
    with reading(where):
        blocks = [rows.read(int(start), min(int(start) + SAMPLE_BLOCK_CELLS, n_cells)) for start in starts]
    return sp.csr_matrix(sp.vstack(blocks, format="csr"))
