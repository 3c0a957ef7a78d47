"""Shares by several views, joined to one: their product, with a sharpness for each view."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from scvec.core.types import Doubles
from scvec.views.regression import shares_of

LEAST = 0.01
"""Added to a share before its logarithm is taken: one view alone cannot rule a label out."""


@dataclass(frozen=True, slots=True)
class Joining:
    """How shares are joined.

    Attributes
    ----------
    sharpness
        By view, the weight of the logarithm of its shares.
    least
        Added to a share before the logarithm.
    """

    sharpness: Mapping[str, float]
    least: float = LEAST

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as JSON types."""
        return {**asdict(self), "sharpness": dict(self.sharpness)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Joining:
        """Return what `to_dict` gave."""
        return cls({str(name): float(one) for name, one in values["sharpness"].items()}, float(values["least"]))


def joined(shares: Mapping[str, Doubles], how: Joining) -> Doubles:
    """Return (n, L) the product of the shares by each view, which sums to one.

    Parameters
    ----------
    shares
        By view, (n, L) shares. A view without a sharpness counts once; one that is missing is left out.
    how
        The sharpness of each view.
    """
    total = sum(how.sharpness.get(name, 1.0) * np.log(one + how.least) for name, one in shares.items())
    return shares_of(np.asarray(total, np.float64))
