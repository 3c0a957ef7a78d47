"""How much a cell is like the label that it is called: signals by which cells of a new type are told."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp

from scvec.core.files import save_arrays
from scvec.core.types import Floats, Ints
from scvec.embed.projection import Mask
from scvec.embed.surplus import Surplus
from scvec.knn.spread import Spread
from scvec.views import Points

MOST_DIMENSIONS = 512
"""Longer vectors get no spread: as a matrix it would take more than it tells."""

COMPONENTS = "corrected"
"""The view whose points part the labels without having been trained on them."""


@dataclass(frozen=True, slots=True)
class Likeness:
    """What is known of the cells of each label, to compare a cell with.

    Attributes
    ----------
    surplus
        What the labels express.
    vectors
        The spread of the labels' vectors; None for long ones.
    components
        The spread of their points by the view `COMPONENTS`; None without that view.
    """

    surplus: Surplus
    vectors: Spread | None
    components: Spread | None

    def signals(
        self, known: sp.csr_matrix[np.float32], measured: Mask, vectors: Floats, points: Points, codes: Ints
    ) -> dict[str, Floats]:
        """Return the signals of n cells that are called the labels `codes`, by name; see `scvec.knn.calibration`.

        Parameters
        ----------
        known, measured
            (n, g) log-normalised cells, and (g,) True for the genes that their matrix has.
        vectors, points
            (n, d) cell vectors, and what the views keep of the cells.
        codes
            (n,) their labels; NaN is returned for what is none of the labels compared with.
        """
        there = (codes >= 0) & (codes < len(self.surplus.shares))
        own = np.where(there, codes, -1)
        found = {"surplus": np.where(there, self.surplus(known, measured, own), np.float32(np.nan))}
        if self.vectors is not None:
            found["spread"] = self.vectors.to_own(vectors, own)
        if self.components is not None and COMPONENTS in points:
            found["lead"] = self.components.lead(points[COMPONENTS], own)
        return found

    def save(self, path: Path) -> None:
        """Write it as safetensors."""
        surplus, depth = self.surplus, np.array([self.surplus.depth])
        arrays: dict[str, np.ndarray[Any, Any]] = {"shares": surplus.shares, "dispersion": surplus.dispersion}
        for name in ("vectors", "components"):
            spread: Spread | None = getattr(self, name)
            arrays |= {f"{name}.{key}": one for key, one in (spread.arrays() if spread else {}).items()}
        save_arrays(path, arrays | {"depth": depth})

    @classmethod
    def load(cls, path: Path) -> Likeness:
        """Read what `save` wrote."""
        from safetensors.numpy import load_file

        arrays = load_file(path)
        spreads = [_spread(arrays, name) for name in ("vectors", "components")]
        return cls(Surplus(arrays["shares"], arrays["dispersion"], float(arrays["depth"][0])), *spreads)


def spread_of(points: Floats, codes: Ints, n_labels: int) -> Spread | None:
    """Return the spread of labelled points; None if they are too long."""
    return Spread.of(points, codes, n_labels) if 0 < points.shape[1] <= MOST_DIMENSIONS else None


def _spread(arrays: Mapping[str, np.ndarray[Any, Any]], name: str) -> Spread | None:
    own = {key.removeprefix(f"{name}."): one for key, one in arrays.items() if key.startswith(f"{name}.")}
    return Spread.from_arrays(own) if own else None
