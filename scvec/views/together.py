"""All views of an atlas, and how their shares of the labels become one."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeAlias

import numpy as np

from scvec.core.files import save_arrays
from scvec.core.limits import bounded_json
from scvec.core.types import Bools, Doubles, Floats, Ints
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


BLOCK = 16_384
"""So many cells are settled at a time: what each view says of each label is kept for no more."""


@dataclass(frozen=True, slots=True)
class Settled:
    """What the views say of n cells.

    Attributes
    ----------
    shares
        (n, M) shares of the labels by all views together; zeros for a cell without neighbours.
    by_view
        By view, `NEIGHBORS` among them, (n,) the label of its largest share.
    leads
        By view, (n,) by how much it puts the label with the largest share ahead of the next: the difference of the
        logarithms of its shares, times its sharpness.
    depends
        (n,) where the label with the largest share depends on the query's other cells.
    shift
        How far the query lies from the reference; None where the views do not adapt to it.
    """

    shares: Floats
    by_view: Mapping[str, Ints]
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
        alone = self._joined(votes, points, may)
        if trusted is None or trusted.sum() < MIN_CELLS:
            return self._told(alone, votes, points, may)
        view, moved, shift, shares = self.of.get(MOVED), dict(points), None, alone
        if not isinstance(view, CorrectedView):
            return self._told(alone, votes, points, may)
        for _ in range(ROUNDS):
            calls = shares.argmax(axis=1)
            shift = shift_of(points[MOVED], calls, trusted & (calls < len(view.sizes)), view.centres, view.sizes)
            moved[MOVED] = shift.moved(points[MOVED])
            shares = self._joined(votes, moved, may)
        shares = taught(shares, moved[MOVED], trusted)
        shares = np.asarray(_among(shares, may) * _found(votes), np.float32)
        settled = self._told(shares, votes, moved, may)
        return replace(settled, depends=np.asarray(shares.argmax(axis=1) != alone.argmax(axis=1)), shift=shift)

    def _joined(self, votes: Floats, points: Points, may: Bools) -> Floats:
        """Return (n, M) shares by all views together."""
        shares = np.zeros(votes.shape, np.float32)
        for part, by_view in self._by_view(votes, points, may):
            shares[part] = _among(joined(by_view, self.joining), may) * _found(votes[part])
        return shares

    def _told(self, shares: Floats, votes: Floats, points: Points, may: Bools) -> Settled:
        """Return the shares, and what each view says of them."""
        n, names = len(votes), (NEIGHBORS, *self.of)
        labels = {name: np.zeros(n, np.int64) for name in names}
        leads = {name: np.zeros(n, np.float32) for name in names}
        for part, by_view in self._by_view(votes, points, may):
            first, second = _first_two(shares[part])
            rows = np.arange(len(first))
            for name, own in by_view.items():
                labels[name][part] = own.argmax(axis=1)
                apart = np.log(own[rows, first] + self.joining.least) - np.log(own[rows, second] + self.joining.least)
                leads[name][part] = self.joining.of(name) * apart
        return Settled(shares, labels, leads, np.zeros(n, bool))

    def _by_view(self, votes: Floats, points: Points, may: Bools) -> Iterator[tuple[slice, dict[str, Doubles]]]:
        """Yield some of the cells, and by view (m, M) their shares; zeros for a cell without neighbours."""
        for start in range(0, len(votes), BLOCK):
            part = slice(start, start + BLOCK)
            shares = self.shares({name: one[part] for name, one in points.items()})
            by_view = {NEIGHBORS: votes[part].astype(np.float64)}
            by_view |= {name: _widened(one, votes[part]) for name, one in shares.items()}
            yield part, {name: _among(one, may) * _found(votes[part]) for name, one in by_view.items()}

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
            arrays = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 - it is not a mapping
        of = {}
        for name in about["names"]:
            own = {key.removeprefix(f"{name}."): one for key, one in arrays.items() if key.startswith(f"{name}.")}
            of[name] = VIEWS[name][1](own)
        return cls(of, Joining.from_dict(about["joining"]))


def _found(votes: Floats) -> Bools:
    """Return (n, 1) whether a cell has neighbours."""
    return np.asarray(votes.any(axis=1, keepdims=True))


def _first_two(shares: Floats) -> tuple[Ints, Ints]:
    """Return (n,) the label of the largest share, and that of the next."""
    rows, first = np.arange(len(shares)), shares.argmax(axis=1)
    others = shares.copy()
    others[rows, first] = -1.0
    return first, others.argmax(axis=1)


def _widened(shares: Doubles, votes: Floats) -> Doubles:
    """Return (n, L) shares with those of later labels, which are the neighbours' of these."""
    later = votes[:, shares.shape[1] :].astype(np.float64)
    return np.hstack([shares * (1 - later.sum(axis=1, keepdims=True)), later])


def _among(shares: Doubles | Floats, may: Bools) -> Doubles:
    """Return shares of the labels that may be called, which sum to one."""
    kept = np.where(may, shares, 0.0)
    total = kept.sum(axis=1, keepdims=True)
    return np.asarray(kept / np.where(total > 0, total, 1.0), np.float64)
