"""An open file of cells, in any format: names, annotations, matrices."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import cached_property
from hashlib import sha256
from typing import Any, Protocol

import numpy as np

from scvec.core.types import Floats, Ints, Strings
from scvec.errors import FileError, InputError, MatrixError, unknown
from scvec.ingest.cells.checked import Matrix, read_sample
from scvec.ingest.cells.deciding import AskedScale, decide
from scvec.ingest.cells.frames import Column, Frame, Table, refuse_duplicates
from scvec.ingest.cells.locations import Place, fingerprint, reading
from scvec.ingest.cells.matrix import Rows
from scvec.ingest.cells.memory import InMemory
from scvec.ingest.cells.scale import Scale, Values

LOGARITHMS: dict[float, Scale] = {2.72: "log1p", 2.0: "log2", 10.0: "log10"}
"""Scales by their base."""


class Source(Protocol):
    """What the reader of a format provides."""

    @property
    def obs(self) -> Frame:
        """The annotations of the cells."""
        ...

    @property
    def layers(self) -> list[str]:
        """The names of the matrices."""
        ...

    @property
    def notes(self) -> tuple[str, ...]:
        """Notes for the user on the file."""
        ...

    @property
    def obsm_keys(self) -> list[str]:
        """The names of further arrays of the cells: embeddings."""
        ...

    def obsm(self, key: str) -> Any:
        """Return (n_obs, d) one of these arrays, or a data frame."""
        ...

    def var(self, layer: str) -> Frame:
        """Return the annotations of a matrix's genes."""
        ...

    def colors(self, key: str) -> dict[str, str]:
        """Return the colours of the values of a column of ``obs``, where the file has them."""
        ...

    def log_base(self) -> float | None:
        """Return the base of the logarithm that the file says was taken; None if it says none."""
        ...

    def rows(self, layer: str) -> AbstractContextManager[Rows]:
        """Yield the cells of a matrix."""
        ...


class CellFile:
    """An open file of cells. Get one from `open_cells`.

    Attributes
    ----------
    path
        Its path, or the URI of a remote file; `InMemory` for an AnnData.
    notes
        Notes for the user on the file.
    """

    def __init__(
        self, path: Place | InMemory, state: Callable[[str, str | None], str], source: Source, table: Table | None
    ) -> None:
        self.path, self.notes = path, source.notes
        self._state, self._source, self._table = state, source, table
        self._table_rows: Ints | None = None

    @cached_property
    def obs_names(self) -> Strings:
        """(n_obs,) the cells' names, each once."""
        names = self._source.obs.names()
        refuse_duplicates(names, f"{self.path}: cell", "adata.obs_names_make_unique()")
        if not len(names):
            raise InputError(f"{self.path} has no cells", "at least one cell", "check the program that wrote it")
        return names

    @property
    def obs_keys(self) -> list[str]:
        """The names of the cells' annotations: the file's own, then those of the table of annotations."""
        own, added = self._source.obs.keys, [] if self._table is None else self._table.keys
        return [*own, *(key for key in added if key not in own)]

    @property
    def layers(self) -> list[str]:
        """The names of the matrices."""
        return self._source.layers

    def fingerprint(self, layer: str = "X", use_rep: str | None = None) -> str:
        """Return a hash that changes when the file, or its table of annotations, changes.

        It is made from sizes and modification times, or the ETag of a remote file; the contents are not read. For an
        AnnData in memory, it is made from its names, and many values of the matrix `layer` and of ``obsm[use_rep]``.

        Raises
        ------
        FileError
            If the file no longer exists.
        """
        own = self._state(layer, use_rep)
        return own if self._table is None else sha256(f"{own} {fingerprint([self._table.where])}".encode()).hexdigest()

    def given(self, use_rep: str) -> Floats:
        """Return (n_obs, d) an array of ``obsm``: vectors that another tool has made of the cells.

        Raises
        ------
        KeyNotFoundError
            If there is no such array.
        MatrixError
            If it is not an array of finite numbers with one row for each cell.
        """
        if use_rep not in self._source.obsm_keys:
            raise unknown("array of obsm for `use_rep`", use_rep, self._source.obsm_keys, self.path)
        where = f"{self.path}: obsm[{use_rep!r}]"
        with reading(where):
            array = np.asarray(self._source.obsm(use_rep))
        if array.ndim != 2 or array.dtype.kind not in "iuf" or len(array) != len(self.obs_names):
            seen = f"{where} holds {array.dtype} of shape {array.shape}"
            raise MatrixError(seen, f"numbers, one row for each of the {len(self.obs_names):,} cells", "write it again")
        found: Floats = np.asarray(array, np.float32)
        if not np.isfinite(found).all():
            raise MatrixError(f"{where} holds NaN or infinite values", "finite values", "make it again")
        return found

    def labels(self, key: str, parameter: str) -> Strings:
        """Return (n_obs,) an annotation as strings; errors name the `parameter` that gave the key.

        Raises
        ------
        KeyNotFoundError
            If there is no such annotation.
        LabelError
            If values are missing.
        """
        if key not in self.obs_keys:
            raise unknown(f"obs column for `{parameter}`", key, self.obs_keys, self.path)
        return self._column(key).complete_labels(f"{self.path}: obs[{key!r}]", self.obs_names)

    def _column(self, key: str) -> Column:
        if self._table is not None and key in self._table.keys:
            return self._table.column(key, self._rows_of(self._table))
        return self._source.obs.column(key)

    def _rows_of(self, table: Table) -> Ints:
        if self._table_rows is None:
            self._table_rows = table.rows_of(self.obs_names, self.path)
        return self._table_rows

    def colors(self, key: str) -> dict[str, str]:
        """Return the colours of an annotation's values, as scanpy keeps them in ``uns``; empty where there are none."""
        added = self._table is not None and key in self._table.keys
        return self._source.colors(key) if not added and key in self._source.obs.keys else {}

    @contextmanager
    def matrix(self, layer: str | None = None, scale: AskedScale | Values = "auto") -> Iterator[Matrix]:
        """Yield one of the matrices: `layer`, ``"raw"``, or ``"X"`` (the default).

        `scale` is the expected scale, or `Values` that were decided before. These are trusted, and nothing of the
        matrix is read in advance.

        Raises
        ------
        KeyNotFoundError
            If there is no such matrix.
        MatrixError
            If it holds values of no scale, or not those of `scale`; the message names matrices that do.
        """
        key = layer or "X"
        if key not in self.layers:
            raise unknown("matrix for `layer`", key, self.layers, self.path)
        try:
            with self._source.rows(key) as rows:
                yield self._decided(key, rows, scale)
        except MatrixError as error:
            fits = [other for other in self.layers if other != key and self._would_do(other)]
            if not fits:
                raise
            fix = f"set `layer` to {' or '.join(fits)}, which has such values"
            raise MatrixError(error.seen, error.expected, fix) from error

    def _decided(self, key: str, rows: Rows, scale: AskedScale | Values) -> Matrix:
        where, var = f"{self.path}: {key}", self._source.var(key)
        wanted = (len(self.obs_names), len(var.names()))
        if rows.shape != wanted:
            raise FileError(
                f"{where} has the shape {rows.shape} for {wanted[0]} cells and {wanted[1]} genes",
                "a matrix that fits its names",
                "write the file again",
            )
        if isinstance(scale, Values):
            return Matrix(self.path, key, scale, var, rows)
        sample = read_sample(rows, where)
        return Matrix(self.path, key, decide(sample, scale, where, self._stated(key)), var, rows, sample)

    def _stated(self, key: str) -> Scale | None:
        """Return what scanpy has noted in ``uns`` on the values of ``X``, and of ``raw``, its copy."""
        base = self._source.log_base() if key in ("X", "raw") else None
        return None if base is None else LOGARITHMS.get(round(base, 2))

    def _would_do(self, key: str) -> bool:
        try:
            with self._source.rows(key) as rows:
                self._decided(key, rows, "auto")
        except InputError:
            return False
        return True
