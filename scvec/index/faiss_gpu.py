"""FAISS on GPUs, where the FAISS that is installed knows them: clones of indexes to search, flat ones to train with."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

import faiss

from scvec.core.types import Floats, Ints
from scvec.errors import InputError
from scvec.index.base import LISTS

MOST = 2048
"""Neighbours and lists that a GPU's kernels can choose at once; beyond these, search is on the CPU."""

WHEELS = "pip uninstall faiss-cpu && pip install faiss-gpu-cu12, or another with FAISS's GPU code"

_all: Any = faiss  # whose stubs, and whose build for CPUs, lack what is used here

SCALARS = {
    getattr(_all.ScalarQuantizer, f"QT_{one}") for one in ("8bit", "8bit_uniform", "4bit", "4bit_uniform", "fp16")
}
BYTE = 8
"""Codes that a GPU reads: of scalar quantizers these, of product quantizers a byte for each part of a vector."""


def lacking(device: str) -> str:
    """Return why FAISS cannot use a device; "" if it can, and for the CPU; raise `InputError` if it is no such name."""
    if not re.fullmatch(r"cpu|cuda(:\d+)?", device):
        raise InputError(f"an index on device {device!r}", "cpu, cuda, or one GPU as cuda:1", "give one of these")
    if device == "cpu":
        return ""
    if not hasattr(faiss, "StandardGpuResources"):
        return f"FAISS computes on the CPU: faiss-cpu is installed ({WHEELS})"
    there, wanted = faiss.get_num_gpus(), max(_numbers(device), default=0)
    return "" if wanted < there else f"FAISS computes on the CPU: it finds {there} GPUs, and not number {wanted}"


def on_gpu(device: str) -> Callable[[Any], Any] | None:
    """Return what copies an empty flat index to all GPUs or to one, for training; None where training is on the CPU."""
    if device == "cpu" or lacking(device):
        return None
    return lambda index: _all.index_cpu_to_gpus_list(index, gpus=_numbers(device))


def clones(index: Any) -> bool:
    """Return whether FAISS has a GPU's version of this kind of index: flat, or inverted lists of flat, SQ, PQ codes.

    Its cloner refuses others, in some versions copies them to an index on the CPU, and of some codes ends the process.
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
    """Return copies of parts on a GPU, or shared out among all of them; none, with the reason, where that cannot be.

    Parameters
    ----------
    factory
        What they were made by.
    parts
        Indexes, each with the position of its first cell.
    device
        ``"cpu"``, ``"cuda"`` for all GPUs, or one of several as ``"cuda:1"``.
    """
    if device == "cpu":
        return [], ()
    reason = lacking(device)
    if reason:
        return [], (reason,)
    if not all(clones(part) for _, part in parts):
        return [], (f"an index {factory} is searched on the CPU: FAISS has IVFn,SQ8 for GPUs, and not this kind",)
    gpus = _numbers(device)
    options = _all.GpuMultipleClonerOptions()
    options.useFloat16 = options.shard = len(gpus) > 1
    try:
        return [(start, _all.index_cpu_to_gpus_list(part, co=options, gpus=gpus)) for start, part in parts], ()
    except RuntimeError as error:  # of memory, or of codes that its kernels do not read
        said = str(error).rpartition("Error: ")[2][:120]
        return [], (f"an index {factory} is searched on the CPU: it cannot be copied to the GPU ({said})",)


def search(index: Any, queries: Floats, k: int, lists: int | None) -> tuple[Floats, Ints]:
    """Return (n, k) products and positions that a clone finds, visiting so many lists; None: it has none."""
    if lists is not None:
        # Shards take no parameters with a search, but all that they are made of can be set.
        space = _all.GpuParameterSpace() if hasattr(faiss, "GpuParameterSpace") else _all.ParameterSpace()
        space.set_index_parameter(index, LISTS, lists)
    products, positions = index.search(queries, k)
    return products, positions


def _numbers(device: str) -> list[int]:
    """Return which GPUs are meant."""
    number = device.partition(":")[2]
    return [int(number)] if number else list(range(faiss.get_num_gpus()))
