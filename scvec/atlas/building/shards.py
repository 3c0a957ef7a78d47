"""Embedding a reference shard by shard: each is read, embedded and staged by itself, here or in another process."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa
import scipy.sparse as sp

from scvec.atlas.building.sources import expect
from scvec.atlas.rows import Keys, obs_columns, record_batch
from scvec.core.types import Strings
from scvec.embed.projection import Embedding, embed
from scvec.errors import InputError
from scvec.ingest.cells import CellFile, Matrix, open_cells
from scvec.ingest.cells.scale import Totals, Values, expression
from scvec.store import Store


@dataclass(frozen=True, slots=True)
class ShardSource:
    """What embedding a file's cells needs: see `scvec.atlas.building.sources.Source`.

    Attributes
    ----------
    columns
        (n_vars, g) the file's columns to the embedding's genes.
    share
        As in `scvec.embed.projection.normalise`.
    label_ids
        The id of each label.
    """

    path: str
    obs: str | None
    fingerprint: str
    dataset: str
    layer: str
    values: Values
    columns: sp.csr_matrix[np.float32]
    share: float | None
    label_ids: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Work:
    """What all shards have in common.

    Attributes
    ----------
    store, table
        Where the rows go: the store's URI and the table in it.
    whole
        Whether they are to be all of the table, or to come after what it has.
    keys, schema
        What is kept of each cell.
    embedding
        How its vector is made.
    sources
        The files.
    device
        Where vectors are computed.
    """

    store: str
    table: str
    whole: bool
    keys: Keys
    schema: pa.Schema
    embedding: Embedding
    sources: tuple[ShardSource, ...]
    device: str = "cpu"


@dataclass(frozen=True, slots=True)
class Shard:
    """Some cells of one file; ``str`` of it says which, to a reader.

    Attributes
    ----------
    number
        Which of all shards it is, from 0.
    source
        Which of the work's files.
    start, stop
        The cells in it.
    first_row
        The row id of its first cell.
    """

    number: int
    source: int
    start: int
    stop: int
    first_row: int

    def __str__(self) -> str:
        return f"shard {self.number} (cells {self.start:,} to {self.stop:,} of file {self.source + 1})"


@dataclass(frozen=True, slots=True)
class Done:
    """A shard that was embedded.

    Attributes
    ----------
    shard
        Which.
    staged
        What the table's commit is to be told.
    n_empty
        Cells without expression on the atlas's genes.
    totals
        (n_vars,) the expression of each column of the file in it.
    """

    shard: Shard
    staged: tuple[str, ...]
    n_empty: int
    totals: Totals

    @property
    def n_rows(self) -> int:
        """How many cells it has."""
        return self.shard.stop - self.shard.start


EmbedShard: TypeAlias = Callable[[Shard], Done]


def cut(lengths: Sequence[int], first_row: int, shard_cells: int) -> list[Shard]:
    """Cut files of these many cells into shards, their rows counted from `first_row`.

    Raises
    ------
    InputError
        If a shard is to have no cell.
    """
    if shard_cells < 1:
        raise InputError(f"shards of {shard_cells} cells", "at least 1", "give another --shard-cells")
    shards: list[Shard] = []
    for source, length in enumerate(lengths):
        for start in range(0, length, shard_cells):
            stop = min(start + shard_cells, length)
            shards.append(Shard(len(shards), source, start, stop, first_row + start))
        first_row += length
    return shards


@contextmanager
def worker(work: Work) -> Iterator[EmbedShard]:
    """Give what embeds a shard; the file of the last shard stays open for the next."""
    with ExitStack() as stack:
        last: list[tuple[int, _Opened]] = []

        def opened(number: int) -> _Opened:
            if not last or last[0][0] != number:
                stack.pop_all().close()
                last[:] = [(number, _open(work, number, stack))]
            return last[0][1]

        yield lambda shard: _embed(work, shard, opened(shard.source))


@dataclass(frozen=True, slots=True)
class _Opened:
    """A file whose matrix is laid out to be read."""

    file: CellFile
    matrix: Matrix
    columns: dict[str, Strings]


def _open(work: Work, number: int, stack: ExitStack) -> _Opened:
    source = work.sources[number]
    file = stack.enter_context(open_cells(source.path, source.obs))
    expect(file.fingerprint(), source.fingerprint, source.path)
    matrix = stack.enter_context(file.matrix(source.layer, source.values))
    return _Opened(file, matrix, obs_columns(file, work.keys))


def _embed(work: Work, shard: Shard, opened: _Opened) -> Done:
    source, file = work.sources[shard.source], opened.file
    batches: list[pa.RecordBatch] = []
    totals: Totals = np.zeros(source.columns.shape[0])
    n_empty = 0
    for start, batch in opened.matrix.batches("embedding cells", start=shard.start, stop=shard.stop):
        vectors, empty = embed(
            work.embedding, batch, source.values, source.columns, share=source.share, device=work.device
        )
        totals += expression(batch, source.values)
        n_empty += int(empty.sum())
        rows = _rows(shard, source, file, opened.columns, start, empty)
        batches.append(record_batch(work.schema, rows, vectors))
    expect(file.fingerprint(), source.fingerprint, source.path)
    table = Store(work.store).table(work.table)
    staged = table.stage(pa.Table.from_batches(batches, work.schema), whole=work.whole)
    return Done(shard, tuple(staged), n_empty, totals)


def _rows(
    shard: Shard,
    source: ShardSource,
    file: CellFile,
    columns: dict[str, Strings],
    start: int,
    empty: np.ndarray[Any, np.dtype[np.bool_]],
) -> dict[str, np.ndarray[Any, Any]]:
    """Return what is kept of the cells of a batch that begins at cell `start`."""
    n = len(empty)
    here = slice(start, start + n)
    labels = columns["label"][here]
    first = shard.first_row + start - shard.start
    return {
        **{key: values[here] for key, values in columns.items()},
        "row": np.arange(first, first + n),
        "cell_id": file.obs_names[here],
        "dataset": np.full(n, source.dataset, object),
        "label_id": np.array([source.label_ids[label] for label in labels], object),
        "empty": empty,
    }
