"""Frozen values that pass between the layers."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Floats: TypeAlias = NDArray[np.float32]
Doubles: TypeAlias = NDArray[np.float64]
Bools: TypeAlias = NDArray[np.bool_]
Ints: TypeAlias = NDArray[np.int64]
Strings: TypeAlias = NDArray[np.object_]

UNKNOWN = "unknown"
"""The label of a cell that is not called: it expresses none of the atlas's genes, or its call was rejected."""


Progress: TypeAlias = Callable[[str, int], AbstractContextManager[Callable[[int], None]]]
"""Called with a title and a total; the value of the context is called with the size of each step."""


def silent(title: str, total: int) -> AbstractContextManager[Callable[[int], None]]:
    """Show no progress."""
    del title, total
    return nullcontext(lambda _step: None)


def freeze(array: NDArray[Any]) -> NDArray[Any]:
    """Return a read-only view of `array`."""
    view = array.view()
    view.setflags(write=False)
    return view


@dataclass(frozen=True, slots=True)
class Neighbors:
    """The k nearest reference cells of each query cell.

    Attributes
    ----------
    ids
        (n, k) row ids of reference cells; -1 where there are fewer than k.
    distances
        (n, k) cosine distances, 1 - cos, ascending, ties in the order of their ids; inf where the id is -1.
    """

    ids: Ints
    distances: Floats

    def __post_init__(self) -> None:
        object.__setattr__(self, "ids", freeze(self.ids))
        object.__setattr__(self, "distances", freeze(self.distances))
