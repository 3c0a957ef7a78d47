"""Vectors of genes without text: how they are expressed in cells, reduced by an SVD."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import scipy.sparse as sp
from scipy.sparse.linalg import LinearOperator, svds

from scvec.core.types import Doubles, Floats, Ints
from scvec.embed.projection import normalise
from scvec.embed.recipe import TARGET_SUM
from scvec.ingest import GeneTexts, open_cells
from scvec.ingest.matching import match_genes

DIMENSION = 50
TINY = 1e-6
"""A standard deviation that rounding leaves of a gene that is the same in all cells."""


@dataclass(frozen=True)
class Expressed:
    """Vectors of the genes that some files of cells measure.

    Attributes
    ----------
    rows
        The place of each gene.
    vectors
        (g, d) vectors.
    """

    rows: dict[int, int] = field(repr=False)
    vectors: Floats = field(repr=False)

    def of(self, gene_ids: Ints) -> Floats:
        """Return (n, d) vectors; zeros for a gene that is not measured, or not expressed."""
        found = np.zeros((len(gene_ids), self.vectors.shape[1]), np.float32)
        for i, one in enumerate(gene_ids.tolist()):
            if one in self.rows:
                found[i] = self.vectors[self.rows[one]]
        return found


def expressed(files: Sequence[str], texts: GeneTexts, gene_ids: Ints) -> Expressed:
    """Return the vectors of genes: log-normalised expression, each gene standardised within each file, then an SVD.

    So the cosine of two genes is about their correlation over cells.

    Parameters
    ----------
    files
        Files of cells.
    texts
        By which their genes are known.
    gene_ids
        The genes, of which those count that all files measure.
    """
    read = [_cells(one, texts, gene_ids) for one in files]
    here = np.array(sorted(set.intersection(*(set(genes.tolist()) for genes, _ in read))), np.int64)
    parts = [_Standardised.of(values[:, np.searchsorted(genes, here)]) for genes, values in read]
    sizes, right = _svd(parts, len(here))
    rows = {gene: i for i, gene in enumerate(here.tolist())}
    return Expressed(rows, np.asarray(right * sizes, np.float32))


@dataclass(frozen=True)
class _Standardised:
    """Cells whose genes have mean 0 and standard deviation 1, kept as the sparse values that they are made of."""

    values: sp.csr_matrix
    means: Doubles
    spreads: Doubles

    @classmethod
    def of(cls, values: sp.csr_matrix) -> _Standardised:
        values = values.astype(np.float64)
        means = np.asarray(values.mean(axis=0)).ravel()
        spreads = np.sqrt(np.maximum(np.asarray(values.multiply(values).mean(axis=0)).ravel() - means**2, 0))
        return cls(values, means, np.where(spreads > TINY, spreads, np.inf))

    def times(self, genes: Doubles) -> Doubles:
        """Return (cells,) the product with (genes,) numbers."""
        weights = genes.ravel() / self.spreads
        return np.asarray(self.values @ weights - self.means @ weights)

    def transposed_times(self, cells: Doubles) -> Doubles:
        """Return (genes,) the product of the transpose with (cells,) numbers."""
        return np.asarray((self.values.T @ cells.ravel() - self.means * cells.sum()) / self.spreads)


def _svd(parts: Sequence[_Standardised], n_genes: int) -> tuple[Doubles, Doubles]:
    """Return the (d,) largest singular values of parts one below the other, descending, and (genes, d) vectors."""
    ends = np.cumsum([part.values.shape[0] for part in parts])
    shape = (int(ends[-1]), n_genes)
    whole = LinearOperator(
        shape,
        matvec=lambda genes: np.concatenate([part.times(genes) for part in parts]),
        rmatvec=lambda cells: np.sum(
            [part.transposed_times(own) for part, own in zip(parts, np.split(cells, ends[:-1]), strict=True)], axis=0
        ),
        dtype=np.float64,
    )
    n = min(DIMENSION, *(size - 1 for size in shape))
    start = np.random.default_rng(0).standard_normal(min(shape))
    _, sizes, right = svds(whole, k=n, v0=start)
    order = np.argsort(-sizes)
    return np.asarray(sizes[order], np.float64), right[order].T


def _cells(path: str, texts: GeneTexts, gene_ids: Ints) -> tuple[Ints, sp.csr_matrix]:
    """Return the genes that a file measures, ascending, and (cells, genes) log-normalised values of them."""
    with open_cells(path) as file, file.matrix() as matrix:
        match = match_genes(matrix, [texts])
        genes, first = np.unique(match.gene_ids, return_index=True)
        kept = np.isin(genes, gene_ids)
        columns = match.columns[first][kept]
        batches = [
            normalise(sp.csr_matrix(batch), matrix.values, TARGET_SUM)[:, columns]
            for _, batch in matrix.batches("reading")
        ]
    return genes[kept], sp.csr_matrix(sp.vstack(batches))
