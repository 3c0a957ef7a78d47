"""Clusters of cells without an atlas: Leiden on the principal components of the cells' own variable genes."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp

from scvec.annotation.clusters import Leiden
from scvec.core.types import Bools, Doubles, Floats, Ints, Progress
from scvec.core.vectors import unit_vectors
from scvec.embed.projection import normalise
from scvec.errors import InputError
from scvec.ingest.cells import Matrix
from scvec.naming.expression import TARGET_SUM

N_GENES, N_COMPONENTS = 500, 50
DEFAULT = Leiden(resolution=0.5)
"""Nearer to authors' types than with more genes or a higher resolution (``python -m benchmarks.own_clusters``)."""

FIT_CELLS = 50_000
"""Components are fitted on at most this many cells, taken at random."""

N_BINS = 20
"""Genes of similar means, among which variable ones stand out."""

READ_CELLS = 4096


def own_vectors(matrix: Matrix, columns: sp.csr_matrix[np.float32], seed: int, progress: Progress) -> Floats:
    """Return (n, d) unit vectors of cells: `components` of the 500 genes that vary most, by `variable_genes`.

    Parameters
    ----------
    matrix
        The cells.
    columns
        (n_vars, g) which maps its columns to genes.
    seed
        Of the cells at random.
    progress
        Shows how many cells are done.

    Raises
    ------
    InputError
        If no gene varies.
    """
    chosen = variable_genes(*gene_moments(matrix, columns, progress), N_GENES)
    if not len(chosen):
        raise InputError(f"{matrix.where}: no gene varies between cells", "cells that differ", "give more cells")
    return components(matrix, sp.csr_matrix(columns[:, chosen]), seed, progress)


def components(matrix: Matrix, columns: sp.csr_matrix[np.float32], seed: int, progress: Progress) -> Floats:
    """Return (n, d) unit vectors of cells: 50 principal components of their log-normalised expression.

    The components are fitted on all cells, or on 50,000 at random. A cell that expresses none of the genes is zero.

    Parameters
    ----------
    matrix, columns, seed, progress
        As for `own_vectors`; all of the genes are used.
    """
    from sklearn.decomposition import PCA

    sample = _sample(matrix, columns, seed)
    pca = PCA(min(N_COMPONENTS, min(sample.shape) - 1 or 1), svd_solver="covariance_eigh").fit(sample)
    weights, centre = pca.components_.T.astype(np.float32), (pca.mean_ @ pca.components_.T).astype(np.float32)
    vectors = np.zeros((matrix.rows.shape[0], weights.shape[1]), np.float32)
    for first, batch in matrix.batches("placing cells", progress):
        known = normalise(batch, matrix.values, TARGET_SUM, columns)
        placed = np.asarray(known @ weights) - centre
        placed[np.diff(known.indptr) == 0] = 0
        vectors[first : first + len(placed)] = placed
    return unit_vectors(vectors)[0]


def _sample(matrix: Matrix, columns: sp.csr_matrix[np.float32], seed: int) -> sp.csr_matrix[np.float32]:
    n = matrix.rows.shape[0]
    rows = np.arange(n)
    if n > FIT_CELLS:
        rows = np.sort(np.random.default_rng(seed).choice(n, FIT_CELLS, replace=False))
    pieces = (rows[i : i + READ_CELLS] for i in range(0, len(rows), READ_CELLS))
    read = [normalise(matrix.take(piece), matrix.values, TARGET_SUM, columns) for piece in pieces]
    return sp.csr_matrix(sp.vstack(read, format="csr"))


def gene_moments(matrix: Matrix, columns: sp.csr_matrix[np.float32], progress: Progress) -> tuple[Doubles, Doubles]:
    """Return (g,) mean and (g,) variance of log-normalised expression; the parameters are those of `own_vectors`."""
    n, sums, squares = matrix.rows.shape[0], np.zeros(columns.shape[1]), np.zeros(columns.shape[1])
    for _, batch in matrix.batches("looking for variable genes", progress):
        known = normalise(batch, matrix.values, TARGET_SUM, columns)
        sums += np.bincount(known.indices, known.data, len(sums))
        squares += np.bincount(known.indices, known.data.astype(np.float64) ** 2, len(sums))
    means = sums / n
    return means, np.maximum(squares / n - means**2, 0)


def variable_genes(means: Doubles, variances: Doubles, n: int) -> Ints:
    """Return the positions, ascending, of at most n genes that vary more than genes of similar means.

    Dispersions (variance over mean), as logarithms, are compared within bins of equally many genes by mean: the gene
    that is farthest above its bin's median, in median deviations, is first.

    Source: Satija et al. 2015 (10.1038/nbt.3192), with medians in place of means.
    """
    varies: Bools = (variances > 0) & (means > 0)
    at = np.flatnonzero(varies)
    if len(at) <= n:
        return at
    dispersion = np.log(variances[at] / means[at])
    bins = (np.argsort(np.argsort(means[at], kind="stable")) * N_BINS) // len(at)
    scores = np.empty(len(at))
    for one in range(N_BINS):
        inside = bins == one
        middle = np.median(dispersion[inside])
        spread = np.median(np.abs(dispersion[inside] - middle))
        scores[inside] = (dispersion[inside] - middle) / (spread or 1.0)
    return np.sort(at[np.argsort(-scores, kind="stable")[:n]])
