"""A trained head: a linear map of expression to parts of unit length, centred on the genes that the query measures."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import scipy.sparse as sp

from scvec.core.files import save_arrays
from scvec.core.limits import bounded_json
from scvec.core.types import Floats, Ints, freeze
from scvec.core.vectors import unit_vectors
from scvec.embed.contributions import Contributions, along_path, fixed
from scvec.embed.kernel import project, scaled
from scvec.embed.projection import Mask
from scvec.embed.recipe import Recipe
from scvec.errors import MismatchError

ARRAYS = ("gene_ids", "weights", "mean", "power", "bias")


@dataclass(frozen=True, slots=True)
class Head:
    """Maps log-normalised expression to cell vectors, as trained on a reference's labels.

    A cell's expression is scaled to unit length, the mean of the labels is subtracted, and the rest is mapped linearly.
    Genes that a query does not measure count as if they were at that mean, and not as if they were not expressed.

    Attributes
    ----------
    recipe
        The recipe that was trained.
    gene_ids
        (g,) the genes that are used.
    weights
        (g, d) each gene's weights: the sum of its text part and its free part.
    mean
        (g,) mean of the labels' mean cells, over cells scaled to unit length.
    power
        (g,) mean square of the reference's cells scaled to unit length; sums to one.
    bias
        (d,) the vector of a cell at the mean.
    parts
        Start, stop and weight of the parts of a vector; each part is scaled to unit length before it is weighted.
    """

    recipe: Recipe
    gene_ids: Ints
    weights: Floats
    mean: Floats
    power: Floats
    bias: Floats
    parts: tuple[tuple[int, int, float], ...]

    def __post_init__(self) -> None:
        for name in ARRAYS:
            object.__setattr__(self, name, freeze(getattr(self, name)))

    @property
    def dimension(self) -> int:
        """Length of a cell vector."""
        return int(self.weights.shape[1])

    def vectors(self, known: sp.csr_matrix[np.float32], measured: Mask, device: str = "cpu") -> tuple[Floats, Mask]:
        """Return unit vectors; see `scvec.embed.projection.Embedding`."""
        mapped = self._mapped(known, measured, device)
        mapped[np.diff(known.indptr) == 0] = 0
        return self._united(mapped)

    def contributions(self, known: sp.csr_matrix[np.float32], measured: Mask, towards: Floats) -> Contributions:
        """Return integrated gradients from the labels' mean cell to each cell; see `scvec.embed.projection.Embedding`.

        A part's vector is linear in the genes and then scaled to unit length, so only the path of the vector has to be
        integrated over. A gene that a cell lacks contributes too, if the mean cell has it.
        """
        mapped, empty = self._mapped(known, measured), np.diff(known.indptr) == 0
        ends = mapped.astype(np.float64)
        starts = np.repeat(self.bias[None].astype(np.float64), known.shape[0], axis=0)
        norm = np.sqrt(sum(weight**2 for *_, weight in self.parts))
        gradient, baseline = np.zeros(towards.shape), np.zeros(len(towards))
        for start, stop, weight in self.parts:
            part = slice(start, stop)
            asked = towards[:, part] * (weight / norm)
            gradient[:, part] = along_path(ends[:, part], starts[:, part], asked)
            baseline += np.einsum("nd,nd->n", fixed(starts[:, part], asked), starts[:, part])
        gradient[empty], baseline[empty], mapped[empty] = 0, 0, 0
        total = np.asarray(np.einsum("nd,nd->n", self._united(mapped)[0], towards, dtype=np.float64))
        amounts, offset = scaled(known, "length", self._seen(measured)), self.mean * measured
        ones = np.ones(len(total))
        return Contributions(amounts, offset, self.weights, gradient.astype(np.float32), ones, baseline, total)

    def _seen(self, measured: Mask) -> float:
        """Return the mean length of a cell on the measured genes, as a share of its whole length."""
        return float(np.sqrt(self.power[measured].sum(dtype=np.float64)))

    def _mapped(self, known: sp.csr_matrix[np.float32], measured: Mask, device: str = "cpu") -> Floats:
        """Return (n, d) vectors before their parts are scaled."""
        mapped = project(known, self.weights, "length", device) * np.float32(self._seen(measured))
        mapped += self.bias - (self.mean * measured) @ self.weights
        return mapped

    def _united(self, mapped: Floats) -> tuple[Floats, Mask]:
        """Return unit vectors made of weighted unit parts, and which are empty; `mapped` is overwritten."""
        for start, stop, weight in self.parts:
            mapped[:, start:stop] = unit_vectors(mapped[:, start:stop])[0] * np.float32(weight)
        return unit_vectors(mapped)

    def save(self, path: Path) -> None:
        """Write the arrays as safetensors; the recipe goes into the atlas's manifest."""
        about = json.dumps({"recipe_sha256": self.recipe.sha256(), "parts": self.parts})
        save_arrays(path, {name: getattr(self, name) for name in ARRAYS}, {"head": about})

    @classmethod
    def load(cls, path: Path, recipe: Recipe) -> Head:
        """Read what `save` wrote; raise `MismatchError` if it was trained with another recipe."""
        from safetensors import safe_open

        with safe_open(path, framework="numpy") as file:
            about = bounded_json(file.metadata().get("head", "{}"))
            if about.get("recipe_sha256") != recipe.sha256():
                raise MismatchError(
                    f"{path} was trained with another recipe", f"recipe {recipe.name!r}", "build the atlas again"
                )
            parts = tuple((start, stop, weight) for start, stop, weight in about["parts"])
            return cls(recipe=recipe, parts=parts, **{name: file.get_tensor(name) for name in ARRAYS})
