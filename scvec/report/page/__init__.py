"""What was found as a page: one HTML file that needs no network."""

from scvec.report.page.page import write_report
from scvec.report.page.targets import check_report

__all__ = ["check_report", "write_report"]
