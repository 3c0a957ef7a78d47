"""FAISS indexes of any kind: created from a factory string, trained, filled, written, read, merged."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import faiss
import numpy as np

from scvec.core.types import Floats
from scvec.errors import InputError

LINK_BYTES = 4
MAX_PER_CENTROID = 256
"""More vectors per centroid do not improve the clusters: FAISS's own advice."""


def make(factory: str, dimension: int) -> Any:
    """Return an empty, untrained index of inner products; raise `InputError` if the factory string is invalid."""
    try:
        return faiss.index_factory(dimension, factory, faiss.METRIC_INNER_PRODUCT)
    except RuntimeError as error:
        raise _unfit(factory, f"vectors of {dimension} dimensions", error) from error


def trained(factory: str, sample: Floats, random_state: int, on_gpu: Callable[[Any], Any] | None = None) -> Any:
    """Return an empty index trained on (n, d) unit vectors, by seeded clustering.

    Parameters
    ----------
    factory, sample, random_state
        As for `scvec.index.make.train`.
    on_gpu
        Copies an empty flat index to the device where vectors are assigned to clusters; None: the CPU. Only this step,
        which takes the time, is moved: every kind of index gains by it, the seed is kept (an index copied whole to a
        GPU is trained with the default seed), and nothing needs to be copied back.

    Raises
    ------
    InputError
        If the factory string is invalid, or needs more vectors than there are.
    """
    index = make(factory, sample.shape[1])
    try:
        for clustering in _clusterings(index):
            # Few vectors are fine, and many are thinned; otherwise FAISS warns on stderr.
            clustering.min_points_per_centroid, clustering.max_points_per_centroid = 1, MAX_PER_CENTROID
            clustering.seed = random_state + 1
        with _assigning(index, on_gpu):
            index.train(np.ascontiguousarray(sample, np.float32))
    except RuntimeError as error:
        raise _unfit(factory, f"{len(sample):,} cells", error) from error
    return index


def fill(index: Any, factory: str, vectors: Floats) -> None:
    """Add (n, d) vectors to a trained index; raise `InputError` if it does not take so many."""
    try:
        index.add(np.ascontiguousarray(vectors, np.float32))
    except RuntimeError as error:
        raise _unfit(factory, f"{len(vectors):,} cells", error) from error


def grows(index: Any) -> bool:
    """Return whether vectors can be added in several steps; the graph of NSG is built at once."""
    return not any("NSG" in type(one).__name__ or "NNDescent" in type(one).__name__ for one in layers(index))


def bytes_per_cell(factory: str, dimension: int) -> int:
    """Return the bytes per cell in an index: its code, its id, its links in a graph."""
    total = 0
    for one in layers(make(factory, dimension)):
        if isinstance(one, faiss.IndexIVF):
            return total + int(one.code_size) + 8
        if isinstance(one, faiss.IndexHNSW):
            links: Any = one.hnsw  # the stubs lack most of its methods
            total += LINK_BYTES * (int(links.nb_neighbors(0)) + int(links.nb_neighbors(1))) + 12
        elif isinstance(one, faiss.IndexNSG):
            total += LINK_BYTES * int(one.nsg.R)
        elif not isinstance(one, (faiss.IndexPreTransform, faiss.IndexRefine)):
            total += int(one.sa_code_size())
    return total


def code_bytes(index: Any) -> int:
    """Return the bytes that are read per cell to estimate its distance."""
    innermost = index
    for one in layers(index):
        innermost = one
        if not isinstance(one, (faiss.IndexPreTransform, faiss.IndexRefine)) and not hasattr(one, "storage"):
            break
    return int(innermost.code_size if isinstance(innermost, faiss.IndexIVF) else innermost.sa_code_size())


def lists(factory: str, dimension: int) -> int:
    """Return the number of inverted lists of an index; 0 without lists."""
    return next((int(one.nlist) for one in layers(make(factory, dimension)) if isinstance(one, faiss.IndexIVF)), 0)


def write(index: Any, path: Path) -> None:
    """Write an index in FAISS's own format."""
    faiss.write_index(index, str(path))


def read(path: Path, *, to_fill: bool = False) -> Any:
    """Read an index: into memory if it has lists, which will be merged, or if it is to be filled; else memory-mapped.

    Raises
    ------
    ValueError
        If the file is not a complete index.
    """
    try:
        index = faiss.read_index(str(path), faiss.IO_FLAG_MMAP_IFC)
        return faiss.read_index(str(path)) if to_fill or _merges(index) else index
    except RuntimeError as error:
        raise ValueError(said(error)[:80] or "not a complete FAISS index") from error


def merged(indexes: Sequence[Any]) -> list[tuple[int, Any]]:
    """Return the parts of an index, each with the position of its first cell; parts with inverted lists become one."""
    starts = np.cumsum([0, *(int(one.ntotal) for one in indexes)])
    if not _merges(indexes[0]):
        return list(zip(starts.tolist(), indexes, strict=False))
    for start, one in zip(starts[1:].tolist(), indexes[1:], strict=False):
        indexes[0].merge_from(one, start)
    return [(0, indexes[0])]


def layers(index: Any) -> Iterator[Any]:
    """Yield an index and the indexes that it is made of, the outermost first."""
    todo = [index]
    while todo:
        one = faiss.downcast_index(todo.pop())
        yield one
        if isinstance(one, faiss.IndexPreTransform):
            todo.append(one.index)
        elif isinstance(one, faiss.IndexRefine):
            todo += [one.refine_index, one.base_index]
        elif hasattr(one, "storage"):  # of a graph
            todo.append(one.storage)


def said(error: Exception) -> str:
    """Return FAISS's own words in an error, without the place in its code and the condition that failed."""
    return re.sub(r"^Error in .*? at \S+:\d+: (Error: )?('.*?' failed: ?)?", "", str(error), flags=re.DOTALL).strip()


def _merges(index: Any) -> bool:
    return isinstance(index, faiss.IndexIVF) or (
        isinstance(index, faiss.IndexPreTransform) and isinstance(faiss.downcast_index(index.index), faiss.IndexIVF)
    )


def _clusterings(index: Any) -> Iterator[Any]:
    """Yield the parameters of every clustering in the training of an index."""
    for one in layers(index):
        if isinstance(one, faiss.IndexIVF):
            yield one.cp
        if hasattr(one, "pq"):
            yield one.pq.cp


@contextmanager
def _assigning(index: Any, on_gpu: Callable[[Any], Any] | None) -> Iterator[None]:
    """Let every clustering assign vectors through an index that `on_gpu` places, while an index is trained."""
    if on_gpu is None:
        yield
        return
    used: list[Any] = []  # FAISS keeps a pointer, not a reference
    ends: list[tuple[Any, str]] = []
    for one in layers(index):
        if isinstance(one, faiss.IndexIVF):
            used.append(on_gpu(faiss.IndexFlat(one.d, one.metric_type)))
            ends.append((one, "clustering_index"))
        if hasattr(one, "pq"):
            used.append(on_gpu(faiss.IndexFlatL2(one.pq.dsub)))
            ends.append((one.pq, "assign_index"))
    for (owner, name), flat in zip(ends, used, strict=True):
        setattr(owner, name, flat)
    try:
        yield
    finally:
        for owner, name in ends:
            setattr(owner, name, None)


def _unfit(factory: str, what: str, error: Exception) -> InputError:
    return InputError(
        f"index {factory!r} cannot be built for {what} ({said(error)[:120]})",
        "auto, exact, or a FAISS factory string such as Flat, HNSW32 or IVF64,Flat",
        "give another `index`",
    )
