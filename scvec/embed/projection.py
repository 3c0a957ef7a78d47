"""From counts to cell vectors: what a recipe becomes once it is fitted on a reference."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np
import scipy.sparse as sp

from scvec.errors import InputError, MismatchError
from scvec.ingest.cells.scale import Values
from scvec.ingest.matching import GeneMatch
from scvec.spec import Recipe
from scvec.types import Floats, Ints, freeze

Batches: TypeAlias = Callable[[str], Iterator[tuple[int, sp.csr_matrix[np.float32]]]]
"""Called with a title, goes through the reference's cells once more."""


@dataclass(frozen=True, slots=True)
class Projection:
    """A recipe with all it needs to embed a cell, reference or query alike.

    Attributes
    ----------
    recipe
        What it was fitted by.
    gene_ids
        (g,) the genes that count.
    weights
        (g, d) each gene's vector.
    centre
        (d,) the mean of the reference's cells before scaling to length one, zeros where the recipe does not centre.
    """

    recipe: Recipe
    gene_ids: Ints
    weights: Floats
    centre: Floats

    def __post_init__(self) -> None:
        for name in ("gene_ids", "weights", "centre"):
            object.__setattr__(self, name, freeze(getattr(self, name)))

    @property
    def dimension(self) -> int:
        """Length of a cell vector."""
        return int(self.weights.shape[1])

    def aligner(self, match: GeneMatch) -> sp.csr_matrix[np.float32]:
        """Return (n_vars, g) 0/1: the columns of a matrix to the genes here; others have none."""
        return _aligner(match, self.gene_ids)

    def embed(
        self, batch: sp.csr_matrix[np.float32], values: Values, aligner: sp.csr_matrix[np.float32]
    ) -> tuple[Floats, np.ndarray[tuple[int], np.dtype[np.bool_]]]:
        """Embed a batch of cells.

        Parameters
        ----------
        batch
            (n, n_vars) cells as they are in the matrix.
        values
            What they hold.
        aligner
            Of the matrix's columns, from `aligner`.

        Returns
        -------
        vectors
            (n, d) of length one; zeros for an empty cell.
        empty
            (n,) True for a cell without expression on the genes here, or whose vector is zero.
        """
        known = normalise(batch, values, self.recipe.target_sum, aligner)
        if self.recipe.top_n is not None:
            known = top_genes(known, self.recipe.top_n)
        vectors = _means(known, self.weights)
        # A cell without expression stays zero: minus the centre it would look like one.
        vectors[np.diff(known.indptr) > 0] -= self.centre
        return _unit(vectors)

    def save(self, path: Path) -> None:
        """Write the arrays as safetensors; the recipe goes into the atlas's manifest."""
        from safetensors.numpy import save_file

        arrays = {name: np.ascontiguousarray(getattr(self, name)) for name in ("gene_ids", "weights", "centre")}
        save_file(arrays, path, metadata={"recipe_sha256": self.recipe.sha256()})

    @classmethod
    def load(cls, path: Path, recipe: Recipe) -> Projection:
        """Read what `save` wrote; raise `MismatchError` if another recipe was fitted."""
        from safetensors import safe_open

        with safe_open(path, framework="numpy") as file:
            if file.metadata().get("recipe_sha256") != recipe.sha256():
                raise MismatchError(
                    f"{path} was fitted by another recipe", f"recipe {recipe.name}", "build the atlas again"
                )
            return cls(recipe, *(file.get_tensor(name) for name in ("gene_ids", "weights", "centre")))


def fit(
    recipe: Recipe,
    match: GeneMatch,
    gene_vectors: Floats | None,
    batches: Batches,
    values: Values,
    n_cells: int,
) -> Projection:
    """Fit a recipe on a reference.

    Parameters
    ----------
    recipe
        Bound to its release.
    match
        The reference's genes.
    gene_vectors
        (g, d) the texts' vectors of `match.genes`; None for SVD weights.
    batches
        Goes through the reference, where something is to be fitted; at most `Recipe.fit_cells` cells of it are held.
    values
        What the reference's matrix holds.
    n_cells
        Cells of the reference.

    Raises
    ------
    InputError
        If the reference is too small for the dimension asked for.
    """
    gene_ids = match.genes
    if gene_vectors is not None and not recipe.centre:
        return Projection(recipe, gene_ids, gene_vectors, np.zeros(gene_vectors.shape[1], np.float32))
    logged = _sample_logged(recipe, match, batches, values, n_cells)
    weights = _svd(logged, recipe) if gene_vectors is None else gene_vectors
    centre = np.zeros(weights.shape[1], np.float32)
    if recipe.centre:
        filled = logged[np.diff(logged.indptr) > 0]
        centre = np.asarray(_means(filled, weights).mean(axis=0, dtype=np.float64), np.float32)
    return Projection(recipe, gene_ids, weights, centre)


def normalise(
    batch: sp.csr_matrix[np.float32],
    values: Values,
    target_sum: float,
    aligner: sp.csr_matrix[np.float32] | None = None,
) -> sp.csr_matrix[np.float32]:
    """Return log1p of `batch` scaled to `target_sum` a cell, over all of the matrix's genes.

    Columns that `aligner` (n_vars, g) brings to one gene are added up before the logarithm is taken.
    log1p values of one known total are brought to `target_sum`; of unequal totals, they are left as they are.
    """
    linear = batch.astype(np.float64)
    if values.scale == "counts":
        totals = np.asarray(linear.sum(axis=1)).ravel()
        linear.data = linear.data * np.repeat(target_sum / np.where(totals > 0, totals, 1), np.diff(batch.indptr))
    else:
        linear.data = np.expm1(linear.data)
        if values.log1p_total is not None:
            linear.data = linear.data * (target_sum / values.log1p_total)
    known = linear if aligner is None else sp.csr_matrix(linear @ aligner)
    known.data = np.log1p(known.data)
    return known.astype(np.float32)


def top_genes(batch: sp.csr_matrix[np.float32], n: int) -> sp.csr_matrix[np.float32]:
    """Keep the n largest values of each cell; of equal ones, those of the first columns."""
    cells = np.repeat(np.arange(batch.shape[0]), np.diff(batch.indptr))
    order = np.lexsort((batch.indices, -batch.data, cells))
    rank = np.arange(len(order)) - batch.indptr[cells[order]]
    kept = np.sort(order[rank < n])
    return sp.csr_matrix((batch.data[kept], (cells[kept], batch.indices[kept])), shape=batch.shape)


def _aligner(match: GeneMatch, gene_ids: Ints) -> sp.csr_matrix[np.float32]:
    order = np.argsort(gene_ids)
    known = match.only(gene_ids)
    targets = order[np.searchsorted(gene_ids, known.gene_ids, sorter=order)]
    shape = (len(match.names), len(gene_ids))
    return sp.csr_matrix((np.ones(len(targets), np.float32), (known.columns, targets)), shape=shape)


def _sample_logged(
    recipe: Recipe, match: GeneMatch, batches: Batches, values: Values, n_cells: int
) -> sp.csr_matrix[np.float32]:
    """Return log-normalised expression on the matched genes of at most `fit_cells` cells, in the reference's order."""
    aligner = _aligner(match, match.genes)
    drawn = np.ones(n_cells, bool)
    if n_cells > recipe.fit_cells:
        drawn[:] = False
        drawn[np.random.default_rng(recipe.random_state).choice(n_cells, recipe.fit_cells, replace=False)] = True
    parts = []
    for start, batch in batches("fitting"):
        chosen = drawn[start : start + batch.shape[0]]
        logged = normalise(batch[chosen], values, recipe.target_sum, aligner)
        parts.append(logged if recipe.top_n is None else top_genes(logged, recipe.top_n))
    return sp.csr_matrix(sp.vstack(parts, format="csr"))


def _svd(logged: sp.csr_matrix[np.float32], recipe: Recipe) -> Floats:
    from sklearn.decomposition import TruncatedSVD

    dimension = recipe.dimension or 0
    if dimension >= min(logged.shape):
        raise InputError(
            f"the reference has {logged.shape[0]} cells and {logged.shape[1]} known genes",
            f"more than the {dimension} dimensions of recipe {recipe.name!r}",
            "give a larger reference, or a recipe file with a smaller dimension",
        )
    return np.asarray(TruncatedSVD(dimension, random_state=recipe.random_state).fit(logged).components_.T, np.float32)


def _means(logged: sp.csr_matrix[np.float32], weights: Floats) -> Floats:
    """Return each cell's expression-weighted mean of its genes' weights; zeros for a cell without expression.

    A mean and not a sum, for a centre to be subtracted: sums of cells with many genes lie on its one side, sums of
    those with few on the other.
    """
    totals = np.asarray(logged.sum(axis=1, dtype=np.float64)).ravel()
    return np.asarray((logged @ weights) / np.where(totals > 0, totals, 1.0)[:, None], np.float32)


def _unit(vectors: Floats) -> tuple[Floats, np.ndarray[tuple[int], np.dtype[np.bool_]]]:
    lengths = np.sqrt(np.einsum("nd,nd->n", vectors, vectors, dtype=np.float64))
    empty = lengths == 0
    return np.asarray(vectors / np.where(empty, 1.0, lengths)[:, None], np.float32), empty
