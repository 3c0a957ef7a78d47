"""What is installed to search with, and what is not."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from importlib.util import find_spec

from scvec.core.device import check_device, lacking

EXTRA = "pip install 'scvec[gpu]'"
SWAP = "pip uninstall -y faiss-cpu && pip install faiss-gpu"
"""FAISS for GPUs has the import name of faiss-cpu, so that it can only take its place."""

CAGRA = (
    f"use cuvs-cagra ({EXTRA}), or in place of faiss-cpu and cuVS: pip install faiss-gpu-cuvs 'libcuvs-cu13==26.6.*'"
)
"""The newest such wheel cannot be imported with newer libraries of cuVS, which it allows."""


@dataclass(frozen=True, slots=True)
class Lack:
    """Why something cannot be used.

    Attributes
    ----------
    why
        The reason.
    fix
        What to do about it, a command where there is one; "" where nothing can be done.
    """

    why: str
    fix: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Installed:
    """What each engine lacks here; None where it lacks nothing.

    Attributes
    ----------
    torch, faiss_gpu, faiss_cagra, cuvs
        What it lacks; of `faiss_cagra`, in addition to what `faiss_gpu` lacks.
    free_bytes
        Free memory of the GPU.
    """

    torch: Lack | None = None
    faiss_gpu: Lack | None = None
    faiss_cagra: Lack | None = None
    cuvs: Lack | None = None
    free_bytes: int = 0


def packages() -> Installed:
    """Return what the packages that are installed lack, whether or not there is a GPU; it imports FAISS."""
    faiss_gpu, faiss_cagra = _of_faiss()
    return Installed(
        torch=None if find_spec("torch") else Lack("torch is not installed", EXTRA),
        faiss_gpu=faiss_gpu,
        faiss_cagra=faiss_cagra,
        cuvs=None if find_spec("cuvs") else Lack("cuVS is not installed", EXTRA),
    )


def installed(device: str) -> Installed:
    """Return what is lacking to search on a device; it imports FAISS, and torch for a GPU.

    Raises
    ------
    InputError
        If the device's name is invalid.
    """
    check_device(device)
    found = packages()
    if device == "cpu":
        return found
    why = "" if found.torch else lacking(device)
    if why:
        found = replace(found, torch=Lack(why, ""))
    if found.faiss_gpu is None:
        from scvec.index import faiss_gpu

        why = faiss_gpu.lacking(device)
        found = replace(found, faiss_gpu=Lack(why, "") if why else None)
    return found if found.torch else replace(found, free_bytes=_free_bytes(device))


def _of_faiss() -> tuple[Lack | None, Lack | None]:
    """Return what FAISS lacks for GPUs, and for CAGRA."""
    try:
        from scvec.index import faiss_gpu
    except ImportError as error:
        return broken("faiss", error), broken("faiss", error)
    return (
        None if faiss_gpu.knows_gpus() else Lack(faiss_gpu.NO_CODE, SWAP),
        None if faiss_gpu.has_cagra() else Lack("the installed FAISS has no CAGRA", CAGRA),
    )


def broken(package: str, error: ImportError) -> Lack:
    """Return the lack of a package that is there and cannot be imported."""
    # Without folders: the name of the file is enough.
    said = re.sub(r"(?<!\S)/\S*/", "", " ".join(str(error).split()))[-120:]
    return Lack(f"{package} is installed and cannot be imported ({said})", f"install a {package} that fits")


def _free_bytes(device: str) -> int:
    import torch

    return int(torch.cuda.mem_get_info(torch.device(device))[0]) if torch.cuda.is_available() else 0
