"""Intervals of means, by bootstrap over what they are means of."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np

from scvec.core.types import Doubles

N_DRAWS = 2000
LEVEL = 0.95
Interval: TypeAlias = tuple[float, float, float]
"""A mean, and the bounds of its interval."""


def interval(values: Doubles, seed: int = 0) -> Interval:
    """Return the mean of (u,) values and the bounds of its percentile bootstrap interval over them; NaN is left out.

    Source: Efron 1979, "Bootstrap methods".
    """
    kept = values[~np.isnan(values)]
    if not len(kept):
        return (float("nan"),) * 3
    picks = np.random.default_rng(seed).integers(0, len(kept), (N_DRAWS, len(kept)))
    low, high = np.quantile(kept[picks].mean(axis=1), [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(kept.mean()), float(low), float(high)


def difference(values: Doubles, others: Doubles, seed: int = 0) -> Interval:
    """Return the interval of the mean difference of (u,) values to those of another, unit by unit."""
    return interval(values - others, seed)
