"""What a leaderboard shows, as values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from scvec.bench.results import ResultTable


@dataclass(frozen=True, slots=True)
class Cell:
    """A figure and its interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Column:
    """A task, its measure, and the ends of the axis on which its figures are drawn."""

    task: str
    measure: str
    start: float
    end: float


@dataclass(frozen=True, slots=True)
class BoardRow:
    """A model or a control.

    Attributes
    ----------
    name, note
        Its name, and a few words under it.
    is_control
        Whether it is what others have to beat.
    cells
        For each column a figure; None where there is none.
    verdict
        In words, on how many tasks it is better than what.
    better
        The number to sort verdicts by.
    own
        Controls of this row alone, such as its names alone: for each column a figure.
    """

    name: str
    is_control: bool
    cells: tuple[Cell | None, ...]
    note: str = ""
    verdict: str = ""
    better: int = -1
    own: Mapping[str, tuple[Cell | None, ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class BoardTable:
    """Rows by columns, with the controls that are drawn as lines in every row."""

    title: str
    columns: tuple[Column, ...]
    rows: tuple[BoardRow, ...]
    lines: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Board:
    """The leaderboard of a suite.

    Attributes
    ----------
    name
        Of the suite.
    lead
        Sentences: what the figures are, and what came out.
    tables
        Figures.
    facts_header, facts
        A table of what models are: revision, dimension, speed, cost.
    missing
        Models that were not measured: name, reason, command.
    source
        The file of the results.
    """

    name: str
    lead: tuple[str, ...]
    tables: tuple[BoardTable, ...]
    facts_header: tuple[str, ...] = ()
    facts: tuple[tuple[str, ...], ...] = ()
    missing: tuple[tuple[str, str, str], ...] = ()
    source: str = ""

    def markdown(self) -> str:
        """Return it as Markdown."""
        parts = [f"## {self.name}", *self.lead]
        for one in self.tables:
            header = ("", *(f"{column.task}, {column.measure}" for column in one.columns), "verdict")
            rows = [
                (f"*{row.name}*" if row.is_control else row.name, *map(shown, row.cells), row.verdict)
                for row in one.rows
            ]
            parts.append(f"### {one.title}\n\n{ResultTable('', header, tuple(rows)).markdown()}")
        if self.facts:
            parts.append(f"### Models\n\n{ResultTable('', self.facts_header, self.facts).markdown()}")
        parts += [f"- {name} was not measured here: {why} Then: `{command}`" for name, why, command in self.missing]
        return "\n\n".join(parts)


def shown(cell: Cell | None) -> str:
    """Return a figure with its interval, as words."""
    if cell is None:
        return ""
    if cell.low == cell.high:
        return f"{cell.value:.3f}"
    return f"{cell.value:.3f} ({cell.low:.3f} to {cell.high:.3f})"
