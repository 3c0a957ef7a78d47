"""Opening a file of cells, after detecting its format."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from scvec.core.forks import check_fork
from scvec.errors import FileError
from scvec.ingest.cells.contents import content_of
from scvec.ingest.cells.file import CellFile
from scvec.ingest.cells.folders import inside, unfiltered_note
from scvec.ingest.cells.h5ad import AnnDataSource
from scvec.ingest.cells.hdf5 import foreign_hdf5, open_hdf5
from scvec.ingest.cells.locations import Place, Uri, fingerprint, place, reading
from scvec.ingest.cells.loom import LoomSource, is_loom
from scvec.ingest.cells.market import open_market
from scvec.ingest.cells.market_layout import is_market, layout_of
from scvec.ingest.cells.memory import Cells, InMemory, MemorySource, in_memory
from scvec.ingest.cells.mudata import MuDataSource, spatial_table
from scvec.ingest.cells.refusals import WANTED
from scvec.ingest.cells.selection import ALL_CELLS, Selection
from scvec.ingest.cells.source import Source
from scvec.ingest.cells.tables import read_table
from scvec.ingest.cells.tenx import is_tenx, open_tenx
from scvec.ingest.cells.tree import Tree
from scvec.ingest.cells.zarrs import ZARR_MARKS, is_folder, is_zarr, open_zarr


@dataclass(frozen=True, slots=True)
class _Opened:
    """A source, the files whose change changes it, and notes on the choice of it."""

    source: Source
    members: list[Place]
    notes: tuple[str, ...] = ()


@contextmanager
def open_cells(cells: Cells, obs: str | Path | None = None, selection: Selection = ALL_CELLS) -> Iterator[CellFile]:
    """Open cells for reading. The format of a file is detected from the content, not the file name.

    Parameters
    ----------
    cells
        An AnnData: in memory, backed, or a view; it is neither changed nor copied. Or a file: an h5ad, gzipped or not;
        an h5mu, of which the modality ``rna`` is read; a loom file; a zarr store of AnnData, MuData or SpatialData,
        format 2 or 3, a folder or a local ``.zip``; Cell Ranger's ``.h5``. Or a matrix in Matrix Market's format with
        the names of its cells and genes beside it, as Cell Ranger, STARsolo, split-pipe, bustools, alevin-fry and GEO
        name these files: the matrix, its folder, or a folder above it (``outs``), where the filtered matrix is read. Or
        the URI of one of these, as fsspec knows it: ``s3://``, ``https://`` ...
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
        If it is missing, truncated, unreadable, or of another format, for which the message says how to make an h5ad
        of it.
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
        found = _opened(where, stack)
        file = CellFile(where, lambda _layer, _use_rep: fingerprint(found.members), found.source, table, found.notes)
        yield selection.of(file)


def is_h5ad(cells: Cells) -> bool:
    """Whether cells are an h5ad file, to a copy of which calls can be added; one that is gzipped is none."""
    where = _file_of(cells)
    if where is None or is_zarr(where) or is_folder(where) or _is_market(where):
        return False
    if isinstance(where, Path) and where.is_file() and content_of(where)[0] == "gzip":
        return False
    with ExitStack() as stack:
        return type(_opened(where, stack).source) is AnnDataSource


def is_anndata_zarr(cells: Cells) -> bool:
    """Whether cells are a zarr store of one AnnData, to a copy of which calls can be added."""
    where = _file_of(cells)
    if where is None or not is_zarr(where):
        return False
    with ExitStack() as stack:
        found = _opened(where, stack)
        return type(found.source) is AnnDataSource and not found.notes


def _file_of(cells: Cells) -> Place | None:
    return place(cells) if in_memory(cells) is None else None


def _opened(where: Place, stack: ExitStack) -> _Opened:
    if is_zarr(where):
        return _of_zarr(where, stack)
    if _is_market(where):
        layout = layout_of(where)
        return _Opened(open_market(layout, stack), layout.members, unfiltered_note(where))
    if is_folder(where) and not (isinstance(where, Uri) and not _is_remote_folder(where)):
        found = inside(where)
        opened = _opened(found.where, stack)
        return replace(opened, notes=(*found.notes, *opened.notes))
    return _Opened(_of_hdf5(where, open_hdf5(where, stack)), [where], unfiltered_note(where))


def _is_market(where: Place) -> bool:
    """Whether a file is a matrix in text: by its name or, of a local one, by its content."""
    if is_market(where.name) or isinstance(where, Uri):
        return is_market(where.name)
    if not where.is_file():
        return False
    content, inner = content_of(where)
    return (inner or content) == "market"


def _is_remote_folder(where: Uri) -> bool:
    with reading(str(where)):
        return bool(where.is_http or where.fs.isdir(where.uri))


def _of_zarr(where: Place, stack: ExitStack) -> _Opened:
    root, members = open_zarr(where, stack), [where]
    if isinstance(where, Uri) and where.is_http:  # which cannot list folders
        members = [one for mark in ZARR_MARKS if (one := where / mark).exists()]
    source = _anndata(where, root)
    if source is not None:
        return _Opened(source, members)
    table = spatial_table(where, root)
    if table is None:
        raise FileError(f"{where} is zarr without obs and var", WANTED, "write it with anndata")
    return _Opened(AnnDataSource(where, table[0]), members, (f"{table[1]} of SpatialData is read",))


def _of_hdf5(where: Place, file: Tree) -> Source:
    source = _anndata(where, file)
    if source is not None:
        return source
    with reading(str(where)):
        if is_tenx(file):
            return open_tenx(where, file)
        if is_loom(file):
            return LoomSource(where, file)
    raise foreign_hdf5(where, file)


def _anndata(where: Place, root: Tree) -> AnnDataSource | None:
    with reading(str(where)):
        mudata, plain = "mod" in root and isinstance(root["mod"], Tree), "obs" in root and "var" in root
    if mudata:
        return MuDataSource(where, root)
    return AnnDataSource(where, root) if plain else None
