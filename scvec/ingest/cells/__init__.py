"""Files of cells, in any format and place: checked batches of one matrix, with its names and annotations."""

from scvec.ingest.cells.checked import VAR_NAMES, Matrix
from scvec.ingest.cells.deciding import AskedScale
from scvec.ingest.cells.file import CellFile
from scvec.ingest.cells.locations import Place, absolute, copy_local, copy_local_folder, expand, place
from scvec.ingest.cells.memory import Cells, InMemory, in_memory
from scvec.ingest.cells.opening import is_anndata_zarr, is_h5ad, open_cells
from scvec.ingest.cells.tree import require_inside
from scvec.ingest.cells.zarrs import is_zarr

__all__ = [
    "VAR_NAMES",
    "AskedScale",
    "CellFile",
    "Cells",
    "InMemory",
    "Matrix",
    "Place",
    "absolute",
    "copy_local",
    "copy_local_folder",
    "expand",
    "in_memory",
    "is_anndata_zarr",
    "is_h5ad",
    "is_zarr",
    "open_cells",
    "place",
    "require_inside",
]
