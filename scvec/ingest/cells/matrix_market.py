"""Matrix Market text, features by cells or cells by features, streamed into temporary CSR arrays."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np

from scvec.core.types import Ints
from scvec.ingest.cells.layout import Entries, OnDisk, entries_at_once, lay_out
from scvec.ingest.cells.matrix import CsrRows, Rows

TEXT_BLOCK = 2**20
FIELDS = {"integer", "real", "double", "unsigned-integer"}
BANNER = "%%MatrixMarket matrix coordinate integer general"
REWRITE = (
    "in Python: import scipy; m = scipy.sparse.coo_matrix(scipy.io.mmread({path})); "
    "scipy.io.mmwrite('matrix.mtx', m, symmetry='general')"
)
MAX_COMMENTS = 2**20
KEPT = (("cells", np.int32), ("columns", np.int32), ("values", np.float32))
"""What is kept of an entry while the text is streamed: twelve bytes."""


def read_market(stream: IO[bytes], shape: tuple[int, int], folder: Path, *, by_cells: bool = False) -> Rows:
    """Read a coordinate matrix.

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
    by_cells
        Whether it has a row for each cell; else a column.

    Raises
    ------
    ValueError
        If the text is not such a matrix, has another shape, or is truncated.
    """
    sizes = _head(stream)
    if sizes[:2] != (shape if by_cells else shape[::-1]):
        raise ValueError(f"it has {sizes[0]:,} rows and {sizes[1]:,} columns, which do not fit its names")
    n_entries = sizes[2]
    counts, in_order, n_read, last = np.zeros(shape[0], np.int64), True, 0, 0
    files = [(folder / name).open("wb") for name, _ in KEPT]
    try:
        for entries in _blocks(_Blanks(stream), by_cells):
            cells = _checked(entries, shape)
            counts += np.bincount(cells, minlength=shape[0])
            in_order = in_order and int(cells[0]) >= last and bool((np.diff(cells) >= 0).all())
            last, n_read = int(cells[-1]), n_read + len(cells)
            if n_read > n_entries:
                raise ValueError(f"it has more than the {n_entries:,} entries that its header says")
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


class UnsuitedError(ValueError):
    """A text is a matrix of another form, or none; ``fix`` says what to do, ``{path}`` is filled in."""

    def __init__(self, seen: str, fix: str = "download or write it again") -> None:
        super().__init__(seen)
        self.fix = fix


def size_of(stream: IO[bytes]) -> tuple[int, int]:
    """Return the numbers of rows and columns of a matrix; raise `ValueError` for what `read_market` refuses."""
    return _head(stream)[:2]


def _head(stream: IO[bytes]) -> tuple[int, int, int]:
    """Read the lines before the entries; return the numbers of rows, columns and entries."""
    banner = stream.readline(1024).decode("utf-8-sig", "replace").lower().split()
    if banner[:2] != ["%%matrixmarket", "matrix"]:
        bare = len(banner) == 3 and all(part.isdigit() for part in banner)
        again = f"put this line before all others, if the values are counts: {BANNER}"
        raise UnsuitedError(
            "does not begin with %%MatrixMarket matrix", *([again] if bare or banner[:1] == ["%"] else [])
        )
    form, field, symmetry = (*banner[2:5], "", "", "")[:3]
    if field == "pattern":
        seen = "is a pattern, not coordinate integer or real: it says where there are values, and not which"
        raise UnsuitedError(seen, "ask for the counts, where it is from")
    if form != "coordinate" or field not in FIELDS or symmetry != "general" or len(banner) > 5:
        seen = f"is {' '.join(banner[2:])}, not coordinate integer or real general"
        rewritable = form in ("array", "coordinate") and (field in FIELDS)
        raise UnsuitedError(seen, *([REWRITE] if rewritable else []))
    line, n_read = stream.readline(2**16), 0
    while line.startswith(b"%") or (line and not line.strip()):
        n_read += len(line)
        if n_read > MAX_COMMENTS:
            raise ValueError(f"its comments are longer than {MAX_COMMENTS:,} bytes")
        line = stream.readline(2**16)
    sizes = [int(one) for one in line.split() if re.fullmatch(rb"\d{1,18}", one)]
    if len(sizes) != 3 or len(line.split()) != 3:
        raise ValueError("it has no line with its size")
    return sizes[0], sizes[1], sizes[2]


class _Blanks(io.RawIOBase):
    """A text whose columns are separated by one blank each, where it has tabs or several: the format allows both."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream, self._left, self._ready = stream, b"", b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._ready:
            block = self._stream.read(TEXT_BLOCK)
            whole = self._left + block
            # A run of blanks, or the end of a line, may be cut in two.
            end = whole.rfind(b"\n") + 1 if block else len(whole)
            self._left, self._ready = whole[end:], self._single(whole[:end])
            if not block:
                break
            if len(self._left) > MAX_COMMENTS:
                raise ValueError("it has a line that is too long")
        n = min(len(buffer), len(self._ready))
        buffer[:n] = self._ready[:n]
        self._ready = self._ready[n:]
        return n

    @staticmethod
    def _single(text: bytes) -> bytes:
        if b"\t" in text:
            text = text.replace(b"\t", b" ")
        if b"  " in text or b" \n" in text or b"\n " in text or b" \r" in text or text.startswith(b" "):
            text = re.sub(rb" *(\r?\n) *", rb"\1", re.sub(rb" +", b" ", text)).strip(b" ")
        return text


def _blocks(stream: IO[bytes] | io.RawIOBase, by_cells: bool) -> Iterator[Entries]:
    """Yield cells, features, values, counted from 0."""
    import pyarrow as pa
    from pyarrow import csv

    names = ("cell", "feature", "value") if by_cells else ("feature", "cell", "value")
    kinds = {"feature": pa.int64(), "cell": pa.int64(), "value": pa.float64()}
    try:
        reader = csv.open_csv(
            stream,
            csv.ReadOptions(column_names=names, block_size=TEXT_BLOCK, use_threads=False),
            csv.ParseOptions(delimiter=" "),
            csv.ConvertOptions(column_types=kinds),
        )
        for block in reader:
            if block.num_rows:
                feature, cell, value = (block.column(name).to_numpy(zero_copy_only=False) for name in kinds)
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
