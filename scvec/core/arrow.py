"""Columns of Arrow tables: vectors, and strings with few distinct values."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

if TYPE_CHECKING:
    import polars as pl


def vectors_to_arrow(vectors: np.ndarray[Any, Any], number: pa.DataType | None = None) -> pa.FixedSizeListArray:
    """Return (n, d) vectors as an Arrow column of float32, or of the type `number`."""
    dtype = np.float32 if number is None else number.to_pandas_dtype()
    flat = np.ascontiguousarray(vectors, dtype).reshape(-1)
    return pa.FixedSizeListArray.from_arrays(pa.array(flat), vectors.shape[1])


def vectors_from_arrow(column: pa.ChunkedArray | pa.Array) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Return an Arrow column of vectors as (n, d) float32."""
    chunks = column.chunks if isinstance(column, pa.ChunkedArray) else [column]
    width = column.type.list_size
    parts = [
        np.asarray(chunk.flatten().to_numpy(zero_copy_only=False), np.float32).reshape(-1, width) for chunk in chunks
    ]
    return np.concatenate(parts) if parts else np.zeros((0, width), np.float32)


def coded(values: Any) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, np.dtype[np.int64]]]:
    """Return the distinct strings among (n,) values, sorted, and (n,) the position of each value among them.

    Takes memory for n numbers, not for n strings.
    """
    column = values if isinstance(values, pa.ChunkedArray) else pa.chunked_array([pa.array(values, pa.string())])
    column = column.dictionary_encode().unify_dictionaries()
    names = column.chunk(0).dictionary.to_pylist() if column.num_chunks else []
    order = sorted(range(len(names)), key=names.__getitem__)
    rank = np.empty(len(names), np.int64)
    rank[order] = np.arange(len(names))
    codes = [rank[np.asarray(chunk.indices)] for chunk in column.chunks]
    return np.array([names[i] for i in order], object), np.concatenate(codes) if codes else np.zeros(0, np.int64)


def lists(values: NDArray[Any], keep: NDArray[np.bool_], dtype: Any) -> pl.Series:
    """Return a column of n lists: of (n, k) values those to `keep`. Built flat, as a Python list per cell is slow."""
    import polars as pl

    flat = pl.Series(values[keep].tolist() if values.dtype == object else values[keep], dtype=dtype).to_arrow()
    offsets = np.concatenate([[0], np.cumsum(keep.sum(axis=1))])
    return pl.Series(pa.LargeListArray.from_arrays(pa.array(offsets, pa.int64()), flat))
