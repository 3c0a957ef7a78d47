"""What is installed to search with, and what is not."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec

from scvec.core.device import check_device, lacking

EXTRA = "pip install 'scvec[gpu]'"
SWAP = "pip uninstall faiss-cpu && pip install faiss-gpu"
"""FAISS for GPUs has the import name of faiss-cpu, so that it can only take its place."""

CAGRA_WHEEL = (
    "pip uninstall faiss-cpu faiss-gpu && pip install faiss-gpu-cuvs 'libcuvs-cu13==26.6.*' 'libraft-cu13==26.6.*' "
    "'librmm-cu13==26.6.*'"
)


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


def installed(device: str) -> Installed:
    """Return what is installed, for a device; it imports FAISS, and torch for a GPU."""
    check_device(device)
    torch = _of_torch(device)
    return Installed(
        torch=torch,
        faiss_gpu=_of_faiss(device),
        faiss_cagra=_of_cagra(),
        cuvs=None if find_spec("cuvs") else Lack("cuVS is not installed", EXTRA),
        free_bytes=0 if torch or device == "cpu" else _free_bytes(device),
    )


def installed_version(package: str) -> str | None:
    """Return the version of a package; None if it is not installed."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _of_torch(device: str) -> Lack | None:
    if find_spec("torch") is None:
        return Lack("torch is not installed", EXTRA)
    why = "" if device == "cpu" else lacking(device)
    return Lack(why, "") if why else None


def _of_faiss(device: str) -> Lack | None:
    try:
        from scvec.index import faiss_gpu
    except ImportError as error:
        return broken("faiss", error)
    why = faiss_gpu.lacking(device)
    return Lack(why, "" if faiss_gpu.knows_gpus() else SWAP) if why else None


def _of_cagra() -> Lack | None:
    try:
        from scvec.index import faiss_gpu
    except ImportError as error:
        return broken("faiss", error)
    return None if faiss_gpu.has_cagra() else Lack("the installed FAISS has no CAGRA", CAGRA_WHEEL)


def broken(package: str, error: ImportError) -> Lack:
    """Return the lack of a package that is there and cannot be imported."""
    said = " ".join(str(error).split())[-120:]
    return Lack(f"{package} is installed and cannot be imported ({said})", f"install a {package} that fits")


def _free_bytes(device: str) -> int:
    import torch

    return int(torch.cuda.mem_get_info(torch.device(device))[0]) if torch.cuda.is_available() else 0
