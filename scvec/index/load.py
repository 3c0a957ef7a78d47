"""Reading the parts of an index: memory-mapped, and refused if a file is incomplete."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scvec.core.files import sha256
from scvec.errors import MismatchError, MissingDependencyError
from scvec.index.base import Index
from scvec.index.engines import CPU, Engine, Kind, Lack, SearchEngine, engine_for, installed, on_cpu, unusable
from scvec.index.engines.lacks import broken
from scvec.index.engines.opening import over
from scvec.index.exact import Exact
from scvec.index.make import EXACT, INDEX, ROWS, VECTORS
from scvec.index.stored import Part, Stored


def open_parts(
    factory: str,
    folders: Sequence[Path],
    parameters: Mapping[str, int],
    *,
    device: str = "cpu",
    search_engine: SearchEngine = "auto",
    as_index: bool = False,
) -> Index:
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
        ``"cpu"``; ``"cuda"`` for all GPUs (those that FAISS uses; the first for other engines); or one, such as
        ``"cuda:1"``.
    search_engine
        ``"auto"``: by the rule of `scvec.index.engines.rule`, on the CPU if the GPU cannot be used, with the reason in
        the index's `notes`; or one of its `NAMES`.
    as_index
        Whether to search the index itself, to measure it, where ``"auto"`` would compare vectors in its place.

    Raises
    ------
    MismatchError
        If a file is missing or truncated, or does not belong to the same cells as the others.
    InputError
        If the engine that was named is unknown, is not installed, or cannot search this index.
    """
    parts = [_part(folder) for folder in folders]
    if len({vectors.shape[1] for _, vectors in parts}) > 1:
        shapes = ", ".join(str(vectors.shape[1]) for _, vectors in parts)
        raise MismatchError(f"parts of {shapes} dimensions in {folders[0].parent}", "one", "rebuild the index")
    if factory != EXACT:
        _import_faiss(factory)
    stored = Stored(parts)
    engine = _engine(factory, stored, device, search_engine, as_index)

    def searched_by(engine: Engine) -> Index | Lack:
        if factory == EXACT or engine.name not in ("cpu", "faiss-gpu"):
            return over(stored, engine)
        found = [_faiss(folder, *vectors.shape) for folder, (_, vectors) in zip(folders, parts, strict=True)]
        return _own(factory, stored, found, parameters, engine)

    found = searched_by(engine)
    if isinstance(found, Lack) and search_engine == "auto":
        found = searched_by(on_cpu(factory, found))
    if isinstance(found, Lack):
        raise unusable(engine.name, found)
    return found


def _engine(factory: str, stored: Stored, device: str, search_engine: SearchEngine, as_index: bool) -> Engine:
    if device == "cpu" and search_engine in ("auto", "cpu"):
        return CPU  # without a look at what is installed, which takes seconds
    here, clones = installed(device), False
    if factory != EXACT:
        from scvec.index import faiss_gpu, kinds

        clones = faiss_gpu.clones(kinds.make(factory, stored.dimension))
    kind = Kind(factory, clones, len(stored) * stored.dimension * stored.itemsize)
    return engine_for(kind, device, search_engine, here, as_index=as_index)


def _import_faiss(factory: str) -> None:
    try:
        from scvec.index import kinds  # noqa: F401
    except ImportError as error:
        why = broken("faiss", error).why
        raise MissingDependencyError(
            f"an index {factory} needs FAISS: {why}", fix="pip install --force-reinstall faiss-cpu"
        ) from error


def _own(
    factory: str, stored: Stored, indexes: Sequence[Any], parameters: Mapping[str, int], engine: Engine
) -> Index | Lack:
    """Return the FAISS index itself, on the CPU or copied to GPUs; why not, if it cannot be copied."""
    from scvec.index.faiss import Faiss

    found = Faiss(factory, stored, indexes, parameters, engine.device)
    if found.notes:
        return Lack(found.notes[0], "")
    found.notes = (engine.note,) if engine.note else ()
    return found


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
