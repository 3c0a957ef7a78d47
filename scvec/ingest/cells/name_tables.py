"""Text files beside a matrix, with the names of its cells or genes: what 10x, Parse, bustools, alevin and R write."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass

import numpy as np

from scvec.core.limits import read_bounded
from scvec.core.types import Strings
from scvec.errors import FileError
from scvec.ingest.cells.compressed import opened
from scvec.ingest.cells.contents import PEEKED, kind_of
from scvec.ingest.cells.locations import Place, reading
from scvec.ingest.cells.refusals import refusal

HEADS = {
    "", "x", "v1", "barcode", "barcodes", "bc_wells", "bc_well", "cell", "cells", "cell_id", "cellid", "cell_name",
    "cell_names", "cell_barcode", "cell_barcodes", "cellname", "feature", "features", "feature_id", "feature_name",
    "gene", "genes", "gene_id", "gene_ids", "geneid", "gene_name", "gene_names", "gene_symbol", "gene_symbols",
    "genesymbol", "symbol", "symbols", "ensembl", "ensembl_id", "ensembl_ids", "id", "ids", "index", "name", "names",
    "unnamed: 0",
}  # fmt: skip
"""First columns of tables that have a head; no cell and no gene is called so."""


@dataclass(frozen=True)
class NameTable:
    """Rows of names.

    Attributes
    ----------
    where
        The file.
    head
        The names of the columns, if the file says them.
    rows
        The rows, the names first.
    """

    where: Place
    head: tuple[str, ...]
    rows: list[list[str]]

    def __len__(self) -> int:
        return len(self.rows)

    def names(self) -> Strings:
        """Return (n,) the first column."""
        return _strings([row[0] for row in self.rows])

    def columns(self) -> dict[str, Strings]:
        """Return the further columns of a table with a head."""
        found = {}
        for i, key in enumerate(self.head[1:], start=1):
            found[key] = _strings([row[i] if i < len(row) else "" for row in self.rows])
        return found

    def table(self) -> list[Strings]:
        """Return all columns.

        Raises
        ------
        FileError
            If rows have different numbers of them.
        """
        widths = {len(row) for row in self.rows}
        if len(widths) > 1:
            seen = f"{self.where} has rows of {min(widths)} and of {max(widths)} columns"
            raise FileError(seen, "a table", "download it again")
        return [_strings(list(column)) for column in zip(*self.rows, strict=True)] or [np.empty(0, object)]


def read_names(where: Place, sizes: tuple[int, ...]) -> NameTable:
    """Read a file of names, gzipped or not, with tabs or commas between its columns, quoted or not.

    Parameters
    ----------
    where
        The file.
    sizes
        The numbers of rows and columns of the matrix: a table of several columns with one row more than one of them
        has a head, whatever it is called.

    Raises
    ------
    FileError
        If it cannot be read.
    """
    with reading(str(where)), opened(where) as stream:
        text = read_bounded(stream, str(where)).decode("utf-8-sig")
        if kind_of(text[:PEEKED].encode()) in ("html", "xml", "lfs", "annex"):
            raise refusal(where)
        # csv reads "\r" alone as the end of a line; within a field that is quoted, it stays.
        rows = [row for row in csv.reader(io.StringIO(text, newline=""), delimiter=_separator(where, text)) if row]
    head: tuple[str, ...] = ()
    longer = len(rows) - 1 in sizes and len(rows) not in sizes and len(rows[0]) > 1
    if rows and (rows[0][0].strip().lower() in HEADS or (longer and _plain(where).endswith(".csv"))):
        head, rows = tuple(rows[0]), rows[1:]
    if rows and len(rows[0]) > 1 and _numbered(rows):
        head, rows = head[1:], [row[1:] for row in rows]
    return NameTable(where, head, rows)


def _plain(where: Place) -> str:
    return where.name.lower().removesuffix(".gz")


def _separator(where: Place, text: str) -> str:
    first = text.partition("\n")[0]
    if "\t" in first or not _plain(where).endswith(".csv"):
        return "\t"
    return ";" if ";" in first and "," not in first else ","


def _numbered(rows: list[list[str]]) -> bool:
    """Whether the first column has the numbers of the rows, as R and pandas write them."""
    first = rows[0][0]
    return first in ("0", "1") and all(row[0] == str(i) for i, row in enumerate(rows, start=int(first)))


def _strings(values: list[str]) -> Strings:
    found = np.empty(len(values), object)
    found[:] = values
    return found
