"""All views of an atlas, and how their shares of the labels become one."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeAlias

import numpy as np

from scvec.core.files import save_arrays
from scvec.core.limits import bounded_json
from scvec.core.types import Bools, Doubles, Floats
from scvec.views.corrected import CorrectedView
from scvec.views.joining import Joining, joined
from scvec.views.registry import VIEWS
from scvec.views.shift import MIN_CELLS, Shift, shift_of
from scvec.views.teaching import taught
from scvec.views.view import Cells, View

NEIGHBORS = "neighbors"
"""The view that every atlas has: the votes of a cell's nearest neighbours."""

MOVED, ROUNDS = "corrected", 3
"""The view whose points are moved where a query is shifted, and how often its calls say again by how much."""

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
    leads
        By view, (n,) by how much it puts the label with the largest share ahead of the next: the difference of the
        logarithms of its shares, times its sharpness.
    depends
        (n,) where the label with the largest share depends on the query's other cells.
    shift
        How far the query lies from the reference; None where the views do not adapt to it.
    """

    shares: Floats
    by_view: Mapping[str, Doubles]
    leads: Mapping[str, Floats]
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

    def settle(self, votes: Floats, points: Points, may: Bools, trusted: Bools | None = None) -> Settled:
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
        trusted
            (n,) the cells that may say how the query differs from the reference, if the n cells are a whole query that
            the views adapt to; None, or fewer than `MIN_CELLS`: each cell's shares depend on that cell alone.
        """
        alone = settled = self._joined(votes, self.shares(points), may)
        if trusted is None or trusted.sum() < MIN_CELLS:
            return settled
        moved, shift = dict(points), None
        view = self.of.get(MOVED)
        if isinstance(view, CorrectedView):
            for _ in range(ROUNDS):
                known = settled.shares[:, : len(view.sizes)].astype(np.float64)
                own = trusted & (settled.shares.argmax(axis=1) < len(view.sizes))
                shift = shift_of(points[MOVED], known, own, view.centres, view.sizes)
                moved[MOVED] = shift.moved(points[MOVED])
                settled = self._joined(votes, self.shares(moved), may)
        if MOVED not in moved:
            return settled
        again = taught(settled.shares.astype(np.float64), moved[MOVED], trusted)
        some: Bools = np.asarray(votes.any(axis=1))
        shares = np.asarray(_among(again, may) * some[:, None], np.float32)
        depends = np.asarray(shares.argmax(axis=1) != alone.shares.argmax(axis=1))
        leads = self._leads(shares, settled.by_view)
        return replace(settled, shares=shares, leads=leads, depends=depends, shift=shift)

    def _joined(self, votes: Floats, shares: Mapping[str, Doubles], may: Bools) -> Settled:
        some: Bools = np.asarray(votes.any(axis=1))
        by_view = {NEIGHBORS: votes.astype(np.float64)}
        by_view |= {name: _widened(one, votes) for name, one in shares.items()}
        by_view = {name: _among(one, may) * some[:, None] for name, one in by_view.items()}
        together = _among(joined(by_view, self.joining), may) * some[:, None]
        all_shares = np.asarray(together, np.float32)
        return Settled(all_shares, by_view, self._leads(all_shares, by_view), np.zeros(len(votes), bool))

    def _leads(self, shares: Floats, by_view: Mapping[str, Doubles]) -> dict[str, Floats]:
        rows, first = np.arange(len(shares)), shares.argmax(axis=1)
        others = shares.copy()
        others[rows, first] = -1.0
        second = others.argmax(axis=1)
        found = {}
        for name, own in by_view.items():
            apart = np.log(own[rows, first] + self.joining.least) - np.log(own[rows, second] + self.joining.least)
            found[name] = np.asarray(self.joining.of(name) * apart, np.float32)
        return found

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


def _widened(shares: Doubles, votes: Floats) -> Doubles:
    """Return (n, L) shares with those of later labels, which are the neighbours' of these."""
    later = votes[:, shares.shape[1] :].astype(np.float64)
    return np.hstack([shares * (1 - later.sum(axis=1, keepdims=True)), later])


def _among(shares: Doubles, may: Bools) -> Doubles:
    """Return shares of the labels that may be called, which sum to one."""
    kept = np.where(may, shares, 0.0)
    total = kept.sum(axis=1, keepdims=True)
    return np.asarray(kept / np.where(total > 0, total, 1.0), np.float64)
