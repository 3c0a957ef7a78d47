"""Embedding a reference shard by shard: each is read, embedded and staged separately, here or in another process."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa
import scipy.sparse as sp

from scvec.atlas.building.sources import SourceFile
from scvec.atlas.rows import Keys, obs_columns, record_batch
from scvec.core.types import Floats, Strings
from scvec.embed.given import cell_vectors
from scvec.embed.projection import Embedding, measured, normalise
from scvec.errors import must_be
from scvec.ingest.cells import CellFile, Matrix
from scvec.ingest.cells.scale import Totals, expression
from scvec.store import Address


@dataclass(frozen=True, slots=True)
class ShardSource:
    """What a worker needs to embed a file's cells.

    Attributes
    ----------
    file
        Where it is, and which matrix is read.
    columns
        (n_vars, g) maps the file's columns to the embedding's genes.
    share
        As in `scvec.embed.projection.normalise`.
    label_ids
        The id of each label.
    """

    file: SourceFile
    columns: sp.csr_matrix[np.float32]
    share: float | None
    label_ids: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Work:
    """What all shards have in common.

    Attributes
    ----------
    store, table
        The table to which the rows are written, and where its store is.
    whole
        Whether they replace all rows of the table, or are added to them.
    keys, schema
        What is kept of each cell.
    embedding
        Makes the vectors.
    sources
        The files.
    device
        Where vectors are computed.
    """

    store: Address
    table: str
    whole: bool
    keys: Keys
    schema: pa.Schema
    embedding: Embedding
    sources: tuple[ShardSource, ...]
    device: str = "cpu"


@dataclass(frozen=True, slots=True)
class Shard:
    """Some cells of one file; its ``str`` describes it to users.

    Attributes
    ----------
    number
        Its number among all shards, from 0.
    source
        The position of its file in `Work.sources`.
    start, stop
        Its cells in the file.
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
        The shard.
    staged
        Its fragments, for the commit of the table.
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
        """Number of its cells."""
        return self.shard.stop - self.shard.start


EmbedShard: TypeAlias = Callable[[Shard], Done]


def cut(lengths: Sequence[int], first_row: int, shard_cells: int) -> list[Shard]:
    """Cut files with these numbers of cells into shards, with row ids from `first_row`.

    Raises
    ------
    InputError
        If `shard_cells` is less than 1.
    """
    if shard_cells < 1:
        raise must_be("shard_cells", "at least 1", shard_cells)
    shards: list[Shard] = []
    for source, length in enumerate(lengths):
        for start in range(0, length, shard_cells):
            stop = min(start + shard_cells, length)
            shards.append(Shard(len(shards), source, start, stop, first_row + start))
        first_row += length
    return shards


@contextmanager
def worker(work: Work) -> Iterator[EmbedShard]:
    """Give the function that embeds a shard; the file of the last shard stays open for the next."""
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
    """A file whose matrix is ready to be read."""

    file: CellFile
    matrix: Matrix
    columns: dict[str, Strings]
    given: Floats | None


def _open(work: Work, number: int, stack: ExitStack) -> _Opened:
    source = work.sources[number]
    file, matrix = stack.enter_context(source.file.opened())
    use_rep = source.file.use_rep
    return _Opened(file, matrix, obs_columns(file, work.keys), None if use_rep is None else file.given(use_rep))


def _embed(work: Work, shard: Shard, opened: _Opened) -> Done:
    source, file = work.sources[shard.source], opened.file
    batches: list[pa.RecordBatch] = []
    totals: Totals = np.zeros(source.columns.shape[0])
    n_empty = 0
    recipe, values = work.embedding.recipe, source.file.values
    title, at_most = "embedding cells", recipe.cells_at_once
    for start, batch in opened.matrix.batches(title, start=shard.start, stop=shard.stop, at_most=at_most):
        known = normalise(batch, values, recipe.target_sum, source.columns, source.share)
        given = None if opened.given is None else opened.given[start : start + batch.shape[0]]
        vectors, empty = cell_vectors(work.embedding, known, measured(source.columns), given, work.device)
        totals += expression(batch)
        n_empty += int(empty.sum())
        rows = _rows(shard, source, file, opened.columns, start, empty)
        batches.append(record_batch(work.schema, rows, vectors))
    source.file.expect_unchanged(file)
    table = work.store.open().table(work.table)
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
    """Return what is kept of the cells in a batch that begins at cell `start`."""
    n = len(empty)
    here = slice(start, start + n)
    labels = columns["label"][here]
    first = shard.first_row + start - shard.start
    return {
        **{key: values[here] for key, values in columns.items()},
        "row": np.arange(first, first + n),
        "cell_id": file.obs_names[here],
        "dataset": np.full(n, source.file.dataset, object),
        "label_id": np.array([source.label_ids[label] for label in labels], object),
        "empty": empty,
    }
