"""All that a report shows, as values: `summary` has the `Overview` of the other modules' parts.

The map of the cells, the doubtful calls with the labels' quality and unexpected genes, the marker genes, the names of
unknown cells.
"""

from scvec.report.findings.doubtful_calls import Doubts, doubts
from scvec.report.findings.map import CellMap, cell_map
from scvec.report.findings.marker_genes import Markers, markers
from scvec.report.findings.measuring import CellMeasures, cell_measures
from scvec.report.findings.suggested_names import UnknownGroup, unknown_groups
from scvec.report.findings.summary import Overview, overview

__all__ = [
    "CellMap",
    "CellMeasures",
    "Doubts",
    "Markers",
    "Overview",
    "UnknownGroup",
    "cell_map",
    "cell_measures",
    "doubts",
    "markers",
    "overview",
    "unknown_groups",
]
