"""A query from all sides, as values: what `scvec.report.findings` computes."""

from scvec.report.findings import CellMap, Doubts, Markers, Overview, cell_map, doubts, markers, overview

__all__ = ["CellMap", "Doubts", "Markers", "Overview", "cell_map", "doubts", "markers", "overview"]
