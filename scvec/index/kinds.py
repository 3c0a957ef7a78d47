"""Kinds of FAISS index: made from a factory string, trained, filled, written, read, merged."""

from __future__ import annotations

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
"""More vectors a centroid make no better clusters: FAISS's own advice."""


def make(factory: str, dimension: int) -> Any:
    """Return an empty, untrained index of inner products; raise `InputError` if FAISS knows no such factory string."""
    try:
        return faiss.index_factory(dimension, factory, faiss.METRIC_INNER_PRODUCT)
    except RuntimeError as error:
        raise _unfit(factory, f"vectors of {dimension} dimensions", error) from error


def trained(factory: str, sample: Floats, random_state: int, on_gpu: Callable[[Any], Any] | None = None) -> Any:
    """Return an empty index trained on (n, d) vectors of length one, by seeded clustering.

    Parameters
    ----------
    factory, sample, random_state
        As `scvec.index.make.train` takes them.
    on_gpu
        Copies an empty flat index to where vectors are assigned to clusters; None: they are on the CPU. Only this is
        moved, the step that takes the time: so every kind gains by it, its seed holds (a whole index that is copied
        to a GPU is trained by the usual seed there), and nothing needs to be copied back.

    Raises
    ------
    InputError
        If FAISS knows no such factory string, or needs more vectors for it than there are.
    """
    index = make(factory, sample.shape[1])
    try:
        for clustering in _clusterings(index):
            # Few vectors are fine, and many are thinned; FAISS says so on stderr otherwise.
            clustering.min_points_per_centroid, clustering.max_points_per_centroid = 1, MAX_PER_CENTROID
            clustering.seed = random_state + 1
        with _assigning(index, on_gpu):
            index.train(np.ascontiguousarray(sample, np.float32))
    except RuntimeError as error:
        raise _unfit(factory, f"{len(sample):,} cells", error) from error
    return index


def fill(index: Any, factory: str, vectors: Floats) -> None:
    """Add (n, d) vectors to a trained index; raise `InputError` if it takes no such number of them."""
    try:
        index.add(np.ascontiguousarray(vectors, np.float32))
    except RuntimeError as error:
        raise _unfit(factory, f"{len(vectors):,} cells", error) from error


def grows(index: Any) -> bool:
    """Return whether vectors can be added to it in several steps; the graph of NSG is made at once."""
    return not any("NSG" in type(one).__name__ or "NNDescent" in type(one).__name__ for one in layers(index))


def bytes_per_cell(factory: str, dimension: int) -> int:
    """Return the bytes that a cell takes in an index: its codes, its id, its links in a graph."""
    total = 0
    for one in layers(make(factory, dimension)):
        if isinstance(one, faiss.IndexIVF):
            return total + int(one.code_size) + 8
        if isinstance(one, faiss.IndexHNSW):
            links: Any = one.hnsw  # the stubs know few of its methods
            total += LINK_BYTES * (int(links.nb_neighbors(0)) + int(links.nb_neighbors(1))) + 12
        elif isinstance(one, faiss.IndexNSG):
            total += LINK_BYTES * int(one.nsg.R)
        elif not isinstance(one, (faiss.IndexPreTransform, faiss.IndexRefine)):
            total += int(one.sa_code_size())
    return total


def code_bytes(index: Any) -> int:
    """Return the bytes that are read of a cell to judge its distance."""
    innermost = index
    for one in layers(index):
        innermost = one
        if not isinstance(one, (faiss.IndexPreTransform, faiss.IndexRefine)) and not hasattr(one, "storage"):
            break
    return int(innermost.code_size if isinstance(innermost, faiss.IndexIVF) else innermost.sa_code_size())


def lists(factory: str, dimension: int) -> int:
    """Return how many inverted lists an index has; 0: none."""
    return next((int(one.nlist) for one in layers(make(factory, dimension)) if isinstance(one, faiss.IndexIVF)), 0)


def write(index: Any, path: Path) -> None:
    """Write an index in FAISS's own format."""
    faiss.write_index(index, str(path))


def read(path: Path, *, to_fill: bool = False) -> Any:
    """Read what `write` wrote: lists, which are merged, and what is to be filled into memory; all else stays mapped.

    Raises
    ------
    ValueError
        If it is no whole index.
    """
    try:
        index = faiss.read_index(str(path), faiss.IO_FLAG_MMAP_IFC)
        return faiss.read_index(str(path)) if to_fill or _merges(index) else index
    except RuntimeError as error:
        raise ValueError(str(error).rpartition("Error: ")[2][:80] or "no whole FAISS index") from error


def merged(indexes: Sequence[Any]) -> list[tuple[int, Any]]:
    """Return indexes of one training, each with the position of its first cell; those of inverted lists become one."""
    starts = np.cumsum([0, *(int(one.ntotal) for one in indexes)])
    if not _merges(indexes[0]):
        return list(zip(starts.tolist(), indexes, strict=False))
    for start, one in zip(starts[1:].tolist(), indexes[1:], strict=False):
        indexes[0].merge_from(one, start)
    return [(0, indexes[0])]


def layers(index: Any) -> Iterator[Any]:
    """Yield an index and those that it is made of, the outermost first."""
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


def _merges(index: Any) -> bool:
    return isinstance(index, faiss.IndexIVF) or (
        isinstance(index, faiss.IndexPreTransform) and isinstance(faiss.downcast_index(index.index), faiss.IndexIVF)
    )


def _clusterings(index: Any) -> Iterator[Any]:
    """Yield the parameters of every clustering that training an index does."""
    for one in layers(index):
        if isinstance(one, faiss.IndexIVF):
            yield one.cp
        if hasattr(one, "pq"):
            yield one.pq.cp


@contextmanager
def _assigning(index: Any, on_gpu: Callable[[Any], Any] | None) -> Iterator[None]:
    """Have every clustering of an index assign vectors by an index of the caller's, while it is trained."""
    if on_gpu is None:
        yield
        return
    used: list[Any] = []  # FAISS keeps a pointer and no reference
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
        f"index {factory!r} cannot be made of {what} ({str(error).rpartition('Error: ')[2][:80]})",
        "auto, exact, or a FAISS factory string such as Flat, HNSW32 or IVF64,Flat",
        "give another with --index",
    )
