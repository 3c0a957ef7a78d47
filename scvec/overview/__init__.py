"""A query from all sides, as values: a map, what is to be doubted, the genes behind the calls."""

from scvec.overview.cell_map import CellMap, cell_map
from scvec.overview.doubts import Doubts, doubts
from scvec.overview.markers import Markers, markers
from scvec.overview.overview import Overview, overview

__all__ = ["CellMap", "Doubts", "Markers", "Overview", "cell_map", "doubts", "markers", "overview"]
