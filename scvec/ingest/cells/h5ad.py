"""AnnData files, h5ad or zarr: annotations and matrices, by anndata's names."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import numpy as np

from scvec.errors import FileError
from scvec.ingest.cells.elements import TreeFrame, read_elem
from scvec.ingest.cells.frames import Frame, colors_by_label, log_base_of
from scvec.ingest.cells.layout import by_cells
from scvec.ingest.cells.locations import Place, Uri, reading
from scvec.ingest.cells.matrix import CsrRows, DenseRows, Rows

ENCODINGS: dict[str, Literal["csr", "csc"]] = {"csr_matrix": "csr", "csc_matrix": "csc"}


class AnnDataSource:
    """An open AnnData file.

    Parameters
    ----------
    path
        The path of the file.
    root
        Its root group, of HDF5 or zarr.

    Raises
    ------
    FileError
        If it was written by anndata before 0.7.
    """

    notes: tuple[str, ...] = ()

    def __init__(self, path: Place, root: Any) -> None:
        self._path, self._root = path, root
        with reading(str(path)):
            old = not all("_index" in root[axis].attrs for axis in ("obs", "var"))
        if old:
            raise FileError(
                f"{path} has the layout of anndata before 0.7",
                "that of 0.7 or later",
                "read it with anndata.read_h5ad, and write it again",
            )

    @property
    def obs(self) -> Frame:
        """The annotations of the cells."""
        return TreeFrame(self._root["obs"], f"{self._path}: obs")

    def colors(self, key: str) -> dict[str, str]:
        """Return the colours of a categorical's values that are in ``uns``."""
        name = f"{key}_colors"
        with reading(f"{self._path}: uns"):
            column = self._root["obs"][key]
            if column.attrs.get("encoding-type") != "categorical" or name not in self._root.get("uns", ()):
                return {}
            return colors_by_label(read_elem(column["categories"]), read_elem(self._root["uns"][name]))

    def log_base(self) -> float | None:
        """Return the base of the logarithm that scanpy has noted in ``uns``; it notes none, or nothing, for e."""
        with reading(f"{self._path}: uns"):
            noted = self._root["uns"]["log1p"] if "log1p" in self._root.get("uns", ()) else None
            return log_base_of(read_elem(noted)) if noted is not None else None

    @property
    def layers(self) -> list[str]:
        """The names of the matrices."""
        with reading(str(self._path)):
            return ["X"] * ("X" in self._root) + self._own_layers + ["raw"] * ("raw" in self._root)

    @property
    def _own_layers(self) -> list[str]:
        return list(self._root["layers"]) if "layers" in self._root else []

    @property
    def obsm_keys(self) -> list[str]:
        """The names of further arrays of the cells."""
        with reading(str(self._path)):
            return list(self._root["obsm"]) if "obsm" in self._root else []

    def obsm(self, key: str) -> Any:
        """Return (n_obs, d) one of these arrays, or a data frame."""
        from anndata.io import read_elem

        return read_elem(self._root["obsm"][key])

    def var(self, layer: str) -> Frame:
        """Return the annotations of a matrix's genes."""
        path = "raw/var" if self._at(layer) == "raw/X" else "var"
        return TreeFrame(self._root[path], f"{self._path}: {path}")

    def _at(self, layer: str) -> str:
        if layer in self._own_layers:
            return f"layers/{layer}"
        return "raw/X" if layer == "raw" else "X"

    @contextmanager
    def rows(self, layer: str) -> Iterator[Rows]:
        """Yield the cells of a matrix. A CSC matrix is first rearranged by cells in temporary files.

        Raises
        ------
        FileError
            If it is not a matrix, or broken.
        """
        where = f"{self._path}: {layer}"
        with tempfile.TemporaryDirectory(prefix="scvec-") as folder:
            with reading(where):
                element = self._root[self._at(layer)]
                rows = open_rows(element, where, Path(folder))
                if isinstance(rows, CsrRows) and not (isinstance(self._path, Uri) and self._path.is_http):
                    _refuse_gaps(element)
            yield rows


def open_rows(element: Any, where: str, folder: Path) -> Rows:
    """Return the rows of a matrix in HDF5 or zarr, with temporary files in `folder`.

    Raises
    ------
    FileError
        If the element is not a matrix.
    ValueError
        If it is broken.
    """
    if hasattr(element, "shape") and len(element.shape) == 2:
        return DenseRows(element)
    form = ENCODINGS.get(str(element.attrs.get("encoding-type")))
    if form is None or not {"data", "indices", "indptr"} <= set(element):
        raise FileError(f"{where} is not a matrix", "CSR, CSC or dense values", "write the file again with anndata")
    shape = (int(element.attrs["shape"][0]), int(element.attrs["shape"][1]))
    indptr = np.asarray(element["indptr"][:], np.int64)
    if form == "csr":
        return CsrRows(element["data"], element["indices"], indptr, shape)
    CsrRows(element["data"], element["indices"], indptr, shape[::-1])  # raises if they do not fit
    return by_cells(element, indptr, shape, folder)


def _refuse_gaps(element: Any) -> None:
    """Raise `ValueError` if a sparse matrix of zarr lacks chunks, which zarr would read as zeros.

    Chunks of zeros only are not written, but the values are not zero, and only one value of a cell is in column zero.
    """
    for name in ("data", "indices"):
        array = element[name]
        lacking = array.nchunks - array.nchunks_initialized if hasattr(array, "nchunks_initialized") else 0
        if lacking and (name == "data" or array.chunks[0] >= element["indptr"].shape[0]):
            raise ValueError(f"{lacking:,} of the {array.nchunks:,} chunks of its {name} are missing")
