"""Vectors as Arrow columns and back."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa


def vectors_to_arrow(vectors: np.ndarray[Any, Any]) -> pa.FixedSizeListArray:
    """Return (n, d) float32 as an Arrow column."""
    flat = np.ascontiguousarray(vectors, np.float32).reshape(-1)
    return pa.FixedSizeListArray.from_arrays(pa.array(flat), vectors.shape[1])


def vectors_from_arrow(column: pa.ChunkedArray | pa.Array) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Return an Arrow column of vectors as (n, d) float32."""
    chunks = column.chunks if isinstance(column, pa.ChunkedArray) else [column]
    width = column.type.list_size
    parts = [
        np.asarray(chunk.flatten().to_numpy(zero_copy_only=False), np.float32).reshape(-1, width) for chunk in chunks
    ]
    return np.concatenate(parts) if parts else np.zeros((0, width), np.float32)
