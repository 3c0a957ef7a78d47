"""The page of leaderboards: one HTML file that needs no network, and the same as Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any

from scvec.bench.board.values import Board, BoardRow, BoardTable, Cell, Column, shown
from scvec.bench.suite import slug
from scvec.core.files import placing
from scvec.report.page.targets import check_report, write_page
from scvec.report.page.templates import part, rendered

HERE = "scvec.bench.board"
N_STROKES = 8
"""Strokes of lines that the style knows."""


def write_board(
    boards: Sequence[Board], out: str | Path, *, command: str = "", made_on: str | None = None
) -> tuple[Path, Path]:
    """Write leaderboards as one HTML file that needs no network, and as Markdown beside it; return both paths.

    Parameters
    ----------
    boards
        As `read_boards` returns them.
    out
        The page; its name ends in ``.html``.
    command
        The command that made it.
    made_on
        The day; None: today.

    Raises
    ------
    InputError
        If `out` is a folder, or does not end in ``.html``.
    """
    out = Path(out)
    check_report(out)
    write_page(render(boards, command, f"{date.today():%Y-%m-%d}" if made_on is None else made_on), out)
    beside = out.with_suffix(".md")
    with placing(beside) as text:
        text.write_text("\n\n".join(["# Leaderboard", *(one.markdown() for one in boards)]) + "\n", encoding="utf-8")
    return out, beside


def render(boards: Sequence[Board], command: str = "", made_on: str = "") -> str:
    """Return the page."""
    rows = [row for board in boards for table in board.tables[:1] for row in table.rows]
    tiles = [
        (len({one.name for one in rows if not one.is_control}), "models and recipes measured"),
        (len({one.name for one in rows if one.is_control}), "controls"),
        (sum(len(table.columns) for board in boards for table in board.tables[:1]), "tasks"),
        (sum(len(board.missing) for board in boards), "models not measured here"),
    ]
    return rendered(
        "board.html.j2",
        package=HERE,
        kind="scvec bench",
        name="Leaderboard",
        lead=(),
        tiles=[(f"{value:,}", what) for value, what in tiles],
        sections=[(slug(one.name), one.name) for one in boards],
        boards=[_board(one) for one in boards],
        board_style=part("board.css", HERE),
        board_script=part("board.js", HERE),
        command=command,
        made_on=made_on,
        provenance=[(one.name, one.source) for one in boards],
        notes=(),
    )


def _board(board: Board) -> dict[str, Any]:
    return {
        "anchor": slug(board.name),
        "name": board.name,
        "lead": board.lead,
        "tables": [_table(one) for one in board.tables],
        "facts_header": board.facts_header,
        "facts": board.facts,
        "missing": [{"name": name, "why": why, "command": command} for name, why, command in board.missing],
    }


def _table(table: BoardTable) -> dict[str, Any]:
    of_control = {row.name: row.cells for row in table.rows}
    lines = {name: of_control[name] for name in table.lines if name in of_control}
    codes = {name: i for i, name in enumerate([*lines, *dict.fromkeys(key for row in table.rows for key in row.own)])}
    return {
        "title": table.title,
        "columns": table.columns,
        "legend": [{"name": name, "code": code % N_STROKES} for name, code in codes.items()],
        "rows": [_row(row, table.columns, lines, codes) for row in table.rows],
        "judged": any(row.verdict for row in table.rows),
    }


def _row(
    row: BoardRow,
    columns: Sequence[Column],
    lines: Mapping[str, Sequence[Cell | None]],
    codes: Mapping[str, int],
) -> dict[str, Any]:
    drawn = {} if row.is_control else {**lines, **row.own}
    cells = []
    for i, (column, cell) in enumerate(zip(columns, row.cells, strict=True)):
        others = {name: one for name, some in drawn.items() if (one := some[i]) is not None}
        cells.append(None if cell is None else _cell(cell, column, others, codes))
    return {
        "name": row.name,
        "note": row.note,
        "control": row.is_control,
        "cells": cells,
        "verdict": row.verdict,
        "better": row.better,
    }


def _cell(cell: Cell, column: Column, others: Mapping[str, Cell], codes: Mapping[str, int]) -> dict[str, Any]:
    def at(value: float) -> float:
        return round(100 * min(max((value - column.start) / (column.end - column.start), 0), 1), 2)

    crossed = [name for name, one in others.items() if cell.low > one.value]
    said = [f"{name} {one.value:.3f}" for name, one in sorted(others.items(), key=lambda pair: -pair[1].value)]
    return {
        "value": cell.value,
        "text": f"{cell.value:.3f}",
        "whole": "; ".join([f"{column.task}, {column.measure}: {shown(cell)}", *said]),
        "end": at(cell.value),
        "low": at(cell.low),
        "width": round(at(cell.high) - at(cell.low), 2),
        "above": bool(others) and len(crossed) == len(others),
        "lines": [{"code": codes[name] % N_STROKES, "at": at(one.value)} for name, one in others.items()],
    }
