"""An h5ad file as cells: names, annotations, and batches of one checked matrix."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import h5py
import numpy as np
import scipy.sparse as sp

from scvec.errors import FileError, InputError, LabelError, MatrixError, unknown
from scvec.ingest.cells.elements import as_names, read_column, read_names, reading, refuse_duplicates
from scvec.ingest.cells.matrix import Rows, open_rows
from scvec.ingest.cells.scale import Scale, Totals, Values, check, decide, expression
from scvec.types import Progress, Strings, silent

if TYPE_CHECKING:
    pass

AskedScale: TypeAlias = Scale | Literal["auto"]

VAR_NAMES = "var_names"
GENE_KEYS = ("feature_name", "gene_symbols", "gene_symbol", "gene_name", "gene_ids", "gene_id", "ensembl_id")
"""Columns of ``var`` in which CELLxGENE, 10x readers and others keep the genes' other names."""

SAMPLE_BLOCKS, SAMPLE_BLOCK_CELLS = 8, 128
"""What a matrix holds is decided on this many evenly spaced blocks, then checked on every cell."""


@dataclass(frozen=True)
class Matrix:
    """One matrix of a file, of decided scale.

    Attributes
    ----------
    path
        The file.
    key
        ``"X"``, ``"raw"`` or the layer's name.
    values
        What it holds.
    var
        The annotations of its genes.
    rows
        Its cells.
    sampled_totals
        (n_genes,) expression of each gene in some thousand cells from all over it: what their names are judged by.
    """

    path: Path
    key: str
    values: Values
    var: h5py.Group
    rows: Rows
    sampled_totals: Totals

    @property
    def where(self) -> str:
        """The file and the matrix, for messages."""
        return f"{self.path}: {self.key}"

    @property
    def n_genes(self) -> int:
        """Its columns."""
        return self.rows.shape[1]

    @property
    def gene_keys(self) -> list[str]:
        """Where its genes may be named: ``var_names``, and those columns of ``var`` that are called as is usual."""
        return [VAR_NAMES, *(key for key in GENE_KEYS if key in self._var_columns)]

    @property
    def _var_columns(self) -> list[str]:
        return [key for key in self.var if key != self.var.attrs.get("_index")]

    def gene_names(self, key: str = VAR_NAMES) -> Strings:
        """Return (n_genes,) what its genes are called in ``var_names`` or a column of ``var``; "" where it is missing.

        Raises
        ------
        KeyNotFoundError
            If there is no such column.
        DuplicateNameError
            If ``var_names`` has a name twice. In a column a gene may have several rows.
        """
        if key == VAR_NAMES:
            names = read_names(self.var, f"{self.path}: var")
            cure = "name a column of var with --gene-key, or adata.var_names_make_unique()"
            refuse_duplicates(names, f"{self.where}: gene", cure)
            return names
        if key not in self._var_columns:
            raise unknown("var column for --gene-key", key, [VAR_NAMES, *self._var_columns], self.path)
        return as_names(read_column(self.var[key], f"{self.path}: var[{key!r}]"))

    def to_dict(self) -> dict[str, Any]:
        """Return which matrix it is and what it holds, as JSON types."""
        return {"key": self.key, "scale": self.values.scale, "log1p_total": self.values.log1p_total}

    def batches(self, title: str, progress: Progress = silent) -> Iterator[tuple[int, sp.csr_matrix[np.float32]]]:
        """Yield (first cell, values) for all cells in order, each batch checked.

        Raises
        ------
        MatrixError
            If a value is not what the matrix holds.
        FileError
            If the file breaks off.
        """
        n_cells, step = self.rows.shape[0], self.rows.batch_cells()
        with progress(title, n_cells) as advance:
            for start in range(0, n_cells, step):
                stop = min(start + step, n_cells)
                with reading(self.where):
                    batch = self.rows.read(start, stop)
                check(batch, self.values, self.where)
                yield start, batch
                advance(stop - start)


class CellFile:
    """An open h5ad file. Get one from `open_h5ad`."""

    def __init__(self, path: Path, file: h5py.File) -> None:
        self.path, self._file = path, file

    @cached_property
    def obs_names(self) -> Strings:
        """(n_obs,) the cells' names, each one once."""
        names = read_names(self._file["obs"], f"{self.path}: obs")
        refuse_duplicates(names, f"{self.path}: cell", "adata.obs_names_make_unique()")
        if not len(names):
            raise InputError(f"{self.path} has no cells", "at least one", "check what wrote it")
        return names

    @property
    def obs_keys(self) -> list[str]:
        """The names of the cells' annotations."""
        return [key for key in self._file["obs"] if key != self._file["obs"].attrs.get("_index")]

    @property
    def layers(self) -> list[str]:
        """The names of the matrices there are."""
        return ["X"] * ("X" in self._file) + list(self._file.get("layers", ())) + ["raw"] * ("raw" in self._file)

    def labels(self, key: str, option: str) -> Strings:
        """Return (n_obs,) an annotation as strings; `option` is how it was asked for.

        Raises
        ------
        KeyNotFoundError
            If there is no such annotation.
        LabelError
            If values are missing.
        """
        if key not in self.obs_keys:
            raise unknown(f"obs column for {option}", key, self.obs_keys, self.path)
        column = read_column(self._file["obs"][key], f"{self.path}: obs[{key!r}]")
        absent = column.isna() | (column.astype(str).str.strip() == "")
        if absent.any():
            first = self.obs_names[int(np.argmax(absent.to_numpy()))]
            raise LabelError(
                f"{self.path}: obs[{key!r}] lacks {int(absent.sum()):,} of {len(column):,} values ({first}, ...)",
                "a value for every cell",
                "drop those cells or fill them in",
            )
        return column.astype(str).to_numpy(object)

    @contextmanager
    def matrix(self, layer: str | None = None, scale: AskedScale = "auto") -> Iterator[Matrix]:
        """Give one of the matrices: `layer`, ``"raw"``, or ``"X"`` (the default).

        Raises
        ------
        KeyNotFoundError
            If there is no such matrix.
        MatrixError
            If it holds neither counts nor log1p values, or not `scale`; the message names those that would do.
        """
        key = layer or "X"
        try:
            with self._rows(key) as rows:
                yield self._decided(key, rows, scale)
        except MatrixError as error:
            fits = [other for other in self.layers if other != key and self._would_do(other)]
            if not fits:
                raise
            cure = f"this file has such values elsewhere: use --layer {' or --layer '.join(fits)}"
            raise MatrixError(error.seen, error.wanted, cure) from error

    @contextmanager
    def _rows(self, key: str) -> Iterator[Rows]:
        if key not in self.layers:
            raise unknown("matrix for --layer", key, self.layers, self.path)
        element = self._file[_element_path(self._file, key)]
        with ExitStack() as stack:
            with reading(f"{self.path}: {key}"):
                rows = stack.enter_context(open_rows(element, f"{self.path}: {key}"))
            yield rows

    def _decided(self, key: str, rows: Rows, scale: AskedScale) -> Matrix:
        where = f"{self.path}: {key}"
        var = self._file["raw/var" if _element_path(self._file, key) == "raw/X" else "var"]
        wanted = (len(self.obs_names), len(read_names(var, f"{self.path}: var")))
        if rows.shape != wanted:
            raise FileError(
                f"{where} has the shape {rows.shape} for {wanted[0]} cells and {wanted[1]} genes",
                "a matrix that fits its names",
                "write the file again",
            )
        with reading(where):
            sample = _sample(rows)
        values = decide(sample, scale, where)
        return Matrix(self.path, key, values, var, rows, expression(sample, values))

    def _would_do(self, key: str) -> bool:
        try:
            with self._rows(key) as rows:
                self._decided(key, rows, "auto")
        except InputError:
            return False
        return True


@contextmanager
def open_h5ad(path: str | Path) -> Iterator[CellFile]:
    """Open an h5ad file for reading.

    Raises
    ------
    FileError
        If it is missing, truncated, no HDF5, or no AnnData of 0.7 or later.
    """
    path = Path(path)
    wanted = "an h5ad file"
    if not path.is_file():
        raise FileError(f"{path} is {'a folder' if path.is_dir() else 'not there'}", wanted, "check the path")
    try:
        file = h5py.File(path, "r")
    except OSError as error:
        why = "is truncated" if "truncated" in str(error) else "cannot be opened as HDF5"
        raise FileError(f"{path} {why}", wanted, "fetch or write it again") from error
    with file:
        if not {"obs", "var"} <= set(file):
            raise FileError(f"{path} is HDF5 without obs and var", wanted, "write it with anndata")
        if not all(isinstance(file[axis], h5py.Group) and "_index" in file[axis].attrs for axis in ("obs", "var")):
            raise FileError(
                f"{path} has the layout of anndata before 0.7",
                "that of 0.7 or later",
                "read it with anndata.read_h5ad and write it again",
            )
        yield CellFile(path, file)


def _element_path(file: h5py.File, key: str) -> str:
    if key in file.get("layers", ()):
        return f"layers/{key}"
    return "raw/X" if key == "raw" else "X"


def _sample(rows: Rows) -> sp.csr_matrix[np.float32]:
    n_cells = rows.shape[0]
    starts = np.unique(np.linspace(0, max(0, n_cells - SAMPLE_BLOCK_CELLS), SAMPLE_BLOCKS, dtype=int))
    blocks = [rows.read(int(start), min(int(start) + SAMPLE_BLOCK_CELLS, n_cells)) for start in starts]
    return sp.csr_matrix(sp.vstack(blocks, format="csr"))
