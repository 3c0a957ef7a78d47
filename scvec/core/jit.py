"""Compiled loops over rows, and independent jobs, run on several threads."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

Made = TypeVar("Made")

THREADS = ("NUMBA_NUM_THREADS", "OMP_NUM_THREADS")
"""Environment variables that limit the threads; the first that is set counts. Ray sets the second in its workers."""

EXACT: frozenset[str] = frozenset()
"""Every operation as written: the same digits as NumPy's."""

FUSED = frozenset({"contract"})
"""A product and a sum may be rounded once."""

SUMS = frozenset({"contract", "reassoc"})
"""Sums may be split into parts, the same parts for a row at every call."""


_this = threading.local()
"""`at_work`: whether this thread runs a job of `side_by_side`, and shares the cores with others that do."""


def jit(rules: frozenset[str]) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Return a decorator that compiles a loop when it is first called, and keeps it for the next process.

    The loop releases the GIL. Numba's own threads are not used: its portable layer must not be entered from two Python
    threads, its OpenMP layer not after a fork, and loops without them compile faster.

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
        except RuntimeError:  # neither the package's folder nor the user's cache is writable
            loop = numba.njit(**options)(function)
        return loop

    return compiled


def n_threads() -> int:
    """Return the number of threads for a batch: what `THREADS` say, at most the available cores; in a job, one."""
    if getattr(_this, "at_work", False):
        return 1
    # sched_getaffinity counts the cores that this process may use; not every system has it.
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    for name in THREADS:
        asked = os.environ.get(name, "").split(",")[0].strip()
        if asked.isdigit() and int(asked):
            return min(int(asked), cores)
    return cores


def over_rows(work: Callable[[int, int], object], n: int, most: int) -> None:
    """Call `work(start, stop)` for parts of n rows, on several threads.

    The threads end with the call: none is left at a fork, and callers on different threads share none.

    Parameters
    ----------
    work
        Must write only to its own rows, and release the GIL.
    n
        Number of rows; with 0, `work` is not called.
    most
        Most rows in a part.
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


def side_by_side(jobs: Sequence[Callable[[], Made]]) -> list[Made]:
    """Run jobs on several threads, and return what they return, in their order; the first error is raised.

    Each computes on its thread alone, in BLAS too: so the digits are the same with any number of threads. And small
    products do not wait for threads of BLAS that other processes keep off the cores, which took most of the time.
    """

    def run(job: Callable[[], Made]) -> Made:
        before, _this.at_work = getattr(_this, "at_work", False), True
        try:
            return job()
        finally:
            _this.at_work = before

    threads = min(n_threads(), len(jobs))
    with _one_thread_in_blas:
        if threads <= 1:
            return [run(job) for job in jobs]
        with ThreadPoolExecutor(threads) as pool:
            return list(pool.map(run, jobs))


class _OneThreadInBlas:
    """A context in which BLAS uses one thread in the whole process, until the last of those that entered it leaves."""

    def __init__(self) -> None:
        self._lock, self._inside = threading.Lock(), 0
        self._limits: Any = None

    def __enter__(self) -> None:
        from threadpoolctl import threadpool_limits

        with self._lock:
            if not self._inside:
                self._limits = threadpool_limits(1, user_api="blas")
            self._inside += 1

    def __exit__(self, *_error: object) -> None:
        with self._lock:
            self._inside -= 1
            if not self._inside:
                self._limits.restore_original_limits()


_one_thread_in_blas = _OneThreadInBlas()
