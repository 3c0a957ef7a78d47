"""Annotations of cells or genes: names, and columns coded by their distinct values."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from scvec.core.types import Ints, Strings
from scvec.errors import DuplicateNameError, FileError, LabelError, must_be
from scvec.ingest.cells.locations import Place, place, reading

if TYPE_CHECKING:
    import polars as pl

N_SHOWN = 3


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
                "drop those cells, or fill in the values",
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
    """Return the base in scanpy's ``uns["log1p"]``: e where it is None or left out; None if it is no number."""
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


class Table:
    """Annotations of cells from a separate file. Get one from `read_table`."""

    def __init__(self, where: Place, frame: pl.DataFrame) -> None:
        self.where, self._frame = where, frame

    @property
    def keys(self) -> list[str]:
        """The names of its columns, without the column of the cells' names."""
        return self._frame.columns[1:]

    @cached_property
    def _names(self) -> Strings:
        return strings_of(self._frame.to_series(0).cast(str).to_arrow())

    def rows_of(self, names: Strings, path: object) -> Ints:
        """Return (n,) the row of each cell.

        Raises
        ------
        FileError
            If a cell is not in the table.
        """
        import pyarrow as pa
        import pyarrow.compute as pc

        found = pc.index_in(_arrow(names), value_set=pa.array(self._names, pa.large_string()))
        rows = np.asarray(found.fill_null(-1).to_numpy(zero_copy_only=False), np.int64)
        absent = np.flatnonzero(rows < 0)
        if len(absent):
            shown = ", ".join(names[absent[:N_SHOWN]].tolist())
            raise FileError(
                f"{self.where} lacks {len(absent):,} of the {len(names):,} cells of {path} ({shown}, ...); its first "
                f"column is {self._frame.columns[0]!r}",
                "a row for every cell, with its name in the first column",
                "add the missing rows, or move the names to the first column",
            )
        return rows

    def column(self, key: str, rows: Ints) -> Column:
        """Return the values of a column in these rows."""
        import pyarrow as pa

        values = self._frame[key].to_arrow()
        if not pa.types.is_dictionary(values.type):
            values = values.dictionary_encode()
        codes = np.asarray(values.indices.cast(pa.int64()).fill_null(-1).to_numpy(zero_copy_only=False))
        return Column(codes[rows], values.dictionary.to_pylist())

    def refuse_duplicates(self) -> None:
        """Raise `DuplicateNameError` if a cell has two rows."""
        refuse_duplicates(self._names, f"{self.where}: cell", "keep one row per cell")


def read_table(path: str | Place) -> Table:
    """Read annotations of cells: CSV, TSV (also gzipped) or Parquet, the cells' names in the first column.

    Values of CSV and TSV stay strings; empty values are missing.

    Raises
    ------
    FileError
        If it cannot be read.
    DuplicateNameError
        If a cell has two rows.
    """
    import polars as pl

    where = place(path)
    kind = where.name.removesuffix(".gz").rpartition(".")[2]
    if kind not in ("csv", "tsv", "parquet"):
        raise must_be("obs", "a .csv, .tsv or .parquet file", str(where))
    with reading(str(where)), where.open("rb") as stream:
        try:
            if kind == "parquet":
                frame = pl.read_parquet(stream)
            else:
                frame = pl.read_csv(stream, separator="\t" if kind == "tsv" else ",", infer_schema=False)
        except pl.exceptions.PolarsError as error:
            raise ValueError(str(error)) from error
    if not frame.width:
        raise FileError(f"{where} has no columns", "the names of the cells in the first column", "write it again")
    table = Table(where, frame)
    table.refuse_duplicates()
    return table


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


def _arrow(names: Strings) -> Any:
    import pyarrow as pa

    return pa.array(names, pa.large_string())
