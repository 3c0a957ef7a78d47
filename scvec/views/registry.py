"""The views there are: a new one is a file, and a line here."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType

import numpy as np

from scvec.errors import unknown
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


def check_names(names: Iterable[str]) -> None:
    """Raise `KeyNotFoundError` if there is no view of one of these names."""
    wrong = next((one for one in names if one not in VIEWS), None)
    if wrong is not None:
        raise unknown("view", wrong, list(VIEWS))


def fit_views(cells: Labelled, names: Iterable[str], random_state: int) -> dict[str, View]:
    """Fit views on labelled cells, by their names.

    They come back as if they had been read: BLAS rounds by how an array lies in memory.
    """
    fitted = {name: VIEWS[name][0](cells, random_state) for name in names}
    return {
        name: VIEWS[name][1]({key: np.ascontiguousarray(one) for key, one in view.arrays().items()})
        for name, view in fitted.items()
    }
