"""Matrix Market text, features by cells, streamed into temporary CSR arrays."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import IO

import numpy as np

from scvec.core.types import Ints
from scvec.ingest.cells.layout import Entries, OnDisk, entries_at_once, lay_out
from scvec.ingest.cells.matrix import CsrRows, Rows

TEXT_BLOCK = 2**20
FIELDS = {"integer", "real", "double", "unsigned-integer"}
KEPT = (("cells", np.int32), ("columns", np.int32), ("values", np.float32))
"""What is kept of an entry while the text is streamed: twelve bytes."""


def read_market(stream: IO[bytes], shape: tuple[int, int], folder: Path) -> Rows:
    """Read a coordinate matrix of features by cells.

    Entries may be in any order; those ordered by cell, as Cell Ranger writes them, need no sorting. Source of the
    format: Boisvert et al. 1996, NISTIR 5935.

    Parameters
    ----------
    stream
        The text.
    shape
        Numbers of cells and features in the files beside it.
    folder
        The folder of the arrays; it must outlive the rows.

    Raises
    ------
    ValueError
        If the text is not such a matrix, has another shape, or is truncated.
    """
    n_entries = _head(stream, shape)
    counts, in_order, n_read, last = np.zeros(shape[0], np.int64), True, 0, 0
    files = [(folder / name).open("wb") for name, _ in KEPT]
    try:
        for entries in _blocks(stream):
            cells = _checked(entries, shape)
            counts += np.bincount(cells, minlength=shape[0])
            in_order = in_order and int(cells[0]) >= last and bool((np.diff(cells) >= 0).all())
            last, n_read = int(cells[-1]), n_read + len(cells)
            for file, values, (_, kind) in zip(files, entries, KEPT, strict=True):
                file.write(np.ascontiguousarray(values, kind).data)
    finally:
        for file in files:
            file.close()
    if n_read != n_entries:
        raise ValueError(f"it has {n_read:,} entries, its header says {n_entries:,}")
    arrays = [OnDisk(folder / name, kind) for name, kind in KEPT]
    if in_order:
        return CsrRows(arrays[2], arrays[1], np.concatenate([[0], np.cumsum(counts)]), shape)
    (folder / "sorted").mkdir()
    step = entries_at_once()

    def pieces() -> Iterator[Entries]:
        for first in range(0, n_entries, step):
            cells, columns, values = (one[first : first + step] for one in arrays)
            yield cells, columns, values

    return lay_out(pieces, counts, shape[1], folder / "sorted")


def _head(stream: IO[bytes], shape: tuple[int, int]) -> int:
    """Read the lines before the entries; return the number of entries."""
    banner = stream.readline(1024).decode("ascii", "replace").lower().split()
    if banner[:2] != ["%%matrixmarket", "matrix"]:
        raise ValueError("it does not begin with %%MatrixMarket matrix")
    if banner[2:3] != ["coordinate"] or not {*banner[3:4]} & FIELDS or banner[4:] != ["general"]:
        raise ValueError(f"it is {' '.join(banner[2:])}, not coordinate integer or real general")
    line = stream.readline(2**16)
    while line.startswith(b"%") or (line and not line.strip()):
        line = stream.readline(2**16)
    sizes = [int(one) for one in line.split()]
    if len(sizes) != 3:
        raise ValueError("it has no line with its size")
    if (sizes[1], sizes[0]) != shape:
        said = f"{sizes[0]:,} rows and {sizes[1]:,} columns for {shape[1]:,} features and {shape[0]:,} barcodes"
        raise ValueError(f"it has {said}{': transposed' if (sizes[0], sizes[1]) == shape else ''}")
    return sizes[2]


def _blocks(stream: IO[bytes]) -> Iterator[Entries]:
    """Yield cells, features, values, counted from 0."""
    import pyarrow as pa
    from pyarrow import csv

    names = ("feature", "cell", "value")
    try:
        reader = csv.open_csv(
            stream,
            csv.ReadOptions(column_names=names, block_size=TEXT_BLOCK, use_threads=False),
            csv.ParseOptions(delimiter=" "),
            csv.ConvertOptions(column_types=dict(zip(names, (pa.int64(), pa.int64(), pa.float64()), strict=True))),
        )
        for block in reader:
            if block.num_rows:
                feature, cell, value = (block.column(name).to_numpy(zero_copy_only=False) for name in names)
                yield cell - 1, feature - 1, value
    except pa.ArrowInvalid as error:
        if "Empty CSV" not in str(error):
            raise ValueError(str(error)) from error


def _checked(entries: Entries, shape: tuple[int, int]) -> Ints:
    cells, features, _ = entries
    for found, n, what in ((cells, shape[0], "barcodes"), (features, shape[1], "features")):
        if not 0 <= found.min() <= found.max() < n:
            raise ValueError(f"it has entries outside its {n:,} {what}")
    return cells
