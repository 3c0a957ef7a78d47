"""The rows of an atlas's table: a reference's cells, embedded batch by batch."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa

from scvec.arrow import vectors_to_arrow
from scvec.atlas.reference import OBS_COLUMNS
from scvec.embed.projection import Projection
from scvec.ingest.cells.h5ad import Matrix
from scvec.ingest.cells.scale import expression
from scvec.ingest.matching import GeneMatch
from scvec.types import Floats, Progress, Strings


class Cells:
    """The cells of a reference on their way into the table, and counts of what went by.

    Parameters
    ----------
    matrix, match
        Their values, and which genes these are of.
    obs_names
        (n,) their names.
    columns
        (n,) label, batch and label_id of each.
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

    @staticmethod
    def schema(dimension: int) -> pa.Schema:
        """Return the table's columns."""
        vector = pa.list_(pa.float32(), dimension)
        types = {
            "row": pa.int64(),
            **dict.fromkeys(OBS_COLUMNS, pa.string()),
            "empty": pa.bool_(),
            "vector": vector,
        }
        return pa.schema(list(types.items()))

    def embedded(self, projection: Projection, progress: Progress) -> Iterator[pa.RecordBatch]:
        """Yield the rows, embedded."""
        aligner = projection.aligner(self._match)
        for start, batch in self._matrix.batches("embedding cells", progress):
            vectors, empty = projection.embed(batch, self._matrix.values, aligner)
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
