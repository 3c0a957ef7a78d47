"""Tables of cells' annotations beside a file: CSV and its kin as R, Excel and pandas write them, or Parquet."""

from __future__ import annotations

import csv
import gzip
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any, cast

import numpy as np

from scvec.core.limits import GZIP, check_parquet, read_bounded
from scvec.core.spreadsheets import unguarded
from scvec.core.types import Ints, Strings
from scvec.errors import FileError, must_be
from scvec.ingest.cells.frames import Column, refuse_duplicates, strings_of
from scvec.ingest.cells.locations import Place, place, reading
from scvec.ingest.cells.name_matching import Matched, match_names

if TYPE_CHECKING:
    from pathlib import Path

    import polars as pl

ENDINGS = ("csv", "tsv", "txt", "tab", "parquet", "pq")
SEPARATORS = {"csv": ",", "tsv": "\t", "tab": "\t"}
"""What an ending says of the separator; what is in the file decides."""

N_SHOWN, N_SNIFFED = 3, 20
WANTED = "a table of annotations: CSV, TSV, or Parquet, with the names of the cells"
MARKS = {b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}
"""How a text in UTF-16 begins."""


@dataclass(frozen=True, slots=True)
class Table:
    """Annotations of cells from a separate file. Get one from `read_table`.

    Attributes
    ----------
    where
        The file.
    frame
        Its columns; that of the names first, as far as the file says which it is.
    """

    where: Place
    frame: pl.DataFrame

    def joined(self, names: Strings, path: object) -> Joined:
        """Find the rows of (n,) cells of the file `path`.

        The names are in the first column, or in the one that has most of the cells' names.

        Raises
        ------
        DuplicateNameError
            If a cell has two rows.
        """
        first = self.frame.columns[0]
        key, matched = first, _match(names, self.frame, first)
        if matched.n < len(names):
            for other in self.frame.columns[1:]:
                if _may_be_names(self.frame[other]):
                    found = _match(names, self.frame, other)
                    key, matched = (other, found) if found.n > matched.n else (key, matched)
        own = _strings(self.frame, key)
        found_names = set(own[matched.rows[matched.rows >= 0]].tolist())
        of_cells = np.array([one for one in own.tolist() if one in found_names], object)
        refuse_duplicates(of_cells, f"{self.where}: cell", "keep one row per cell")
        notes = [] if key == first else [f"{self.where}: the cells' names are in column {key!r}"]
        if matched.example is not None and matched.n:
            here, there = matched.example
            notes.append(f"{self.where}: names are matched by their barcodes, as {there} is {here}")
        return Joined(self, key, matched.rows, path, tuple(notes), names)


@dataclass(frozen=True, slots=True)
class Joined:
    """A table whose rows are those of a file's cells.

    Attributes
    ----------
    table
        The table.
    name_key
        Its column with the cells' names.
    rows
        (n,) the row of each cell; -1 for a cell that has none.
    path
        The file of cells, for messages.
    notes
        How the names were found, where it is worth saying.
    names
        (n,) the cells' names.
    """

    table: Table
    name_key: str
    rows: Ints
    path: object
    notes: tuple[str, ...]
    names: Strings

    @property
    def keys(self) -> list[str]:
        """The names of the columns, without that of the cells' names."""
        return [key for key in self.table.frame.columns if key != self.name_key]

    def take(self, cells: Ints) -> Joined:
        """Return the same for some of the cells."""
        return Joined(self.table, self.name_key, self.rows[cells], self.path, self.notes, self.names[cells])

    def expect_complete(self) -> None:
        """Raise `FileError` if a cell has no row."""
        absent = np.flatnonzero(self.rows < 0)
        if not len(absent):
            return
        there = _strings(self.table.frame, self.name_key)[:N_SHOWN].tolist()
        seen = (
            f"{self.table.where} lacks {len(absent):,} of the {len(self.rows):,} cells of {self.path} "
            f"({', '.join(self.names[absent[:N_SHOWN]].tolist())}, ...); the names in its column {self.name_key!r} are "
            f"{', '.join(there)}, ..."
        )
        fix = "add the missing rows, or set `only_annotated`, which leaves these cells out"
        if len(absent) == len(self.rows):
            fix = "give the table of these cells, with their names in one of its columns"
        raise FileError(seen, "a row for every cell", fix)

    def column(self, key: str) -> Column:
        """Return the values of a column; raise `FileError` if a cell has no row."""
        import pyarrow as pa

        self.expect_complete()
        values = self.table.frame[key].to_arrow()
        if not pa.types.is_dictionary(values.type):
            values = values.dictionary_encode()
        codes = np.asarray(values.indices.cast(pa.int64()).fill_null(-1).to_numpy(zero_copy_only=False))
        return Column(codes[self.rows], values.dictionary.to_pylist())


def read_table(path: str | Path | Place) -> Table:
    """Read annotations of cells.

    A text may be gzipped, in UTF-8 or UTF-16, and separated by tabs, commas, semicolons, bars or blanks: what is in
    the file decides. If its head lacks one field, the first column has the names of the rows, as R writes them. Values
    of a text stay strings, and empty ones are missing. Rows that are equal count once.

    Raises
    ------
    FileError
        If it cannot be read.
    """
    where = place(path)
    kind = where.name.removesuffix(".gz").rpartition(".")[2].lower()
    if kind not in ENDINGS:
        raise must_be("obs", "a .csv, .tsv, .txt or .parquet file", str(where))
    with reading(str(where)), where.open("rb") as stream:
        content = read_bounded(stream, str(where), "table")
        if content[:2] == GZIP:
            content = read_bounded(cast("IO[bytes]", gzip.GzipFile(fileobj=io.BytesIO(content))), str(where), "table")
    if content[:4] == b"PAR1":
        frame = _parquet(where, content)
    elif kind in ("parquet", "pq"):
        raise FileError(f"{where} is not a Parquet file", WANTED, "write it again")
    else:
        frame = _text(where, content, SEPARATORS.get(kind))
    if not frame.width:
        raise FileError(f"{where} has no columns", "the names of the cells in the first column", "write it again")
    return Table(where, frame.unique(maintain_order=True) if _can_be_compared(frame) else frame)


def _can_be_compared(frame: pl.DataFrame) -> bool:
    return not any(kind.is_nested() or kind.is_object() for kind in frame.dtypes)


def _parquet(where: Place, content: bytes) -> pl.DataFrame:
    import polars as pl
    import pyarrow.parquet as pq

    with reading(str(where)):
        file = pq.ParquetFile(io.BytesIO(content))
        check_parquet(file, str(where))
        about = file.schema_arrow.pandas_metadata or {}
        try:
            frame = pl.read_parquet(io.BytesIO(content))
        except pl.exceptions.PolarsError as error:
            raise ValueError(str(error)) from error
    index = [one for one in about.get("index_columns", ()) if isinstance(one, str) and one in frame.columns]
    return frame.select(*index, *(one for one in frame.columns if one not in index))


def _text(where: Place, content: bytes, usual: str | None) -> pl.DataFrame:
    import polars as pl

    if content[:4] == b"PK\x03\x04":
        raise FileError(f"{where} is a zip archive, or a workbook of Excel", WANTED, "save the sheet as CSV")
    text = _decoded(where, content)
    separator, head, more = _layout(text, usual)
    if not head:
        raise FileError(f"{where} cannot be read (it is empty)", WANTED, "write it again")
    columns = _unique(["", *head] if more == "names" else [*head, ""] if more == "nothing" else head)
    with reading(str(where)):
        try:
            frame = pl.read_csv(
                text.encode(),
                separator=separator,
                has_header=False,
                skip_rows=1,
                schema=dict.fromkeys(columns, pl.String),
                raise_if_empty=False,
            )
        except pl.exceptions.PolarsError as error:
            raise ValueError(str(error)) from error
    return unguarded(frame.drop(columns[-1]) if more == "nothing" else frame)


def _decoded(where: Place, content: bytes) -> str:
    """Return a text with lines that end in a line feed."""
    try:
        text = content.decode(MARKS.get(content[:2], "utf-8-sig"))
    except UnicodeDecodeError as error:
        fix = "save it as UTF-8 (in R: fileEncoding = 'UTF-8'; in Excel: CSV UTF-8)"
        raise FileError(f"{where} cannot be read as UTF-8 (byte {error.start:,})", "a text in UTF-8", fix) from error
    if "\0" in text[:4096]:
        raise FileError(f"{where} is not a text", WANTED, "save it as CSV")
    text = text if "\r" not in text else text.replace("\r\n", "\n").replace("\r", "\n")
    return re.sub(r'\A\n*("?sep=.*\n)?', "", text)  # Excel's first line, which names what separates


def _layout(text: str, usual: str | None) -> tuple[str, list[str], str]:
    """Return how a text is laid out.

    Returns
    -------
    separator
        What is between its columns.
    head
        The fields of its first line.
    more
        What further field the other lines have: ``"names"``, at their beginning, as R writes them; ``"nothing"``, at
        their end, after a separator too many; or ``""``.
    """
    lines = text[: 2**20].split("\n", N_SNIFFED + 1)[: N_SNIFFED + 1]
    found: list[tuple[tuple[bool, bool, bool, int], tuple[str, list[str], str]]] = []
    for separator in dict.fromkeys([usual or ",", "\t", ",", ";", "|", " "]):
        rows = [row for row in csv.reader(lines, delimiter=separator) if row] or [[]]
        head, widths, more = rows[0], {len(row) for row in rows[1:]}, ""
        if widths == {len(head) + 1}:
            more = "nothing" if all(row[-1] == "" for row in rows[1:]) else "names"
        if more or (len(head) > 1 and widths <= {len(head)}):
            # A blank separates only where nothing else does; a head that fits is surer than one that lacks a field, and
            # then what is usual is surer than more fields, as a field may hold other separators.
            fits = more != "names"
            rank = (separator != " ", fits, fits and separator == usual, len(head))
            found.append((rank, (separator, head, more)))
    if found:
        return max(found, key=lambda one: one[0])[1]
    separator = usual or ","
    return separator, next((row for row in csv.reader(lines, delimiter=separator) if row), []), ""


def _unique(names: Sequence[str]) -> list[str]:
    """Return the names of columns; one that is there already gets a number."""
    found: dict[str, None] = {}
    for name in names:
        word, n = name, 1
        while word in found:
            word, n = f"{name}_{n}", n + 1
        found[word] = None
    return list(found)


def _may_be_names(column: pl.Series) -> bool:
    """Whether a column's values are names: most of them are there once."""
    import polars as pl

    kind = column.dtype
    return (kind in (pl.String, pl.Categorical) or kind.is_integer()) and 2 * column.n_unique() > len(column)


def _match(names: Strings, frame: pl.DataFrame, key: str) -> Matched:
    return match_names(names, _strings(frame, key))


def _strings(frame: pl.DataFrame, key: str) -> Strings:
    import polars as pl

    column: Any = frame[key].cast(pl.String, strict=False)
    return strings_of(column.to_arrow())
