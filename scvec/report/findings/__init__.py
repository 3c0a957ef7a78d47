"""Findings about a query, as values: a map, doubtful calls, the genes behind the calls."""

from scvec.report.findings.doubtful_calls import Doubts, doubts
from scvec.report.findings.map import CellMap, cell_map
from scvec.report.findings.marker_genes import Markers, markers
from scvec.report.findings.summary import Overview, overview

__all__ = ["CellMap", "Doubts", "Markers", "Overview", "cell_map", "doubts", "markers", "overview"]
