"""A query called by several views together, in the second of two passes: nothing but points is kept of each cell."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from scvec.core.types import Bools, Doubles, Floats
from scvec.views.corrected import CorrectedView
from scvec.views.joined import Joining, joined
from scvec.views.shift import MIN_CELLS, Shift, shift_of
from scvec.views.teaching import taught
from scvec.views.view import View

ROUNDS = 2
"""Rounds of calling and moving the query."""


@dataclass(frozen=True, slots=True)
class Together:
    """Calls by several views together.

    Attributes
    ----------
    shares
        (n, L) joined shares.
    by_view
        (n, L) shares by each view.
    alone
        (n, L) joined shares before the query's other cells counted.
    shift
        How the query was moved; None if it was not.
    taught
        Whether its own cells taught a head.
    """

    shares: Doubles
    by_view: Mapping[str, Doubles]
    alone: Doubles
    shift: Shift | None = None
    taught: bool = False

    @property
    def depends(self) -> Bools:
        """(n,) where the call depends on the query's other cells."""
        return np.asarray(self.shares.argmax(axis=1) != self.alone.argmax(axis=1))


def called(
    views: Mapping[str, View],
    points: Mapping[str, Floats],
    how: Joining,
    *,
    others: Mapping[str, Doubles] | None = None,
    vectors: Floats | None = None,
    trusted: Bools | None = None,
    adapt: bool = True,
) -> Together:
    """Call the cells of a query by several views.

    Parameters
    ----------
    views
        The fitted views by name.
    points
        By view, (n, d) what it keeps of each cell.
    how
        The sharpness of each view.
    others
        (n, L) shares by views that are not among `views`, as the votes of neighbours.
    vectors
        (n, d) further points that teach, as the cells' vectors.
    trusted
        (n,) cells that may steer the others: not those that may be new to the reference. None: all.
    adapt
        Move the query, and let its surest cells teach the others. If not, a cell's call depends on that cell alone.
    """
    by_view = {name: view.shares(points[name]) for name, view in views.items()} | dict(others or {})
    alone = joined(by_view, how)
    n = len(alone)
    trusted = np.ones(n, bool) if trusted is None else trusted
    if not adapt or trusted.sum() < MIN_CELLS:
        return Together(alone, by_view, alone)
    shift, shares = None, alone
    view = views.get("corrected")
    if isinstance(view, CorrectedView):
        for _ in range(ROUNDS):
            shift = shift_of(points["corrected"], shares, trusted, view.centres, view.sizes)
            by_view["corrected"] = view.shares(shift.moved(points["corrected"]))
            shares = joined(by_view, how)
    known = [points[name] for name in sorted(points)] + ([] if vectors is None else [vectors])
    return Together(taught(shares, known, trusted), by_view, alone, shift, taught=True)
