"""The views of one reference as a value: what an atlas keeps of them, and how they call beside neighbours."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np

from scvec.core.files import save_arrays
from scvec.core.limits import bounded_json
from scvec.core.types import Bools, Doubles, Floats
from scvec.views.joined import Joining
from scvec.views.registry import VIEWS
from scvec.views.shift import Shift
from scvec.views.together import called
from scvec.views.view import Cells, View

NEIGHBORS = "neighbors"
"""The view that every atlas has: the votes of a cell's nearest neighbours."""

Points: TypeAlias = Mapping[str, Floats]
"""By view, (n, d) what is kept of n cells."""


@dataclass(frozen=True, slots=True)
class Settled:
    """What the views say of n cells.

    Attributes
    ----------
    shares
        (n, M) shares of the labels by all views together; zeros for a cell without neighbours.
    by_view
        By view, `NEIGHBORS` among them, (n, M) its shares.
    depends
        (n,) where the label with the largest share depends on the other cells of the query.
    shift
        How the query was moved; None if it was not.
    """

    shares: Floats
    by_view: Mapping[str, Doubles]
    depends: Bools
    shift: Shift | None = None


@dataclass(frozen=True, slots=True)
class Views:
    """The views of a cell beside its neighbours, as fitted on one reference.

    Attributes
    ----------
    of
        By name, the views.
    joining
        How their shares, and those of the neighbours, are joined.
    """

    of: Mapping[str, View]
    joining: Joining

    def points(self, known: Cells) -> Points:
        """Return by view (n, d) what is kept of (n, g) cells; each cell's depends on that cell alone."""
        return {name: view.project(known) for name, view in self.of.items()}

    def shares(self, points: Points) -> dict[str, Doubles]:
        """Return by view (n, L) shares of the labels."""
        return {name: view.shares(points[name]) for name, view in self.of.items()}

    def settle(
        self,
        votes: Floats,
        points: Points,
        may: Bools,
        vectors: Floats | None = None,
        trusted: Bools | None = None,
    ) -> Settled:
        """Return the shares of the labels by all views together.

        Parameters
        ----------
        votes
            (n, M) shares of the neighbours' votes; M may be more than L, for labels that came after the views were
            fitted: of these, neighbours alone know.
        points
            By view, (n, d) what is kept of the cells.
        may
            (M,) the labels that may be called.
        vectors, trusted
            (n, d) the cells' vectors, and (n,) the cells that may say how the query differs from the reference, if the
            n cells are a whole query that the views adapt to. None: each cell's shares depend on that cell alone.
        """
        if not len(votes):
            return Settled(votes, {name: votes.astype(np.float64) for name in (NEIGHBORS, *self.of)}, np.zeros(0, bool))
        n_fitted = next(iter(self.shares({name: one[:1] for name, one in points.items()}).values())).shape[1]
        later, some = votes[:, n_fitted:].astype(np.float64), votes.any(axis=1)[:, None]
        left = 1.0 - later.sum(axis=1, keepdims=True)
        known = _summing_to_one(votes[:, :n_fitted].astype(np.float64))
        found = called(
            self.of,
            points,
            self.joining,
            others={NEIGHBORS: known},
            vectors=vectors,
            trusted=trusted,
            adapt=trusted is not None,
        )

        def of_all(shares: Doubles) -> Doubles:
            return _summing_to_one(np.where(may, np.hstack([shares * left, later]), 0.0)) * some

        together, alone = of_all(found.shares), of_all(found.alone)
        return Settled(
            together.astype(np.float32),
            {name: of_all(found.by_view[name]) for name in (NEIGHBORS, *self.of)},
            np.asarray(together.argmax(axis=1) != alone.argmax(axis=1)),
            found.shift,
        )

    def save(self, path: Path) -> None:
        """Write them as safetensors."""
        arrays = {f"{name}.{key}": one for name, view in self.of.items() for key, one in view.arrays().items()}
        save_arrays(path, arrays, {"views": json.dumps({"names": list(self.of), "joining": self.joining.to_dict()})})

    @classmethod
    def load(cls, path: Path) -> Views:
        """Read what `save` wrote."""
        from safetensors import safe_open

        with safe_open(path, framework="numpy") as file:
            about = bounded_json(file.metadata().get("views", "{}"))
            arrays = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 - it is no mapping
        of = {}
        for name in about["names"]:
            own = {key.removeprefix(f"{name}."): one for key, one in arrays.items() if key.startswith(f"{name}.")}
            of[name] = VIEWS[name][1](own)
        return cls(of, Joining.from_dict(about["joining"]))


def _summing_to_one(shares: Doubles) -> Doubles:
    """Return shares scaled to sum to one; all alike where they are all zero."""
    total = shares.sum(axis=1, keepdims=True)
    return np.asarray(np.where(total > 0, shares / np.where(total > 0, total, 1.0), 1.0 / max(1, shares.shape[1])))
