"""Annotations of cells or genes: names, and columns coded by their distinct values."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from scvec.core.types import Ints, Strings
from scvec.errors import DuplicateNameError, LabelError


@dataclass(frozen=True, slots=True)
class Column:
    """An annotation, coded by its distinct values.

    Attributes
    ----------
    codes
        (n,) positions in `values`; -1 where a value is missing.
    values
        The distinct values.
    """

    codes: np.ndarray[Any, np.dtype[Any]]
    values: Sequence[Any]

    @classmethod
    def of(cls, values: Any) -> Column:
        """Return (n,) values, of a pandas categorical or an array, as a column."""
        import pandas as pd

        if isinstance(values, pd.Categorical):
            return cls(np.asarray(values.codes), values.categories.tolist())
        if isinstance(values, pd.api.extensions.ExtensionArray):
            values = pd.Series(values, dtype=object)
        codes, found = pd.factorize(np.asarray(values, object))
        return cls(codes, found.tolist())

    def take(self, cells: Ints) -> Column:
        """Return the values of some cells, by their positions."""
        return Column(self.codes[cells], self.values)

    def labels(self) -> tuple[Strings, np.ndarray[Any, np.dtype[np.bool_]]]:
        """Return (n,) the values as strings, and (n,) where one is missing or blank."""
        return self._strings([str(value) for value in self.values])

    def complete_labels(self, what: str, names: Strings) -> Strings:
        """Return (n,) the values as strings; `names` are the cells', and errors call the column `what`.

        Raises
        ------
        LabelError
            If values are missing.
        """
        labels, absent = self.labels()
        if absent.any():
            first = names[int(np.argmax(absent))]
            raise LabelError(
                f"{what} lacks {int(absent.sum()):,} of {len(labels):,} values ({first}, ...)",
                "a value for every cell",
                'fill in the values, or read only the cells that have one, with `only` "... IS NOT NULL"',
            )
        return labels

    def gene_names(self) -> Strings:
        """Return (n,) the values as strings: "" for missing ones, no ".0" where whole numbers were read as floats."""
        return self._strings([_name(value) for value in self.values])[0]

    def _strings(self, values: list[str]) -> tuple[Strings, np.ndarray[Any, np.dtype[np.bool_]]]:
        # The last element is for code -1.
        strings = np.array([*values, ""], dtype=object)
        blank = np.array([not one.strip() for one in values] + [True])
        return strings[self.codes], blank[self.codes]


def _name(value: object) -> str:
    if value != value or str(value) == "<NA>":
        return ""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def log_base_of(noted: Any) -> float | None:
    """Return the base in scanpy's ``uns["log1p"]``: e where it is None or left out; None if it is not a number."""
    base = noted.get("base") if isinstance(noted, Mapping) else None
    if base is None:
        return math.e
    try:
        return float(base)
    except (TypeError, ValueError):
        return None


def colors_by_label(categories: Sequence[Any], colors: Any) -> dict[str, str]:
    """Return the colour of each category, as scanpy keeps colours: in the order of the categories; none if they differ.

    Colours that do not fit the categories are ignored and raise no error.
    """
    found = np.asarray(colors, object)
    if found.shape != (len(categories),):
        return {}
    return {str(label): str(color) for label, color in zip(categories, found, strict=True)}


class Frame(Protocol):
    """The annotations of cells or genes, read on demand."""

    @property
    def keys(self) -> list[str]:
        """The names of its columns."""
        ...

    def names(self) -> Strings:
        """Return (n,) the names of its rows."""
        ...

    def column(self, key: str) -> Column:
        """Return an existing column."""
        ...


@dataclass(frozen=True, slots=True)
class Named:
    """Annotations in memory: names, and columns of strings."""

    row_names: Strings
    columns: dict[str, Strings]

    @property
    def keys(self) -> list[str]:
        """The names of the columns."""
        return list(self.columns)

    def names(self) -> Strings:
        """Return (n,) the names of the rows."""
        return self.row_names

    def column(self, key: str) -> Column:
        """Return a column."""
        return Column.of(self.columns[key])


def strings_of(column: Any, block: int = 2**16) -> Strings:
    """Return (n,) strings of an Arrow column, converted block by block; "" where one is missing."""
    names = np.empty(len(column), object)
    for start in range(0, len(column), block):
        names[start : start + block] = column.slice(start, block).fill_null("").to_pylist()
    return names


def refuse_duplicates(names: Strings, what: str, fix: str) -> None:
    """Raise `DuplicateNameError` if a name occurs twice; `what` describes the names: ``"file.h5ad: cell"``.

    Equal names have equal hashes. Sorting the hashes takes eight bytes per name, and no copy of the names.
    """
    hashes = np.fromiter(map(hash, names), np.int64, len(names))
    hashes.sort()
    if not (hashes[1:] == hashes[:-1]).any():
        return
    twins = {name: n for name, n in Counter(names.tolist()).items() if n > 1}
    if twins:
        times = max(twins.values())
        raise DuplicateNameError(f"{what} name {min(twins)!r} occurs {times} times", "each name once", fix)
