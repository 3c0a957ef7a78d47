"""An AnnData read as a file of cells is, by range and never copied: in memory, backed, a view, with dask arrays."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import scipy.sparse as sp

from scvec.core.types import Ints, Strings
from scvec.errors import FileError, InputError
from scvec.ingest.cells.frames import Column, Frame, colors_by_label, log_base_of
from scvec.ingest.cells.layout import by_cells
from scvec.ingest.cells.locations import Uri
from scvec.ingest.cells.matrix import BATCH_BYTES, MAX_BATCH_CELLS, Rows, spans
from scvec.ingest.cells.selected import BLOCK_CELLS, SelectedRows

if TYPE_CHECKING:
    from anndata import AnnData

FIXES = {
    "Atlas": "give the cells first, then the atlas",
    "MuData": "give the part with the RNA, such as mdata['rna']",
    "Raw": "give the AnnData, and `layer` 'raw'",
}
"""What to give in place of other objects that hold cells."""

Cells: TypeAlias = "str | Path | AnnData"
"""What cells are given as: the path or URI of a file, or an AnnData."""

PIECE_VALUES, STATE_VALUES = 2**12, 2**20
"""A change of the values is looked for in this many of them, in pieces from all over the matrix."""


@dataclass(frozen=True, slots=True)
class InMemory:
    """The place of cells that are in memory, for messages and manifests."""

    name: str = "adata"

    def __str__(self) -> str:
        return "the AnnData"


def in_memory(cells: object) -> AnnData | None:
    """Return the AnnData if cells are given as one, None if they are a path or URI.

    Raises
    ------
    InputError
        If they are neither.
    """
    if isinstance(cells, (str, Path, Uri)):
        return None
    # Whoever has an AnnData has imported anndata: it is not imported to ask.
    anndata = sys.modules.get("anndata")
    if anndata is not None and isinstance(cells, anndata.AnnData):
        return cells
    kind = type(cells).__name__
    fix = FIXES.get(kind, "anndata.AnnData(X, obs, var) makes one of a matrix and its names")
    raise InputError(f"cells are given as {kind}", "a path, a URI or an AnnData", fix)


@dataclass(frozen=True, slots=True)
class MemoryFrame:
    """``obs`` or ``var`` of an AnnData."""

    frame: Any

    @property
    def keys(self) -> list[str]:
        """The names of the columns."""
        return [str(key) for key in self.frame.columns]

    def names(self) -> Strings:
        """Return (n,) the names of the rows."""
        names = np.empty(len(self.frame), object)
        names[:] = [str(name) for name in self.frame.index]
        return names

    def column(self, key: str) -> Column:
        """Return a column."""
        return Column.of(self.frame[key].array)


class MemorySource:
    """An AnnData, which is never changed."""

    notes: tuple[str, ...] = ()

    def __init__(self, adata: AnnData) -> None:
        self._adata = adata

    @property
    def obs(self) -> Frame:
        """The annotations of the cells."""
        return MemoryFrame(self._adata.obs)

    def colors(self, key: str) -> dict[str, str]:
        """Return the colours of a categorical's values that are in ``uns``."""
        categories = getattr(self._adata.obs[key].array, "categories", ())
        return colors_by_label(categories, self._adata.uns.get(f"{key}_colors", ()))

    def log_base(self) -> float | None:
        """Return the base of the logarithm that scanpy has noted in ``uns``; it notes none, or nothing, for e."""
        return log_base_of(self._adata.uns["log1p"]) if "log1p" in self._adata.uns else None

    @property
    def layers(self) -> list[str]:
        """The names of the matrices."""
        whole, raw = _whole(self._adata), self._adata.raw
        has_x = whole.isbacked or whole.X is not None
        return ["X"] * has_x + [str(key) for key in whole.layers] + ["raw"] * (raw is not None)

    def var(self, layer: str) -> Frame:
        """Return the annotations of a matrix's genes."""
        return MemoryFrame(self._adata.raw.var if layer == "raw" else self._adata.var)

    @contextmanager
    def rows(self, layer: str) -> Iterator[Rows]:
        """Yield the cells of a matrix. A CSC matrix is first rearranged by cells in temporary files.

        Raises
        ------
        FileError
            If it is not a matrix of numbers.
        """
        matrix, of = self._found(layer)
        with TemporaryDirectory(prefix="scvec-") as folder:
            rows = _by_cells(matrix, Path(folder))
            if of is not self._adata:
                cells, genes = _selection(self._adata)
                rows = SelectedRows(rows, cells, None if layer == "raw" else genes)
            yield rows

    def _found(self, layer: str) -> tuple[Any, AnnData]:
        """Return a matrix, and the AnnData whose cells it has: that of which this one is a view, where that is larger.

        A view has its own cells of `raw` in memory; those of a backed one are on disk, and read by range as `X` is.
        """
        adata, whole = self._adata, _whole(self._adata)
        of = whole if layer != "raw" or whole.isbacked else adata
        if layer in whole.layers:
            matrix: Any = whole.layers[layer]
        else:
            matrix = of.raw.X if layer == "raw" else whole.X
        if matrix.dtype.kind not in "biuf" or len(matrix.shape) != 2:
            seen = f"the AnnData: {layer} is not a matrix of numbers (it holds {matrix.dtype})"
            raise FileError(seen, "CSR, CSC or dense values", "choose another `layer`")
        return matrix, of

    @property
    def obsm_keys(self) -> list[str]:
        """The names of further arrays of the cells."""
        return [str(key) for key in self._adata.obsm]

    def obsm(self, key: str) -> Any:
        """Return (n_obs, d) one of these arrays."""
        array: Any = self._adata.obsm[key]
        return array.compute() if hasattr(array, "compute") else array

    def state(self, layer: str, use_rep: str | None = None) -> str:
        """Return a hash that changes when the names, the values of a matrix, or ``obsm[use_rep]`` change.

        Of a large matrix, about `STATE_VALUES` values from all over it are seen. Columns of ``obs`` do not count: calls
        are written there.
        """
        seen = hashlib.sha256(layer.encode())
        for frame in (self.obs, self.var(layer)):
            seen.update("\n".join(frame.names().tolist()).encode())
        for part in self._parts(layer):
            seen.update(np.ascontiguousarray(part).tobytes())
        if use_rep in self.obsm_keys:
            seen.update(np.ascontiguousarray(self.obsm(str(use_rep))).tobytes())
        return seen.hexdigest()

    def _parts(self, layer: str) -> Iterator[Any]:
        """Yield pieces of a matrix from all over it: of its arrays as they lie in memory, else of its rows."""
        matrix, of = self._found(layer)
        if sp.issparse(matrix) and of is self._adata:
            for name in ("indptr", "indices", "data"):
                array = getattr(matrix, name)
                for start in _starts(len(array), PIECE_VALUES, STATE_VALUES // PIECE_VALUES):
                    yield array[start : start + PIECE_VALUES]
            return
        with self.rows(layer) as rows:
            a_block = len(rows.read(0, min(rows.shape[0], BLOCK_CELLS)).data)
            for start in _starts(rows.shape[0], BLOCK_CELLS, STATE_VALUES // max(1, a_block)):
                block = rows.read(start, min(start + BLOCK_CELLS, rows.shape[0]))
                yield from (block.data, block.indices, block.indptr)


def _starts(length: int, size: int, most: int) -> list[int]:
    """Return where pieces of a size begin: all of a length, or as many as `most`, evenly spaced; 8 at least."""
    n = min(-(-length // size), max(8, most))
    return [int(one) for one in np.unique(np.linspace(0, max(0, length - size), n, dtype=np.int64))]


class _ArrayRows:
    """Rows of an array that is sliced by rows: of NumPy, SciPy, dask, or a backed AnnData's on disk."""

    def __init__(self, array: Any) -> None:
        self.shape, self._array = (int(array.shape[0]), int(array.shape[1])), array
        self._at_hand = isinstance(array, np.ndarray) or sp.issparse(array)
        block = self.read(0, min(BLOCK_CELLS, self.shape[0]))
        self._values_per_cell = max(1.0, len(block.data) / max(1, block.shape[0]))
        if isinstance(array, np.ndarray):  # whose slices are whole before they are sparse
            self._values_per_cell = max(1.0, self.shape[1] / 2)

    def read(self, start: int, stop: int) -> sp.csr_matrix[np.float32]:
        """Return cells `start` to `stop` as (stop - start, n_vars) float32."""
        return self._as_rows(self._array[start:stop])

    def at(self, cells: Ints) -> sp.csr_matrix[np.float32] | None:
        """Return cells in any order, if the array has them at hand: those of NumPy and SciPy do; else None."""
        return self._as_rows(self._array[cells]) if self._at_hand else None

    @staticmethod
    def _as_rows(part: Any) -> sp.csr_matrix[np.float32]:
        if hasattr(part, "compute"):
            part = part.compute()
        if not sp.issparse(part):
            part = np.asarray(part)
        rows = sp.csr_matrix(part, dtype=np.float32)
        if not rows.has_canonical_format:
            rows = rows.copy()  # as sorting in place could change the caller's arrays
            rows.sum_duplicates()
        return rows

    def batch_cells(self) -> int:
        """Return the number of cells in a batch."""
        return int(min(MAX_BATCH_CELLS, max(1, BATCH_BYTES // (8 * self._values_per_cell))))

    def together(self, cells: Ints) -> Iterator[tuple[int, int]]:
        """Yield ranges of `cells` that are close together."""
        return spans(cells, cells + 1, BLOCK_CELLS, self.batch_cells())


def _by_cells(matrix: Any, folder: Path) -> Rows:
    """Return the rows of a matrix; one that is kept by columns is rearranged in files in `folder`."""
    if getattr(matrix, "format", None) != "csc":
        return _ArrayRows(matrix)
    if sp.issparse(matrix):
        parts: Any = {name: getattr(matrix, name) for name in ("indptr", "indices", "data")}
    else:
        parts = matrix.group  # of a backed AnnData
    shape = (int(matrix.shape[0]), int(matrix.shape[1]))
    return by_cells(parts, np.asarray(parts["indptr"][:], np.int64), shape, folder)


def _whole(adata: AnnData) -> AnnData:
    """Return the AnnData itself, or the one of which it is a view: reading `X` of a view would copy it whole."""
    return adata._adata_ref if adata.is_view else adata


def _selection(view: AnnData) -> tuple[Ints, Ints | None]:
    """Return the positions of a view's cells, and of its genes if these are not all."""
    whole = _whole(view)
    cells, genes = np.arange(whole.n_obs)[view._oidx], np.arange(whole.n_vars)[view._vidx]
    return cells, None if np.array_equal(genes, np.arange(whole.n_vars)) else genes
