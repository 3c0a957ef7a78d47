"""An open file of cells, in any format: names, annotations, matrices."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property
from hashlib import sha256
from typing import Any

import numpy as np
import scipy.sparse as sp

from scvec.core.types import Bools, Floats, Ints, Strings
from scvec.errors import InputError, LabelError, MatrixError, unknown
from scvec.ingest.cells.checked import Matrix, read_sample
from scvec.ingest.cells.deciding import AskedScale, by_all_features, decide
from scvec.ingest.cells.frames import Column, refuse_duplicates
from scvec.ingest.cells.gene_columns import Selected, no_genes, shares
from scvec.ingest.cells.locations import Place, fingerprint, reading
from scvec.ingest.cells.matrix import ColumnsOf, Rows, unfit
from scvec.ingest.cells.memory import InMemory
from scvec.ingest.cells.scale import Scale, Values
from scvec.ingest.cells.selected import SelectedSource
from scvec.ingest.cells.source import Source
from scvec.ingest.cells.tables import Joined, Table
from scvec.ingest.cells.unlabelled import in_words, labelled, said_instead

LOGARITHMS: dict[float, Scale] = {2.72: "log1p", 2.0: "log2", 10.0: "log10"}
"""Scales by their base."""


class CellFile:
    """An open file of cells, or some of its cells. Get one from `open_cells`.

    Attributes
    ----------
    path
        Its path, or the URI of a remote file; `InMemory` for an AnnData.
    table
        The table of annotations, joined to the cells; None if there is none.
    left_out
        What is known of cells that are left out, as JSON types; empty if all are read.
    """

    def __init__(
        self,
        path: Place | InMemory,
        state: Callable[[str, str | None], str],
        source: Source,
        table: Table | None,
        chosen: tuple[str, ...] = (),
    ) -> None:
        self.path, self._state, self._source, self._chosen = path, state, source, chosen
        self._whole: Source = source
        self._cells: Ints | None = None
        self._said: tuple[str, ...] = ()
        self.left_out: Mapping[str, Any] = {}
        self.table: Joined | None = None if table is None else table.joined(self.obs_names, path)

    def keeping(self, cells: Bools, said: str, about: Mapping[str, Any]) -> CellFile:
        """Return the file with some of its cells, (n,) True for those; others are as if they were not there.

        Parameters
        ----------
        cells
            Which cells are kept.
        said
            A note for the user.
        about
            What `left_out` says of it.
        """
        rows = np.flatnonzero(cells)
        kept = self._cells if self._cells is not None else np.arange(len(cells))
        found = CellFile(self.path, self._state, SelectedSource(self._whole, kept[rows]), None, self._chosen)
        found._whole, found._cells, found._said = self._whole, kept[rows], (*self._said, said)
        found.left_out = {"n_cells_in_file": len(kept), **self.left_out, **about}
        found.table = None if self.table is None else self.table.take(rows)
        return found

    @property
    def notes(self) -> tuple[str, ...]:
        """Notes for the user on the file and its choice, its table of annotations, and which of its cells are read."""
        return (*self._chosen, *self._source.notes, *self.selection_notes)

    @property
    def selection_notes(self) -> tuple[str, ...]:
        """Notes on the table of annotations, and on which cells are read."""
        return (*(() if self.table is None else self.table.notes), *self._said)

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
        own, added = self._source.obs.keys, [] if self.table is None else self.table.keys
        return [*own, *(key for key in added if key not in own)]

    @property
    def layers(self) -> list[str]:
        """The names of the matrices."""
        return self._source.layers

    def fingerprint(self, layer: str = "X", use_rep: str | None = None) -> str:
        """Return a hash that changes when the file, its table of annotations, or the selection of its cells changes.

        It is made from sizes and modification times, or the ETag of a remote file; the contents are not read. For an
        AnnData in memory, it is made from its names, and many values of the matrix `layer` and of ``obsm[use_rep]``.

        Raises
        ------
        FileError
            If the file no longer exists.
        """
        state = self._state(layer, use_rep)
        if self.table is not None:
            state = sha256(f"{state} {fingerprint([self.table.table.where])}".encode()).hexdigest()
        if self._cells is not None:
            state = sha256(state.encode() + self._cells.astype("<i8").tobytes()).hexdigest()
        return state

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
        return self.existing(key, parameter).complete_labels(f"{self.path}: obs[{key!r}]", self.obs_names)

    def labels_where_any(self, key: str, parameter: str, unlabelled: Sequence[str] = ()) -> Strings:
        """Return (n,) an annotation as strings, "" where a value is missing or means that there is no label.

        Parameters
        ----------
        key, parameter
            The annotation, and the parameter that gave it, for errors.
        unlabelled
            Labels that mean none, in addition to `scvec.ingest.cells.unlabelled.MEAN_NONE`.

        Raises
        ------
        KeyNotFoundError
            If there is no such annotation.
        LabelError
            If no cell has a label.
        """
        return labels_of(self.existing(key, parameter), f"{self.path}: obs[{key!r}]", unlabelled)

    def groups(self, key: str, parameter: str) -> Strings:
        """Return (n,) the group of each cell as a string, "" where it is in none, as its value is missing."""
        labels, absent = self.existing(key, parameter).labels()
        labels[absent] = ""
        return labels

    def existing(self, key: str, parameter: str) -> Column:
        """Return an annotation; raise `KeyNotFoundError`, naming the `parameter` that gave its key, if it lacks."""
        if key not in self.obs_keys:
            raise unknown(f"obs column for `{parameter}`", key, self.obs_keys, self.path)
        return self.column(key)

    def column(self, key: str) -> Column:
        """Return an existing annotation; that of the table of annotations goes before the file's."""
        if self.table is not None and key in self.table.keys:
            return self.table.column(key)
        return self._source.obs.column(key)

    def colors(self, key: str) -> dict[str, str]:
        """Return the colours of an annotation's values, as scanpy keeps them in ``uns``; empty where there are none."""
        added = self.table is not None and key in self.table.keys
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
        names = var.names()
        wanted = (len(self.obs_names), len(names))
        if rows.shape != wanted:
            raise unfit(where, rows.shape, wanted)
        others = no_genes(var, names, where)
        genes: Ints = np.setdiff1d(np.arange(len(names)), list(others)) if others else np.arange(len(names))
        whole = rows
        if others:
            var, rows = Selected(var, genes), ColumnsOf(whole, genes)
        if isinstance(scale, Values):
            return Matrix(self.path, key, scale, var, rows)
        every = read_sample(whole, where)
        sample = sp.csr_matrix(every[:, genes]) if others else every
        values = decide(sample, scale, where, self._stated(key))
        if others:
            # That total counts features that are not genes, which do not belong to a cell's total here.
            values = replace(values, uncut=None)
            values = by_all_features(every, values, where)
        return Matrix(self.path, key, values, var, rows, sample, shares(others, every, values))

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


def labels_of(column: Column, what: str, unlabelled: Sequence[str] = ()) -> Strings:
    """Return (n,) labels, "" where there is none.

    Raises
    ------
    LabelError
        If no cell has a label; it calls the column `what`.
    """
    has = labelled(column, unlabelled)
    if not has.any():
        seen = f"{what} has a label for none of its {len(has):,} cells ({in_words(said_instead(column, has))})"
        raise LabelError(seen, "a label for some cells", "choose another column")
    labels, _ = column.labels()
    labels[~has] = ""
    return labels
