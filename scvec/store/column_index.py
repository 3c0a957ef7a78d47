"""Indexes of a table's columns: of the words of texts, of single values, and of the members of lists."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import pyarrow as pa

from scvec.store.lance import lance

Kind: TypeAlias = Literal["text", "value", "members"]

LANCE_TYPES: dict[Kind, str] = {"text": "INVERTED", "value": "BTREE", "members": "LABEL_LIST"}
"""Lance's name of each kind."""

TEXT_OPTIONS: dict[str, Any] = {"with_position": True}
"""Positions of words, without which a phrase is not found. The rest is Lance's default: text is split
at whatever is not a letter or digit, put in lower case and stemmed as English, and common words are left out."""

POSITION = "position"
"""The column with a row's place in its table."""


@dataclass(frozen=True, slots=True)
class ColumnIndex:
    """An index of one column of a table.

    Attributes
    ----------
    column
        The column.
    kind
        ``"text"``: words, of a text or a list of texts, searched by BM25; ``"value"``: a B-tree of numbers or strings;
        ``"members"``: the members of lists.
    """

    column: str
    kind: Kind

    @property
    def name(self) -> str:
        """Its name in the table; a column may have an index of each kind."""
        return f"{self.column}_{self.kind}"


def missing(dataset: Any, wanted: Iterable[ColumnIndex]) -> list[ColumnIndex]:
    """Return those of the wanted indexes that a version of a table does not have."""
    there = {one.name for one in dataset.describe_indices()}
    return [one for one in wanted if one.name not in there]


def create(dataset: Any, indexes: Sequence[ColumnIndex]) -> int:
    """Commit a version for each of these indexes, and return the number of the last."""
    for one in indexes:
        options = TEXT_OPTIONS if one.kind == "text" else {}
        dataset.create_scalar_index(one.column, LANCE_TYPES[one.kind], name=one.name, **options)
    return int(dataset.version)


def with_words_of(dataset: Any, column: str) -> Any:
    """Return a copy in memory of a column of texts, with an index of its words and the rows' `position`.

    For a table that has no such index: Lance would search it, but with regard to case and without stems.
    """
    texts = dataset.to_table(columns=[column])
    rows = texts.append_column(POSITION, pa.array(range(texts.num_rows), pa.int64()))
    copy = lance().write_dataset(rows, "memory://words")
    create(copy, [ColumnIndex(column, "text")])
    return copy


def matches(dataset: Any, query: Any, columns: Sequence[str]) -> pa.Table:
    """Return all rows that a query of texts finds: these columns, `score` and ``_rowaddr``, in no order."""
    scanner = dataset.scanner(
        columns=[*columns, "_score"],
        full_text_query=query,
        limit=max(1, dataset.count_rows()),  # without one, Lance returns ten rows
        with_row_address=True,
    )
    return scanner.to_table().rename_columns({"_score": "score"})


def by_score(found: pa.Table, then: str) -> pa.Table:
    """Return rows, the best first; ties by another column."""
    return found.sort_by([("score", "descending"), (then, "ascending")])


def text_query(words: str, column: str) -> Any:
    """Return Lance's query for texts with any of these words, and all phrases in double quotes; None for no words."""
    query = lance().query
    parts = words.split('"')
    phrases = [one for one in parts[1::2] if has_words(one)] if len(parts) % 2 else []
    rest = " ".join(parts[::2] if len(parts) % 2 else parts)
    must = [(query.Occur.MUST, query.PhraseQuery(one, column)) for one in phrases]
    should = [(query.Occur.SHOULD, query.MatchQuery(rest, column))] if has_words(rest) else []
    if must:
        return query.BooleanQuery([*must, *should])
    return should[0][1] if should else None


def has_words(text: str) -> bool:
    """Whether there is a letter or a digit in a text."""
    return any(one.isalnum() for one in text)
