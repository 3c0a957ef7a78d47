"""Zarr stores: how they are recognised and opened."""

from __future__ import annotations

import os
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from scvec.errors import FileError
from scvec.ingest.cells.contents import content_of, members_of
from scvec.ingest.cells.locations import Place, Uri, reading
from scvec.ingest.cells.tree import Tree

ZARR_MARKS = ("zarr.json", ".zgroup", ".zmetadata")
ENDINGS = (".h5ad", ".h5", ".hdf5", ".h5mu", ".loom", ".h5seurat", ".mtx", ".csv", ".tsv", ".txt", ".rds")
FILE_ENDINGS = (*ENDINGS, *(f"{one}.gz" for one in ENDINGS))
"""Endings of files, by which they are told from folders where a place cannot be asked."""


def is_folder(where: Place) -> bool:
    """Whether a location is a folder. On a web server, files can be requested, but not listed: its name decides."""
    return not where.name.lower().endswith(FILE_ENDINGS) if isinstance(where, Uri) else where.is_dir()


def is_zarr(where: Place) -> bool:
    """Whether a location is a zarr store, by the files that mark one."""
    if is_folder(where) and where.suffix != ".zip":
        return any((where / mark).exists() for mark in ZARR_MARKS)
    if isinstance(where, Uri):
        return where.suffix == ".zip"
    return where.is_file() and content_of(where)[0] == "zip" and bool({*ZARR_MARKS} & {*members_of(where)})


def open_zarr(where: Place, stack: ExitStack) -> Tree:
    """Return the root of a zarr store, which `stack` closes.

    Raises
    ------
    FileError
        If it is broken, leads out of itself, or is a remote archive.
    """
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
        elif where.is_dir():
            _refuse_links(where)
            store = LocalStore(where, read_only=True)
        else:
            store = ZipStore(where, mode="r")
        root = zarr.open_group(store, mode="r")
        stack.callback(store.close)
    return Tree(root, str(where))


def _refuse_links(folder: Path) -> None:
    """Raise `FileError` if a link in a store leads out of it: a store from elsewhere could read any file so."""
    inside = folder.resolve()
    for path, folders, files in os.walk(folder):
        for one in (Path(path, name) for name in (*folders, *files)):
            if one.is_symlink() and not one.resolve().is_relative_to(inside):
                fix = "if you trust the store, copy it with its data: cp -rL"
                raise FileError(f"{one} is a link to {one.resolve()}", "all data inside the store", fix)
