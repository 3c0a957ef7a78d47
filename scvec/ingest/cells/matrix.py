"""The cells of a matrix, read by range; the whole matrix is never in memory."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol

import numpy as np
import scipy.sparse as sp

from scvec.core.types import Ints
from scvec.errors import FileError, MatrixError
from scvec.ingest.cells.tree import refuse_bloated

BATCH_BYTES = 64 * 2**20
MAX_BATCH_CELLS = 4096

NEAR_VALUES = 2**14
"""In a matrix without chunks, a gap of up to this many values is cheaper to read than to skip."""


class Rows(Protocol):
    """Cells that can be read by range."""

    shape: tuple[int, int]

    def read(self, start: int, stop: int) -> sp.csr_matrix[np.float32]:
        """Return cells `start` to `stop` as (stop - start, n_vars) float32."""
        ...

    def batch_cells(self) -> int:
        """Return the number of cells in a batch of about `BATCH_BYTES` at most."""
        ...

    def together(self, cells: Ints) -> Iterator[tuple[int, int]]:
        """Yield ranges of `cells`, (m,) ascending positions, that are best read together."""
        ...


class CsrRows:
    """Rows of a CSR matrix given by its three arrays, whose slices are copies.

    Parameters
    ----------
    data, indices
        (n_values,) values and their columns.
    indptr
        (n_cells + 1,) start of each row.
    shape
        Numbers of cells and columns.

    Raises
    ------
    ValueError
        If the arrays and the shape do not fit.
    """

    def __init__(self, data: Any, indices: Any, indptr: np.ndarray[Any, Any], shape: tuple[int, int]) -> None:
        self.shape, self._data, self._indices = shape, data, indices
        self._indptr = indptr.astype(np.int64)
        whole = len(indptr) == shape[0] + 1 and data.shape == indices.shape == (int(self._indptr[-1]),)
        if not whole or self._indptr[0] != 0 or (np.diff(self._indptr) < 0).any():
            raise ValueError("its index does not fit its shape")

    def read(self, start: int, stop: int) -> sp.csr_matrix[np.float32]:
        """Return cells `start` to `stop`; raise `ValueError` if a value is outside the columns."""
        first, last = int(self._indptr[start]), int(self._indptr[stop])
        data, indices = values_of(self._data[first:last]), positions(self._indices[first:last])
        if len(indices) and not 0 <= int(indices.min()) <= int(indices.max()) < self.shape[1]:
            raise ValueError(f"it has values outside its {self.shape[1]:,} genes")
        indptr = self._indptr[start : stop + 1] - first
        rows = sp.csr_matrix((data, indices, indptr), shape=(stop - start, self.shape[1]))
        rows.sum_duplicates()  # sorts too
        return rows

    def batch_cells(self) -> int:
        """Return the number of cells in a batch."""
        bytes_per_cell = 8 * max(1, int(self._indptr[-1])) / max(1, self.shape[0])
        return int(min(MAX_BATCH_CELLS, max(1, BATCH_BYTES // bytes_per_cell)))

    def together(self, cells: Ints) -> Iterator[tuple[int, int]]:
        """Yield ranges of `cells` whose values share a chunk or follow each other."""
        page = (getattr(self._data, "chunks", None) or (NEAR_VALUES,))[0]
        return spans(self._indptr[cells], self._indptr[cells + 1], page, BATCH_BYTES // 8)


class DenseRows:
    """Rows of a dense array on disk."""

    def __init__(self, array: Any) -> None:
        self.shape, self._array = (int(array.shape[0]), int(array.shape[1])), array

    def read(self, start: int, stop: int) -> sp.csr_matrix[np.float32]:
        """Return cells `start` to `stop`."""
        return sp.csr_matrix(values_of(self._array[start:stop]))

    def batch_cells(self) -> int:
        """Return the number of cells in a batch."""
        return int(min(MAX_BATCH_CELLS, max(1, BATCH_BYTES // (4 * max(1, self.shape[1])))))

    def together(self, cells: Ints) -> Iterator[tuple[int, int]]:
        """Yield ranges of `cells` that share a chunk or follow each other."""
        page = (getattr(self._array, "chunks", None) or (max(1, NEAR_VALUES // max(1, self.shape[1])),))[0]
        return spans(cells, cells + 1, page, max(page, self.batch_cells()))


def require_numbers(array: Any, where: str) -> None:
    """Raise `MatrixError` if an array holds something else than real numbers: text, complex or structured values."""
    if array.dtype.kind not in "biuf":
        kind = "text" if array.dtype.kind in "OSUT" else f"values of the type {array.dtype}"
        raise MatrixError(f"{where} holds {kind}", "real numbers", "write the matrix as numbers")


def values_of(values: Any) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Return values as float32; those that are too large for it become infinite, which is refused later."""
    with np.errstate(over="ignore"):
        return np.asarray(values, np.float32)


def positions(values: Any) -> np.ndarray[Any, Any]:
    """Return indices as signed integers; raise `ValueError` if they are not whole numbers."""
    array = np.asarray(values)
    if array.dtype.kind == "i":
        return array
    if array.dtype.kind not in "uf" or (array.dtype.kind == "f" and not (array == np.rint(array)).all()):
        raise ValueError(f"its indices are not whole numbers ({array.dtype})")
    if array.size and float(array.max()) >= 2**63:
        raise ValueError("its indices are out of range")
    return array.astype(np.int64)


def pointers(array: Any, n: int) -> np.ndarray[Any, Any]:
    """Return (n + 1,) the starts of the rows of a sparse matrix.

    Raises
    ------
    ValueError
        If they are not so many, or not whole numbers.
    """
    if array.shape != (n + 1,):
        raise ValueError(f"its index of shape {array.shape} does not fit its shape")
    refuse_bloated(array)
    return positions(array[:]).astype(np.int64)


def unfit(where: str, shape: tuple[int, int], names: tuple[int, int]) -> FileError:
    """Return the error for a matrix that has not one row for each cell and one column for each gene."""
    seen = f"{where} has the shape {shape} for {names[0]} cells and {names[1]} genes"
    return FileError(seen, "a matrix that fits its names", "write the file again")


class ColumnsOf:
    """Some columns of other rows."""

    def __init__(self, rows: Rows, columns: Ints) -> None:
        self.shape = (rows.shape[0], len(columns))
        self._rows, self._columns = rows, columns
        self.batch_cells, self.together = rows.batch_cells, rows.together

    def read(self, start: int, stop: int) -> sp.csr_matrix[np.float32]:
        """Return cells `start` to `stop`."""
        return sp.csr_matrix(self._rows.read(start, stop)[:, self._columns])


def spans(first: Ints, last: Ints, page: int, most: int) -> Iterator[tuple[int, int]]:
    """Yield ranges of m pieces of a long array to read together.

    Two pieces are read together if the second begins in the page where the first ends, which is read anyway.

    Parameters
    ----------
    first, last
        (m,) start and end of each piece, ascending.
    page
        The unit of reading.
    most
        The longest range of more than one piece.
    """
    begins, ends, start = first.tolist(), last.tolist(), 0
    for i in range(1, len(begins)):
        apart = begins[i] // page > max(ends[i - 1] - 1, 0) // page
        if apart or ends[i] - begins[start] > most:
            yield start, i
            start = i
    if begins:
        yield start, len(begins)
