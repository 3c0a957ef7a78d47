"""An overview as a page: one HTML file that needs no network."""

from scvec.report.page.page import check_report, write_report

__all__ = ["check_report", "write_report"]
