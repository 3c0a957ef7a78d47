"""Matrices of 10x Genomics' Cell Ranger, as HDF5 or as a folder of text files."""

from __future__ import annotations

import gzip
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Any, Protocol

import numpy as np

from scvec.core.types import Strings
from scvec.errors import FileError
from scvec.ingest.cells.frames import Frame, Named
from scvec.ingest.cells.locations import Place, reading
from scvec.ingest.cells.matrix import CsrRows, Rows
from scvec.ingest.cells.matrix_market import read_market

SYMBOLS, TYPES, GENOMES = "gene_symbols", "feature_types", "genome"
"""Columns of ``var``, as scanpy names them."""

ARRAYS = {"barcodes", "data", "indices", "indptr", "shape"}


class _Whole(Protocol):
    """Returns all features of all cells, of any type."""

    def __call__(self) -> Rows: ...


class TenxSource:
    """Cells named by their barcodes; genes by their Ensembl ids, with ``gene_symbols``.

    Symbols are not used as names, as genes may share one. Types and genomes of features are columns of ``var``.

    Parameters
    ----------
    cells
        (n_obs,) the barcodes.
    features
        Ids, symbols, types and genomes of all features.
    whole
        Returns the matrix of all features.
    """

    notes: tuple[str, ...] = ()

    def __init__(self, cells: Strings, features: dict[str, Strings], whole: _Whole) -> None:
        self._whole = whole
        self._cells = Named(cells, {})
        columns = {"symbols": SYMBOLS, "types": TYPES, "genomes": GENOMES}
        self._var = Named(features["ids"], {to: features[name] for name, to in columns.items() if name in features})

    @property
    def obs(self) -> Frame:
        """The barcodes, without annotations."""
        return self._cells

    @property
    def obsm_keys(self) -> list[str]:
        """The names of further arrays of the cells: none."""
        return []

    def obsm(self, key: str) -> Any:
        """Raise `KeyError`: there are no such arrays."""
        raise KeyError(key)

    @property
    def layers(self) -> list[str]:
        """The only matrix."""
        return ["X"]

    def var(self, layer: str) -> Frame:
        """Return the features."""
        del layer
        return self._var

    def colors(self, key: str) -> dict[str, str]:
        """Return no colours: a matrix of 10x has no annotations."""
        del key
        return {}

    def log_base(self) -> float | None:
        """Return None: 10x writes counts."""
        return None

    @contextmanager
    def rows(self, layer: str) -> Iterator[Rows]:
        """Yield the cells with their genes."""
        del layer
        yield self._whole()


def is_tenx(file: Any) -> bool:
    """Whether an open HDF5 file is a 10x matrix, of version 3, or of version 2 with a group for each genome."""
    return bool(_groups(file))


def _groups(file: Any) -> list[str]:
    groups = [key for key in file if hasattr(file[key], "keys")]
    return [key for key in groups if set(file[key]) >= ARRAYS]


def open_tenx(path: Place, file: Any) -> TenxSource:
    """Return the cells of an open HDF5 file of Cell Ranger.

    Raises
    ------
    FileError
        If it is broken, or has the cells of several genomes apart, as files of version 2 do.
    """
    groups = _groups(file)
    with reading(str(path)):
        group = file[groups[0]]
        cells = _decoded(group["barcodes"])
        if "features" in group:
            of = group["features"]
            features = {
                "ids": _decoded(of["id"]),
                "symbols": _decoded(of["name"]),
                "types": _decoded(of["feature_type"]),
            }
            if "genome" in of:
                features["genomes"] = _decoded(of["genome"])
        else:
            features = {"ids": _decoded(group["genes"]), "symbols": _decoded(group["gene_names"])}
        n_features, n_cells = (int(one) for one in group["shape"][:])
    if len(groups) > 1:
        raise FileError(
            f"{path} has the cells of each genome apart: {', '.join(groups)}",
            "cells of one genome",
            f"scanpy.read_10x_h5({str(path)!r}, genome={groups[0]!r}).write_h5ad(...) and give that file",
        )

    def whole() -> Rows:
        # Its columns are the cells: a CSC matrix of features by cells is a CSR matrix of cells by features.
        with reading(str(path)):
            return CsrRows(group["data"], group["indices"], group["indptr"][:], (n_cells, n_features))

    return TenxSource(cells, features, whole)


def _decoded(dataset: Any) -> Strings:
    """Return (n,) strings that are stored as bytes of fixed or variable width."""
    values = dataset[:]
    if values.dtype.kind == "S":
        return np.strings.decode(values, "utf-8").astype(object)
    return np.array([one.decode() if isinstance(one, bytes) else str(one) for one in values], dtype=object)


def market_file(folder: Place) -> Place | None:
    """Return the matrix file in a folder of Cell Ranger; None if there is none."""
    found = (folder / name for name in ("matrix.mtx.gz", "matrix.mtx"))
    return next((one for one in found if one.exists()), None)


def market_members(matrix: Place) -> list[Place]:
    """Return the matrix and the files of barcodes and features beside it, whose names share the prefix of ``matrix``.

    Raises
    ------
    FileError
        If one is missing.
    """
    if not matrix.exists():
        raise FileError(f"{matrix} does not exist", "a matrix of Cell Ranger", "check the path")
    folder, prefix = matrix.parent, matrix.name.removesuffix(".gz").removesuffix("matrix.mtx")
    members = [matrix]
    for names in (("barcodes.tsv",), ("features.tsv", "genes.tsv")):
        asked = [f"{prefix}{name}{gz}" for name in names for gz in (".gz", "")]
        found = next((folder / name for name in asked if (folder / name).exists()), None)
        if found is None:
            raise FileError(f"{folder} has {matrix.name} without {' or '.join(asked)}", "both", "download it too")
        members.append(found)
    return members


def open_market(members: list[Place], stack: ExitStack) -> TenxSource:
    """Return the cells of a folder of Cell Ranger: matrix, barcodes, features.

    The text of the matrix is read once, when it is first needed, into temporary files that `stack` removes.

    Raises
    ------
    FileError
        If a file is missing, truncated or not such a table.
    """
    matrix, barcodes, features = members
    cells = _lines(barcodes)
    table = [line.split("\t") for line in _lines(features).tolist()]
    widths = {len(row) for row in table}
    if len(widths) > 1:
        raise FileError(
            f"{features} has rows of {min(widths)} and of {max(widths)} columns", "a table", "download it again"
        )
    columns = [np.array(column, dtype=object) for column in zip(*table, strict=True)] or [np.empty(0, object)]
    found = dict(zip(("ids", "symbols", "types"), columns, strict=False))
    made: list[Rows] = []

    def whole() -> Rows:
        if not made:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="scvec-")))
            with reading(str(matrix)), opened(matrix) as stream:
                made.append(read_market(stream, (len(cells), len(table)), folder))
        return made[0]

    return TenxSource(cells, found, whole)


@contextmanager
def opened(file: Place) -> Iterator[IO[bytes]]:
    """Yield the bytes of a file, decompressed if its name ends in ``.gz``."""
    with file.open("rb") as stream:
        if file.name.endswith(".gz"):
            with gzip.open(stream, "rb") as plain:
                yield plain  # type: ignore[misc]  # GzipFile reads as IO[bytes] does
        else:
            yield stream


def _lines(file: Place) -> Strings:
    with reading(str(file)), opened(file) as stream:
        lines = stream.read().decode("utf-8").splitlines()
    names = np.empty(len(lines), object)
    names[:] = lines
    return names
