"""Opening of HDF5: from a path, a gzipped file or a URI; and what other HDF5 files than AnnData's are."""

from __future__ import annotations

import os
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import h5py

from scvec.errors import FileError
from scvec.ingest.cells.compressed import unpacked
from scvec.ingest.cells.contents import PEEKED, content_of, kind_of
from scvec.ingest.cells.locations import Place, Uri, reading
from scvec.ingest.cells.refusals import WANTED, quoted_out, refusal
from scvec.ingest.cells.tree import Tree

MOLECULES = ({"barcode_idx", "umi"}, {"barcode", "umi", "gene"})
"""Members of Cell Ranger's molecule_info.h5, of its versions."""

N_SHOWN = 8


def open_hdf5(where: Place, stack: ExitStack) -> Tree:
    """Return the root of an HDF5 file, gzipped or not, which `stack` closes.

    Raises
    ------
    FileError
        If it is missing, held by another process, truncated, or something else; the message says what.
    """
    if isinstance(where, Uri):
        return Tree(_opened(where, _stream(where, stack), stack), str(where))
    if not where.is_file():
        said = "is neither a file nor a folder" if where.exists() else "does not exist"
        raise FileError(f"{where} {said}", WANTED, "check the path")
    content, inner = content_of(where)
    if (inner or content) != "hdf5" or content not in ("hdf5", "gzip"):
        raise refusal(where)
    return Tree(_opened(where, where if content == "hdf5" else unpacked(where, stack), stack), str(where))


def _stream(where: Uri, stack: ExitStack) -> Any:
    with reading(str(where)):
        where.fs.info(where.uri)
        stream = stack.enter_context(where.open_blocks())
    if not stream.seekable():
        raise FileError(f"{where}: the server sends only whole files", "one that supports Range", "download the file")
    return stream


def _opened(where: Place, source: Any, stack: ExitStack) -> Any:
    if isinstance(where, Uri):
        # Within the blocks that are read anyway; a further request would be one for each file.
        with reading(str(where)):
            head = kind_of(source.read(PEEKED))
            source.seek(0)
        if head != "hdf5":
            if content_of(where) != ("gzip", "hdf5"):
                raise refusal(where)
            source = unpacked(where, stack)
    try:
        return stack.enter_context(h5py.File(source, "r"))
    except Exception as error:
        raise _not_opened(where, str(error)) from error


def _not_opened(where: Place, said: str) -> FileError:
    if "unable to lock" in said or "already open" in said:
        fix = "close it there (adata.file.close(), or the notebook), or copy the file and give the copy"
        return FileError(f"{where} is open for writing in another program", "a file that is closed", fix)
    if "ermission" in said or (isinstance(where, Path) and not os.access(where, os.R_OK)):
        return FileError(f"{where} cannot be accessed", "a readable file", "check the permissions")
    why = "is truncated" if "truncated" in said else "cannot be opened as HDF5"
    return FileError(f"{where} {why}", "a complete file", "download or write it again")


def foreign_hdf5(where: Place, file: Tree) -> FileError:
    """Return the error for an HDF5 file that is neither AnnData nor MuData, 10x's or loom."""
    with reading(str(where)):
        keys = file.keys()
        seurat = "assays" in keys and ("cell.names" in keys or "active.assay" in file.attrs)
    if seurat:
        fix = f"in R: SeuratDisk::Convert({str(where)!r}, dest = {quoted_out(where)})"
        return FileError(f"{where} is h5Seurat", WANTED, fix)
    if any(one <= set(keys) for one in MOLECULES):
        seen = f"{where} is Cell Ranger's molecule_info.h5, a table of molecules"
        return FileError(
            seen, WANTED, "give filtered_feature_bc_matrix.h5, which Cell Ranger writes into the same folder"
        )
    holds = f" (it has {', '.join(keys[:N_SHOWN])})" if keys else " (it is empty)"
    seen = f"{where} is HDF5 without obs and var, and without a 10x matrix{holds}"
    return FileError(seen, WANTED, "write it with anndata")
