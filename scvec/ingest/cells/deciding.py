"""What a matrix holds, decided on a sample of cells: each cell alone, then groups of cells, then what the file says.

A cell of single-cell data shows its scale: undone rightly, its values are whole multiples of one count, whatever it was
scaled to and whichever genes were removed. Where values have no such unit, totals tell (one is round, or the same in
many cells), or pairs of cells, in which the lengths of genes cancel.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Literal, TypeAlias

import numpy as np
import scipy.sparse as sp

from scvec.core.types import Ints
from scvec.errors import MatrixError
from scvec.ingest.cells.kinds import (
    ANY,
    COUNTS,
    LARGE,
    LIKELY,
    LINEAR,
    LOG2,
    MULTIPLES,
    NONE,
    ROUND,
    SCALED_LOGARITHMS,
    SOME_WHOLE,
    SQRT,
)
from scvec.ingest.cells.lengths import by_lengths
from scvec.ingest.cells.scale import (
    NAMES,
    SCALES,
    Evidence,
    Kinds,
    Scale,
    Seen,
    Totals,
    Values,
    all_whole,
    check_finite,
    check_range,
    fallback,
    limits,
    look,
    number_of,
    scale_of,
    undone,
)

AskedScale: TypeAlias = Scale | Literal["auto"]

SAME_TOTAL = 0.01
"""Cells whose totals differ by less than this (standard deviation / mean) were scaled to one total."""

REPEATED, MOSTLY = 5e-5, 0.8
"""Totals of several groups of cells: this share of them has another one that is as near as this, relatively."""

SEVERAL_TOTALS, SUMMED = 5, 50
"""Fewer cells have nearly the same total by chance, and so have sums of fewer values."""

RARE, ALONE = 0.1, 3
"""A smaller share of cells with a round total or whole values, or one of more than a few cells, has them by chance."""

MOST_OF = 0.5
"""Share of cells that show another scale, above which a value too large for it is an error and no scale."""

UNSEEN = 0.02
"""Share of cells that do not show their scale, in a matrix of several scales, above which it is in doubt."""

UNCUT = (1e3, 1e4, 1e5, 1e6)
"""What cells are usually scaled to, before genes are removed."""

WHOLE_COUNTS, MOST_COUNTS = 5e-7, 1e5
"""Relative error of a cell's number of counts, and the number up to which it can be seen to be whole."""

UNKNOWN_SCALE = "their scale could not be found"
SCALED_AFTER = "they are logarithms that were scaled after they were taken"


def decide(sample: sp.csr_matrix[np.float32], asked: AskedScale, where: str, stated: Scale | None = None) -> Values:
    """Decide the scale of a matrix from a sample of cells.

    Parameters
    ----------
    sample
        Cells from all over the matrix.
    asked
        The scale that was named, or ``"auto"``.
    where
        The file and the matrix, for messages.
    stated
        What the file itself says; it counts where the values do not show another scale.

    Raises
    ------
    MatrixError
        If values are negative, NaN or infinite, or contradict the scale that was named.
    """
    check_finite(sample, where)
    if not sample.data.any():
        return Values("counts" if asked == "auto" else asked)
    if all_whole(sample):
        if asked != "auto" and asked not in ("counts", "linear"):
            raise _declared(where, asked, "whole numbers only")
        return Values("counts", named=asked != "auto", doubt=flat(sample, asked != "auto"))
    seen = look(sample)
    if asked != "auto":
        return _named(sample, seen, asked, where)
    kinds, doubt = _of_all(sample, seen, stated)
    check_range(sample, kinds, where)
    values = _described(sample, kinds, seen.units)
    return replace(values, doubt=doubt or flat(undone(sample, kinds)))


def by_all_features(every: sp.csr_matrix[np.float32], values: Values, where: str) -> Values:
    """Return the scale of genes by totals with features that are not genes, if theirs alone did not show it."""
    if values.doubt != UNKNOWN_SCALE:
        return values
    try:
        found = decide(every, "auto", where)
    except MatrixError:  # tags may have other values than genes
        return values
    return values if found.doubt or found.seen else Values(found.scale)


def _declared(where: str, asked: Scale, held: str) -> MatrixError:
    return MatrixError(
        f"{where} was declared {asked} and holds {held}", asked, "set `scale` to auto, or choose another `layer`"
    )


def _named(sample: sp.csr_matrix[np.float32], seen: Evidence, asked: Scale, where: str) -> Values:
    """Return the scale that was named, unless most of the cells that show theirs have another."""
    like = {COUNTS, LINEAR} if asked in ("counts", "linear") else {number_of(asked)}
    shown = seen.means == MULTIPLES
    other = shown & ~np.isin(seen.kinds, list(like))
    if other.sum() > 0.5 * shown.sum():
        kind = int(np.bincount(seen.kinds[other]).argmax())
        held = f"numbers with fractions that are {NAMES[scale_of(kind)]}"
        raise _declared(where, asked, f"{held} ({other.sum() / len(other):.0%} of the cells)")
    kinds = np.full(sample.shape[0], number_of(asked), np.int8)
    check_range(sample, kinds, where)
    scale: Scale = "linear" if asked == "counts" else asked
    values = _described(sample, np.full(sample.shape[0], number_of(scale), np.int8), seen.units)
    return replace(values, named=True, doubt=flat(undone(sample, kinds), named=True))


def _of_all(sample: sp.csr_matrix[np.float32], seen: Evidence, stated: Scale | None) -> tuple[Kinds, str]:
    """Return what each cell of a sample holds, and why that is in doubt."""
    kinds = seen.kinds.copy()
    unshown = (kinds == NONE) | (seen.means == LARGE)
    lengths = by_lengths(sp.csr_matrix(sample[unshown])) if unshown.any() else None
    if lengths is not None:
        kinds[unshown] = lengths
    for kind in range(LINEAR, SQRT + 1):
        here = kinds == kind
        others = (kinds != kind) & (kinds > NONE)
        # Among cells that do not show theirs, one value that is too large for a logarithm says what all are.
        weak = (ROUND, SOME_WHOLE, LIKELY, LARGE) if others.mean() > MOST_OF else (ROUND, SOME_WHOLE, LIKELY)
        rare = here.sum() < max(2, RARE * len(kinds)) and len(kinds) > ALONE
        if rare and np.isin(seen.means[here], weak).all():
            kinds[here] = NONE
    kinds = _without_whole_logarithms(sample, seen, kinds)
    if (seen.means == SCALED_LOGARITHMS).mean() > MOST_OF:
        return np.full(len(kinds), number_of("log1p" if _fits(sample, "log1p") else "linear"), np.int8), SCALED_AFTER
    left = kinds == NONE
    if left.any():
        found = _by_totals(sp.csr_matrix(sample[left]))
        if found is None and stated is not None and _fits(sample[left], stated):
            found = number_of(stated)
        if found is not None:
            kinds[left] = found
    left = kinds == NONE
    shown, number = np.unique(kinds[~left & (kinds != ANY)], return_counts=True)
    if not len(shown):
        # Nothing is known: of logarithms, the natural one if it is not too large for that.
        guess: Scale = "log1p" if _fits(sample, "log1p") else "log2" if _fits(sample, "log2") else "linear"
        doubt = UNKNOWN_SCALE if left.any() else ""
        return np.full(len(kinds), number_of(guess), np.int8), doubt
    most = int(shown[number.argmax()])
    # Fractions beside counts are of counts; whole values beside these are counts, too.
    most = LINEAR if most == COUNTS and left.any() else most
    in_doubt = len(shown) > 1 and left.mean() > UNSEEN
    order = [most, *(int(kind) for kind in shown[np.argsort(-number)])]
    kinds = fallback(sample, np.where(kinds == ANY, NONE, kinds), order)
    return kinds, UNKNOWN_SCALE if in_doubt else ""


def _without_whole_logarithms(sample: sp.csr_matrix[np.float32], seen: Evidence, kinds: Kinds) -> Kinds:
    """Return the kinds, without cells that have only logarithms of 1, 3 and 7 counts to base 2, beside others'."""
    sure = (kinds == LOG2) & (seen.means == MULTIPLES)
    whole = (kinds == LINEAR) & (seen.means == SOME_WHOLE)
    if sure.sum() < max(ALONE, RARE * len(kinds)) or (whole != (kinds == LINEAR)).any():
        return kinds
    return np.where(whole, NONE, kinds).astype(np.int8) if _fits(sample[whole], "log2") else kinds


def _fits(cells: sp.csr_matrix[np.float32], scale: Scale) -> bool:
    return not len(cells.data) or bool(cells.data.max() <= limits()[number_of(scale)])


def _by_totals(cells: sp.csr_matrix[np.float32]) -> int | None:
    """Return the scale by which the cells have one total, or several cells each of some totals."""
    best, least = None, SAME_TOTAL if cells.shape[0] >= SEVERAL_TOTALS else SAME_TOTAL / 10
    totals: Totals
    for scale in SCALES[1:]:
        if cells.shape[0] < 2 or not _fits(cells, scale):
            continue
        totals = _totals(cells, np.full(cells.shape[0], number_of(scale), np.int8))
        spread = float(totals.std() / totals.mean())
        if spread < least:
            best, least = number_of(scale), spread
        elif best is None and _repeated(totals, np.diff(cells.indptr)):
            best = number_of(scale)
    return best


def _repeated(totals: Totals, n_values: Ints) -> bool:
    # Few values that are rounded have the same sum by chance.
    totals = totals[n_values >= SUMMED]
    near = np.diff(np.log(np.sort(totals))) < REPEATED
    has = np.append(near, False) | np.insert(near, 0, False)
    return bool(len(totals) > 3 and has.mean() >= MOSTLY)


def _totals(cells: sp.csr_matrix[np.float32], kinds: Kinds) -> Totals:
    return np.asarray(undone(cells, kinds).sum(axis=1, dtype=np.float64)).ravel()


def _described(sample: sp.csr_matrix[np.float32], kinds: Kinds, units: Totals) -> Values:
    """Return the scale of a matrix, given what each cell of a sample holds."""
    totals = _totals(sample, kinds)
    filled = totals > 0
    kinds = _without_wholes(kinds, totals)
    shown, number = np.unique(kinds[filled], return_counts=True)
    groups = [group for kind in shown for group in _groups(scale_of(int(kind)), totals[filled & (kinds == kind)])]
    main = scale_of(int(shown[number.argmax()]))
    if {one.scale for one in groups} == {"counts", "linear"} and all(one.total is None for one in groups):
        return Values("linear")  # counts with fractions, in some cells none
    if len(groups) > 1:
        return Values(main, seen=tuple(sorted(groups, key=lambda one: -one.n_cells)))
    total = groups[0].total
    cut = _uncut(totals[filled], units[filled]) if total is None and main != "counts" else None
    return Values(main, total, uncut=cut)


def _without_wholes(kinds: Kinds, totals: Totals) -> Kinds:
    """Return the kinds, without cells that have whole values by chance, which their total shows."""
    scaled = totals[kinds == LINEAR]
    if not len(scaled):
        return kinds
    same = np.abs(totals / np.median(scaled) - 1) < SAME_TOTAL
    return np.where((kinds == COUNTS) & same, LINEAR, kinds).astype(np.int8)


def _groups(scale: Scale, totals: Totals) -> list[Seen]:
    """Return the groups of cells that have the same total, or all as one."""
    if scale == "counts":
        return [Seen(scale, None, len(totals))]
    if len(totals) == 1:  # any cell has a total
        return [Seen(scale, float(totals[0]) if _is_usual(float(totals[0])) else None, 1)]
    order = np.sort(totals)
    cuts = np.flatnonzero(np.diff(np.log(order)) > SAME_TOTAL) + 1
    parts = np.split(order, cuts)
    large = [part for part in parts if len(part) >= 0.02 * len(order)]
    same = all(part.std() < SAME_TOTAL * part.mean() for part in large)
    few = len(large) <= 4 and sum(map(len, large)) >= 0.95 * len(order)
    if same and few and (len(large) == 1 or min(map(len, large)) > 1):
        return [Seen(scale, float(np.median(part)), len(part)) for part in large]
    return [Seen(scale, None, len(totals))]


def _is_usual(total: float) -> bool:
    """Whether a cell was scaled to this total, as far as one cell tells."""
    power = 10.0 ** np.floor(np.log10(total * 1.01))
    return any(abs(total / (first * power) - 1) < SAME_TOTAL / 10 for first in (1, 2, 5))


def _uncut(totals: Totals, units: Totals) -> float | None:
    """Return what cells of unequal totals were scaled to, if genes were removed after that; None if it is not known.

    One count was scaled to that total divided by the cell's number of counts, which is whole.
    """
    one = units[units > 0]
    if not len(one) or np.median(np.abs(one - 1)) < 1e-3 or (len(one) > 1 and np.ptp(one) < 1e-3 * one.mean()):
        return None  # counts, or multiples of counts, that were never scaled
    for whole in UNCUT:
        n_counts = whole / one
        off = np.abs(n_counts - np.round(n_counts))
        fits = off <= WHOLE_COUNTS * n_counts + 1e-4
        if totals.max() <= whole * (1 + SAME_TOTAL) and fits.mean() >= MOSTLY and np.median(n_counts) < MOST_COUNTS:
            return whole
    return None


FLAT, FLAT_ALONE = (0.01, 40), (0.004, 100)
MOST_FLAT = 4.0
"""Counts have few genes with far more than the others: the largest over the mean value is more than 1 + this x the
number of expressed genes, or 1 + `MOST_FLAT`, in half of the cells, for cells that express as many genes. The second is
for single cells: it is more in 99 % of those of counts, thinned to any depth."""

SEVERAL = 20
"""Cells from which their median is the first."""

PAIRS = 1e4
"""Sum, over cells, of squared numbers of expressed genes from which some gene was counted twice in some cell."""

ONE_VALUE = "a cell has the same value for all genes that it expresses"


def flat(cells: sp.csr_matrix[np.float32], named: bool = False) -> str:
    """Return why linear values do not measure expression, as are values of 0 and 1, bins, logarithms; "" if not.

    Of values whose scale was `named`, only those that differ in no cell are none.
    """
    if not cells.data.all():
        cells = cells.copy()
        cells.eliminate_zeros()
    n = np.diff(cells.indptr)
    filled = np.flatnonzero(n)
    starts = cells.indptr[filled]
    largest, least = np.maximum.reduceat(cells.data, starts), np.minimum.reduceat(cells.data, starts)
    if (largest <= least * (1 + 1e-5)).all():
        return ONE_VALUE if float((n.astype(np.float64) ** 2).sum()) >= PAIRS else ""
    many = n[filled] >= FLAT[1]
    slope = FLAT[0]
    if many.sum() < SEVERAL:
        many, slope = n[filled] >= FLAT_ALONE[1], FLAT_ALONE[0]
    if named or not many.any():
        return ""
    sums = np.add.reduceat(cells.data.astype(np.float64), starts)
    over = (largest * n[filled] / sums)[many]
    if np.median(over) >= 1 + min(MOST_FLAT, slope * float(np.median(n[filled][many]))):
        return ""
    return f"a cell's largest value is only {np.median(over):.2g} times its mean, as of bins, ranks or logarithms"
