"""Reading one version of a table."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from scvec.core.conditions import check_condition, wrong_condition
from scvec.core.limits import bounded_json, check_size
from scvec.core.reading import no_panic, reading
from scvec.errors import StoreError
from scvec.store.column_index import POSITION, ColumnIndex, by_score, matches, missing, text_query, with_words_of
from scvec.store.folder import AGAIN, Values

if TYPE_CHECKING:
    import lance

MANIFEST = b"scvec"
FUNCTIONS = b"embedding_functions"
"""Entries of a table's schema: scvec's manifest, and the functions by which LanceDB encodes words."""

ROW, VECTOR = "row", "vector"
"""Columns of a search: a row's id, and the vector that it is found by."""

QUERIES = 1024
"""Queries in one search."""


@dataclass(frozen=True)
class Snapshot:
    """One version of a table; what is read from it never changes."""

    _dataset: lance.LanceDataset
    path: str

    @property
    def version(self) -> int:
        """The version's number."""
        return int(self._dataset.version)

    @cached_property
    def manifest(self) -> dict[str, Any]:
        """What the table was made from."""
        raw = (self._dataset.schema.metadata or {}).get(MANIFEST)
        if raw is None:
            raise StoreError(f"{self.path} has no manifest", "a table that scvec wrote", "rebuild it")
        with reading(f"the manifest of {self.path}", "JSON that scvec wrote", AGAIN, raised=StoreError):
            check_size(len(raw), self.path, "manifest")
            return Values(bounded_json(raw), f"the manifest of {self.path}")

    def __len__(self) -> int:
        with self._reading():
            return int(self._dataset.count_rows())

    def read(self, columns: Sequence[str] | None = None) -> pa.Table:
        """Return all rows, in the order written."""
        with self._reading():
            return self._dataset.to_table(columns=None if columns is None else list(columns))

    def where(self, expression: str, columns: Sequence[str]) -> pa.Table:
        """Return the rows for which a SQL `expression` holds, in the order written.

        Raises
        ------
        InputError
            If it is not a condition on the table's columns.
        """
        names = [field.name for field in self._dataset.schema if not pa.types.is_nested(field.type)]
        check_condition(expression, names)
        try:
            # In brackets, as Lance ignores what follows a complete expression; on a line of its own, after a remark.
            with no_panic():
                return self._dataset.to_table(columns=list(columns), filter=f"({expression}\n)")
        except (ValueError, OSError, RuntimeError) as error:
            raise wrong_condition(expression, _reason(error), names) from error

    @property
    def schema(self) -> pa.Schema:
        """The table's columns."""
        return self._dataset.schema

    def batches(self, columns: Sequence[str], condition: str | None = None) -> Iterator[pa.RecordBatch]:
        """Yield all rows, or those that meet a `condition` of scvec's, in the order written, thousands at a time."""
        with self._reading():
            yield from self._dataset.scanner(
                columns=list(columns), filter=condition, scan_in_order=True, late_materialization=False
            ).to_batches()

    def take(self, rows: Sequence[int] | np.ndarray[Any, Any], columns: Sequence[str]) -> pa.Table:
        """Return the rows at these positions, in the order asked for."""
        with self._reading():
            return self._dataset.take(np.asarray(rows, np.int64).tolist(), columns=list(columns))

    @property
    def n_files(self) -> int:
        """The number of its data files."""
        with self._reading():
            return sum(len(one.data_files()) for one in self._dataset.get_fragments())

    @property
    def n_deleted(self) -> int:
        """The number of rows that were removed, and whose bytes its files still hold."""
        with self._reading():
            return int(self._dataset.stats.dataset_stats()["num_deleted_rows"])

    @property
    def indexes(self) -> dict[str, list[str]]:
        """Lance's names of the kinds of indexes, by their columns."""
        found: dict[str, list[str]] = {}
        with self._reading():
            for one in self._dataset.describe_indices():
                found.setdefault(", ".join(one.field_names), []).append(one.index_type)
        return found

    @property
    def has_index(self) -> bool:
        """Whether it has a vector index."""
        with self._reading():
            return any(one.name == VECTOR for one in self._dataset.describe_indices())

    def without(self, indexes: Iterable[ColumnIndex]) -> list[ColumnIndex]:
        """Return those of some indexes of columns that this version does not have."""
        with self._reading():
            return missing(self._dataset, indexes)

    def matching(self, words: str, column: str, columns: Sequence[str]) -> pa.Table:
        """Return the rows whose text has any of these words, the best match first.

        Words are compared without regard to case and as English stems; common words do not count. Parts in double
        quotes must be there as they are: ``"growth hormone"``. If the table has no index of the column's words, as one
        of an earlier version, one is made in memory.

        Parameters
        ----------
        words
            Any text.
        column
            The column of texts, or lists of texts, to search.
        columns
            The columns to return.

        Returns
        -------
        pa.Table
            The columns, and `score`: Okapi BM25 (Robertson and Zaragoza 2009), as Lance computes it. Ties are in the
            order of the table.
        """
        query = text_query(words, column)
        if query is None:
            return self.take([], columns).append_column("score", pa.array([], pa.float32()))
        with self._reading():
            if not self.without([ColumnIndex(column, "text")]):
                found = by_score(matches(self._dataset, query, columns), "_rowaddr")
                return found.select([*columns, "score"])
            if column not in self._copies:
                self._copies[column] = with_words_of(self._dataset, column)
            found = by_score(matches(self._copies[column], query, [POSITION]), POSITION)
        return self.take(np.asarray(found[POSITION]), columns).append_column("score", found["score"])

    @cached_property
    def _copies(self) -> dict[str, Any]:
        """Copies of columns of texts, with the index that they lack."""
        return {}

    def __getstate__(self) -> dict[str, Any]:
        # Copies in memory are not there in another process.
        return {name: value for name, value in self.__dict__.items() if name != "_copies"}

    def nearest(
        self,
        queries: np.ndarray[Any, np.dtype[np.float32]],
        k: int,
        *,
        nprobes: int,
        ef: int | None = None,
        condition: str | None = None,
    ) -> np.ndarray[Any, np.dtype[np.int64]]:
        """Return (n, k) row ids that the index finds for (n, d) vectors, by cosine; -1 where it finds fewer.

        Rows that are not in the index are searched one by one. Zero vectors have no cosine and are not found.

        Parameters
        ----------
        queries, k
            Vectors, and the number of rows to find for each.
        nprobes
            Partitions to visit.
        ef
            Candidates kept during the search of a graph; None for other kinds.
        condition
            The rows to search, as a condition that scvec wrote; None: all.
        """
        found = np.full((len(queries), k), -1, np.int64)
        asked = {"column": VECTOR, "k": k, "metric": "cosine", "nprobes": nprobes, **({} if ef is None else {"ef": ef})}
        for start in range(0, len(queries), QUERIES):
            some = queries[start : start + QUERIES]
            # Always two queries, as Lance does not number the results of a single one.
            both = np.vstack([some, some]) if len(some) == 1 else some
            with self._reading():
                table = self._dataset.scanner(
                    columns=[ROW, "_distance"], nearest={**asked, "q": both}, filter=condition, prefilter=True
                ).to_table()
            query, ids = np.asarray(table["query_index"], np.int64), np.asarray(table[ROW], np.int64)
            order = np.lexsort((np.asarray(table["_distance"]), query))
            rank = np.arange(len(order)) - np.searchsorted(query[order], query[order])
            own = query[order] < len(some)
            found[start + query[order][own], rank[own]] = ids[order][own]
        return found

    @contextmanager
    def _reading(self) -> Iterator[None]:
        """Name the table that cannot be read: Lance names one of its files, or none."""
        try:
            yield
        except (OSError, pa.ArrowInvalid) as error:
            raise StoreError(
                f"the table {self.path} cannot be read ({str(error)[:150]})",
                "complete files",
                "restore it from a copy, or rebuild it",
            ) from error


def _reason(error: Exception) -> str:
    """Return Lance's complaint about a condition, without source positions and its own form of the statement."""
    said = re.sub(r",? *\S*\.rs:\d+.*$| Valid fields are.*$", "", str(error), flags=re.DOTALL).replace("\n", " ")
    said = re.sub(r"^.*(AND false \(|AND false: |user input: )", "", said)
    return said[:150].removesuffix(")")
