"""Choosing the device to compute on: a GPU if one was requested and is available."""

from __future__ import annotations

import re
from pathlib import Path

from scvec.errors import must_be

DRIVERS = ("/dev/nvidiactl", "/dev/nvidia0", "/dev/dxg", "/dev/kfd")
"""Where a GPU driver is installed, one of these files exists. Torch knows for sure, but takes seconds to import."""


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
    if asked == "cpu" or (asked == "auto" and not any(Path(one).exists() for one in DRIVERS)):
        return "cpu", ""
    lacking = _lacking(0 if ":" not in asked else int(asked.partition(":")[2]))
    if not lacking:
        return ("cuda" if asked == "auto" else asked), ""
    return "cpu", "" if asked == "auto" else f"{lacking}: computing on the CPU"


def _lacking(number: int) -> str:
    """Return why a GPU cannot be used; "" if it can."""
    try:
        import torch
    except ImportError:
        return "a GPU needs torch, which is not installed (pip install 'scvec[gpu]')"
    if not torch.cuda.is_available():
        return "torch finds no usable GPU"
    there = torch.cuda.device_count()
    return "" if number < there else f"there is no GPU {number}: torch finds {there}, counted from 0"
