"""A query's report: findings as values, figures of these, and one HTML page."""

from typing import TYPE_CHECKING

from scvec.core.lazy import exporting

if TYPE_CHECKING:
    from scvec.report import figures
    from scvec.report.findings.summary import Overview, overview
    from scvec.report.page.page import write

__all__ = ["Overview", "figures", "overview", "write"]

__getattr__ = exporting(
    __name__,
    {
        "Overview": "findings.summary",
        "figures": "figures",
        "overview": "findings.summary",
        "write": "page.page",
    },
)
