"""Vectors of texts in the store: one table for each encoder and revision, one row for each text, each encoded once."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa

from scvec.core.arrow import vectors_from_arrow, vectors_to_arrow
from scvec.core.progress import shown
from scvec.core.types import Floats, Progress
from scvec.embed.encoders import Encoder, Partial
from scvec.embed.searchable import functions_of
from scvec.errors import NotInStoreError, ServiceError
from scvec.store import Store, Table

COMMIT_TEXTS = 512
"""Texts encoded between two commits: what is lost when the process is killed."""


@dataclass(frozen=True)
class TextTable:
    """The vectors of texts of one kind by one encoder at one revision.

    Rows are appended. The newest version of the table is read.

    Attributes
    ----------
    table
        The table: a row is a text, by its hash.
    """

    table: Table

    @classmethod
    def of(cls, store: Store, kind: str, encoder: str, revision: str) -> TextTable:
        """Return the table of a kind, such as ``"gene_vectors"``; it need not exist."""
        return cls(store.table(f"{folder_of(kind, encoder)}/{revision}"))

    @property
    def dimension(self) -> int:
        """Length of a vector."""
        return int(self.table.latest().manifest["dimension"])

    @cached_property
    def positions(self) -> dict[str, int]:
        """The row of each text, by its hash, when this was first asked for."""
        if not self.table.exists:
            return {}
        hashes = self.table.latest().read(["text_sha256"])["text_sha256"].to_pylist()
        return {one: row for row, one in enumerate(hashes)}

    def vectors(self, hashes: Sequence[str], fix: str = "") -> Floats:
        """Return (n, dimension) vectors of texts, by their hashes, in their order.

        Raises
        ------
        NotInStoreError
            If one is missing; `fix` says what brings it.
        """
        try:
            rows = np.array([self.positions[one] for one in hashes], np.int64)
        except KeyError as error:
            raise NotInStoreError(f"{self.table.path} lacks a vector for the text {error}", fix=fix) from error
        unique, inverse = np.unique(rows, return_inverse=True)
        return vectors_from_arrow(self.table.latest().take(unique, ["vector"])["vector"])[inverse]

    def missing(self, texts: pl.DataFrame) -> pl.DataFrame:
        """Return the texts (columns `text_sha256`, `text`) without a vector, longest first.

        So batches have texts of similar length, and little padding.
        """
        left = texts.filter(~pl.col("text_sha256").is_in(list(self.positions)))
        return left.sort(pl.col("text").str.len_chars(), "text_sha256", descending=[True, False])

    def encode(self, texts: pl.DataFrame, model: Encoder, kind: str, progress: Progress | None = None) -> int:
        """Encode the texts that have no vector, and return how many those were.

        Every `COMMIT_TEXTS` texts are committed: a run that was killed resumes where it stopped.

        Parameters
        ----------
        texts
            Columns `text_sha256`, `text`; each text once.
        model
            The table's encoder.
        kind
            As in `of`.
        progress
            Shows progress in texts.

        Raises
        ------
        ServiceError
            If the encoder returns invalid vectors; those of earlier batches are kept.
        """
        left = self.missing(texts)
        if left.is_empty():
            return 0
        title = f"{model.name}: {len(left):,} of {len(texts):,} texts to encode"
        with shown(progress)(title, len(left)) as advance:
            for start in range(0, len(left), COMMIT_TEXTS):
                part = left.slice(start, COMMIT_TEXTS)
                self.table.append(_rows(part, model), _manifest(model, kind))
                advance(len(part))
        return len(left)


def encoded(
    store: Store, kind: str, texts: Sequence[str], model: Encoder, *, progress: Progress | None = None
) -> Floats:
    """Return (n, dimension) vectors of texts, of which those that the store lacks are encoded and kept in it.

    Parameters
    ----------
    store, kind
        The store, and the folder of its tables, such as ``"term_vectors"``.
    texts
        (n,) texts, which may repeat.
    model
        The encoder.
    progress
        Shows progress in texts.
    """
    frame = pl.DataFrame({"text": texts}, schema={"text": pl.String}).with_columns(
        pl.col("text").map_elements(hash_of, pl.String).alias("text_sha256")
    )
    found = TextTable.of(store, kind, model.name, model.revision)
    found.encode(frame.unique("text_sha256", maintain_order=True), model, kind, progress)
    if not texts:
        return np.zeros((0, model.dimension), np.float32)
    return TextTable(found.table).vectors(frame["text_sha256"].to_list())


def hash_of(text: str) -> str:
    """Return the name under which a text's vector is stored."""
    return hashlib.sha256(text.encode()).hexdigest()


def accepted(texts: pl.DataFrame, model: Encoder) -> pl.DataFrame:
    """Return the distinct texts (columns `text_sha256`, `text`) that the encoder accepts."""
    distinct = texts.select("text_sha256", "text").unique("text_sha256", maintain_order=True)
    if isinstance(model, Partial):
        return distinct.filter(pl.Series([model.knows(text) for text in distinct["text"]], dtype=pl.Boolean))
    return distinct


def folder_of(kind: str, encoder: str) -> str:
    """Return the folder of an encoder's tables."""
    return f"{kind}/{re.sub(r'[^A-Za-z0-9._-]+', '-', encoder)}"


def encoders_of(store: Store, kind: str) -> set[str]:
    """Return the names of the encoders that have a table of this kind."""
    names = set()
    for folder in store.children(kind):
        for revision in store.children(f"{kind}/{folder}"):
            table = store.table(f"{kind}/{folder}/{revision}")
            names |= {str(table.latest().manifest["encoder"])} if table.exists else set()
    return names


def table_schema(dimension: int) -> pa.Schema:
    """Return the columns of a table of vectors."""
    return pa.schema({"text_sha256": pa.string(), "vector": pa.list_(pa.float32(), dimension)})


def _rows(texts: pl.DataFrame, model: Encoder) -> pa.Table:
    returned = model.encode(texts["text"].to_list())
    try:
        with np.errstate(over="ignore"):
            vectors = np.asarray(returned, np.float32)
    except (TypeError, ValueError) as error:
        seen = f"encoder {model.name!r} returned {type(returned).__name__}; nothing of this batch was stored"
        raise ServiceError(seen, "an array of numbers", "check the encoder") from error
    if vectors.shape != (len(texts), model.dimension) or not np.isfinite(vectors).all():
        raise ServiceError(
            f"encoder {model.name!r} returned the shape {vectors.shape}, or values that are not finite; "
            "nothing of this batch was stored",
            f"finite values of shape {(len(texts), model.dimension)}",
            "check the encoder",
        )
    columns = [pa.array(texts["text_sha256"].to_list()), vectors_to_arrow(vectors)]
    schema = table_schema(model.dimension).with_metadata(dict(functions_of(model)))
    return pa.Table.from_arrays(columns, schema=schema)


def _manifest(model: Encoder, kind: str) -> dict[str, Any]:
    return {
        "kind": kind,
        "encoder": model.name,
        "revision": model.revision,
        "dimension": model.dimension,
    }
