"""Small tables of HTML, as notebooks show values."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

MOST_ROWS = 30


def table(title: str, header: Sequence[str], rows: Sequence[Sequence[object]], most: int = MOST_ROWS) -> str:
    """Return a title over a table of at most this many rows, without scripts and styles of its own.

    All text is escaped. Floats are rounded to three digits, NaN is empty.
    """
    head = "".join(f"<th>{escape(one)}</th>" for one in header)
    body = "".join(f"<tr>{''.join(map(_cell, row))}</tr>" for row in rows[:most])
    left = f"<p>... and {len(rows) - most:,} more</p>" if len(rows) > most else ""
    shown = f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>" if rows else ""
    return f"<div><p>{escape(title)}</p>{shown}{left}</div>"


def _cell(value: object) -> str:
    if isinstance(value, float):
        return f'<td style="text-align: right">{"" if value != value else f"{value:.3f}"}</td>'
    if isinstance(value, int) and not isinstance(value, bool):
        return f'<td style="text-align: right">{value:,}</td>'
    return f"<td>{escape(str(value))}</td>"
