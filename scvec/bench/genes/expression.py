"""Vectors of genes without text: how they are expressed in cells, reduced by an SVD."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import scipy.sparse as sp

from scvec.core.types import Doubles, Floats, Ints
from scvec.embed.projection import normalise
from scvec.embed.recipe import TARGET_SUM
from scvec.ingest import GeneTexts, open_cells
from scvec.ingest.matching import match_genes

DIMENSION = 50


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
    from sklearn.utils.extmath import randomized_svd

    read = [_cells(one, texts, gene_ids) for one in files]
    here = np.array(sorted(set.intersection(*(set(genes.tolist()) for genes, _ in read))), np.int64)
    parts = [values[:, np.searchsorted(genes, here)] for genes, values in read]
    whole = np.concatenate([_standardised(one) for one in parts]).T
    n = min(DIMENSION, *whole.shape)
    left, sizes, _ = randomized_svd(whole, n_components=n, random_state=0)
    rows = {gene: i for i, gene in enumerate(here.tolist())}
    return Expressed(rows, np.asarray(left * sizes, np.float32))


def _cells(path: str, texts: GeneTexts, gene_ids: Ints) -> tuple[Ints, Floats]:
    """Return the genes that a file measures, ascending, and (cells, genes) log-normalised values of them."""
    with open_cells(path) as file, file.matrix() as matrix:
        match = match_genes(matrix, [texts])
        genes, first = np.unique(match.gene_ids, return_index=True)
        kept = np.isin(genes, gene_ids)
        columns = match.columns[first][kept]
        batches = [
            normalise(sp.csr_matrix(batch), matrix.values, TARGET_SUM)[:, columns].toarray()
            for _, batch in matrix.batches("reading")
        ]
    return genes[kept], np.concatenate(batches).astype(np.float32)


def _standardised(values: Floats) -> Doubles:
    spread = values.std(axis=0, dtype=np.float64)
    return np.asarray((values - values.mean(axis=0, dtype=np.float64)) / np.where(spread > 0, spread, 1))
