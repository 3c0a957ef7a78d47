"""Metrics of calls, on plain arrays: whether confidences hold, what is rejected, how good prediction sets are.

Sources: Guo et al. 2017, "On calibration of modern neural networks" (reliability, ECE); Geifman & El-Yaniv 2017,
"Selective classification for deep neural networks" (accuracy against coverage).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from scvec.core.types import Bools, Doubles, Ints, Strings, freeze

Reals: TypeAlias = NDArray[np.floating[Any]]

N_BINS = 15
N_SHOWN = 101
"""Points of a curve that are saved, evenly spaced in coverage."""

LEVEL = math.erf(1.96 / math.sqrt(2))
"""Confidence of intervals: 95 %, as the usual 1.96 standard deviations."""


@dataclass(frozen=True, slots=True)
class Reliability:
    """Confidences and the share of calls that were right, in bins of equal width.

    Attributes
    ----------
    confidence, right
        (b,) mean confidence, and share of calls that were right; NaN in a bin without calls.
    count
        (b,) number of calls.
    """

    confidence: Doubles
    right: Doubles
    count: Ints

    def __post_init__(self) -> None:
        for name in self.__slots__:
            object.__setattr__(self, name, freeze(getattr(self, name)))

    @property
    def ece(self) -> float:
        """The expected calibration error: the mean, over the calls, of |confidence - share right|."""
        here = self.count > 0
        return float(np.average(np.abs(self.confidence - self.right)[here], weights=self.count[here]))

    def to_dict(self) -> dict[str, list[float]]:
        """Return the bins with calls, as JSON types."""
        here = self.count > 0
        columns = {"confidence": self.confidence, "right": self.right}
        shown = {name: np.round(values[here], 4).tolist() for name, values in columns.items()}
        return shown | {"count": self.count[here].tolist()}


@dataclass(frozen=True, slots=True)
class RiskCoverage:
    """Accuracy of the calls above a confidence, against their share; one point for each confidence, highest first.

    Attributes
    ----------
    confidence
        (p,) the lowest confidence that counts.
    coverage, accuracy
        (p,) share of calls with at least that confidence, and share of these that are right.
    """

    confidence: Doubles
    coverage: Doubles
    accuracy: Doubles

    def __post_init__(self) -> None:
        for name in self.__slots__:
            object.__setattr__(self, name, freeze(getattr(self, name)))

    def to_dict(self) -> dict[str, list[float]]:
        """Return at most `N_SHOWN` points, as JSON types."""
        last = len(self.coverage) - 1
        chosen = np.unique(np.minimum(np.searchsorted(self.coverage, np.linspace(0, 1, N_SHOWN)), last))
        return {name: np.round(getattr(self, name)[chosen], 4).tolist() for name in self.__slots__}


def reliability(confidence: Reals, right: Bools, n_bins: int = N_BINS) -> Reliability:
    """Return the reliability of (n,) confidences, 0 to 1; `right` is (n,), and a bin includes its upper edge."""
    chance = np.asarray(confidence, np.float64)
    bins = np.clip(np.ceil(chance * n_bins).astype(np.int64) - 1, 0, n_bins - 1)
    count = np.bincount(bins, minlength=n_bins)
    total, hits = (np.bincount(bins, weights=one, minlength=n_bins) for one in (chance, right))
    empty = np.full(n_bins, np.nan)
    mean, share = (np.divide(one, count, out=empty.copy(), where=count > 0) for one in (total, hits))
    return Reliability(mean, share, count)


def wilson(share: Doubles, count: Ints) -> Doubles:
    """Return (2, b) the 95 % intervals (Wilson 1927) of (b,) shares, each of which was seen in (b,) `count` trials."""
    from scipy.stats import binomtest

    hits = np.rint(share * count).astype(np.int64)
    pairs = zip(hits.tolist(), count.tolist(), strict=True)
    ends = [binomtest(k, n).proportion_ci(LEVEL, "wilson") for k, n in pairs]
    return np.array(ends, np.float64).reshape(-1, 2).T


def risk_coverage(confidence: Reals, right: Bools) -> RiskCoverage:
    """Return accuracy against coverage of (n,) calls; calls of equal confidence are added together."""
    order = np.argsort(-np.asarray(confidence, np.float64), kind="stable")
    chance, accepted = np.asarray(confidence, np.float64)[order], np.arange(1, len(order) + 1)
    last = np.append(np.diff(chance) != 0, True)
    accuracy = np.cumsum(right[order]) / accepted
    return RiskCoverage(chance[last], (accepted / len(order))[last], accuracy[last])


def auroc(positive: Bools, score: Reals) -> float | None:
    """Return the chance that a positive of (n,) has a higher score than a negative, ties half; None if either lacks."""
    from scipy.stats import mannwhitneyu

    if positive.all() or not positive.any():
        return None
    value = np.asarray(score, np.float64)
    # The area is Mann and Whitney's U over the number of pairs; scikit-learn's sum is off by its last bit at times.
    wins = mannwhitneyu(value[positive], value[~positive], method="asymptotic").statistic
    return float(wins / (positive.sum() * (~positive).sum()))


@dataclass(frozen=True, slots=True)
class Trust:
    """Whether confidences and novelties hold.

    Attributes
    ----------
    reliability, risk_coverage
        For cells of types that the atlas has.
    auroc_confidence
        AUROC of low confidence as a sign of a wrong call, among the same cells; None if all are right, or all wrong.
    auroc_novelty
        AUROC of novelty as a sign of a type that the atlas lacks; None if the query has no such cells.
    n_without
        Number of cells without a confidence; they are left out.
    """

    reliability: Reliability
    risk_coverage: RiskCoverage
    auroc_confidence: float | None
    auroc_novelty: float | None
    n_without: int

    @classmethod
    def of(cls, confidence: Reals, novelty: Reals, right: Bools, known: Bools) -> Trust | None:
        """Measure (n,) calls; `known` tells cells of types that the atlas has. None if none of these has a confidence.

        Confidence and novelty are NaN for cells without expression, and for all cells if the atlas has no calibration.
        """
        has = np.isfinite(confidence)
        inside = has & known
        if not inside.any():
            return None
        chance, hit, far = confidence[inside], right[inside], np.isfinite(novelty)
        return cls(
            reliability(chance, hit),
            risk_coverage(chance, hit),
            auroc(~hit, -chance),
            auroc(~known[far], novelty[far]),
            int((~has).sum()),
        )

    def __str__(self) -> str:
        parts = [f"calibration error {self.reliability.ece:.3f}"]
        if self.auroc_confidence is not None:
            parts.append(f"AUROC {self.auroc_confidence:.3f} of low confidence for wrong calls")
        if self.auroc_novelty is not None:
            parts.append(f"AUROC {self.auroc_novelty:.3f} of novelty for types that the atlas lacks")
        return ", ".join(parts)

    def to_dict(self) -> dict[str, Any]:
        """Return the figures and curves as JSON types."""
        return {
            "ece": round(self.reliability.ece, 4),
            "auroc_confidence": rounded(self.auroc_confidence),
            "auroc_novelty": rounded(self.auroc_novelty),
            "n_without_confidence": self.n_without,
            "reliability": self.reliability.to_dict(),
            "risk_coverage": self.risk_coverage.to_dict(),
        }


@dataclass(frozen=True, slots=True)
class Rejection:
    """The effect of rejecting the calls that cannot be trusted.

    Attributes
    ----------
    max_error
        The share of wrong calls that was asked for; None if the calls do not say.
    coverage
        Share of the cells of known types (those of the atlas) that are called.
    error
        Share of these calls that are wrong; None if no such cell is called.
    rejected_unknown
        Share of the cells of types that the atlas lacks that are rejected; None if the query has no such cells.
    class_coverage
        (c,) share of each class's cells that are called.
    """

    max_error: float | None
    coverage: float
    error: float | None
    rejected_unknown: float | None
    class_coverage: Doubles

    @classmethod
    def of(cls, max_error: float | None, rejected: Bools, right: Bools, known: Bools, codes: Ints) -> Rejection:
        """Measure (n,) calls; `right` is of labels before rejection, `codes` are (n,) codes of the cells' classes."""
        accepted = known & ~rejected
        called, support = np.bincount(codes, weights=~rejected), np.bincount(codes)
        return cls(
            max_error,
            float(accepted.sum() / known.sum()),
            float(np.mean(~right[accepted])) if accepted.any() else None,
            None if known.all() else float(np.mean(rejected[~known])),
            freeze(called / support),
        )

    def __str__(self) -> str:
        goal = "" if self.max_error is None else f"for an error of {self.max_error:.1%}: "
        parts = [f"{goal}{self.coverage:.1%} of the cells of known types called"]
        if self.error is not None:
            parts.append(f"{self.error:.1%} of these wrong")
        if self.rejected_unknown is not None:
            parts.append(f"{self.rejected_unknown:.1%} of the cells of other types rejected")
        return ", ".join(parts)

    def to_dict(self) -> dict[str, Any]:
        """Return the figures as JSON types, without those of the classes, which are in the table of classes."""
        names = ("max_error", "coverage", "error", "rejected_unknown")
        return {name: rounded(getattr(self, name)) for name in names}


@dataclass(frozen=True, slots=True)
class SetQuality:
    """Prediction sets of cells of known types: the share with the author's label, and the mean number of labels."""

    coverage: float
    size: float

    @classmethod
    def of(cls, cell: Ints, right: Bools, known: Bools) -> SetQuality:
        """Measure sets of m labels in all, given (m,) the cell of each label and whether the label is right."""
        has = np.bincount(cell[right], minlength=len(known)) > 0
        return cls(float(np.mean(has[known])), float(known[cell].sum() / known.sum()))

    def __str__(self) -> str:
        return f"prediction sets of {self.size:.2f} labels contain the author's for {self.coverage:.1%} of the cells"

    def to_dict(self) -> dict[str, float]:
        """Return the figures as JSON types."""
        return {"set_coverage": round(self.coverage, 4), "set_size": round(self.size, 4)}


@dataclass(frozen=True, slots=True)
class Score:
    """Agreement of labels with an author's: share of cells that are right, and mean F1 over the author's classes."""

    accuracy: float
    macro_f1: float

    @classmethod
    def of(cls, called: Strings, truth: Strings) -> Score:
        """Compare (n,) labels called with (n,) author labels."""
        from sklearn.metrics import f1_score

        classes = sorted(set(truth.tolist()))
        f1 = f1_score(truth, called, labels=classes, average="macro", zero_division=0)
        return cls(float(np.mean(called == truth)), float(f1))

    def __str__(self) -> str:
        return f"accuracy {self.accuracy:.3f}, macro-F1 {self.macro_f1:.3f}"

    def to_dict(self) -> dict[str, float]:
        """Return the figures as JSON types."""
        return {"accuracy": round(self.accuracy, 4), "macro_f1": round(self.macro_f1, 4)}


def rounded(value: float | None) -> float | None:
    """Return a figure as it is saved."""
    return None if value is None else round(value, 4)
