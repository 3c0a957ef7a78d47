"""AnnData files, h5ad or zarr: annotations and matrices, by anndata's names."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from scvec.errors import FileError
from scvec.ingest.cells.elements import TreeFrame, frame_of, is_null
from scvec.ingest.cells.frames import Frame, colors_by_label, log_base_of
from scvec.ingest.cells.layout import by_cells
from scvec.ingest.cells.locations import Place, Uri, reading
from scvec.ingest.cells.matrix import CsrRows, DenseRows, Rows, pointers, require_numbers, unfit
from scvec.ingest.cells.tree import Tree, attribute, read_elem

ENCODINGS: dict[str, Literal["csr", "csc"]] = {"csr_matrix": "csr", "csc_matrix": "csc"}


class AnnDataSource:
    """An open AnnData file, or an AnnData within another file.

    Parameters
    ----------
    path
        The path of the file.
    root
        The group of the AnnData.

    Raises
    ------
    FileError
        If it was written by anndata before 0.7.
    """

    notes: tuple[str, ...] = ()

    def __init__(self, path: Place, root: Tree) -> None:
        self._path, self._root, self._where = path, root, str(path)
        with reading(self._where):
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
        return self._frame("obs")

    def _frame(self, part: str) -> TreeFrame:
        return frame_of(self._root, part, self._where)

    def colors(self, key: str) -> dict[str, str]:
        """Return the colours of a categorical's values that are in ``uns``."""
        name, categories = f"{key}_colors", self._frame("obs").categories(key)
        with reading(f"{self._where}: uns"):
            if not len(categories) or "uns" not in self._root or name not in self._root["uns"]:
                return {}
            return colors_by_label(categories, read_elem(self._root["uns"][name]))

    def log_base(self) -> float | None:
        """Return the base of the logarithm that scanpy has noted in ``uns``; it notes none, or nothing, for e."""
        try:
            with reading(f"{self._where}: uns"):
                if "uns" not in self._root or "log1p" not in self._root["uns"]:
                    return None
                return log_base_of(read_elem(self._root["uns"]["log1p"]))
        except FileError:  # a hint, without which the values are read all the same
            return None

    @property
    def layers(self) -> list[str]:
        """The names of the matrices."""
        with reading(self._where):
            whole, raw = (name in self._root and not is_null(self._root[name]) for name in ("X", "raw"))
            return ["X"] * whole + self._members("layers") + ["raw"] * raw

    def _members(self, part: str) -> list[str]:
        with reading(f"{self._where}: {part}"):
            found: list[str] = self._root[part].keys() if part in self._root else []
            return found

    @property
    def obsm_keys(self) -> list[str]:
        """The names of further arrays of the cells."""
        return self._members("obsm")

    def obsm(self, key: str) -> Any:
        """Return (n_obs, d) one of these arrays, or a data frame.

        Raises
        ------
        ValueError
            If it has another number of rows.
        """
        element = self._root["obsm"][key]
        n_obs = len(self._frame("obs"))
        if hasattr(element, "shape") and (not element.shape or element.shape[0] != n_obs):
            raise ValueError(f"it has the shape {element.shape} for {n_obs:,} cells")
        return read_elem(element)

    def var(self, layer: str) -> Frame:
        """Return the annotations of a matrix's genes."""
        return self._frame("raw/var" if self._at(layer) == "raw/X" else "var")

    def _at(self, layer: str) -> str:
        if layer in self._members("layers"):
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
        where = f"{self._where}: {layer}"
        declared = (len(self._frame("obs")), len(self._frame("raw/var" if self._at(layer) == "raw/X" else "var")))
        with tempfile.TemporaryDirectory(prefix="scvec-") as folder:
            with reading(where):
                element = self._root[self._at(layer)]
                rows = open_rows(element, declared, where, Path(folder))
                if isinstance(rows, CsrRows) and not (isinstance(self._path, Uri) and self._path.is_http):
                    _refuse_gaps(element)
            yield rows


def open_rows(element: Any, declared: tuple[int, int], where: str, folder: Path) -> Rows:
    """Return the rows of a matrix in HDF5 or zarr, with temporary files in `folder`.

    Parameters
    ----------
    element
        The matrix: a dense array, or the `Tree` of a sparse one.
    declared
        Numbers of cells and genes, by their names. They are compared before memory is taken for what a matrix claims.

    Raises
    ------
    FileError
        If the element is not a matrix, or does not fit its names.
    MatrixError
        If it does not hold real numbers.
    ValueError
        If it is broken.
    """
    form = None if hasattr(element, "shape") else ENCODINGS.get(attribute(element, "encoding-type"))
    if form is not None and all(name in element for name in ("data", "indices", "indptr")):
        n_rows, n_columns = (int(n) for n in element.attrs["shape"])
        shape = (n_rows, n_columns)
    elif hasattr(element, "shape") and element.shape is not None and len(element.shape) == 2:
        shape = (int(element.shape[0]), int(element.shape[1]))
    else:
        raise FileError(f"{where} is not a matrix", "CSR, CSC or dense values", "write the file again with anndata")
    if shape != declared:
        raise unfit(where, shape, declared)
    require_numbers(element if form is None else element["data"], where)
    if form is None:
        return DenseRows(element)
    indptr = pointers(element["indptr"], shape[0] if form == "csr" else shape[1])
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
