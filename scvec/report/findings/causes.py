"""Causes of a doubt: how doubtful cells differ from the reference's cells of their label, and ambient RNA."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from scvec.core.types import Bools, Doubles, Ints, Strings
from scvec.report.findings.cell_measures import DOUBLET, MEASURES, MITOCHONDRIAL, Measured
from scvec.report.findings.unexpected_genes import FEW_CELLS

LOW, HIGH = "low", "high"

OUTER = 0.1
"""A group's median stands out if it is below so many of the reference's cells of the label, or above so many."""

MANY, TAIL = 0.25, 0.05
"""Doublets stand out if so many cells of a group are above `doublet_limit`, which is above all but `TAIL` of others."""

TIMES = 1.25
"""A measure stands out only if it is this many times that of the query's other cells of the label, or a part of it."""

FEWEST_LABELS = 3
"""A label's genes are ambient if they are in the cells of all other labels, and these are at least so many."""

LEAST_AMBIENT = 0.005
"""And if they are so much more of the expression than in the reference."""


@dataclass(frozen=True, slots=True)
class Measure:
    """What was counted in the cells of a group, beside the reference's cells of their label.

    Attributes
    ----------
    name
        ``"counts"``, ``"genes"``, ``"mitochondrial_share"`` or ``"doublet_score"``.
    median, beside
        The median of the group's cells, and of the query's cells of the label that are not doubtful; NaN if not known,
        or if there are fewer than ten of the latter.
    reference, low, high
        Median of the reference's cells of the label, and the values that nine of ten are above and below. NaN if it
        has fewer than ten cells, or it is not known.
    stands_out
        ``"low"`` or ``"high"``; "" if the cells are as the reference's, or as others of their label in the query.
    n_high, other
        Of a doublet score: the number of cells above `doublet_limit`, and the label that most of these are a mixture
        with. Else 0 and "".
    """

    name: str
    median: float
    beside: float
    reference: float
    low: float
    high: float
    stands_out: str
    n_high: int = 0
    other: str = ""


@dataclass(frozen=True, slots=True)
class Ambient:
    """A label whose genes are in the cells of all other labels, more than in the reference.

    Attributes
    ----------
    label, n_labels
        The label, and the number of other labels.
    share, reference
        Mean share of the expression of other labels' cells that is on genes that it owns, and the same in the
        reference.
    """

    label: str
    n_labels: int
    share: float
    reference: float


def measures_of(found: Measured | None, label: str, cells: Ints, doubted: Bools) -> tuple[Measure, ...]:
    """Return the measures of the doubtful cells of a label, given by their positions; () if nothing was measured."""
    if found is None:
        return ()
    query, reference = found.query, found.reference
    own, known = np.isin(query.cells, cells), reference.labels == label
    beside = (query.labels == label) & ~doubted[query.cells]
    made = []
    for name in MEASURES:
        parts = (query.values[name][own], query.values[name][beside], reference.values[name][known])
        made.append(_doublets(*parts, query.others[own]) if name == DOUBLET else _measure(name, *parts))
    return tuple(made)


def _measure(name: str, own: Doubles, beside: Doubles, known: Doubles) -> Measure:
    low, middle, high = _quantiles(known, OUTER, 0.5, 1 - OUTER)
    (median,), (other,) = _quantiles(own, 0.5, fewest=1), _quantiles(beside, 0.5)
    is_low = median < low and not median * TIMES > other
    is_high = median > high and not median < other * TIMES
    # Few mitochondrial genes are no harm.
    out = HIGH if is_high else LOW if is_low and name != MITOCHONDRIAL else ""
    return Measure(name, median, other, middle, low, high, out)


def _doublets(own: Doubles, beside: Doubles, known: Doubles, others: Strings) -> Measure:
    low, middle, high = _quantiles(known, OUTER, 0.5, 1 - OUTER)
    (median,), (other,) = _quantiles(own, 0.5, fewest=1), _quantiles(beside, 0.5)
    above = own > doublet_limit(beside, known)
    many = above.sum() > 1 and above.mean() >= MANY
    with_labels = Counter(others[above].tolist())
    most = max(sorted(with_labels), key=with_labels.__getitem__) if with_labels else ""
    return Measure(DOUBLET, median, other, middle, low, high, HIGH if many else "", int(above.sum()), str(most))


def doublet_limit(beside: Doubles, known: Doubles) -> float:
    """Return the doublet score above which a doubtful cell is unlike others of its label; NaN if too few are known.

    It is above 95 % of the reference's cells, and above 95 % of the query's that are not doubtful: in another donor,
    single cells of a label are further from its mean in the reference, and look more like mixtures.
    """
    (reference,), (query,) = _quantiles(known, 1 - TAIL), _quantiles(beside, 1 - TAIL)
    return reference if np.isnan(query) or np.isnan(reference) else max(reference, query)


def _quantiles(values: Doubles, *at: float, fewest: int = FEW_CELLS) -> list[float]:
    known = values[np.isfinite(values)]
    return np.quantile(known, at).tolist() if len(known) >= fewest else [float("nan")] * len(at)


def ambient(found: Measured | None) -> tuple[Ambient, ...]:
    """Return labels whose genes are in the cells of all other labels, more than in the reference, the most first.

    A label is compared if the query and the reference have ten cells of it. Genes of an ambient label are above what
    nine of ten of the reference's cells have of them, in the median cell of each other label.
    """
    return () if found is None else tuple(sorted(_ambient(found), key=lambda one: one.reference - one.share))


def _ambient(found: Measured) -> Iterator[Ambient]:
    query, reference = found.query, found.reference
    compared = [
        (name, query.owned[mine], reference.owned[theirs])
        for name in found.names.tolist()
        if (mine := query.labels == name).sum() >= FEW_CELLS and (theirs := reference.labels == name).sum() >= FEW_CELLS
    ]
    for i, label in enumerate(found.names.tolist()):
        others = [(mine[:, i], theirs[:, i]) for name, mine, theirs in compared if name != label]
        if len(others) < FEWEST_LABELS:
            continue
        if all(np.nanmedian(mine) > np.nanquantile(theirs, 1 - OUTER) for mine, theirs in others):
            share, usual = (float(np.mean([np.nanmean(one[at]) for one in others])) for at in (0, 1))
            if share - usual >= LEAST_AMBIENT:
                yield Ambient(label, len(others), share, usual)
