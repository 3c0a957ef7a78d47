"""Names of cells in a table and in a file: the same, or one barcode with another suffix or prefix on either side."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from scvec.core.types import Ints, Strings

BARCODE = re.compile(r"(?<![A-Za-z])[ACGTN]{8,}(?:[+_.-][ACGTN]{6,})*(?![A-Za-z])")
"""A barcode in the name of a cell; that of a combinatorial assay has several parts."""

ENOUGH = 0.5
"""The share of the cells, or of the rows, that must match: two samples have some barcodes in common by chance."""

Parts = tuple[str, str]
"""What is compared of a name, and what is left of it."""


def _number(name: str) -> Parts:
    """Split off a number at the end, as the ``-1`` of Cell Ranger: R writes ``.1``."""
    found = re.search(r"[-.]\d+$", name)
    return (name, "") if found is None else (name[: found.start()], found[0].replace(".", "-"))


def _barcode(name: str) -> Parts:
    """Split a name into its barcode and the rest, such as ``s1_`` and ``-1-0``."""
    found = BARCODE.search(name)
    if found is None:
        return name, ""
    return found[0], f"{name[: found.start()]}*{name[found.end() :].replace('.', '-')}"


def _dashes(name: str) -> Parts:
    """Return a name as R's ``make.names`` writes it."""
    word = re.sub(r"[^\w.]", ".", name)
    return (word if re.match(r"[A-Za-z.]", word) else f"X{word}"), ""


WAYS: tuple[Callable[[str], Parts], ...] = (_number, _barcode, _dashes)
"""How names are taken apart, if they are not the same; the first that fits most cells is taken."""


@dataclass(frozen=True, slots=True)
class Matched:
    """Which row of a table each cell has.

    Attributes
    ----------
    rows
        (n,) rows of the table; -1 for a cell that has none.
    example
        The name of a cell in the file and in the table, where these differ.
    """

    rows: Ints
    example: tuple[str, str] | None = None

    @property
    def n(self) -> int:
        """How many cells have a row."""
        return int((self.rows >= 0).sum())


def match_names(names: Strings, there: Strings) -> Matched:
    """Match (n,) names of cells to (m,) names of a table's rows, each of which is there once.

    The names themselves come first. Otherwise, names are compared without what a tool adds to a barcode. They match
    only if no two cells and no two rows become the same, and if what one side adds goes with one addition of the other
    side: samples are never mixed up.
    """
    place = {name: i for i, name in enumerate(there.tolist())}
    best = Matched(np.array([place.get(name, -1) for name in names.tolist()], np.int64))
    if best.n == len(names):
        return best
    for way in WAYS:
        found = _matched_by(way, names, there)
        if found is not None and found.n > best.n:
            best = found
    return best


def _matched_by(way: Callable[[str], Parts], names: Strings, there: Strings) -> Matched | None:
    own, others = [way(one) for one in names.tolist()], [way(one) for one in there.tolist()]
    place: dict[str, int] = {}
    twice: set[str] = set()
    for i, (word, _) in enumerate(others):
        if place.setdefault(word, i) != i:
            twice.add(word)
    asked = [word for word, _ in own]
    if len(set(asked)) < len(asked) or twice & set(asked):
        return None
    rows = np.array([place.get(word, -1) for word in asked], np.int64)
    at = np.flatnonzero(rows >= 0).tolist()
    if not at:
        return None
    pairs = {(own[i][1], others[rows[i]][1]) for i in at}
    if len({one for one, _ in pairs}) < len(pairs) or len({other for _, other in pairs}) < len(pairs):
        return None
    if len(at) < ENOUGH * min(len(names), len(there)):
        return None
    differs = next((i for i in at if names[i] != there[rows[i]]), at[0])
    return Matched(rows, (str(names[differs]), str(there[rows[differs]])))
