"""FAISS on GPUs, if the installed FAISS supports them: copies of indexes for search, flat indexes for training."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import faiss
import numpy as np

from scvec.core.device import check_device
from scvec.core.types import Floats, Ints
from scvec.index import kinds
from scvec.index.base import LISTS

MOST = 2048
"""Most neighbours and lists that the GPU kernels can choose at once; beyond these, search runs on the CPU."""

NO_CODE = "the installed FAISS, faiss-cpu, has no code for GPUs"

_all: Any = faiss  # whose stubs and CPU build lack names used here

SCALARS = {
    getattr(_all.ScalarQuantizer, f"QT_{one}") for one in ("8bit", "8bit_uniform", "4bit", "4bit_uniform", "fp16")
}
BYTE = 8
"""Codes that a GPU reads: these scalar quantizers, and product quantizers with a byte for each part of a vector."""


def knows_gpus() -> bool:
    """Return whether the installed FAISS has code for GPUs."""
    return hasattr(faiss, "StandardGpuResources")


def has_cagra() -> bool:
    """Return whether the installed FAISS has the graph index CAGRA, which comes with cuVS."""
    return hasattr(faiss, "GpuIndexCagra")


def lacking(device: str) -> str:
    """Return why FAISS cannot use a device, "" if it can; raise `InputError` if the name is invalid."""
    check_device(device)
    if device == "cpu":
        return ""
    if not knows_gpus():
        return NO_CODE
    there, wanted = faiss.get_num_gpus(), max(_numbers(device), default=0)
    return "" if wanted < there else f"there is no GPU {wanted}: FAISS finds {there}, counted from 0"


def on_gpu(device: str) -> Callable[[Any], Any] | None:
    """Return a function that copies an empty flat index to the GPUs, for training; None: training runs on the CPU."""
    if device == "cpu" or lacking(device):
        return None
    return lambda index: _all.index_cpu_to_gpus_list(index, gpus=_numbers(device))


def clones(index: Any) -> bool:
    """Return whether FAISS has a GPU version of this kind of index: flat, or inverted lists of flat, SQ, PQ codes.

    For other kinds, its cloner fails, or in some versions copies them to the CPU; for some codes it ends the process.
    """
    one = faiss.downcast_index(index)
    if type(one) is faiss.IndexPreTransform:
        return clones(one.index)
    if isinstance(one, faiss.IndexIVF) and not isinstance(faiss.downcast_index(one.quantizer), faiss.IndexFlat):
        return False
    if type(one) is faiss.IndexIVFScalarQuantizer:
        return one.sq.qtype in SCALARS
    if type(one) is faiss.IndexIVFPQ:
        return int(one.pq.nbits) == BYTE
    return type(one) in (faiss.IndexFlat, faiss.IndexFlatIP, faiss.IndexIVFFlat)


def cloned(
    factory: str, parts: Sequence[tuple[int, Any]], device: str
) -> tuple[list[tuple[int, Any]], tuple[str, ...]]:
    """Return copies of parts on a GPU, or spread over all GPUs; if that fails, none, and a note with the reason.

    Parameters
    ----------
    factory
        The factory string of the index.
    parts
        Indexes, each with the position of its first cell.
    device
        ``"cpu"``, ``"cuda"`` for all GPUs, or one of several, such as ``"cuda:1"``.
    """
    if device == "cpu":
        return [], ()
    reason = lacking(device)
    if reason:
        return [], (reason,)
    if not all(clones(part) for _, part in parts):
        return [], (f"FAISS has no {factory} for GPUs",)
    gpus = _numbers(device)
    options = cloner_options(gpus)
    try:
        return [(start, _all.index_cpu_to_gpus_list(part, co=options, gpus=gpus)) for start, part in parts], ()
    except RuntimeError as error:  # out of memory, or codes that the kernels do not read
        return [], (f"the index {factory} cannot be copied to the GPU ({kinds.said(error)[:120]})",)


def cloner_options(gpus: Sequence[int]) -> Any:
    """Return how an index is copied: whole and as it is to one GPU, else in shards of half precision over several."""
    options = _all.GpuMultipleClonerOptions()
    options.useFloat16 = options.shard = len(gpus) > 1
    return options


def search(index: Any, queries: Floats, k: int, lists: int | None) -> tuple[Floats, Ints]:
    """Return (n, k) products and positions that a copy finds in this many lists; None: it has no lists."""
    if lists is not None:
        # Shards take no search parameters, but the parameters of their parts can be set.
        space = _all.GpuParameterSpace() if hasattr(faiss, "GpuParameterSpace") else _all.ParameterSpace()
        space.set_index_parameter(index, LISTS, lists)
    products, positions = index.search(queries, k)
    return products, positions


class Graph:
    """A CAGRA graph of FAISS's, on a GPU: a `scvec.index.engines.cagra.Graph`.

    Parameters
    ----------
    vectors
        (n, d) float32 unit vectors.
    device
        ``"cuda"`` for the first GPU, or one of several, such as ``"cuda:1"``.
    """

    filters = False

    def __init__(self, vectors: Floats, device: str) -> None:
        config = _all.GpuIndexCagraConfig()
        config.device = int(device.partition(":")[2] or 0)
        self._resources = _all.StandardGpuResources()
        self._index = _all.GpuIndexCagra(self._resources, vectors.shape[1], faiss.METRIC_INNER_PRODUCT, config)
        self._index.train(np.ascontiguousarray(vectors, np.float32))

    def search(self, queries: Floats, k: int, effort: int, positions: Ints | None = None) -> Ints:
        """Return (n, k) positions of the nearest that it finds, keeping `effort` candidates."""
        del positions
        params = _all.SearchParametersCagra()
        params.itopk_size = effort
        _, found = self._index.search(np.ascontiguousarray(queries, np.float32), k, params=params)
        return np.asarray(found, np.int64)


def _numbers(device: str) -> list[int]:
    """Return the numbers of the GPUs."""
    number = device.partition(":")[2]
    return [int(number)] if number else list(range(faiss.get_num_gpus()))
