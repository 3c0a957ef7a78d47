"""Matrices of 10x Genomics' Cell Ranger, as HDF5; and what all matrices of features by cells have in common."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol

import numpy as np

from scvec.core.types import Strings
from scvec.errors import FileError
from scvec.ingest.cells.frames import Frame, Named
from scvec.ingest.cells.locations import Place, reading
from scvec.ingest.cells.matrix import CsrRows, Rows, pointers, require_numbers
from scvec.ingest.cells.source import MatrixOnly
from scvec.ingest.cells.tree import Tree, refuse_bloated

SYMBOLS, TYPES, GENOMES = "gene_symbols", "feature_types", "genome"
"""Columns of ``var``, as scanpy names them."""

ARRAYS = {"barcodes", "data", "indices", "indptr", "shape"}


class _Whole(Protocol):
    """Returns all features of all cells, of any type."""

    def __call__(self) -> Rows: ...


class TenxSource(MatrixOnly):
    """Cells named by their barcodes; genes by their Ensembl ids, with ``gene_symbols``.

    Symbols are not used as names, as genes may share one. Types and genomes of features are columns of ``var``.

    Parameters
    ----------
    cells
        (n_obs,) the barcodes, and the annotations of the cells, where there are any.
    features
        Ids, symbols, types and genomes of all features.
    whole
        Returns the matrix of all features.
    """

    notes: tuple[str, ...] = ()

    def __init__(self, cells: Named, features: dict[str, Strings], whole: _Whole) -> None:
        self._whole = whole
        self._cells = cells
        columns = {"symbols": SYMBOLS, "types": TYPES, "genomes": GENOMES}
        self._var = Named(features["ids"], {to: features[name] for name, to in columns.items() if name in features})

    @property
    def obs(self) -> Frame:
        """The barcodes; annotations only where another program than 10x's wrote them."""
        return self._cells

    @property
    def layers(self) -> list[str]:
        """The only matrix."""
        return ["X"]

    def var(self, layer: str) -> Frame:
        """Return the features."""
        del layer
        return self._var

    @contextmanager
    def rows(self, layer: str) -> Iterator[Rows]:
        """Yield the cells with their genes."""
        del layer
        yield self._whole()


def is_tenx(file: Tree) -> bool:
    """Whether an open HDF5 file is a 10x matrix, of version 3, or of version 2 with a group for each genome."""
    return bool(_groups(file))


def _groups(file: Tree) -> list[str]:
    groups = [key for key in file if isinstance(file[key], Tree)]
    return [key for key in groups if set(file[key].keys()) >= ARRAYS]


def open_tenx(path: Place, file: Tree) -> TenxSource:
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
            require_numbers(group["data"], str(path))
            indptr = pointers(group["indptr"], n_cells)
            return CsrRows(group["data"], group["indices"], indptr, (n_cells, n_features))

    return TenxSource(Named(cells, {}), features, whole)


def _decoded(dataset: Any) -> Strings:
    """Return (n,) strings that are stored as bytes of fixed or variable width."""
    refuse_bloated(dataset)
    values = dataset[:]
    if values.dtype.kind == "S":
        return np.strings.decode(values, "utf-8").astype(object)
    return np.array([one.decode() if isinstance(one, bytes) else str(one) for one in values], dtype=object)
