"""Building an index: one index is trained; each part of the cells has vectors, row ids and a filled copy of it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from io import BufferedWriter
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from scvec.core.files import sha256
from scvec.core.types import Floats, Ints
from scvec.errors import InputError

ROWS, VECTORS, INDEX = "rows.npy", "vectors.npy", "index.faiss"
EXACT = "exact"

ADDED = 16_384
"""Vectors added to an index at once: enough for all cores."""


@dataclass(frozen=True, slots=True)
class PartMade:
    """A part that was written.

    Attributes
    ----------
    rows
        The number of cells.
    bytes
        The size of its files.
    hashes
        The SHA-256 of each file, by name.
    """

    rows: int
    bytes: int
    hashes: MappingProxyType[str, str]


def train(factory: str, sample: Floats, random_state: int, path: Path, device: str = "cpu") -> None:
    """Write a trained index without cells; the parts are filled copies of it.

    Parameters
    ----------
    factory
        A FAISS factory string; ``"exact"`` needs no training.
    sample
        (n, d) unit vectors, see `choose.sample_rows`.
    random_state
        Seed of the clustering.
    path
        The file to write.
    device
        Where vectors are assigned to clusters: ``"cpu"``, ``"cuda"`` for all GPUs, or one, such as ``"cuda:1"``. If the
        installed FAISS does not support GPUs, on the CPU.

    Raises
    ------
    InputError
        If the factory string is invalid or needs more cells, or if the device is invalid.
    """
    if factory == EXACT:
        raise InputError("training an exact index", "a FAISS factory string", "make its parts without training")
    from scvec.index import faiss_gpu, kinds

    kinds.write(kinds.trained(factory, sample, random_state, faiss_gpu.on_gpu(device)), path)


def make_part(
    folder: Path,
    factory: str,
    trained: Path | None,
    dimension: int,
    dtype: Literal["float32", "float16"],
    blocks: Iterable[tuple[Ints, Floats]],
    advance: Callable[[int], None] = lambda _done: None,
) -> PartMade:
    """Write the files of a part into `folder`; beside the index itself, only a block is held in memory.

    Parameters
    ----------
    folder
        An empty folder.
    factory, trained
        The factory string that `train` was given, and the file that it wrote; None with ``"exact"``.
    dimension, dtype
        The length and type of the vectors in the file.
    blocks
        Row ids, ascending through all blocks, and their (n, d) unit vectors.
    advance
        Called with the number of cells of each finished block.

    Raises
    ------
    InputError
        If there are no cells, or the row ids do not ascend.
    """
    index = None
    if factory != EXACT:
        from scvec.index import kinds

        if trained is None:
            raise InputError(f"a part of an index {factory!r} without `trained`", "a trained index", "train it first")
        index = kinds.read(trained, to_fill=True)
    at_once = index is not None and not kinds.grows(index)
    last, n = -1, 0
    with ExitStack() as files:
        rows = files.enter_context(_Npy(folder / ROWS, np.dtype(np.int64), ()))
        vectors = files.enter_context(_Npy(folder / VECTORS, np.dtype(dtype), (dimension,)))
        for ids, block in _of_size(blocks, ADDED):
            if ids[0] <= last or (np.diff(ids) <= 0).any():
                raise InputError(f"row ids of a part near {ids[0]}", "ascending ids", "sort them")
            last, n = int(ids[-1]), n + len(ids)
            kept = block.astype(dtype)
            rows.append(ids)
            vectors.append(kept)
            if index is not None and not at_once:
                kinds.fill(index, factory, kept)
            advance(len(ids))
    if not n:
        raise InputError("a part of an index without cells", "at least one cell", "leave it out")
    if at_once:
        kinds.fill(index, factory, np.load(folder / VECTORS, mmap_mode="r"))
    if index is not None:
        kinds.write(index, folder / INDEX)
    made = sorted(path for path in folder.iterdir() if path.name in (ROWS, VECTORS, INDEX))
    hashes = {path.name: sha256(path) for path in made}
    return PartMade(n, sum(path.stat().st_size for path in made), MappingProxyType(hashes))


def _of_size(blocks: Iterable[tuple[Ints, Floats]], least: int) -> Iterator[tuple[Ints, Floats]]:
    """Yield blocks, joined until they have at least `least` cells."""
    held: list[tuple[Ints, Floats]] = []
    for block in blocks:
        if len(block[0]):
            held.append(block)
        if sum(len(ids) for ids, _ in held) >= least:
            yield _joined(held)
            held = []
    if held:
        yield _joined(held)


def _joined(held: list[tuple[Ints, Floats]]) -> tuple[Ints, Floats]:
    ids, vectors = zip(*held, strict=True)
    return (ids[0], vectors[0]) if len(held) == 1 else (np.concatenate(ids), np.concatenate(vectors))


class _Npy:
    """Writes an array in NumPy's format row by row; the number of rows in its header is set at the end."""

    def __init__(self, path: Path, dtype: np.dtype[Any], shape: tuple[int, ...]) -> None:
        self._path, self._dtype, self._shape, self._rows = path, dtype, shape, 0

    def __enter__(self) -> _Npy:
        self._file: BufferedWriter = self._path.open("wb")
        self._write_header()
        return self

    def append(self, block: NDArray[Any]) -> None:
        """Add rows."""
        self._file.write(np.ascontiguousarray(block, self._dtype).data)
        self._rows += len(block)

    def __exit__(self, *_: object) -> None:
        # NumPy leaves room in the header for an array to grow along its first axis.
        self._file.seek(0)
        self._write_header()
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()

    def _write_header(self) -> None:
        described = {"descr": npy.dtype_to_descr(self._dtype), "fortran_order": False}
        npy.write_array_header_1_0(self._file, {**described, "shape": (self._rows, *self._shape)})
