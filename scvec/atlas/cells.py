"""The rows of an atlas's table: a reference's cells, embedded batch by batch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from scvec.arrow import vectors_to_arrow
from scvec.atlas.reference import OBS_COLUMNS
from scvec.embed.projection import Embedding, aligner, embed
from scvec.errors import InputError, LabelError
from scvec.ingest.cells.h5ad import CellFile, Matrix
from scvec.ingest.cells.scale import expression
from scvec.ingest.matching import GeneMatch
from scvec.types import UNKNOWN, Floats, Progress, Strings

FIXED_COLUMNS = ("row", *OBS_COLUMNS, "vector")


def obs_columns(
    file: CellFile, label_key: str, batch_key: str | None, label_id_key: str | None, obs_keys: Sequence[str] = ()
) -> dict[str, Strings]:
    """Return (n,) label, batch and label_id of each cell, "" where there is no key, and its values under `obs_keys`.

    Raises
    ------
    InputError
        If a column is not there or lacks values, if one of `obs_keys` cannot name a column of the table, or if a label
        has two ids.
    """
    _check_names(file, obs_keys)
    none = np.full(len(file.obs_names), "", object)
    columns = {
        "label": file.labels(label_key, "--label-key"),
        "batch": file.labels(batch_key, "--batch-key") if batch_key else none,
        "label_id": file.labels(label_id_key, "--label-id-key") if label_id_key else none,
    }
    if UNKNOWN in columns["label"]:
        raise LabelError(
            f"{file.path}: obs[{label_key!r}] has the label {UNKNOWN!r}, which a call has that cannot be trusted",
            "labels of cells",
            "drop those cells, or rename the label",
        )
    ids_of: dict[str, str] = {}
    for label, label_id in zip(columns["label"].tolist(), columns["label_id"].tolist(), strict=True):
        if ids_of.setdefault(label, label_id) != label_id:
            raise LabelError(
                f"{file.path}: label {label!r} has ids {ids_of[label]!r} and {label_id!r}",
                "one id for a label",
                "mend obs",
            )
    return columns | {key: file.labels(key, "--obs-key") for key in obs_keys}


def _check_names(file: CellFile, obs_keys: Sequence[str]) -> None:
    """Raise `InputError` on a name that a filter could not tell from another, or that a table cannot have."""
    taken = set(FIXED_COLUMNS)
    for key in obs_keys:
        # Filters read names without regard to case, unless they stand in backticks.
        if key.casefold() in taken or not key or key.startswith("_row") or {".", "`"} & set(key):
            raise InputError(
                f"{file.path}: obs[{key!r}] cannot be kept by --obs-key under that name",
                f"each name once, none of {', '.join(FIXED_COLUMNS)}, without '.' and '`', not beginning with _row",
                "rename the column in obs, or leave it out",
            )
        taken.add(key.casefold())


class Cells:
    """The cells of a reference on their way into the table, and counts of what went by.

    Parameters
    ----------
    matrix, match
        Their values, and which genes these are of.
    obs_names
        (n,) their names.
    columns
        (n,) label, batch and label_id of each, and what else is kept of them.
    """

    def __init__(self, matrix: Matrix, match: GeneMatch, obs_names: Strings, columns: dict[str, Strings]) -> None:
        self._matrix, self._match = matrix, match
        self._columns = {
            "cell_id": obs_names,
            "dataset": np.full(len(obs_names), matrix.path.stem, object),
            **columns,
        }
        self._totals = np.zeros(matrix.n_genes)
        self._n_empty = 0

    def __len__(self) -> int:
        return len(self._columns["cell_id"])

    def schema(self, dimension: int) -> pa.Schema:
        """Return the table's columns."""
        vector = pa.list_(pa.float32(), dimension)
        types = {
            "row": pa.int64(),
            **dict.fromkeys((*OBS_COLUMNS, *self._columns), pa.string()),
            "empty": pa.bool_(),
            "vector": vector,
        }
        return pa.schema(list(types.items()))

    def embedded(self, embedding: Embedding, progress: Progress) -> Iterator[pa.RecordBatch]:
        """Yield the rows, embedded."""
        columns = aligner(self._match, embedding.gene_ids)
        for start, batch in self._matrix.batches("embedding cells", progress):
            vectors, empty = embed(embedding, batch, self._matrix.values, columns)
            self._totals += expression(batch, self._matrix.values)
            self._n_empty += int(empty.sum())
            yield self._rows(start, vectors, empty)

    def _rows(self, start: int, vectors: Floats, empty: np.ndarray[Any, np.dtype[np.bool_]]) -> pa.RecordBatch:
        stop = start + len(empty)
        arrays = {key: values[start:stop] for key, values in self._columns.items()}
        arrays |= {"row": np.arange(start, stop), "empty": empty}
        schema = self.schema(vectors.shape[1])
        columns = [
            vectors_to_arrow(vectors) if field.name == "vector" else pa.array(arrays[field.name], field.type)
            for field in schema
        ]
        return pa.RecordBatch.from_arrays(columns, schema=schema)

    def summary(self) -> dict[str, Any]:
        """Return what the manifest says of the cells, once all went by."""
        coverage = self._match.coverage(self._totals).to_dict()
        return {"n_cells": len(self), "n_empty": self._n_empty, "coverage": coverage}
