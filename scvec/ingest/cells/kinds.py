"""What a cell can hold, and by what it was found, as numbers for compiled loops."""

ANY, NONE, COUNTS, LINEAR, LOG1P, LOG2, LOG10, LOG1P_TWICE, SQRT = range(9)
"""What a cell holds. `ANY`: no values, or one value many times, which any scale reads the same. `NONE`: not found."""

WHOLE, MULTIPLES, ROUND, SOME_WHOLE, LARGE, LIKELY, SCALED_LOGARITHMS = range(1, 8)
"""By what it was found: whole values; multiples of one count; a round total; some whole values; too large for a log;
multiples of one count as far as rounded values tell; logarithms times a number, which are of no scale that is known."""
