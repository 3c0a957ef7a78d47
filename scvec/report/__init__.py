"""Reports: findings on a query as values, figures of these, and one HTML page; and a page of names."""

from typing import TYPE_CHECKING

from scvec.core.lazy import exporting

if TYPE_CHECKING:
    from scvec.report import figures
    from scvec.report.findings.summary import Overview, overview
    from scvec.report.page.names_page import write_names
    from scvec.report.page.page import write

__all__ = ["Overview", "figures", "overview", "write", "write_names"]

__getattr__ = exporting(
    __name__,
    {
        "Overview": "findings.summary",
        "figures": "figures",
        "overview": "findings.summary",
        "write": "page.page",
        "write_names": "page.names_page",
    },
)
