"""Where a page is written: checked before any work, then written completely or not at all."""

from __future__ import annotations

from pathlib import Path

from scvec.core.files import placing, require_folder
from scvec.errors import InputError


def check_report(out: str | Path) -> None:
    """Raise if a report cannot be written to `out`; called before any work is done.

    Raises
    ------
    InputError
        If it is a folder, does not end in ``.html``, or its parent is not a folder.
    """
    out = Path(out)
    if out.suffix not in (".html", ".htm"):
        raise InputError(f"report {out}", "a file name that ends in .html", "give such a name")
    if out.is_dir():
        raise InputError(f"report {out} is a folder", "a file", f"name {out}/report.html")
    require_folder(out, "report")


def write_page(text: str, out: str | Path) -> None:
    """Write a page to `out`; folders that are missing are made."""
    with placing(Path(out)) as part:
        part.write_text(text, encoding="utf-8")
