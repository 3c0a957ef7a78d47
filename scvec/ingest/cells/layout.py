"""Rearranging values by cells, in temporary files: eight bytes per value on disk, little in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from scvec.core.types import Ints
from scvec.ingest.cells import matrix
from scvec.ingest.cells.matrix import CsrRows, positions, values_of

Entries: TypeAlias = tuple[np.ndarray[Any, Any], np.ndarray[Any, Any], np.ndarray[Any, Any]]
"""(m,) cells, columns and values of some entries of a matrix."""


def entries_at_once() -> int:
    """Return the number of entries in a piece: a quarter of a batch's bytes, as sorting takes four times as many."""
    return max(1, matrix.BATCH_BYTES // 16)


def lay_out(pieces: Callable[[], Iterator[Entries]], counts: Ints, n_columns: int, folder: Path) -> CsrRows:
    """Write every value to its cell's next place.

    Parameters
    ----------
    pieces
        Yields all entries once.
    counts
        (n_cells,) the number of entries of each cell.
    n_columns
        The number of columns of the matrix.
    folder
        The folder of the files; it must outlive the rows.
    """
    starts = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    shape, n_values = (len(counts), n_columns), int(starts[-1])
    data, indices = _mapped(folder / "data", np.float32, n_values), _mapped(folder / "indices", np.int32, n_values)
    filled = starts[:-1].copy()
    for cells, columns, values in pieces():
        order = np.argsort(cells, kind="stable")
        cells = cells[order]
        places = filled[cells] + np.arange(len(cells)) - np.searchsorted(cells, cells, side="left")
        data[places], indices[places] = values[order], columns[order]
        filled += np.bincount(cells, minlength=len(counts))
    del data, indices  # flushes the files
    return CsrRows(OnDisk(folder / "data", np.float32), OnDisk(folder / "indices", np.int32), starts, shape)


class OnDisk:
    """An array in a plain file; slices are read as copies, as a memory map would count as memory in use."""

    def __init__(self, path: Path, kind: Any) -> None:
        self._path, self._kind = path, np.dtype(kind)
        self.shape = (path.stat().st_size // self._kind.itemsize,)

    def __getitem__(self, part: slice) -> np.ndarray[Any, Any]:
        """Return a slice; its step is ignored."""
        first, last, _ = part.indices(self.shape[0])
        return np.fromfile(self._path, self._kind, max(0, last - first), offset=first * self._kind.itemsize)


def _mapped(path: Path, kind: Any, n: int) -> np.ndarray[Any, Any]:
    """Return (n,) zeros mapped to a new file; for n = 0, which cannot be mapped, a plain array."""
    path.touch()
    return np.memmap(path, kind, "w+", shape=(n,)) if n else np.zeros(0, kind)


def by_cells(element: Any, indptr: np.ndarray[Any, Any], shape: tuple[int, int], folder: Path) -> CsrRows:
    """Transpose a CSC matrix, a group of HDF5 or zarr, in temporary files.

    Raises
    ------
    ValueError
        If a value is outside the cells.
    """
    step, n_values = entries_at_once(), int(indptr[-1])
    counts = np.zeros(shape[0], np.int64)
    for first in range(0, n_values, step):
        cells = positions(element["indices"][first : min(first + step, n_values)])
        if not 0 <= int(cells.min()) <= int(cells.max()) < shape[0]:
            raise ValueError(f"it has values outside its {shape[0]:,} cells")
        counts += np.bincount(cells, minlength=shape[0])

    def pieces() -> Iterator[Entries]:
        for first in range(0, n_values, step):
            last = min(first + step, n_values)
            columns = np.searchsorted(indptr, np.arange(first, last), side="right") - 1
            cells = positions(element["indices"][first:last])
            yield cells.astype(np.int64), columns, values_of(element["data"][first:last])

    return lay_out(pieces, counts, shape[1], folder)
