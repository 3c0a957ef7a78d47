"""Some cells of a source, read as if they were all of it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp

from scvec.core.types import Ints, Strings
from scvec.ingest.cells.frames import Column, Frame
from scvec.ingest.cells.matrix import Rows, spans
from scvec.ingest.cells.source import Source

BLOCK_CELLS = 64
"""Cells that are read together if some of them are wanted."""


class SelectedRows:
    """Some cells and columns of other rows, in any order; as an AnnData's view has them.

    Parameters
    ----------
    rows
        The other rows. If they have a method ``at``, it is asked first for cells in any order; it may return None.
    cells
        (m,) positions of the cells.
    columns
        (g,) positions of the columns; None: all.
    """

    def __init__(self, rows: Rows, cells: Ints, columns: Ints | None = None) -> None:
        self.shape = (len(cells), rows.shape[1] if columns is None else len(columns))
        self._rows, self._cells, self._columns = rows, cells, columns
        self._at = getattr(rows, "at", None)
        self.batch_cells = rows.batch_cells

    def read(self, start: int, stop: int) -> sp.csr_matrix[np.float32]:
        """Return cells `start` to `stop`."""
        cells = self._cells[start:stop]
        found = None if self._at is None else self._at(cells)
        rows = self._by_range(cells) if found is None else found
        if self._columns is not None:
            rows = sp.csr_matrix(rows[:, self._columns])
            rows.sort_indices()  # as a file's are: sums depend on the order
        return rows

    def _by_range(self, cells: Ints) -> sp.csr_matrix[np.float32]:
        order = np.argsort(cells, kind="stable")
        wanted = cells[order]
        parts = [sp.csr_matrix(np.zeros((0, self._rows.shape[1]), np.float32))]
        for first, last in self._rows.together(wanted):
            block = self._rows.read(int(wanted[first]), int(wanted[last - 1]) + 1)
            parts.append(sp.csr_matrix(block[wanted[first:last] - wanted[first]]))
        return sp.csr_matrix(sp.csr_matrix(sp.vstack(parts, format="csr"))[np.argsort(order, kind="stable")])

    def together(self, cells: Ints) -> Iterator[tuple[int, int]]:
        """Yield ranges of `cells` that are close together."""
        return spans(cells, cells + 1, BLOCK_CELLS, self.batch_cells())


@dataclass(frozen=True, slots=True)
class SelectedFrame:
    """Annotations of some cells, (m,) by their positions."""

    frame: Frame
    cells: Ints

    @property
    def keys(self) -> list[str]:
        """The names of its columns."""
        return self.frame.keys

    def names(self) -> Strings:
        """Return (m,) the names of its rows."""
        return self.frame.names()[self.cells]

    def column(self, key: str) -> Column:
        """Return a column; values that no cell has are kept."""
        return self.frame.column(key).take(self.cells)


class SelectedSource:
    """Some cells, (m,) by their positions, of a source."""

    def __init__(self, source: Source, cells: Ints) -> None:
        self._source, self._cells = source, cells
        self.notes = source.notes
        self.var, self.colors, self.log_base = source.var, source.colors, source.log_base

    @property
    def obs(self) -> Frame:
        """The annotations of the cells."""
        return SelectedFrame(self._source.obs, self._cells)

    @property
    def layers(self) -> list[str]:
        """The names of the matrices."""
        return self._source.layers

    @property
    def obsm_keys(self) -> list[str]:
        """The names of further arrays of the cells."""
        return self._source.obsm_keys

    def obsm(self, key: str) -> Any:
        """Return (m, d) one of these arrays."""
        return np.asarray(self._source.obsm(key))[self._cells]

    @contextmanager
    def rows(self, layer: str) -> Iterator[Rows]:
        """Yield the cells of a matrix."""
        with self._source.rows(layer) as rows:
            yield SelectedRows(rows, self._cells)
