"""From counts to cell vectors: what a recipe becomes when it is fitted on a reference."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeAlias

import numpy as np
import scipy.sparse as sp

from scvec.core.files import save_arrays
from scvec.core.types import Floats, Ints, freeze
from scvec.core.vectors import lengths, unit_vectors
from scvec.embed import kernel
from scvec.embed.contributions import Contributions
from scvec.embed.recipe import Recipe
from scvec.errors import InputError, MismatchError
from scvec.ingest.cells.scale import Values
from scvec.ingest.matching import GeneMatch

Mask: TypeAlias = np.ndarray[tuple[int], np.dtype[np.bool_]]


class Embedding(Protocol):
    """Maps expression to cell vectors, as fitted on a reference."""

    @property
    def recipe(self) -> Recipe:
        """The recipe that was fitted."""
        ...

    @property
    def gene_ids(self) -> Ints:
        """(g,) the genes that are used."""
        ...

    @property
    def dimension(self) -> int:
        """Length of a cell vector."""
        ...

    def vectors(self, known: sp.csr_matrix[np.float32], measured: Mask, device: str = "cpu") -> tuple[Floats, Mask]:
        """Return (n, d) unit vectors of (n, g) log-normalised cells, and (n,) which of them are empty.

        `measured` is (g,) True for the genes that the cells' matrix has. An empty cell's vector is zero. The product
        with the genes' weights is computed on `device`.
        """
        ...

    def contributions(self, known: sp.csr_matrix[np.float32], measured: Mask, towards: Floats) -> Contributions:
        """Return what each gene contributes to the similarity of cells with (n, d) `towards`."""
        ...

    def save(self, path: Path) -> None:
        """Write the arrays as safetensors; the recipe goes into the atlas's manifest."""
        ...


@dataclass(frozen=True, slots=True)
class Projection:
    """A recipe with all that it needs to embed cells of a reference or a query.

    Attributes
    ----------
    recipe
        The recipe that was fitted.
    gene_ids
        (g,) the genes that are used.
    weights
        (g, d) each gene's vector.
    centre
        (d,) mean of the reference's cells before scaling to unit length; zeros if the recipe does not centre.
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

    def vectors(self, known: sp.csr_matrix[np.float32], measured: Mask, device: str = "cpu") -> tuple[Floats, Mask]:
        """Return unit vectors; see `Embedding`. Genes that are not measured count as not expressed."""
        del measured
        return unit_vectors(self._mapped(self._counted(known), device))

    def contributions(self, known: sp.csr_matrix[np.float32], measured: Mask, towards: Floats) -> Contributions:
        """Return exact contributions, which add up to the similarity; see `Embedding`.

        A cell is the mean of its genes' vectors minus the centre, which equals the mean of those vectors minus the
        centre. So each gene is measured from the centre, and a gene that is not expressed contributes nothing.
        """
        del measured
        known = self._counted(known)
        mapped = self._mapped(known)
        norms = lengths(mapped)
        scale = np.divide(1.0, norms, out=np.zeros_like(norms), where=norms > 0)
        total = np.einsum("nd,nd->n", unit_vectors(mapped, norms)[0], towards, dtype=np.float64)
        none = np.zeros(len(self.gene_ids), np.float32)
        weights = self.weights - self.centre
        return Contributions(kernel.scaled(known, "sum"), none, weights, towards, scale, np.zeros_like(total), total)

    def _counted(self, known: sp.csr_matrix[np.float32]) -> sp.csr_matrix[np.float32]:
        return known if self.recipe.top_n is None else top_genes(known, self.recipe.top_n)

    def _mapped(self, known: sp.csr_matrix[np.float32], device: str = "cpu") -> Floats:
        """Return (n, d) vectors before they are scaled to unit length.

        They are means and not sums, so that a centre can be subtracted: sums of cells with many genes would lie on one
        side of it, sums of cells with few genes on the other.
        """
        vectors = kernel.project(known, self.weights, "sum", device)
        # A cell without expression stays zero: minus the centre, it would look like a cell with expression.
        vectors[np.diff(known.indptr) > 0] -= self.centre
        return vectors

    def save(self, path: Path) -> None:
        """Write the arrays as safetensors; the recipe goes into the atlas's manifest."""
        arrays = {name: getattr(self, name) for name in ("gene_ids", "weights", "centre")}
        save_arrays(path, arrays, {"recipe_sha256": self.recipe.sha256()})

    @classmethod
    def load(cls, path: Path, recipe: Recipe) -> Projection:
        """Read what `save` wrote; raise `MismatchError` if it was fitted with another recipe."""
        from safetensors import safe_open

        with safe_open(path, framework="numpy") as file:
            if file.metadata().get("recipe_sha256") != recipe.sha256():
                raise MismatchError(
                    f"{path} was fitted with another recipe", f"recipe {recipe.name!r}", "build the atlas again"
                )
            return cls(recipe, *(file.get_tensor(name) for name in ("gene_ids", "weights", "centre")))


def fit(recipe: Recipe, gene_ids: Ints, gene_vectors: Floats | None, logged: sp.csr_matrix[np.float32]) -> Projection:
    """Fit a recipe without a head.

    Parameters
    ----------
    recipe
        Bound to its release.
    gene_ids
        (g,) the reference's genes.
    gene_vectors
        (g, d) their vectors; None for SVD weights.
    logged
        (n, g) log-normalised expression of the cells to fit on.

    Raises
    ------
    InputError
        If the reference is too small for the recipe's dimension.
    """
    if recipe.top_n is not None:
        logged = top_genes(logged, recipe.top_n)
    weights = _svd(logged, recipe) if gene_vectors is None else gene_vectors
    centre = np.zeros(weights.shape[1], np.float32)
    if recipe.centre:
        centre = np.asarray(kernel.project(logged, weights, "sum").mean(axis=0, dtype=np.float64), np.float32)
    return Projection(recipe, gene_ids, weights, centre)


def measured(columns: sp.csr_matrix[np.float32]) -> Mask:
    """Return (g,) True for the genes that an aligner's matrix has."""
    return np.asarray(columns.sum(axis=0)).ravel() > 0


def normalise(
    batch: sp.csr_matrix[np.float32],
    values: Values,
    target_sum: float,
    columns: sp.csr_matrix[np.float32] | None = None,
    share: float | None = None,
) -> sp.csr_matrix[np.float32]:
    """Return log1p of `batch` scaled to `target_sum` per cell.

    Columns that `columns` maps to the same gene are summed before the logarithm. Cells of which genes were
    removed after scaling are scaled as they were before, if that is known.

    Parameters
    ----------
    batch
        (n, n_vars) cells, as `Matrix.batches` gives them: linear values.
    values
        What is known of their scale: whether genes were removed.
    target_sum
        The total of all genes of a cell, before the logarithm.
    columns
        (n_vars, g) from `aligner`; None: the matrix's own columns.
    share
        If given, the genes that `columns` knows are scaled to this share of `target_sum`, whatever else a cell
        expresses: this puts a matrix of few genes on the scale of one that has all. It is not used where it is known
        what the cells were scaled to before genes were removed.
    """
    return kernel.normalise(batch, values, target_sum, columns, share)


def top_genes(batch: sp.csr_matrix[np.float32], n: int) -> sp.csr_matrix[np.float32]:
    """Keep the n largest values of each cell (ties: those of the first columns)."""
    cells, order, rank = by_value(batch)
    kept = np.sort(order[rank < n])
    return sp.csr_matrix((batch.data[kept], (cells[kept], batch.indices[kept])), shape=batch.shape)


def by_value(batch: sp.csr_matrix[np.float32]) -> tuple[Ints, Ints, Ints]:
    """Rank the stored values of each cell, the largest first (ties: those of the first columns).

    Returns
    -------
    cells
        (v,) the cell of each stored value.
    order
        (v,) positions of the stored values, cell by cell, by rank.
    rank
        (v,) the rank, from 0, of each element of `order` in its cell.
    """
    cells = np.repeat(np.arange(batch.shape[0]), np.diff(batch.indptr))
    order = np.lexsort((batch.indices, -batch.data, cells))
    return cells, order, np.arange(len(order)) - batch.indptr[cells[order]]


def aligner(match: GeneMatch, gene_ids: Ints) -> sp.csr_matrix[np.float32]:
    """Return (n_vars, g), which maps the columns of a matrix to (g,) genes; other columns map to none.

    It is 1 where a column is of a gene, or the share of the column that counts for it; see `GeneMatch.weights`.
    """
    order = np.argsort(gene_ids)
    known = match.only(gene_ids)
    targets = order[np.searchsorted(gene_ids, known.gene_ids, sorter=order)]
    shape = (len(match.names), len(gene_ids))
    weights = np.ones(len(targets), np.float32) if known.weights is None else known.weights
    return sp.csr_matrix((weights, (known.columns, targets)), shape=shape)


def _svd(logged: sp.csr_matrix[np.float32], recipe: Recipe) -> Floats:
    from sklearn.decomposition import TruncatedSVD

    dimension = recipe.dimension or 0
    if dimension >= min(logged.shape):
        raise InputError(
            f"the reference has {logged.shape[0]} cells and {logged.shape[1]} known genes",
            f"more of each than the {dimension} dimensions of recipe {recipe.name!r}",
            "use a larger reference, or a recipe file with a smaller dimension",
        )
    return np.asarray(TruncatedSVD(dimension, random_state=recipe.random_state).fit(logged).components_.T, np.float32)
