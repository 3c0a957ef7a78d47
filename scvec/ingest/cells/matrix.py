"""One matrix of an h5ad file, read in batches of cells: CSR, CSC or dense, never whole in memory."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, Protocol, cast

import h5py
import numpy as np
import scipy.sparse as sp

from scvec.errors import FileError

BATCH_BYTES = 64 * 2**20
MAX_BATCH_CELLS = 4096


class Rows(Protocol):
    """Something whose cells can be read by range."""

    shape: tuple[int, int]

    def read(self, start: int, stop: int) -> sp.csr_matrix[np.float32]:
        """Return cells `start` to `stop` as (stop - start, n_vars) float32."""
        ...

    def batch_cells(self) -> int:
        """Return how many cells make a batch of at most `BATCH_BYTES`, about."""
        ...


class CsrRows:
    """Rows of a CSR matrix given by its three arrays, on disk or in a memory map."""

    def __init__(self, data: Any, indices: Any, indptr: np.ndarray[Any, Any], shape: tuple[int, int]) -> None:
        self.shape, self._data, self._indices, self._indptr = shape, data, indices, indptr

    def read(self, start: int, stop: int) -> sp.csr_matrix[np.float32]:
        """Return cells `start` to `stop`."""
        first, last = int(self._indptr[start]), int(self._indptr[stop])
        data = np.asarray(self._data[first:last], np.float32)
        indices = np.asarray(self._indices[first:last])
        rows = sp.csr_matrix(
            (data, indices, self._indptr[start : stop + 1] - first), shape=(stop - start, self.shape[1])
        )
        rows.sum_duplicates()  # sorts too
        return rows

    def batch_cells(self) -> int:
        """Return how many cells make a batch."""
        bytes_per_cell = 8 * max(1, int(self._indptr[-1])) / max(1, self.shape[0])
        return int(min(MAX_BATCH_CELLS, max(1, BATCH_BYTES // bytes_per_cell)))


class DenseRows:
    """Rows of a dense dataset."""

    def __init__(self, dataset: h5py.Dataset) -> None:
        self.shape, self._dataset = cast(tuple[int, int], dataset.shape), dataset

    def read(self, start: int, stop: int) -> sp.csr_matrix[np.float32]:
        """Return cells `start` to `stop`."""
        return sp.csr_matrix(np.asarray(self._dataset[start:stop], np.float32))

    def batch_cells(self) -> int:
        """Return how many cells make a batch."""
        return int(min(MAX_BATCH_CELLS, max(1, BATCH_BYTES // (4 * max(1, self.shape[1])))))


@contextmanager
def open_rows(element: h5py.Group | h5py.Dataset, where: str) -> Iterator[Rows]:
    """Give the rows of an h5ad element.

    A CSC matrix is laid out by rows in a temporary file first, eight bytes a value.

    Raises
    ------
    FileError
        If the element is not a matrix.
    """
    encoding = _encoding(element)
    if encoding == "dense":
        yield DenseRows(element)
        return
    if encoding is None or not {"data", "indices", "indptr"} <= set(element):
        raise FileError(f"{where} is no matrix", "CSR, CSC or dense values", "write the file again with anndata")
    shape = cast(tuple[int, int], tuple(int(one) for one in element.attrs["shape"]))
    indptr = element["indptr"][:]
    if len(indptr) != shape[0 if encoding == "csr" else 1] + 1 or indptr[-1] != len(element["data"]):
        raise FileError(
            f"{where} is broken: its index does not fit its shape", "a whole matrix", "write the file again"
        )
    if encoding == "csr":
        yield CsrRows(element["data"], element["indices"], indptr, shape)
    else:
        with tempfile.TemporaryDirectory(prefix="scvec-") as folder:
            yield _by_rows(element, indptr, shape, Path(folder))


def _encoding(element: h5py.Group | h5py.Dataset) -> Literal["csr", "csc", "dense"] | None:
    if isinstance(element, h5py.Dataset):
        return "dense" if element.ndim == 2 else None
    kinds: dict[str, Literal["csr", "csc"]] = {"csr_matrix": "csr", "csc_matrix": "csc"}
    return kinds.get(str(element.attrs.get("encoding-type")))


def _by_rows(element: h5py.Group, indptr: np.ndarray[Any, Any], shape: tuple[int, int], folder: Path) -> CsrRows:
    """Transpose a CSC matrix on disk: count each row's values, then put every value in its row's next place."""
    n_values = int(indptr[-1])
    step = BATCH_BYTES // 16
    ranges = [(first, min(first + step, n_values)) for first in range(0, n_values, step)]
    counts = np.zeros(shape[0], np.int64)
    for first, last in ranges:
        counts += np.bincount(element["indices"][first:last], minlength=shape[0])
    row_starts = np.concatenate([[0], np.cumsum(counts)])
    if not n_values:
        return CsrRows(np.zeros(0, np.float32), np.zeros(0, np.int32), row_starts, shape)
    data = np.memmap(folder / "data", np.float32, "w+", shape=(n_values,))
    indices = np.memmap(folder / "indices", np.int32, "w+", shape=(n_values,))
    filled = row_starts[:-1].copy()
    for first, last in ranges:
        rows = element["indices"][first:last].astype(np.int64)
        columns = np.searchsorted(indptr, np.arange(first, last), side="right") - 1
        order = np.argsort(rows, kind="stable")
        rows = rows[order]
        rank = np.arange(len(rows)) - np.searchsorted(rows, rows, side="left")
        places = filled[rows] + rank
        data[places] = np.asarray(element["data"][first:last], np.float32)[order]
        indices[places] = columns[order]
        filled += np.bincount(rows, minlength=shape[0])
    return CsrRows(data, indices, row_starts, shape)
