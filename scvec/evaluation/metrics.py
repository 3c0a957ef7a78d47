"""What is measured of calls, over plain arrays: whether confidences hold, what is rejected, how good sets are.

Sources: Guo et al. 2017, "On calibration of modern neural networks" (reliability, ECE); Geifman & El-Yaniv 2017,
"Selective classification for deep neural networks" (accuracy against coverage).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from scvec.core.types import Bools, Doubles, Ints, Strings, freeze

Reals: TypeAlias = NDArray[np.floating[Any]]

N_BINS = 15
N_SHOWN = 101
"""Points of a curve that are written down, evenly spaced in coverage."""


@dataclass(frozen=True, slots=True)
class Reliability:
    """Confidences beside what came of them, in bins of equal width.

    Attributes
    ----------
    confidence, right
        (b,) mean confidence, and share of calls that were right; NaN in a bin without calls.
    count
        (b,) calls.
    """

    confidence: Doubles
    right: Doubles
    count: Ints

    def __post_init__(self) -> None:
        for name in self.__slots__:
            object.__setattr__(self, name, freeze(getattr(self, name)))

    @property
    def ece(self) -> float:
        """The expected calibration error: how far confidence and share right are apart, on the mean over the calls."""
        here = self.count > 0
        return float(np.average(np.abs(self.confidence - self.right)[here], weights=self.count[here]))

    def to_dict(self) -> dict[str, list[float]]:
        """Return the bins that have calls, as JSON types."""
        here = self.count > 0
        columns = {"confidence": self.confidence, "right": self.right}
        shown = {name: np.round(values[here], 4).tolist() for name, values in columns.items()}
        return shown | {"count": self.count[here].tolist()}


@dataclass(frozen=True, slots=True)
class RiskCoverage:
    """How accurate calls are where only those of some confidence count; one point for each confidence, highest first.

    Attributes
    ----------
    confidence
        (p,) the least confidence that counts.
    coverage, accuracy
        (p,) share of calls with at least that, and share of these that are right.
    """

    confidence: Doubles
    coverage: Doubles
    accuracy: Doubles

    def __post_init__(self) -> None:
        for name in self.__slots__:
            object.__setattr__(self, name, freeze(getattr(self, name)))

    def to_dict(self) -> dict[str, list[float]]:
        """Return `N_SHOWN` points at most, as JSON types."""
        last = len(self.coverage) - 1
        chosen = np.unique(np.minimum(np.searchsorted(self.coverage, np.linspace(0, 1, N_SHOWN)), last))
        return {name: np.round(getattr(self, name)[chosen], 4).tolist() for name in self.__slots__}


def reliability(confidence: Reals, right: Bools, n_bins: int = N_BINS) -> Reliability:
    """Return the reliability of (n,) confidences, 0 to 1, given (n,) whether the call was right; a bin has its top."""
    chance = np.asarray(confidence, np.float64)
    bins = np.clip(np.ceil(chance * n_bins).astype(np.int64) - 1, 0, n_bins - 1)
    count = np.bincount(bins, minlength=n_bins)
    total, hits = (np.bincount(bins, weights=one, minlength=n_bins) for one in (chance, right))
    empty = np.full(n_bins, np.nan)
    mean, share = (np.divide(one, count, out=empty.copy(), where=count > 0) for one in (total, hits))
    return Reliability(mean, share, count)


def wilson(share: Doubles, count: Ints, z: float = 1.96) -> Doubles:
    """Return (2, b) the ends of the interval of a share (b,) seen in (b,) counts (Wilson 1927); of 95 % as a rule."""
    middle = (share + z**2 / (2 * count)) / (1 + z**2 / count)
    half = z / (1 + z**2 / count) * np.sqrt(share * (1 - share) / count + z**2 / (4 * count**2))
    return np.stack([middle - half, middle + half])


def risk_coverage(confidence: Reals, right: Bools) -> RiskCoverage:
    """Return accuracy against coverage of (n,) calls; those of one confidence count together."""
    order = np.argsort(-np.asarray(confidence, np.float64), kind="stable")
    chance, accepted = np.asarray(confidence, np.float64)[order], np.arange(1, len(order) + 1)
    last = np.append(np.diff(chance) != 0, True)
    accuracy = np.cumsum(right[order]) / accepted
    return RiskCoverage(chance[last], (accepted / len(order))[last], accuracy[last])


def auroc(positive: Bools, score: Reals) -> float | None:
    """Return the chance that a positive of (n,) has a higher score than a negative, ties half; None if one lacks."""
    from scipy.stats import rankdata

    n_positive, n_negative = int(positive.sum()), int((~positive).sum())
    if not n_positive or not n_negative:
        return None
    above = rankdata(score)[positive].sum() - n_positive * (n_positive + 1) / 2
    return float(above / (n_positive * n_negative))


@dataclass(frozen=True, slots=True)
class Trust:
    """Whether confidence and novelty say what they should.

    Attributes
    ----------
    reliability, risk_coverage
        Of the cells of types that the atlas has.
    auroc_confidence
        Of low confidence as a sign that a call is wrong, among these; None if all are right, or all wrong.
    auroc_novelty
        Of novelty as a sign of a type that the atlas lacks; None if the query has no such cells.
    n_without
        Cells without a confidence, left out of all this.
    """

    reliability: Reliability
    risk_coverage: RiskCoverage
    auroc_confidence: float | None
    auroc_novelty: float | None
    n_without: int

    @classmethod
    def of(cls, confidence: Reals, novelty: Reals, right: Bools, known: Bools) -> Trust | None:
        """Return what (n,) cells show, `known` where the atlas has their type; None if no known one has a confidence.

        Empty cells have NaN for both, and so have all cells of an atlas that is not calibrated.
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
            parts.append(f"{self.auroc_novelty:.3f} of novelty for types that the atlas lacks")
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
    """What became of the calls where those not trusted were rejected.

    Attributes
    ----------
    max_error
        The share of wrong calls that was asked for; None where the calls do not say.
    coverage
        Share of the cells of types that the atlas has that are called.
    error
        Share of these calls that are wrong; None if there are none.
    rejected_unknown
        Share of the cells of types that the atlas lacks that are rejected; None if there are none.
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
        """Return what (n,) cells show, given (n,) codes of their classes and whether the nearest label is right."""
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
        asked = "" if self.max_error is None else f"for an error of {self.max_error:.1%}: "
        parts = [f"{asked}{self.coverage:.1%} of the cells of known types called"]
        if self.error is not None:
            parts.append(f"{self.error:.1%} of these wrong")
        if self.rejected_unknown is not None:
            parts.append(f"{self.rejected_unknown:.1%} of the others rejected")
        return ", ".join(parts)

    def to_dict(self) -> dict[str, Any]:
        """Return the figures as JSON types; those of the classes are in their table."""
        names = ("max_error", "coverage", "error", "rejected_unknown")
        return {name: rounded(getattr(self, name)) for name in names}


@dataclass(frozen=True, slots=True)
class SetQuality:
    """Prediction sets of cells of types that the atlas has: share that has the truth, and mean number of labels."""

    coverage: float
    size: float

    @classmethod
    def of(cls, cell: Ints, right: Bools, known: Bools) -> SetQuality:
        """Return what sets are worth, given (m,) the cell of each of their labels and whether that is right."""
        has = np.bincount(cell[right], minlength=len(known)) > 0
        return cls(float(np.mean(has[known])), float(known[cell].sum() / known.sum()))

    def __str__(self) -> str:
        return f"sets of {self.size:.2f} labels have the author's for {self.coverage:.1%}"

    def to_dict(self) -> dict[str, float]:
        """Return the figures as JSON types."""
        return {"set_coverage": round(self.coverage, 4), "set_size": round(self.size, 4)}


@dataclass(frozen=True, slots=True)
class Score:
    """How labels compare with an author's: share of cells that are right, and mean F1 over the author's classes."""

    accuracy: float
    macro_f1: float

    @classmethod
    def of(cls, called: Strings, truth: Strings) -> Score:
        """Compare (n,) labels called with (n,) labels given."""
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
    """Return a figure as it is written down."""
    return None if value is None else round(value, 4)
