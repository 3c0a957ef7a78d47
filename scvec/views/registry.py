"""The views there are: a new one is a file, and a line here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from scvec.views.corrected import CorrectedView, fit_corrected
from scvec.views.rank import RankView, fit_rank
from scvec.views.view import Arrays, Labelled, View

VIEWS: Mapping[str, tuple[Callable[[Labelled, int], View], Callable[[Arrays], View]]] = MappingProxyType(
    {
        "rank": (fit_rank, RankView.from_arrays),
        "corrected": (fit_corrected, CorrectedView.from_arrays),
    }
)
"""By name, how a view is fitted and how it is read from its arrays."""


def fit_views(cells: Labelled, random_state: int) -> dict[str, View]:
    """Fit all views on labelled cells."""
    return {name: fit(cells, random_state) for name, (fit, _) in VIEWS.items()}
