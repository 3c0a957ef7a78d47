"""Causes of a doubt: how doubtful cells differ from the reference's cells of their label, and ambient RNA."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from scvec.core.types import Bools, Doubles, Ints
from scvec.report.findings.measuring import COUNTS, DOUBLET, GENES, MEASURES, Measured
from scvec.report.findings.unexpected_genes import FEW_CELLS

LOW, HIGH = "low", "high"
SIZES = (COUNTS, GENES)

TAIL, OUTER = 0.05, 0.1
"""Limits leave so many cells of a label outside; ambient genes are above what all but `OUTER` have of them."""

MANY, FEWEST = 0.25, 2
"""A measure stands out if so many of a group's cells are beyond the limit, as a share and as a number."""

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
    median, beside, reference
        The median of the group's cells, of the query's cells of the label that are not doubtful, and of the reference's
        cells of the label. NaN if not known; of the latter two, also if there are fewer than ten cells.
    low, high
        Limits: 95 % of the reference's cells of the label, and 95 % of the query's that are not doubtful, are above
        `low`, and as many below `high`. NaN if the reference's are not known.
    n_low, n_high
        Number of the group's cells below and above them.
    stands_out
        ``"low"`` or ``"high"`` if at least a quarter of the cells, and two, are beyond that limit; else "".
    other
        Of a doublet score: the label that most cells above the limit are a mixture with; else "".
    """

    name: str
    median: float
    beside: float
    reference: float
    low: float
    high: float
    n_low: int
    n_high: int
    stands_out: str
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
        one = _measure(name, *parts)
        if name == DOUBLET:
            others = Counter(query.others[own][parts[0] > one.high].tolist())
            one = replace(one, other=max(sorted(others), key=others.__getitem__) if others else "")
        made.append(one)
    return tuple(made)


def _measure(name: str, own: Doubles, beside: Doubles, known: Doubles) -> Measure:
    low, high = limits(beside, known)
    n_low, n_high = int((own < low).sum()), int((own > high).sum())
    # Few mitochondrial genes do no harm, nor does a cell that is like one label more than others are.
    out = LOW if n_low > n_high and name in SIZES else HIGH
    n = n_low if out == LOW else n_high
    many = n >= max(FEWEST, MANY * len(own))
    (median,), (other,), (usual,) = _quantiles(own, 0.5, fewest=1), _quantiles(beside, 0.5), _quantiles(known, 0.5)
    return Measure(name, median, other, usual, low, high, n_low, n_high, out if many else "")


def limits(beside: Doubles, known: Doubles) -> tuple[float, float]:
    """Return the values beyond which a doubtful cell is unlike others of its label; NaN if too few are known.

    They are beyond 95 % of the reference's cells, and beyond 95 % of the query's that are not doubtful: in another
    donor or at another depth, all cells of a label may differ from the reference's, and that is not a cause of doubt.
    """
    reference, query = (_quantiles(one, TAIL, 1 - TAIL) for one in (known, beside))
    if np.isnan(query).any() or np.isnan(reference).any():
        return reference[0], reference[1]
    return min(reference[0], query[0]), max(reference[1], query[1])


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
