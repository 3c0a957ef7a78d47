"""The page of names: clusters that no reference has, what they look like, and which names to believe."""

from __future__ import annotations

from datetime import date
from pathlib import Path

from scvec.naming import Names
from scvec.report.page import names_words as words
from scvec.report.page.targets import check_report, write_page
from scvec.report.page.templates import rendered


def write_names(names: Names, out: str | Path, *, command: str = "", made_on: str | None = None) -> None:
    """Write names as one HTML file that needs no network, completely or not at all.

    Parameters
    ----------
    names
        What `scvec.name` found; with its ``evidence=True``, genes link to the sentences of their texts.
    out
        The file; its name ends in ``.html``. Folders that are missing are made.
    command
        The command that made the names, for the page's provenance.
    made_on
        The day; None: today.

    Raises
    ------
    InputError
        If `out` is a folder, or does not end in ``.html``.
    """
    check_report(out)
    write_page(render_names(names, command, f"{date.today():%Y-%m-%d}" if made_on is None else made_on), out)


def render_names(names: Names, command: str = "", made_on: str = "") -> str:
    """Return the page."""
    return rendered(
        "names.html.j2",
        kind="scvec name",
        name=names.provenance.get("file") or "Names",
        lead=words.lead(names),
        tiles=words.tiles(names),
        sections=words.sections(names),
        of=words.of(names),
        rows=words.rows(names),
        reading=words.reading(names),
        said=names.notes,
        blocks=words.blocks(names),
        command=command,
        made_on=made_on,
        provenance=words.provenance(names),
        notes=(),
    )
