"""Results as leaderboards: of genes, of cells, and figures of other benchmarks in one flat form.

A flat file is a JSON list, or has one under ``figures``, of objects with ``suite``, ``task``, ``model``, ``measure``
and ``value``, and if there are any ``low``, ``high``, ``revision`` and ``control`` (true for what others have to beat).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from scvec.bench.board.values import Board, BoardRow, BoardTable, Cell, Column
from scvec.bench.board.words import all_controls, better_than, genes_lead
from scvec.bench.genes.models import name_only
from scvec.bench.genes.results import (
    FACTS,
    TFIDF,
    VIEWS,
    command_for,
    facts_shown,
    figure_in,
    figures_of_tables,
    reason,
)
from scvec.bench.genes.tasks import Variant
from scvec.bench.results import RESULTS
from scvec.core.limits import bounded_json, read_file
from scvec.errors import FileError


def read_boards(places: Iterable[str | Path]) -> tuple[Board, ...]:
    """Return the leaderboards of files of results, or of all in a folder, or in the folders in it.

    Raises
    ------
    FileError
        If a place has no results.
    """
    found: list[Board] = []
    for place in map(Path, places):
        paths = [place] if place.is_file() else [*sorted(place.glob("*.json")), *sorted(place.glob(f"*/{RESULTS}"))]
        boards = [replace(board, source=str(path)) for path in paths for board in _read(path)]
        if not boards:
            raise FileError(
                f"{place} has no results of a suite", f"{RESULTS}, as scvec bench writes it", "name another place"
            )
        found += boards
    return tuple(sorted(found, key=lambda one: one.name != "genes"))


def _read(path: Path) -> Iterator[Board]:
    """Yield the boards of a file; a file of another form has none."""
    try:
        values = bounded_json(read_file(path))
        if isinstance(values, dict) and "genes" in values and "rows" in values:
            yield _genes(values)
        elif isinstance(values, dict) and isinstance(values.get("rows"), list):
            yield _cells({"suite": path.stem, **values})
        else:
            flat = values.get("figures") if isinstance(values, dict) else values
            if isinstance(flat, list) and flat and all(isinstance(one, dict) and "suite" in one for one in flat):
                for suite in dict.fromkeys(str(one["suite"]) for one in flat):
                    yield _flat(suite, [one for one in flat if str(one["suite"]) == suite])
    except (ValueError, KeyError, TypeError, AttributeError, IndexError):
        return


def _genes(values: dict[str, Any]) -> Board:
    """Return the board of a suite of gene-level tasks: one table for each kind of texts."""
    rows, tasks = values["rows"], values["tasks"]
    figures = figures_of_tables(values)
    tables = tuple(_gene_table(view, rows, tasks, figures) for view in VIEWS)
    facts = [(one["row"], *facts_shown(one)) for one in rows if "revision" in one]
    missing = [(one["row"], reason(one), command_for(one)) for one in rows if "missing" in one]
    lead = tuple(genes_lead(values["seeds"], tasks, tables[0]))
    return Board(str(values["suite"]), lead, tables, ("model", *FACTS), tuple(facts), tuple(missing))


def _gene_table(view: Variant, rows: list[Any], tasks: list[Any], figures: dict[Any, Any]) -> BoardTable:
    def cells(row: Any) -> tuple[Cell | None, ...]:
        return tuple(_gene_cell(row, one["name"], view, figures) for one in tasks)

    shown = [one for one in rows if "missing" not in one]
    own = {name_only(one["row"]) for one in rows}
    by_name = {one["row"]: cells(one) for one in shown}
    made = []
    # The names alone of a model are a line in its row, and no row.
    for row in (one for one in shown if one["row"] not in own):
        name, names = row["row"], name_only(row["row"])
        is_control = row["kind"] == "control"
        against = {} if is_control else {key: _against(name, tasks, view, figures, key) for key in (TFIDF, names)}
        better, n = against.get(TFIDF, (-1, 0))
        made.append(
            BoardRow(
                name,
                is_control,
                by_name[name],
                f"d = {row['dimension']}" if "dimension" in row else "",
                better_than(against, {TFIDF: "TF-IDF", names: "its names alone"}),
                better if n else -1,
                own={"names alone": by_name[names]} if names in by_name else {},
            )
        )
    columns = _columns([(one["name"], one["measures"][0]) for one in tasks], made)
    lines = [one["row"] for one in shown if one["kind"] == "control" and one["row"] not in own]
    return BoardTable(f"{view.capitalize()} texts", columns, tuple(made), tuple(lines))


def _gene_cell(row: Any, task: str, view: Variant, figures: dict[Any, Any]) -> Cell | None:
    found = figure_in(row, task, view, figures)
    return None if found is None else Cell(found["value"], found["low"], found["high"])


def _against(name: str, tasks: list[Any], view: str, figures: dict[Any, Any], control: str) -> tuple[int, int]:
    there = [figures.get((name, one["name"], view), {}).get("against", {}).get(control) for one in tasks]
    return sum(one is not None and one[1] > 0 for one in there), sum(one is not None for one in there)


def _cells(values: dict[str, Any]) -> Board:
    """Return the board of a suite of cells: median macro-F1, from least to largest over the seeds."""
    tables = []
    for group in dict.fromkeys(one["group"] for one in values["rows"]):
        rows = [one for one in values["rows"] if one["group"] == group]
        tasks = list(dict.fromkeys(one["task"] for one in rows))
        by_key = {(one["method"], one["task"]): Cell(*map(float, one["macro_f1"])) for one in rows if "macro_f1" in one}
        kinds = {one["method"]: one["kind"] == "control" for one in rows}
        found = {name: tuple(by_key.get((name, one)) for one in tasks) for name in kinds}
        tables.append(_judged(group or "Tasks", [(one, "macro-F1") for one in tasks], found, kinds))
    lead = "Median macro-F1 over the seeds, from least to largest. A control reads no gene text, or another gene's."
    return Board(str(values["suite"]), (lead,), tuple(tables))


def _flat(suite: str, figures: list[dict[str, Any]]) -> Board:
    columns = list(dict.fromkeys((str(one["task"]), str(one["measure"])) for one in figures))
    by_key = {
        (str(one["model"]), (str(one["task"]), str(one["measure"]))): Cell(
            float(one["value"]), float(one.get("low", one["value"])), float(one.get("high", one["value"]))
        )
        for one in figures
        if one["value"] is not None
    }
    kinds = {str(one["model"]): bool(one.get("control")) for one in figures}
    found = {name: tuple(by_key.get((name, one)) for one in columns) for name in kinds}
    revisions = {str(one["model"]): str(one["revision"]) for one in figures if one.get("revision")}
    return Board(
        suite, (), (_judged("Figures", columns, found, kinds),), ("model", "revision"), tuple(revisions.items())
    )


def _judged(
    title: str,
    columns: list[tuple[str, str]],
    found: dict[str, tuple[Cell | None, ...]],
    kinds: dict[str, bool],
) -> BoardTable:
    """Return a table whose rows are better where their interval is above the figures of all controls."""
    controls = [name for name, is_control in kinds.items() if is_control]
    rows = []
    for name, cells in found.items():
        above = n = 0
        for i, cell in enumerate(cells):
            others = [one.value for key in controls if (one := found[key][i]) is not None]
            if cell is not None and others:
                n, above = n + 1, above + (cell.low > max(others))
        said = "" if kinds[name] else all_controls(above, n)
        rows.append(BoardRow(name, kinds[name], cells, "", said, above if said else -1))
    rows.sort(key=lambda one: one.is_control)
    return BoardTable(title, _columns(columns, rows), tuple(rows), tuple(controls))


def _columns(tasks: list[tuple[str, str]], rows: list[BoardRow]) -> tuple[Column, ...]:
    """Return columns whose axes hold all intervals; that of an AUROC starts below chance."""
    made = []
    for i, (task, measure) in enumerate(tasks):
        cells = [one for row in rows if (one := row.cells[i]) is not None]
        start = min([0.4 if "auroc" in measure.lower() else 0.0, *(one.low for one in cells)])
        end = max((one.high for one in cells), default=1.0)
        made.append(Column(task, measure, start, max(end, start + 1e-6)))
    return tuple(made)
