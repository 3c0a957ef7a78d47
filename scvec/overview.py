"""A query from all sides, as values: what `scvec.report.findings` computes."""

from scvec.report.findings import (
    CellMap,
    CellMeasures,
    Doubts,
    Markers,
    Overview,
    cell_map,
    cell_measures,
    doubts,
    markers,
    overview,
)

__all__ = [
    "CellMap",
    "CellMeasures",
    "Doubts",
    "Markers",
    "Overview",
    "cell_map",
    "cell_measures",
    "doubts",
    "markers",
    "overview",
]
