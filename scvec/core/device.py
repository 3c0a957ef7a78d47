"""Which device computes: a GPU where one was asked for and is there."""

from __future__ import annotations

import re
from pathlib import Path

from scvec.errors import InputError

DRIVERS = ("/dev/nvidiactl", "/dev/nvidia0", "/dev/dxg", "/dev/kfd")
"""Files of which one is there where a driver of a GPU is: torch, which knows for sure, takes seconds to import."""


def choose(asked: str) -> tuple[str, str]:
    """Return the device to use and what there is to say of it, "" for nothing.

    Parameters
    ----------
    asked
        ``"cpu"``; ``"cuda"``, or one of several GPUs as ``"cuda:1"``; ``"auto"``: a GPU if there is one.

    Raises
    ------
    InputError
        If it is none of these.
    """
    if not re.fullmatch(r"auto|cpu|cuda(:\d+)?", asked):
        raise InputError(f"--device {asked}", "auto, cpu, cuda, or one GPU as cuda:1", "give one of these")
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
        return "torch is not installed, which a GPU is used through (pip install 'scvec[gpu]')"
    if not torch.cuda.is_available():
        return "torch finds no GPU that it can use"
    there = torch.cuda.device_count()
    return "" if number < there else f"there are {there} GPUs, counted from 0, and none is number {number}"
