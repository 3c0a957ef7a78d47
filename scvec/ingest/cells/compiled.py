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
    LINEAR,
    LOG1P,
    LOG1P_TWICE,
    LOG2,
    LOG10,
    MULTIPLES,
    NONE,
    ROUND,
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

MISFITS = 0.02
"""Share of usable values that may not be multiples."""

ROUND_WITHIN = 2e-5
"""A total is round if it is this near, relatively, to 1, 2 or 5 times a power of ten."""

SOME = 0.25
"""Share of whole values from which numbers are counts with some fractions."""


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
def _precision(x: Any, floor: Any) -> Any:
    """Return (relative, absolute) rounding of a cell's values: float32, float16, or so many decimals."""
    half, bits = True, x.view(np.int32)
    for i in range(len(x)):
        half &= (bits[i] & 0x1FFF) == 0  # the digits of a float32 that a float16 lacks
    if half:
        return 6e-4, 0.0
    for decimals in range(1, 6):
        grid, fits = 10.0**decimals, True
        for i in range(len(x)):
            scaled = x[i] * grid
            fits &= abs(scaled - np.floor(scaled + 0.5)) <= 1.2e-7 * scaled + floor
            if not fits:
                break
        if fits:
            return EPSILON, 0.5 / grid
    return EPSILON, 0.0


@jit(EXACT)
def _multiples(kind: Any, x: Any, step: Any, least: Any, relative: Any, absolute: Any) -> Any:
    """Return (odds, unit): log odds for linear values that are multiples of one, and that one; 0 if they are not."""
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
            if abs(ratio - near) > within:
                misfits += 1
                if misfits > 3 and misfits * step > MISFITS * len(x):
                    break
                continue
            bit = np.uint64(1) << np.uint64(min(near, 63.0))
            if not seen & bit:
                seen |= bit
                odds -= np.log(2 * within)
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
def _some_whole(x: Any, most: Any) -> Any:
    """Return the scale under which most values are whole, if more than `SOME` are; else NONE."""
    n, shares = len(x), np.zeros(SQRT + 1)
    for kind in (LINEAR, LOG1P, LOG2, LOG10):
        if x.max() > most[kind]:
            continue
        for i in range(n):
            u = undone(kind, np.float64(x[i]))
            within = _error(kind, np.float64(x[i]), u, x[i] * EPSILON)
            shares[kind] += within < 1e-3 and abs(u - np.floor(u + 0.5)) <= within and u > 0.5
    shares /= n
    # Whole logarithms to base 2 are those of whole numbers, too.
    best = LINEAR if shares[LINEAR] >= 0.9 * shares[LOG2] else LOG2
    for kind in (LOG1P, LOG10):
        best = kind if shares[kind] > shares[best] else best
    return best if shares[best] * n >= 5 and shares[best] >= SOME else NONE


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
        least, largest = np.float64(x.min()), np.float64(x.max())
        if largest <= least * (1 + 1e-6):
            continue
        kinds[i] = NONE
        relative, absolute = _precision(x, 1e-6)
        step, odds = max(1, len(x) // TESTED), 0.0
        rounded = relative > EPSILON or absolute > 0
        # Values that look rounded may be exact all the same: 2.5, 5 and 7.5, say.
        for attempt in range(1 + rounded):
            if odds > 0:
                break
            near, within = (relative, absolute) if attempt else (EPSILON, 0.0)
            for kind in range(LINEAR, SQRT + 1):
                # Squares of multiples are multiples, too.
                if largest > most[kind] or (kind == SQRT and odds > 0):
                    continue
                found, unit = _multiples(kind, x, step, least, near, within)
                if found > odds:
                    odds, kinds[i], means[i], units[i] = found, kind, MULTIPLES, unit
        if odds > 0:
            continue
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
                kinds[i], means[i] = kind, ROUND
                break
        if kinds[i] != NONE:
            continue
        kind = _some_whole(x, most)
        if kind != NONE:
            kinds[i], means[i] = kind, SOME_WHOLE
        elif largest > most[LOG2]:
            kinds[i], means[i] = LINEAR, LARGE


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
