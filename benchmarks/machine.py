"""The bounds of this machine, which times are compared with: reading h5ad, writing Lance, copying memory.

    python -m benchmarks.machine CELLS.h5ad --folder FOLDER

Each is the bare library, called from one thread; nothing is decoded, checked or kept. MB are 10**6 bytes.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import h5py
import numpy as np
import pyarrow as pa

from benchmarks.common import WORK, machine, make_parser

BLOCK_VALUES = 8 * 2**20
BATCH_ROWS = 8192


@dataclass(frozen=True)
class Rate:
    """How fast something was done.

    Attributes
    ----------
    megabytes
        Megabytes moved, as arrays in memory: more than on disk if the file is compressed.
    seconds
        Time taken.
    rows
        Cells, or vectors; 0 if neither.
    """

    megabytes: float
    seconds: float
    rows: int = 0

    def to_dict(self) -> dict[str, float]:
        """Return it with MB and rows per second, as JSON types."""
        speed = {"megabytes_per_s": self.megabytes / self.seconds, "rows_per_s": self.rows / self.seconds}
        return {**asdict(self), **speed}


def read_h5ad(path: Path, *, cold: bool, limit_cells: int | None = None) -> Rate:
    """Read data and indices of a CSR ``X`` from the first cell on, a block at a time, into the same memory.

    Parameters
    ----------
    path
        An h5ad file.
    cold
        Whether the system first drops what it caches of the file. The disk's own cache may still hold it.
    limit_cells
        Read only this many cells.
    """
    if cold:
        forget(path)
    start = time.perf_counter()
    with h5py.File(path, "r") as file:
        x = file["X"]
        indptr = x["indptr"][: None if limit_cells is None else limit_cells + 1]
        parts, last = (x["data"], x["indices"]), int(indptr[-1])
        blocks = [np.empty(BLOCK_VALUES, part.dtype) for part in parts]
        for first in range(0, last, BLOCK_VALUES):
            stop = min(first + BLOCK_VALUES, last)
            for part, block in zip(parts, blocks, strict=True):
                part.read_direct(block, np.s_[first:stop], np.s_[: stop - first])
        n_bytes = last * sum(block.itemsize for block in blocks)
    return Rate(n_bytes / 1e6, time.perf_counter() - start, len(indptr) - 1)


def forget(path: Path) -> None:
    """Have the system drop what it caches of a file; needs no special rights."""
    with path.open("rb") as stream:
        os.fsync(stream.fileno())
        os.posix_fadvise(stream.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def write_lance(folder: Path, n: int = 1_000_000, dimension: int = 384, *, sync: bool = True) -> Rate:
    """Write random float32 vectors as a Lance table in a new folder, and wait until the disk has them.

    Parameters
    ----------
    folder
        On the disk to measure; what is written is removed.
    n, dimension
        Number and dimension of the vectors; a batch of 8,192 of them is written repeatedly.
    sync
        Whether to wait for the disk.
    """
    # Lance logs the creation of a table as a warning. Must be set before the import.
    os.environ.setdefault("LANCE_LOG", "error")
    import lance

    numbers = np.random.default_rng(0).standard_normal(BATCH_ROWS * dimension, np.float32)
    vectors = pa.FixedSizeListArray.from_arrays(pa.array(numbers), dimension)
    batch = pa.record_batch([vectors], names=["vector"])

    def batches() -> Iterator[pa.RecordBatch]:
        for first in range(0, n, BATCH_ROWS):
            yield batch.slice(0, min(BATCH_ROWS, n - first))

    folder.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=folder) as place:
        start = time.perf_counter()
        lance.write_dataset(pa.RecordBatchReader.from_batches(batch.schema, batches()), f"{place}/vectors.lance")
        for path in Path(place).rglob("*.lance") if sync else ():
            if path.is_file():
                with path.open("rb") as stream:
                    os.fsync(stream.fileno())
        return Rate(n * dimension * 4 / 1e6, time.perf_counter() - start, n)


def copy_memory(n_bytes: int = 512 * 2**20, rounds: int = 5) -> Rate:
    """Copy an array too large for any cache, on one thread; return the fastest round, counting the bytes read."""
    numbers, copy = np.ones(n_bytes // 8), np.zeros(n_bytes // 8)
    took = []
    for _ in range(rounds):
        start = time.perf_counter()
        np.copyto(copy, numbers)
        took.append(time.perf_counter() - start)
    return Rate(numbers.nbytes / 1e6, min(took))


def bounds(path: Path, folder: Path, *, limit_cells: int | None = None) -> dict[str, dict[str, float]]:
    """Return all bounds by name; see the functions."""
    return {
        "h5ad_read_cold": read_h5ad(path, cold=True, limit_cells=limit_cells).to_dict(),
        "h5ad_read_warm": read_h5ad(path, cold=False, limit_cells=limit_cells).to_dict(),
        "lance_write": write_lance(folder).to_dict(),
        "memory_copy": copy_memory().to_dict(),
    }


def main() -> None:
    parser = make_parser("machine", __doc__)
    parser.add_argument("cells", type=Path, help="an h5ad file with CSR counts, such as one of benchmarks.scale")
    parser.add_argument("--folder", type=Path, default=WORK, help="where vectors are written; they need 1.6 GB")
    parser.add_argument("--limit-cells", type=int, help="read only this many, so that they fit into memory when warm")
    args = parser.parse_args()
    found = bounds(args.cells, args.folder, limit_cells=args.limit_cells)
    print(json.dumps({"machine": machine(), "bounds": found}, indent=1))


if __name__ == "__main__":
    main()
