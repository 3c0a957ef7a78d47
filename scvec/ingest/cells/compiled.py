"""The loops that find the scale of cells, and undo it. Imports Numba, so import it only where it is used.

Each cell is looked at alone, so that it is read the same in any file and in any batch.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from scvec.core.jit import EXACT, FUSED, jit
from scvec.ingest.cells.kinds import (
    ANY,
    COUNTS,
    LARGE,
    LIKELY,
    LINEAR,
    LOG1P,
    LOG1P_TWICE,
    LOG2,
    LOG10,
    MULTIPLES,
    NONE,
    ROUND,
    SCALED_LOGARITHMS,
    SOME_WHOLE,
    SQRT,
    WHOLE,
)

LN2_HIGH, LN2_LOW, LOG2_E = 6.93147180369123816490e-01, 1.90821492927058770002e-10, 1.4426950408889634
LN2, LN10 = 0.6931471805599453, 2.302585092994046
EPSILON = 2.4e-7
"""Relative rounding error of a float32 and of its logarithm in float32."""

TESTED = 128
"""Values of a cell that are tested for being multiples of one count: enough, and the time does not grow with genes."""

DIVISORS = 3
"""The smallest value of a cell is taken for 1, 2 or 3 counts."""

USABLE = 0.1
"""Of one count: a value that is known less exactly says nothing about multiples."""

SURE = 12.0
"""Log odds against values being multiples by chance, with which they are believed."""

PREDICTED = 8
"""Logarithms that are looked for, from that of three counts on, given those of one and two."""

MISFITS = 0.02
"""Share of usable values that may not be multiples."""

ROUND_WITHIN = 2e-5
"""A total is round if it is this near, relatively, to 1, 2 or 5 times a power of ten."""

SOME = 0.25
"""Share of whole values from which numbers are counts with some fractions."""

WHOLE_WITHIN = 0.05
"""Values that are known less exactly say nothing about whole numbers."""

SURE_ROUNDED = 18.0
"""The same for rounded values, whose errors are less known."""

CLEAR = 6.0
"""Log odds by which one scale must be likelier than any other."""

MOSTLY = 0.5
"""Share of usable values that are multiples of the most frequent one, if that is one count."""

AROUND = 0.1
"""Relative distance within which values around a predicted one tell how many are there by chance."""

SORTED = 512
"""Values of a cell among which the most frequent one is looked for."""

FREQUENT = 5
"""Genes with the same value, from which that can be the value of one count."""


@jit(FUSED)
def expm1(x: Any) -> Any:
    """Return exp(x) - 1 for a float64 from 0 to 700, to a relative 1e-10: the series of exp at the nearest n log 2."""
    exponent = np.floor(x * LOG2_E + 0.5)
    r = (x - exponent * LN2_HIGH) - exponent * LN2_LOW
    tail = 1 / 120 + r * (1 / 720 + r * (1 / 5040 + r * (1 / 40320 + r * (1 / 362880))))
    series = r * (1.0 + r * (1 / 2 + r * (1 / 6 + r * (1 / 24 + r * tail))))
    power = np.int64((np.int64(exponent) + 1023) << 52).view(np.float64)
    return power * series + (power - 1.0)


@jit(EXACT)
def undone(kind: Any, x: Any) -> Any:
    """Return the linear value of x."""
    if kind == LOG1P:
        return expm1(x)
    if kind == LOG2:
        return expm1(x * LN2)
    if kind == LOG10:
        return expm1(x * LN10)
    if kind == LOG1P_TWICE:
        return expm1(expm1(x))
    return x * x if kind == SQRT else x


@jit(EXACT)
def _error(kind: Any, x: Any, u: Any, dx: Any) -> Any:
    """Return the error of the linear value u of an x that is known to dx."""
    slope = 1.0
    if kind == LOG1P:
        slope = 1.0 + u
    elif kind == LOG2:
        slope = (1.0 + u) * LN2
    elif kind == LOG10:
        slope = (1.0 + u) * LN10
    elif kind == LOG1P_TWICE:
        slope = (1.0 + u) * np.exp(x)
    elif kind == SQRT:
        slope = 2.0 * x
    return slope * dx + 2 * EPSILON * u


@jit(EXACT)
def precision(x: Any, floor: Any) -> Any:
    """Return (relative, absolute) rounding of a cell's values: float32, float16, or so many decimals."""
    half, bits = True, x.view(np.int32)
    for i in range(len(x)):
        half &= (bits[i] & 0x1FFF) == 0  # the digits of a float32 that a float16 lacks
    if half:
        return 6e-4, 0.0
    bound = x.min() * (1 + 1e-6)
    for decimals in range(1, 6):
        grid, fits, n_shown, n_above = 10.0**decimals, True, 0, 0
        for i in range(len(x)):
            scaled = x[i] * grid
            within = 1.2e-7 * scaled + floor
            n_above += x[i] > bound  # the least value, that of one count, may be most of all
            if within > USABLE:  # a float32 has no more digits
                continue
            n_shown += x[i] > bound
            fits = abs(scaled - np.floor(scaled + 0.5)) <= within
            if not fits:
                break
        if fits and 2 * n_shown > n_above:
            return EPSILON, 0.5 / grid
    return EPSILON, 0.0


@jit(EXACT)
def _is_square(x: Any) -> Any:
    root = np.floor(np.sqrt(x) + 0.5)
    return abs(root * root - x) < 1e-6


@jit(EXACT)
def _multiples(kind: Any, x: Any, step: Any, least: Any, known: Any, rounded: Any) -> Any:
    """Return (odds, unit): log odds for linear values that are multiples of one, and that one; 0 if they are not.

    Values are taken to be `known` to so much (relative, absolute) and are multiples of what they were `rounded` to.
    """
    relative, absolute = known
    u0 = undone(kind, least)
    d0 = _error(kind, least, u0, least * relative + absolute)
    if u0 <= 0:
        return 0.0, 0.0
    for divisor in range(1, DIVISORS + 1):
        unit = u0 / divisor
        odds, usable, misfits, seen = 0.0, 0, 0, np.uint64(0)
        for i in range(0, len(x), step):
            value = np.float64(x[i])
            if value <= least * (1 + 4 * relative) + 2 * absolute:
                continue
            u = undone(kind, value)
            ratio = u / unit
            within = _error(kind, value, u, value * relative + absolute) / unit + ratio * d0 / u0
            if within > USABLE:
                continue
            usable += 1
            near = np.floor(ratio + 0.5)
            if kind == SQRT and _is_square(near / divisor):
                continue  # squares of multiples are multiples, too
            if abs(ratio - near) > within:
                misfits += 1
                if misfits > 3 and misfits * step > MISFITS * len(x):
                    break
                continue
            bit = np.uint64(1) << np.uint64(min(near, 63.0))
            if not seen & bit:
                seen |= bit
                by_chance = _error(kind, value, u, value * rounded[0] + rounded[1]) / unit
                odds -= np.log(min(1.0, 2 * max(within, by_chance)))
        if misfits <= MISFITS * usable and odds >= SURE:
            return odds, unit
    return 0.0, 0.0


@jit(EXACT)
def _is_round(total: Any, within: Any) -> Any:
    """Whether a total is one that cells are scaled to: 1, or 1, 2 or 5 times a power of ten from 100 to 10 million."""
    if abs(total - 1.0) <= within:
        return True
    if total < 90 or total > 2e7:
        return False
    power = 10.0 ** np.floor(np.log10(total * 1.01))
    first = total / power
    first = 1.0 if first < 1.5 else 2.0 if first < 3.5 else 5.0 if first < 7.5 else 10.0
    return abs(total / (first * power) - 1.0) <= within


@jit(EXACT)
def _some_whole(x: Any, most: Any, relative: Any, absolute: Any) -> Any:
    """Return the scale under which most values are whole, if more than `SOME` are; else NONE."""
    n, shares, chance, more = len(x), np.zeros(SQRT + 1), np.zeros(SQRT + 1), np.zeros(SQRT + 1)
    for kind in (LINEAR, LOG1P, LOG2, LOG10, SQRT):
        if x.max() > most[kind]:
            continue
        for i in range(n):
            value = np.float64(x[i])
            u = undone(kind, value)
            within = _error(kind, value, u, value * relative + absolute)
            whole = within < WHOLE_WITHIN and abs(u - np.floor(u + 0.5)) <= within and u > 0.5
            shares[kind] += whole
            chance[kind] += min(1.0, 2 * within)
            more[kind] += whole and abs(value - np.floor(value + 0.5)) > value * relative + absolute
    # Whole values by chance: as many as are expected, and as vary around that.
    shares = (shares - chance - 3 * np.sqrt(chance)) / n
    # Logarithms of 1, 3 and 7 counts to base 2 are whole, as are these counts; those of 2, 4 and 5 counts are not. So
    # it is with square roots of 1, 4 and 9 counts.
    best = LOG2 if more[LOG2] >= more[SQRT] else SQRT
    best = best if more[best] >= 3 and more[best] >= 0.25 * n * (1 - shares[LINEAR]) else LINEAR
    for kind in (LOG1P, LOG10):
        best = kind if shares[kind] > shares[best] else best
    return best if shares[best] * n >= 5 and shares[best] >= SOME else NONE


@jit(EXACT)
def _frequent(x: Any) -> Any:
    """Return the value that a cell has most often, and how often, given its values in order."""
    best, most, start = x[0], 0, 0
    for i in range(1, len(x) + 1):
        if i == len(x) or x[i] != x[start]:
            if i - start > most:
                best, most = x[start], i - start
            start = i
    return best, most


@jit(EXACT)
def _often_multiples(kind: Any, x: Any, one: Any, relative: Any, absolute: Any) -> Any:
    """Return log odds for many linear values above `one` that are multiples of it, given a cell's values in order.

    Some may be none: reads that are shared among genes are counted in fractions.
    """
    unit = undone(kind, one)
    d0 = _error(kind, one, unit, one * relative + absolute)
    expected, hits, values, usable, seen = 0.0, 0, 0, 0, np.uint64(0)
    for i in range(len(x)):
        value = np.float64(x[i])
        if value <= one * (1 + 4 * relative) + 2 * absolute:
            continue
        u = undone(kind, value)
        ratio = u / unit
        within = _error(kind, value, u, value * relative + absolute) / unit + ratio * d0 / unit
        near = np.floor(ratio + 0.5)
        if within > USABLE or (kind == SQRT and _is_square(near)):
            continue
        usable += 1
        expected += 2 * within if x[i] != x[i - 1] else 0.0
        if abs(ratio - near) <= within:
            values += 1
            bit = np.uint64(1) << np.uint64(min(near, 63.0))
            hits += not seen & bit
            seen |= bit
    if hits <= expected or values < MOSTLY * usable:
        return 0.0
    return hits * np.log(hits / max(expected, 1e-9)) - hits + expected


@jit(EXACT)
def _of_the_frequent(x: Any, most: Any, relative: Any, absolute: Any) -> Any:
    """Return (kind, unit): the scale under which the most frequent value of a cell is one count; NONE if none is."""
    order = np.sort(x[:: max(1, len(x) // SORTED)])
    one, times = _frequent(order)
    rounded = relative > EPSILON or absolute > 0
    best, odds, second, unit = NONE, SURE_ROUNDED if rounded else SURE, 0.0, 0.0
    if times < FREQUENT:
        return best, unit
    for kind in range(LINEAR, SQRT + 1):
        if order[-1] > most[kind]:
            continue
        found = _often_multiples(kind, order, np.float64(one), relative, absolute)
        if found > odds:
            second = odds if best != NONE else second
            best, odds, unit = kind, found, undone(kind, np.float64(one))
        else:
            second = max(second, found)
    return (best, unit) if odds >= second + CLEAR else (NONE, 0.0)


@jit(EXACT)
def _one_of(ratio: Any) -> Any:
    """Return u with log(1 + 2 u) / log(1 + u) = `ratio`, which falls from 2 to 1 as u grows; by bisection."""
    low, high = np.log(1e-3), np.log(1e8)
    for _ in range(60):
        middle = (low + high) / 2
        u = np.exp(middle)
        if np.log1p(2 * u) / np.log1p(u) > ratio:
            low = middle
        else:
            high = middle
    return np.exp((low + high) / 2)


@jit(EXACT)
def _scaled_logarithms(x: Any, relative: Any, absolute: Any) -> Any:
    """Whether a cell's values are logarithms of 1 + multiples of one count, times any number, which they do not show.

    Those of one and two counts tell that count; those of three and more are then known.
    """
    first = np.float64(x.min())
    second, times, bound = np.inf, 0, first * (1 + 8 * EPSILON)
    for i in range(len(x)):
        times += x[i] <= bound
        second = np.float64(x[i]) if bound < x[i] < second else second
    if times < FREQUENT:
        return False  # most genes have one count
    ratio = second / first
    if relative > EPSILON or absolute > 0 or not 1.01 < ratio < 1.99:
        return False
    shift = 4 * EPSILON * ratio
    u, low, high = _one_of(ratio), _one_of(ratio + shift), _one_of(ratio - shift)
    odds = 0.0
    for n in range(3, 3 + PREDICTED):
        value = first * np.log1p(n * u) / np.log1p(u)
        within = 4 * EPSILON * value
        within += first * abs(np.log1p(n * high) / np.log1p(high) - np.log1p(n * low) / np.log1p(low))
        hits, near = 0, 0
        for i in range(len(x)):
            off = abs(x[i] - value)
            hits += off <= within
            near += off <= AROUND * value
        if hits:
            odds -= np.log(min(1.0, near * within / (AROUND * value)))
    return odds >= 2 * SURE


@jit(EXACT)
def _in_counts(x: Any, most: Any, relative: Any, absolute: Any) -> Any:
    """Return (kind, means, unit): the scale under which a cell's values are multiples of one; NONE if none is."""
    least, largest, step = np.float64(x.min()), np.float64(x.max()), max(1, len(x) // TESTED)
    rounded = relative > EPSILON or absolute > 0
    # Values that look rounded may be exact all the same: 2.5, 5 and 7.5, say.
    for attempt in range(1 + rounded):
        best, odds, second, one = NONE, 0.0, 0.0, 0.0
        known = (relative, absolute) if attempt else (EPSILON, 0.0)
        for kind in range(LINEAR, SQRT + 1):
            # Squares of multiples are multiples, too.
            if largest > most[kind] or (kind == SQRT and odds > 0):
                continue
            found, unit = _multiples(kind, x, step, least, known, (relative, absolute))
            if found > odds:
                best, odds, second, one = kind, found, odds, unit
            else:
                second = max(second, found)
        if odds >= max(SURE_ROUNDED if attempt else SURE, second + CLEAR):
            return best, LIKELY if attempt else MULTIPLES, one
        if odds > 0:
            return NONE, 0, 0.0
    best, one = _of_the_frequent(x, most, relative, absolute)
    return best, LIKELY if rounded else MULTIPLES, one


@jit(EXACT)
def _by_total(x: Any, most: Any, relative: Any, absolute: Any) -> Any:
    """Return the scale under which a cell has a round total; NONE if none has."""
    largest = x.max()
    for kind in range(LINEAR, SQRT + 1):
        if largest > most[kind]:
            continue
        total, square = 0.0, 0.0
        for j in range(len(x)):
            value = np.float64(x[j])
            u = undone(kind, value)
            total += u
            square += _error(kind, value, u, value * relative + absolute) ** 2
        if _is_round(total, min(0.01, max(ROUND_WITHIN, 3 * np.sqrt(square) / total))):
            return kind
    return NONE


@jit(EXACT)
def find(data: Any, indptr: Any, most: Any, kinds: Any, means: Any, units: Any, lo: Any, hi: Any) -> None:
    """Write what rows [lo, hi) hold to `kinds`, by what it was found to `means`, and the value of one count to `units`.

    `most` has the largest value of each kind.
    """
    for i in range(lo, hi):
        row = data[indptr[i] : indptr[i + 1]]
        x = row[row != 0] if (row == 0).any() else row
        kinds[i], means[i], units[i] = ANY, 0, 0.0
        if len(x) == 0:
            continue
        if (x == np.floor(x)).all():
            kinds[i], means[i], units[i] = COUNTS, WHOLE, 1.0
            continue
        if x.max() <= np.float64(x.min()) * (1 + 1e-6):
            continue
        relative, absolute = precision(x, 1e-6)
        kinds[i], means[i], units[i] = _in_counts(x, most, relative, absolute)
        if kinds[i] != NONE:
            continue
        if _scaled_logarithms(x, relative, absolute):
            means[i] = SCALED_LOGARITHMS
            continue
        kinds[i], means[i] = _by_total(x, most, relative, absolute), ROUND
        if kinds[i] == NONE:
            kinds[i], means[i] = _some_whole(x, most, relative, absolute), SOME_WHOLE
        if kinds[i] == NONE and x.max() > most[LOG2]:
            kinds[i], means[i] = LINEAR, LARGE


@jit(EXACT)
def undone_to(kind: Any, x: Any, u: Any, errors: Any) -> None:
    """Write the linear values of x to `u`, and to how much they are known, relatively, to `errors`."""
    relative, absolute = precision(x, 1e-6)
    for i in range(len(x)):
        value = np.float64(x[i])
        u[i] = undone(kind, value)
        errors[i] = _error(kind, value, u[i], value * relative + absolute) / max(u[i], 1e-300)


@jit(FUSED)
def undo(data: Any, indptr: Any, kinds: Any, out: Any, lo: Any, hi: Any) -> None:
    """Write the linear values of rows [lo, hi) to `out`, each row by its kind; a loop a kind, without branches."""
    for i in range(lo, hi):
        kind, x, made = kinds[i], data[indptr[i] : indptr[i + 1]], out[indptr[i] : indptr[i + 1]]
        if kind in (LOG1P, LOG2, LOG10):
            factor = LN2 if kind == LOG2 else LN10 if kind == LOG10 else 1.0
            for j in range(len(x)):
                made[j] = expm1(np.float64(x[j]) * factor)
        elif kind == LOG1P_TWICE:
            for j in range(len(x)):
                made[j] = expm1(expm1(np.float64(x[j])))
        elif kind == SQRT:
            for j in range(len(x)):
                made[j] = x[j] * x[j]
        else:
            made[:] = x
