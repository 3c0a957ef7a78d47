"""Loom files: HDF5 with a dense matrix of genes by cells. Source of the format: linnarssonlab.org/loompy/format."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp

from scvec.core.types import Ints, Strings
from scvec.errors import FileError
from scvec.ingest.cells.elements import decoded, strings_in
from scvec.ingest.cells.frames import Column, Frame
from scvec.ingest.cells.locations import Place, reading
from scvec.ingest.cells.matrix import BATCH_BYTES, MAX_BATCH_CELLS, Rows, require_numbers, spans, unfit, values_of
from scvec.ingest.cells.source import MatrixOnly
from scvec.ingest.cells.tree import Tree, refuse_bloated

CELL_NAMES = (
    "CellID",
    "obs_names",
    "cell_id",
    "CellId",
    "cellid",
    "cell_names",
    "Cell",
    "Barcode",
    "barcode",
    "barcodes",
    "index",
)
GENE_NAMES = ("Gene", "var_names", "gene_names", "GeneName", "gene", "Symbol", "gene_symbol", "gene_name", "index")
GENE_IDS = ("Accession", "gene_ids", "gene_id", "EnsemblID", "ensembl_id", "ID")
"""Attributes with names, by loompy, anndata, velocyto and R's packages; the first that is there is read."""


def is_loom(file: Tree) -> bool:
    """Whether an open HDF5 file is a loom file."""
    return all(name in file for name in ("matrix", "row_attrs", "col_attrs"))


@dataclass(frozen=True, slots=True)
class LoomFrame:
    """The attributes of rows or columns.

    Attributes
    ----------
    group
        The group of HDF5.
    where
        The file and the group, for messages.
    n
        The number of rows.
    index
        The attribute with the names.
    aliases
        Further names of attributes.
    """

    group: Tree
    where: str
    n: int
    index: str
    aliases: dict[str, str]

    @property
    def keys(self) -> list[str]:
        """The names of the attributes of one value for each row, but not of their names."""
        with reading(self.where):
            found = [key for key in self.group if self._is_column(key) and key != self.index]
        return [*found, *(alias for alias in self.aliases if alias not in found)]

    def _is_column(self, key: str) -> bool:
        element = self.group[key]
        return getattr(element, "shape", None) == (self.n,)

    def names(self) -> Strings:
        """Return (n,) the names of the rows."""
        with reading(f"{self.where}/{self.index}"):
            if not self._is_column(self.index):
                raise ValueError(f"it is not one name for each of {self.n:,}")
            return strings_in(self.group[self.index])

    def column(self, key: str) -> Column:
        """Return an attribute."""
        with reading(f"{self.where}/{key}"):
            element = self.group[self.aliases.get(key, key)]
            if element.shape != (self.n,):
                raise ValueError(f"it is not one value for each of {self.n:,}")
            refuse_bloated(element)
            return Column.of(decoded(element[:]))


class LoomSource(MatrixOnly):
    """A loom file. Genes are named as the file names them, or by their ids where several share a name.

    Parameters
    ----------
    path
        The path of the file.
    root
        Its root.

    Raises
    ------
    FileError
        If it has no names of cells or genes.
    """

    notes: tuple[str, ...] = ()

    def __init__(self, path: Place, root: Tree) -> None:
        self._path, self._root = path, root
        with reading(f"{path}: matrix"):
            matrix = root["matrix"]
            n_genes, n_cells = (int(n) for n in matrix.shape)
        self._obs = self._frame("col_attrs", n_cells, CELL_NAMES, {})
        ids = self._first("row_attrs", GENE_IDS)
        var = self._frame("row_attrs", n_genes, (*GENE_NAMES, *GENE_IDS), {})
        symbols = var.index
        if ids and ids != symbols and len(set(var.names().tolist())) < n_genes:
            var = self._frame("row_attrs", n_genes, (ids,), {})
        aliases = {"gene_symbols": symbols} if var.index != symbols else {}
        aliases |= {"gene_ids": ids} if ids and var.index != ids else {}
        self._var = self._frame("row_attrs", n_genes, (var.index,), aliases)

    def _first(self, part: str, names: tuple[str, ...]) -> str:
        with reading(f"{self._path}: {part}"):
            return next((name for name in names if name in self._root[part]), "")

    def _frame(self, part: str, n: int, names: tuple[str, ...], aliases: dict[str, str]) -> LoomFrame:
        index = self._first(part, names)
        with reading(f"{self._path}: {part}"):
            group, keys = self._root[part], self._root[part].keys()
        if not index:
            what = "cells" if part == "col_attrs" else "genes"
            axis = "obs_names" if part == "col_attrs" else "var_names"
            raise FileError(
                f"{self._path} has no names of {what} under a usual name; {part} has {', '.join(keys) or 'nothing'}",
                f"one of {', '.join(names[:3])}",
                f"anndata.io.read_loom({str(self._path)!r}, {axis}='NAME').write_h5ad('cells.h5ad')",
            )
        return LoomFrame(group, f"{self._path}: {part}", n, index, aliases)

    @property
    def obs(self) -> Frame:
        """The annotations of the cells."""
        return self._obs

    @property
    def layers(self) -> list[str]:
        """The names of the matrices."""
        with reading(f"{self._path}: layers"):
            return ["X", *(self._root["layers"].keys() if "layers" in self._root else ())]

    def var(self, layer: str) -> Frame:
        """Return the annotations of the genes."""
        del layer
        return self._var

    @contextmanager
    def rows(self, layer: str) -> Iterator[Rows]:
        """Yield the cells of a matrix.

        Raises
        ------
        FileError
            If a layer does not fit the names.
        """
        where = f"{self._path}: {layer}"
        with reading(where):
            array = self._root["matrix" if layer == "X" else f"layers/{layer}"]
            require_numbers(array, where)
            if array.shape != (self._var.n, self._obs.n):
                raise unfit(where, tuple(array.shape[::-1]), (self._obs.n, self._var.n))
            rows = CellColumns(array)
        yield rows


class CellColumns:
    """Columns of a dense array on disk."""

    def __init__(self, array: Any) -> None:
        self.shape, self._array = (int(array.shape[1]), int(array.shape[0])), array

    def read(self, start: int, stop: int) -> sp.csr_matrix[np.float32]:
        """Return cells `start` to `stop`."""
        return sp.csr_matrix(values_of(self._array[:, start:stop]).T)

    def batch_cells(self) -> int:
        """Return the number of cells in a batch."""
        return int(min(MAX_BATCH_CELLS, max(1, BATCH_BYTES // (4 * max(1, self.shape[1])))))

    def together(self, cells: Ints) -> Iterator[tuple[int, int]]:
        """Yield ranges of `cells` that share a chunk or follow each other."""
        page = (getattr(self._array, "chunks", None) or (1, 1))[1]
        return spans(cells, cells + 1, page, max(page, self.batch_cells()))
