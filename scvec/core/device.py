"""Choosing the device to compute on: a GPU if one was requested and is available; and the names of search engines."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal, TypeAlias

from scvec.errors import must_be

DRIVERS = ("/dev/nvidiactl", "/dev/nvidia0", "/dev/dxg", "/dev/kfd")
"""Where a GPU driver is installed, one of these files exists. Torch knows for sure, but takes seconds to import."""

SearchEngine: TypeAlias = Literal["auto", "cpu", "torch", "faiss-gpu", "faiss-cagra", "cuvs-brute-force", "cuvs-cagra"]
"""What a search can be asked to run by; `scvec.index.engines` knows them. Named here, where naming costs no import."""


def choose(asked: str) -> tuple[str, str]:
    """Return the device to use, and a note for the user ("" for none).

    Parameters
    ----------
    asked
        ``"cpu"``; ``"cuda"``, or one of several GPUs, such as ``"cuda:1"``; ``"auto"``: a GPU if there is one.

    Raises
    ------
    InputError
        If it is none of these.
    """
    if not re.fullmatch(r"auto|cpu|cuda(:\d+)?", asked):
        raise must_be("device", "auto, cpu, cuda, or one GPU such as cuda:1", asked)
    if asked == "cpu" or (asked == "auto" and not has_driver()):
        return "cpu", ""
    why = lacking(asked)
    if not why:
        return ("cuda" if asked == "auto" else asked), ""
    return "cpu", "" if asked == "auto" else f"{why}: computing on the CPU"


def has_driver() -> bool:
    """Return whether there is a file of a GPU driver."""
    return any(Path(one).exists() for one in DRIVERS)


def check_device(device: str) -> None:
    """Raise `InputError` if a device has no valid name: ``"cpu"``, ``"cuda"``, or one GPU such as ``"cuda:1"``."""
    if not re.fullmatch(r"cpu|cuda(:\d+)?", device):
        raise must_be("device", "cpu, cuda, or one GPU such as cuda:1", device)


def lacking(device: str) -> str:
    """Return why torch cannot use a GPU, ``"cuda"`` or one such as ``"cuda:1"``; "" if it can."""
    number = int(device.partition(":")[2] or 0)
    try:
        import torch
    except ImportError:
        return "a GPU needs torch, which is not installed (pip install 'scvec[gpu]')"
    if not torch.cuda.is_available():
        return "torch finds no usable GPU"
    there = torch.cuda.device_count()
    return "" if number < there else f"there is no GPU {number}: torch finds {there}, counted from 0"
