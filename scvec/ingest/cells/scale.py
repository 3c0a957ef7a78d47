"""The scale of a matrix, as it was found or named; every value that is read becomes linear by it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from scvec.core.jit import over_rows
from scvec.core.text import counted
from scvec.core.types import Bools, freeze
from scvec.errors import MatrixError
from scvec.ingest.cells.kinds import ANY, COUNTS, MULTIPLES, NONE, WHOLE

Scale: TypeAlias = Literal["counts", "linear", "log1p", "log2", "log10", "log1p_twice", "sqrt"]
Totals: TypeAlias = NDArray[np.float64]
Kinds: TypeAlias = NDArray[np.int8]

SCALES: tuple[Scale, ...] = ("counts", "linear", "log1p", "log2", "log10", "log1p_twice", "sqrt")
"""In the order of `scvec.ingest.cells.kinds`, from `COUNTS` on."""

MOST: Mapping[Scale, float] = {"log1p": 14.0, "log2": 20.2, "log10": 6.1, "log1p_twice": 2.75, "sqrt": 1e4}
"""The largest value of each scale: the logarithm of a million, which is no more than all of a cell."""

NAMES: Mapping[Scale, str] = {
    "counts": "counts",
    "linear": "values without a logarithm",
    "log1p": "log1p values",
    "log2": "log2(x + 1) values",
    "log10": "log10(x + 1) values",
    "log1p_twice": "values with log1p taken twice",
    "sqrt": "square roots",
}

GREATEST = 1e15
"""Sums of larger values are not exact, and their squares leave float32."""

PIECE = 2**15
"""Values checked together: 128 kB."""

ROWS = 256
"""Cells that a thread looks at together."""


@dataclass(frozen=True, slots=True)
class Seen:
    """Some of the cells that were looked at: their scale, the total of each (None if totals differ), their number."""

    scale: Scale
    total: float | None
    n_cells: int

    def __str__(self) -> str:
        name = NAMES[self.scale]
        if self.scale == "counts":
            return name
        if self.total is None:
            return f"{name} with unequal totals"
        return (
            f"{name} scaled to {self.total:,.0f} per cell"
            if self.total > 10
            else f"{name} that sum to {self.total:.3g}"
        )


@dataclass(frozen=True, slots=True)
class Values:
    """The scale of a matrix.

    Attributes
    ----------
    scale
        ``"counts"``; ``"linear"``, any values without a logarithm, as counts with fractions, TPM and CPM; ``"log1p"``,
        natural logarithms; ``"log2"`` and ``"log10"``, of x + 1; ``"log1p_twice"``; ``"sqrt"``.
    total
        What the cells were scaled to before the logarithm, if all have the same total. Otherwise None.
    seen
        What the cells that were looked at hold, if it is more than one thing; each cell is then read by its own scale,
        and by `scale` if it does not show it.
    named
        Whether `scale` was named and not found: it is then the scale of all cells.
    uncut
        What the cells were scaled to, if genes were removed after that, so that totals differ. Otherwise None.
    doubt
        Why calls from these values get no confidence; "" if they do.
    """

    scale: Scale
    total: float | None = None
    seen: tuple[Seen, ...] = ()
    named: bool = False
    uncut: float | None = None
    doubt: str = ""

    def __str__(self) -> str:
        if self.doubt and not self.seen:
            return f"{NAMES[self.scale]}, but {self.doubt}"
        if not self.seen:
            return str(Seen(self.scale, self.total, 0))
        n = sum(one.n_cells for one in self.seen)
        said = " and ".join(f"{one} ({one.n_cells / n:.0%} of the cells)" for one in self.seen)
        return f"{said}, but {self.doubt}" if self.doubt else said

    def to_dict(self) -> dict[str, Any]:
        """Return what a manifest keeps, as JSON types."""
        seen = [{"scale": one.scale, "total": one.total, "n_cells": one.n_cells} for one in self.seen]
        return {"scale": self.scale, "total": self.total, "seen": seen, "doubt": self.doubt}

    @property
    def is_counts(self) -> bool:
        """Whether all cells hold counts."""
        return self.scale == "counts" and not self.seen


def number_of(scale: Scale) -> int:
    """Return the number, in `scvec.ingest.cells.kinds`, of this scale."""
    return SCALES.index(scale) + 2


def scale_of(kind: int) -> Scale:
    """Return the scale of such a kind."""
    return SCALES[kind - 2]


def limits() -> NDArray[np.float64]:
    """(9,) the largest value of each kind."""
    return np.array([np.inf, np.inf, *(MOST.get(scale, np.inf) for scale in SCALES)])


@dataclass(frozen=True, slots=True)
class Evidence:
    """What n cells show of their scale: (n,) kinds, by what each was found, and the value of one count."""

    kinds: Kinds
    means: Kinds
    units: Totals


def look(batch: sp.csr_matrix[np.float32]) -> Evidence:
    """Look at each cell alone."""
    from scvec.ingest.cells import compiled

    n = batch.shape[0]
    found = Evidence(np.zeros(n, np.int8), np.zeros(n, np.int8), np.zeros(n))
    data, indptr, most = freeze(batch.data), freeze(batch.indptr.astype(np.int64)), freeze(limits())

    def part(lo: int, hi: int) -> None:
        compiled.find(data, indptr, most, found.kinds, found.means, found.units, lo, hi)

    over_rows(part, n, ROWS)
    return found


def undone(batch: sp.csr_matrix[np.float32], kinds: Kinds) -> sp.csr_matrix[np.float32]:
    """Return the linear values of cells, given what each of them holds."""
    from scvec.ingest.cells import compiled

    data, indptr, out = freeze(batch.data), freeze(batch.indptr.astype(np.int64)), np.empty_like(batch.data)
    own = freeze(kinds)

    def part(lo: int, hi: int) -> None:
        compiled.undo(data, indptr, own, out, lo, hi)

    over_rows(part, batch.shape[0], ROWS)
    return sp.csr_matrix((out, batch.indices, batch.indptr), shape=batch.shape)


def to_linear(batch: sp.csr_matrix[np.float32], values: Values, where: str) -> sp.csr_matrix[np.float32]:
    """Return the linear values of a batch; counts are returned as they are.

    A cell that shows its scale is read by that; another by the scale of the matrix.

    Raises
    ------
    MatrixError
        If a value does not fit the scale of its cell.
    """
    check_finite(batch, where)
    if values.named:
        kinds = np.full(batch.shape[0], number_of(values.scale), np.int8)
        check_range(batch, kinds, where)
        return batch if values.scale in ("counts", "linear") else undone(batch, kinds)
    if all_whole(batch) and values.is_counts:
        return batch
    kinds = _kinds(batch, look(batch), values, where)
    check_range(batch, kinds, where)
    return undone(batch, kinds)


def expression(batch: sp.csr_matrix[np.float32]) -> Totals:
    """Return (n_vars,) totals of linear values, of which coverage is a share."""
    return np.asarray(batch.sum(axis=0, dtype=np.float64)).ravel()


def _kinds(batch: sp.csr_matrix[np.float32], seen: Evidence, values: Values, where: str) -> Kinds:
    """Return what each cell is read as."""
    order = [number_of(values.scale), *(number_of(one.scale) for one in values.seen)]
    known = set(order)
    # Multiples of one count cannot be by chance; a total can be round by chance, among many.
    sure = np.isin(seen.means, (WHOLE, MULTIPLES))
    kinds = np.where(sure | np.isin(seen.kinds, list(known)), seen.kinds, NONE).astype(np.int8)
    kinds[seen.kinds == ANY] = NONE
    if known == {COUNTS}:
        strange = seen.kinds != COUNTS
        strange &= np.diff(batch.indptr) > 0
        if strange.any():
            raise MatrixError(
                f"{where} holds counts and numbers with fractions ({counted(int(strange.sum()), 'cell')} of "
                f"{len(strange):,})",
                "counts only",
                "choose another matrix with `layer`; if they are counts with fractions, set `scale` to counts",
            )
    return fallback(batch, kinds, order)


def fallback(batch: sp.csr_matrix[np.float32], kinds: Kinds, order: Sequence[int]) -> Kinds:
    """Return the kinds, with the first of `order` that fits a cell's values where it is not known; else its first."""
    left = np.flatnonzero(kinds == NONE)
    if not len(left):
        return kinds
    part, found = sp.csr_matrix(batch[left]), np.full(len(left), order[0], np.int8)
    filled = np.flatnonzero(np.diff(part.indptr) > 0)
    largest = np.maximum.reduceat(part.data, part.indptr[filled]) if len(filled) else part.data
    for kind in reversed(order):
        found[filled[largest <= limits()[kind]]] = kind
    all_of = kinds.copy()
    all_of[left] = found
    return all_of


def check_range(batch: sp.csr_matrix[np.float32], kinds: Kinds, where: str) -> None:
    """Raise `MatrixError` if a value is too large for what its cell holds."""
    if not len(batch.data):
        return
    bounds = limits()[kinds]
    if batch.data.max() <= bounds.min():
        return
    filled = np.flatnonzero(np.diff(batch.indptr) > 0)
    largest = np.maximum.reduceat(batch.data, batch.indptr[filled])
    beyond = largest > bounds[filled]
    if beyond.any():
        kind = int(kinds[filled][beyond][0])
        name = NAMES[scale_of(kind)]
        raise MatrixError(
            f"{where} holds values up to {largest[beyond].max():,.6g}: neither counts nor {name}",
            f"counts, or {name} of at most {limits()[kind]:.4g}",
            "choose a matrix of counts with `layer`, or name the scale of this one with `scale`",
        )


def mostly(batch: sp.csr_matrix[np.float32], columns: Bools) -> Bools:
    """Return (n,) whether more than half of a cell's linear values are on some columns; `columns` is (n_vars,)."""
    return np.asarray(2 * (batch @ columns.astype(np.float64)) > np.asarray(batch.sum(axis=1)).ravel())


def check_finite(batch: sp.csr_matrix[np.float32], where: str) -> None:
    """Raise `MatrixError` if a value is negative, infinite or NaN."""
    if not len(batch.data):
        return
    # NaN and infinity show in the extremes, so that no temporary arrays are needed.
    least, most = batch.data.min(), batch.data.max()
    if not (np.isfinite(least) and np.isfinite(most)):
        raise MatrixError(
            f"{where} holds NaN or infinite values",
            "finite values",
            "find their cause, and remove them",
        )
    if most > GREATEST:
        raise MatrixError(
            f"{where} holds values up to {most:.3g}, which no count reaches",
            f"values of at most {GREATEST:.0e}",
            "find their cause, and remove them",
        )
    if least < 0:
        raise MatrixError(
            f"{where} holds negative values (down to {least:.4g}): it looks scaled",
            "counts or log1p values",
            "choose a matrix of counts or log1p values with `layer`",
        )


def all_whole(batch: sp.csr_matrix[np.float32]) -> bool:
    """Whether all values are whole, checked in pieces that fit the processor's cache."""
    whole = np.empty(min(PIECE, len(batch.data)), batch.data.dtype)
    for start in range(0, len(batch.data), PIECE):
        piece = batch.data[start : start + PIECE]
        if not np.array_equal(np.floor(piece, out=whole[: len(piece)]), piece):
            return False
    return True
