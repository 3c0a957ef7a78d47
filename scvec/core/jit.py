"""Compiled loops over rows, shared among threads."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

THREADS = ("NUMBA_NUM_THREADS", "OMP_NUM_THREADS")
"""Variables of the environment that bound the threads, the first that is set; a Ray worker has the second."""

EXACT: frozenset[str] = frozenset()
"""Every operation as it is written: the same digits as NumPy's."""

FUSED = frozenset({"contract"})
"""A product and a sum may be rounded once."""

SUMS = frozenset({"contract", "reassoc"})
"""Sums may be taken in several parts, always the same ones for a row."""


def jit(rules: frozenset[str]) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Return a decorator that compiles a loop when it is first called, and keeps it for the next process.

    It runs without the interpreter's lock. Numba's own threads are not used: its portable layer must not be entered
    from two Python threads, its OpenMP one not after a fork, and loops without them compile in less time.

    Parameters
    ----------
    rules
        What the compiler may do to floating point: `EXACT`, `FUSED` or `SUMS`.
    """
    import numba

    def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
        options = {"nogil": True, "fastmath": set(rules), "error_model": "numpy"}
        try:
            loop: Callable[..., Any] = numba.njit(cache=True, **options)(function)
        except RuntimeError:  # neither the package's folder nor the user's cache can be written to
            loop = numba.njit(**options)(function)
        return loop

    return compiled


def n_threads() -> int:
    """Return how many threads work on a batch: as `THREADS` say, at most as many as there are cores to run on."""
    # sched_getaffinity knows of cores taken away from this process; not every system has it.
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    for name in THREADS:
        asked = os.environ.get(name, "").split(",")[0].strip()
        if asked.isdigit() and int(asked):
            return min(int(asked), cores)
    return cores


def over_rows(work: Callable[[int, int], object], n: int, most: int) -> None:
    """Call `work(start, stop)` for parts of n rows, on several threads.

    Threads live as long as the call: none are left for a fork, and callers on different threads do not meet.

    Parameters
    ----------
    work
        Must write to rows of its own alone, and let go of the interpreter's lock.
    n
        Rows; with none, nothing is called.
    most
        Rows of a part, at most.
    """
    threads = n_threads()
    size = max(1, min(most, -(-n // threads)))
    parts = [(start, min(n, start + size)) for start in range(0, n, size)]
    if threads == 1 or len(parts) <= 1:
        for start, stop in parts:
            work(start, stop)
        return
    with ThreadPoolExecutor(min(threads, len(parts))) as pool:
        for _ in pool.map(lambda part: work(*part), parts):
            pass
