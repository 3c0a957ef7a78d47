"""Float32 numbers as two float16 halves: a matrix unit multiplies these exactly and adds in float32.

A stored float16 vector is one half and loses nothing. A query is float32; rounded to float16 it would shift a cosine by
up to 2^-11, so that thousands of cells of a dense atlas could not be told from the k-th nearest. In two halves it keeps
22 bits, for twice the multiplications, of which a matrix unit has plenty: the comparisons of the products take longer.
TF32 has as many bits as one half, at half the rate and twice the memory.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch

SCALE = 2.0**12
"""Numbers are multiplied by this before they are split, so that no half that counts is below float16's normal range."""

UNIT = SCALE**2
"""The product, in halves, of numbers whose product is 1."""

WIDE = 64
"""Dimensions are padded with zeros to a multiple of this, if there are more than half as many."""

ULP = 2.0**-23
"""The greatest error of one addition in float32, of sums below 2, rounded or cut off."""


def padded(dimension: int) -> int:
    """Return the dimensions of a half: at least `dimension`, a power of 2 of at least 16 or a multiple of `WIDE`."""
    return next((one for one in (16, 32) if dimension <= one), -(-dimension // WIDE) * WIDE)


def halves(numbers: torch.Tensor, n_halves: int, rows: int) -> torch.Tensor:
    """Return numbers in halves.

    Parameters
    ----------
    numbers
        (n, d) float32 or float16, at most 15 in size.
    n_halves
        1 for float16 numbers, 2 for float32.
    rows
        At least n; further ones are zero.

    Returns
    -------
    halves
        (rows, n_halves, `padded(d)`) float16, times `SCALE`.
    """
    import torch

    n, d = numbers.shape
    found = torch.zeros((rows, n_halves, padded(d)), dtype=torch.float16, device=numbers.device)
    scaled = numbers * SCALE
    found[:n, 0, :d] = scaled
    if n_halves == 2:
        found[:n, 1, :d] = scaled - found[:n, 0, :d].float()
    return found


def whole(parts: torch.Tensor) -> torch.Tensor:
    """Return (..., d) float32 numbers, exact, of (..., h, d) halves; times `SCALE`, as these are."""
    return parts[..., 0, :].float() if parts.shape[-2] == 1 else parts.float().sum(-2)


def margin(dimension: int, n_halves: int) -> float:
    """Return a bound on the error of a product of unit vectors that was computed in halves.

    Halves multiply without error. A matrix unit adds 8 or more of these products to a sum at a time, and may cut off
    each of them, and the sum, below the sum's last place; the sum is less than 2. An ordinary sum rounds once for each
    product. What the halves leave out is below 2^-22 for the query, and for float32 vectors 2^-22 twice more. The rest
    of the 16 units is for lengths that are not quite 1, and for distances, which are compared in float32.

    Parameters
    ----------
    dimension
        Of the vectors.
    n_halves
        Of a stored vector; a query has two.
    """
    added = dimension * len(pairs(n_halves))
    return (added + added // 8 + 16) * ULP


def pairs(n_halves: int) -> list[tuple[int, int]]:
    """Return which half of a query meets which half of a vector; what two second ones give is too small to count."""
    return [(0, 0), (1, 0), (0, 1)][: 1 + n_halves]


def n_halves(itemsize: int) -> int:
    """Return the halves of a stored number of 2 or 4 bytes."""
    return itemsize // np.dtype(np.float16).itemsize
