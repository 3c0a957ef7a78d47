"""The scale of a matrix, counts or log1p, and the check of every value."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
import scipy.sparse as sp

from scvec.core.types import Bools
from scvec.errors import MatrixError

Scale: TypeAlias = Literal["counts", "log1p"]
Totals: TypeAlias = np.ndarray[tuple[int], np.dtype[np.float64]]

MAX_LOG1P = 14.0
"""log1p of a million is 13.8: a larger value is not the logarithm of a normalised count."""

SAME_TOTAL = 0.01
"""Cells whose expm1 totals differ by less than this (standard deviation / mean) were scaled to one total."""


PIECE = 2**15
"""Values checked together: 128 kB."""


@dataclass(frozen=True, slots=True)
class Values:
    """The scale of a matrix.

    Attributes
    ----------
    scale
        ``"counts"`` or ``"log1p"``.
    log1p_total
        The sum of each cell's expm1 values, if the values are log1p and all cells have the same sum. Otherwise None, as
        when genes were removed after scaling; the values are then used as they are.
    """

    scale: Scale
    log1p_total: float | None = None

    def __str__(self) -> str:
        if self.scale == "counts":
            return "counts"
        if self.log1p_total is None:
            return "log1p values with unequal totals, used as they are"
        return f"log1p values scaled to {self.log1p_total:,.0f} per cell"


def decide(sample: sp.csr_matrix[np.float32], asked: Scale | Literal["auto"], where: str) -> Values:
    """Decide the scale of a matrix from a sample of cells.

    Whole numbers are counts; numbers from zero to `MAX_LOG1P` that are not all whole are log1p values.

    Raises
    ------
    MatrixError
        If the sample is neither, or not of the scale asked for.
    """
    _check_finite(sample, where)
    found: Scale = "counts" if _all_whole(sample) else "log1p"
    if not len(sample.data):
        return Values("counts" if asked == "auto" else asked)
    if asked not in ("auto", found):
        seen = "whole numbers only" if found == "counts" else "numbers with fractions"
        raise MatrixError(
            f"{where} was declared {asked} and holds {seen}",
            asked,
            "set `scale` to auto, or choose another `layer`",
        )
    values = Values(found)
    check(sample, values, where)
    if values.scale == "counts":
        return values
    totals = np.asarray(sample.expm1().sum(axis=1), np.float64).ravel()
    totals = totals[totals > 0]
    same = len(totals) > 1 and float(totals.std()) < SAME_TOTAL * float(totals.mean())
    return Values("log1p", float(np.median(totals)) if same else None)


def check(batch: sp.csr_matrix[np.float32], values: Values, where: str) -> None:
    """Raise `MatrixError` if a value of a batch does not fit the matrix's scale."""
    _check_finite(batch, where)
    if values.scale == "counts" and not _all_whole(batch):
        raise MatrixError(
            f"{where} holds counts and numbers with fractions",
            "counts only",
            "choose another matrix with `layer`",
        )
    if values.scale == "log1p" and len(batch.data) and batch.data.max() > MAX_LOG1P:
        raise MatrixError(
            f"{where} holds fractions up to {batch.data.max():,.6g}: neither counts nor log1p values",
            f"counts, or log1p values of at most {MAX_LOG1P:g}",
            "choose a matrix of counts with `layer`, or take np.log1p of normalised values",
        )


def expression(batch: sp.csr_matrix[np.float32], values: Values) -> Totals:
    """Return (n_vars,) totals of counts, or of expm1 of log1p values, of which coverage is a share."""
    linear = batch if values.scale == "counts" else batch.expm1()
    return np.asarray(linear.sum(axis=0, dtype=np.float64)).ravel()


def mostly(batch: sp.csr_matrix[np.float32], values: Values, columns: Bools) -> Bools:
    """Return (n,) whether more than half of a cell's expression is on some columns; `columns` is (n_vars,)."""
    linear = batch if values.scale == "counts" else batch.expm1()
    return np.asarray(2 * (linear @ columns.astype(np.float64)) > np.asarray(linear.sum(axis=1)).ravel())


def _check_finite(batch: sp.csr_matrix[np.float32], where: str) -> None:
    if not len(batch.data):
        return
    # NaN and infinity show in the extremes, so that no temporary arrays are needed.
    least = batch.data.min()
    if not (np.isfinite(least) and np.isfinite(batch.data.max())):
        raise MatrixError(
            f"{where} holds NaN or infinite values",
            "finite values",
            "find their cause, and remove them",
        )
    if least < 0:
        raise MatrixError(
            f"{where} holds negative values (down to {least:.4g}): it looks scaled",
            "counts or log1p values",
            "choose a matrix of counts or log1p values with `layer`",
        )


def _all_whole(batch: sp.csr_matrix[np.float32]) -> bool:
    """Whether all values are whole, checked in pieces that fit the processor's cache."""
    whole = np.empty(min(PIECE, len(batch.data)), batch.data.dtype)
    for start in range(0, len(batch.data), PIECE):
        piece = batch.data[start : start + PIECE]
        if not np.array_equal(np.floor(piece, out=whole[: len(piece)]), piece):
            return False
    return True
