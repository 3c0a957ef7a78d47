"""Shares by several views, joined to one: their product, with a sharpness for each view."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from types import MappingProxyType
from typing import Any

import numpy as np
from scipy.optimize import minimize
from scipy.special import logsumexp

from scvec.core.types import Doubles, Ints
from scvec.views.regression import shares_of

LEAST = 0.01
"""Added to a share before its logarithm is taken: one view alone cannot rule a label out."""

SHARPNESS: Mapping[str, float] = MappingProxyType({"rank": 0.2, "corrected": 0.4, "neighbors": 0.2, "linear": 0.2})
"""Sharpness by view before any calibration; components, by which a query is met, count twice."""

OTHER = 0.4
"""Sharpness of any other view."""

PULL = 1.0
"""How strongly calibration holds the sharpness to `SHARPNESS`, in units of the mean logarithmic loss."""


@dataclass(frozen=True, slots=True)
class Joining:
    """How shares are joined.

    Attributes
    ----------
    sharpness
        By view, the weight of the logarithm of its shares; `SHARPNESS` for a view that is not here.
    least
        Added to a share before the logarithm.
    """

    sharpness: Mapping[str, float] = field(default_factory=dict)
    least: float = LEAST

    def of(self, view: str) -> float:
        """Return the sharpness of a view; that of `SHARPNESS` for one that has none."""
        return self.sharpness.get(view, SHARPNESS.get(view, OTHER))

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
        By view, (n, L) shares. A view without a sharpness has that of `SHARPNESS`; one that is missing is left out.
    how
        The sharpness of each view.
    """
    parts = [how.of(name) * np.log(shares[name] + how.least) for name in sorted(shares)]
    return shares_of(np.asarray(sum(parts), np.float64))


def fit_joining(shares: Mapping[str, Doubles], codes: Ints) -> Joining:
    """Fit the sharpness of each view on held-out cells, so that joined shares are as often right as they say.

    The logarithmic loss is the mean over labels, so that frequent ones do not decide, and the sharpness is held near
    `SHARPNESS`: held-out donors are few.

    Parameters
    ----------
    shares
        By view, (n, L) shares of held-out cells, by views that were fitted without their donors.
    codes
        (n,) the label of each.
    """
    names = sorted(shares)
    start = np.log([Joining().of(name) for name in names])
    logs = np.stack([np.log(shares[name] + LEAST) for name in names])
    weights = 1.0 / np.bincount(codes)[codes]
    weights /= weights.sum()
    rows = np.arange(len(codes))

    def loss(parameters: Any) -> float:
        logits = np.tensordot(np.exp(parameters), logs, axes=1)
        wrong = logsumexp(logits, axis=1) - logits[rows, codes]
        # All views may grow sharper together; that one of them does alone is held back.
        apart = parameters - start - (parameters - start).mean()
        return float(weights @ wrong) + PULL * float(apart @ apart) / len(names)

    solve: Any = minimize  # the stubs' methods have other types
    found = solve(loss, start, method="L-BFGS-B", bounds=[(one - 2.3, one + 2.3) for one in start])
    return Joining(dict(zip(names, np.exp(found.x).tolist(), strict=True)))
