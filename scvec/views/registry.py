"""The views there are: a new one is a file, and a line here."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

from scvec.views.corrected import CorrectedView, fit_corrected
from scvec.views.linear import LinearView, fit_linear
from scvec.views.rank import RankView, fit_rank
from scvec.views.view import Arrays, Labelled, View

VIEWS: Mapping[str, tuple[Callable[[Labelled, int], View], Callable[[Arrays], View]]] = MappingProxyType(
    {
        "rank": (fit_rank, RankView.from_arrays),
        "corrected": (fit_corrected, CorrectedView.from_arrays),
        "linear": (fit_linear, LinearView.from_arrays),
    }
)
"""By name, how a view is fitted and how it is read from its arrays."""


WHOLE, PANEL = ("rank", "corrected"), ("rank", "corrected", "linear")
"""Views that are joined with that of text, and those that are fitted for a query with few genes, without it."""


def fit_views(cells: Labelled, random_state: int, names: Sequence[str] = WHOLE) -> dict[str, View]:
    """Fit views on labelled cells."""
    return {name: VIEWS[name][0](cells, random_state) for name in names}
