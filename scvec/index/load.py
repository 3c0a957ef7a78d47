"""Reading the parts of an index: memory-mapped, and refused if a file is incomplete."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scvec.core.files import sha256
from scvec.errors import MismatchError
from scvec.index.base import Index
from scvec.index.exact import Exact
from scvec.index.make import EXACT, INDEX, ROWS, VECTORS
from scvec.index.stored import Part, Stored


def open_parts(factory: str, folders: Sequence[Path], parameters: Mapping[str, int], *, device: str = "cpu") -> Index:
    """Return the index of all parts, as `make_part` wrote them.

    Parameters
    ----------
    factory
        The factory string that they were made from.
    folders
        The folder of each part, at least one.
    parameters
        Search parameters, as `tune` chose them; defaults for those that are missing.
    device
        ``"cpu"``; ``"cuda"`` for all GPUs (for exact search, the first); or one, such as ``"cuda:1"``. If an index is
        searched on the CPU all the same, its `notes` say why.

    Raises
    ------
    MismatchError
        If a file is missing or truncated, or does not belong to the same cells as the others.
    """
    parts = [_part(folder) for folder in folders]
    if len({vectors.shape[1] for _, vectors in parts}) > 1:
        shapes = ", ".join(str(vectors.shape[1]) for _, vectors in parts)
        raise MismatchError(f"parts of {shapes} dimensions in {folders[0].parent}", "one", "rebuild the index")
    stored = Stored(parts)
    if factory == EXACT:
        return exact(stored, device)
    from scvec.index.faiss import Faiss

    found = [_faiss(folder, *vectors.shape) for folder, (_, vectors) in zip(folders, parts, strict=True)]
    return Faiss(factory, stored, found, parameters, device)


def exact(stored: Stored, device: str = "cpu") -> Index:
    """Return exact search of these vectors, on the CPU or on a torch device."""
    if device == "cpu":
        return Exact(stored)
    from scvec.index.torch_exact import TorchExact

    return TorchExact(stored, device)


def check_part(folder: Path, hashes: Mapping[str, str]) -> list[str]:
    """Return the names, sorted, of a part's files that are missing or do not have their hash in `hashes`."""
    return sorted(
        name for name, digest in hashes.items() if not (folder / name).is_file() or sha256(folder / name) != digest
    )


def _part(folder: Path) -> Part:
    rows, vectors = _mapped(folder / ROWS), _mapped(folder / VECTORS)
    if rows.dtype != np.int64 or rows.ndim != 1 or (np.diff(rows) <= 0).any():
        raise _broken(folder / ROWS, "its row ids do not ascend")
    if vectors.dtype not in (np.float32, np.float16) or vectors.ndim != 2 or not vectors.flags.c_contiguous:
        raise _broken(folder / VECTORS, "it does not hold vectors")
    if len(vectors) != len(rows):
        raise _broken(folder / VECTORS, f"it has {len(vectors):,} vectors for {len(rows):,} rows")
    return np.asarray(rows), vectors


def _mapped(path: Path) -> NDArray[Any]:
    try:
        found: Any = np.load(path, mmap_mode="r", allow_pickle=False)
        expected = found.offset + found.nbytes
    except (OSError, EOFError, ValueError) as error:
        raise _broken(path, str(error)[:80]) from error
    if path.stat().st_size != expected:
        raise _broken(path, f"it has {path.stat().st_size:,} bytes, its header says {expected:,}")
    # A plain view: taking rows from a np.memmap is slower.
    return np.asarray(found)


def _faiss(folder: Path, n: int, dimension: int) -> Any:
    from scvec.index import kinds

    path = folder / INDEX
    try:
        index = kinds.read(path)
    except ValueError as error:
        raise _broken(path, str(error)) from error
    if (index.ntotal, index.d) != (n, dimension):
        seen = f"it has {index.ntotal:,} vectors of {index.d} dimensions, {VECTORS} has {n:,} of {dimension}"
        raise _broken(path, seen)
    return index


def _broken(path: Path, seen: str) -> MismatchError:
    return MismatchError(f"{path} is broken: {seen}", "the file as it was written", "rebuild the index")
