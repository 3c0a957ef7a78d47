"""Cell vectors that come with the cells, from another tool: an array of ``obsm``, such as ``X_scVI``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import scipy.sparse as sp

from scvec.core.files import save_arrays
from scvec.core.types import Floats, Ints, freeze
from scvec.core.vectors import unit_vectors
from scvec.embed.contributions import Contributions
from scvec.embed.projection import Embedding, Mask
from scvec.embed.recipe import Recipe
from scvec.errors import MismatchError


@dataclass(frozen=True, slots=True)
class Given:
    """Vectors that are given: the mean of the reference's is subtracted, and they are scaled to unit length.

    Attributes
    ----------
    recipe
        Its name is the array's key in ``obsm``.
    gene_ids
        (g,) the reference's genes, which have no part in the vectors.
    centre
        (d,) the mean of the reference's vectors.
    """

    recipe: Recipe
    gene_ids: Ints
    centre: Floats

    def __post_init__(self) -> None:
        for name in ("gene_ids", "centre"):
            object.__setattr__(self, name, freeze(getattr(self, name)))

    @property
    def dimension(self) -> int:
        """Length of a cell vector."""
        return len(self.centre)

    def of(self, given: Floats, known: sp.csr_matrix[np.float32]) -> tuple[Floats, Mask]:
        """Return (n, d) unit vectors of (n, d) given ones, and (n,) which cells are empty.

        A cell is empty if its given vector is zero, or if it expresses none of the genes of `known`, (n, g).
        """
        empty = ~given.any(axis=1) | (np.diff(known.indptr) == 0)
        vectors, none = unit_vectors(np.where(empty[:, None], np.float32(0), given - self.centre))
        return vectors, none

    def vectors(self, known: sp.csr_matrix[np.float32], measured: Mask, device: str = "cpu") -> tuple[Floats, Mask]:
        """Raise `TypeError`: no expression leads to such a vector; use `cell_vectors`."""
        del known, measured, device
        raise TypeError(f"vectors of {self.recipe.name!r} are not made of expression")

    def contributions(self, known: sp.csr_matrix[np.float32], measured: Mask, towards: Floats) -> Contributions:
        """Raise `TypeError`: genes have no part in the vectors."""
        del known, measured, towards
        raise TypeError(f"vectors of {self.recipe.name!r} are not made of expression")

    def save(self, path: Path) -> None:
        """Write the arrays as safetensors; the recipe goes into the atlas's manifest."""
        arrays = {name: getattr(self, name) for name in ("gene_ids", "centre")}
        save_arrays(path, arrays, {"recipe_sha256": self.recipe.sha256()})

    @classmethod
    def load(cls, path: Path, recipe: Recipe) -> Given:
        """Read what `save` wrote; raise `MismatchError` if it belongs to another recipe."""
        from safetensors import safe_open

        with safe_open(path, framework="numpy") as file:
            if file.metadata().get("recipe_sha256") != recipe.sha256():
                raise MismatchError(f"{path} was fitted with another recipe", f"recipe {recipe.name!r}", "build again")
            return cls(recipe, *(file.get_tensor(name) for name in ("gene_ids", "centre")))


def given_recipe(use_rep: str, dimension: int) -> Recipe:
    """Return the recipe of vectors that are given as ``obsm[use_rep]``."""
    return Recipe(name=use_rep, weights="given", dimension=dimension, centre=True)


def fit_given(recipe: Recipe, gene_ids: Ints, given: Floats) -> Given:
    """Return given vectors of a reference, (n, d) of its cells, as an embedding."""
    return Given(recipe, gene_ids, np.asarray(given.mean(axis=0, dtype=np.float64), np.float32))


def cell_vectors(
    embedding: Embedding,
    known: sp.csr_matrix[np.float32],
    measured: Mask,
    given: Floats | None = None,
    device: str = "cpu",
) -> tuple[Floats, Mask]:
    """Return (n, d) unit vectors of cells, and (n,) which are empty: from (n, g) expression, or as (n, d) are given."""
    if isinstance(embedding, Given) and given is not None:
        return embedding.of(given, known)
    return embedding.vectors(known, measured, device)
