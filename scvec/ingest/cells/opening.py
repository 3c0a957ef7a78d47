"""Opening a file of cells, after detecting its format."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import h5py

from scvec.core.forks import check_fork
from scvec.errors import FileError
from scvec.ingest.cells.file import CellFile
from scvec.ingest.cells.h5ad import AnnDataSource
from scvec.ingest.cells.locations import Place, Uri, fingerprint, place, reading
from scvec.ingest.cells.memory import Cells, InMemory, MemorySource, in_memory
from scvec.ingest.cells.selection import ALL_CELLS, Selection
from scvec.ingest.cells.source import Source
from scvec.ingest.cells.tables import read_table
from scvec.ingest.cells.tenx import is_tenx, market_file, market_members, open_market, open_tenx

WANTED = "an h5ad, a zarr store of AnnData, or 10x's .h5 or folder with matrix.mtx"
HDF5_ENDINGS = (".h5ad", ".h5", ".hdf5")
MARKET_ENDINGS = ("matrix.mtx", "matrix.mtx.gz")
ZARR_MARKS = ("zarr.json", ".zgroup", ".zmetadata")


@contextmanager
def open_cells(cells: Cells, obs: str | Path | None = None, selection: Selection = ALL_CELLS) -> Iterator[CellFile]:
    """Open cells for reading. The format of a file is detected from the content, not the file name.

    Parameters
    ----------
    cells
        An AnnData: in memory, backed, or a view; it is neither changed nor copied. Or a file: an h5ad; a zarr store of
        AnnData, format 2 or 3, a folder or a local ``.zip``; Cell Ranger's ``.h5``; the folder of its ``matrix.mtx``,
        or that file itself, with barcodes and features beside it. Or the URI of one of these, as fsspec knows it:
        ``s3://``, ``https://`` ...
    obs
        A table of annotations, CSV, TSV or Parquet, with the cells' names in one of its columns. It must have every
        cell that is read; other rows are ignored. Its columns replace the file's columns of the same name. Names that
        differ by what is added to a barcode, as ``-1`` or the name of a sample, are matched, and `CellFile.notes` says
        so.
    selection
        Which cells are read; the others are as if they were not there.

    Raises
    ------
    FileError
        If it is missing, truncated, unreadable, or of another format.
    InputError
        If the protocol of a URI, or the suffix of `obs`, is unknown.
    MissingDependencyError
        If the protocol's package is not installed.
    """
    adata = in_memory(cells)
    table = None if obs is None else read_table(obs)
    check_fork()
    if adata is not None:
        held = MemorySource(adata)
        yield selection.of(CellFile(InMemory(), held.state, held, table))
        return
    where = place(cells)
    with ExitStack() as stack:
        members = [where]
        if matrix := _market(where):
            members = market_members(matrix)
            source: Source = open_market(members, stack)
        elif is_zarr(where):
            source = AnnDataSource(where, _zarr_root(where, stack))
            if isinstance(where, Uri) and where.is_http:  # which cannot list folders
                members = [one for mark in ZARR_MARKS if (one := where / mark).exists()]
        else:
            source = _hdf5_source(where, stack)
        yield selection.of(CellFile(where, lambda _layer, _use_rep: fingerprint(members), source, table))


def is_h5ad(cells: Cells) -> bool:
    """Whether cells are an h5ad file, to a copy of which calls can be added."""
    if in_memory(cells) is not None:
        return False
    where = place(cells)
    if _market(where) or is_zarr(where):
        return False
    with ExitStack() as stack:
        return isinstance(_hdf5_source(where, stack), AnnDataSource)


def is_zarr(where: Place) -> bool:
    """Whether a location is a zarr store, by the files that mark one."""
    if where.suffix in HDF5_ENDINGS and not _is_folder(where):
        return False
    if where.suffix == ".zip":
        return True
    return _is_folder(where) and any((where / mark).exists() for mark in ZARR_MARKS)


def _is_folder(where: Place) -> bool:
    # Files on a web server can be requested, but not listed.
    return where.suffix not in HDF5_ENDINGS if isinstance(where, Uri) else where.is_dir()


def _market(where: Place) -> Place | None:
    if where.name.endswith(MARKET_ENDINGS):
        return where
    return market_file(where) if _is_folder(where) else None


def _zarr_root(where: Place, stack: ExitStack) -> Any:
    import zarr
    from fsspec.implementations.asyn_wrapper import AsyncFileSystemWrapper
    from zarr.storage import FsspecStore, LocalStore, ZipStore

    if isinstance(where, Uri) and where.suffix == ".zip":
        raise FileError(f"{where} is an archive", "a zarr folder, or a local archive", "unpack or download it")
    with reading(str(where)):
        if isinstance(where, Uri):
            # The file system of all other reads: one of zarr's own would leave its connections open.
            shared = AsyncFileSystemWrapper(where.fs, asynchronous=True)
            store: Any = FsspecStore(shared, read_only=True, path=where.fs._strip_protocol(where.uri))
        else:
            store = ZipStore(where, mode="r") if where.suffix == ".zip" else LocalStore(where, read_only=True)
        root = zarr.open_group(store, mode="r")
        stack.callback(store.close)
        if not {"obs", "var"} <= set(root):
            raise FileError(f"{where} is zarr without obs and var", WANTED, "write it with anndata")
    return root


def _hdf5_source(where: Place, stack: ExitStack) -> Source:
    file = stack.enter_context(_hdf5(where, stack))
    with reading(str(where)):
        if {"obs", "var"} <= set(file):
            return AnnDataSource(where, file)
        if is_tenx(file):
            return open_tenx(where, file)
    raise FileError(f"{where} is HDF5 without obs and var, and without a 10x matrix", WANTED, "write it with anndata")


def _hdf5(where: Place, stack: ExitStack) -> Any:
    if isinstance(where, Path) and not where.is_file():
        said = "is a folder without matrix.mtx, not a zarr store" if where.is_dir() else "does not exist"
        raise FileError(f"{where} {said}", WANTED, "check the path")
    if isinstance(where, Uri):
        with reading(str(where)):
            where.fs.info(where.uri)
            stream = stack.enter_context(where.open_blocks())
        if not stream.seekable():
            raise FileError(
                f"{where}: the server sends only whole files", "one that supports Range", "download the file"
            )
    try:
        return h5py.File(where if isinstance(where, Path) else stream, "r")
    except OSError as error:
        why = "is truncated" if "truncated" in str(error) else "cannot be opened as HDF5"
        raise FileError(f"{where} {why}", WANTED, "download or write it again") from error
