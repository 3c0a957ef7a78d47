"""What workers of pytest-xdist have each to themselves, so that two keep out of each other's way on two cores."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from filelock import BaseFileLock, FileLock

CACHE = Path(__file__).parents[1] / ".pytest_cache" / "numba"
POOLS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
LOOPS = "NUMBA_NUM_THREADS"


def number() -> int:
    """Return the number of this worker, from 0; of a process that is none, its own."""
    name = os.environ.get("PYTEST_XDIST_WORKER", "")
    return int(name.removeprefix("gw")) if name else os.getpid()


def alone_with_ray() -> BaseFileLock:
    """Return the lock of whoever has Ray work: Ray's own tests kill every worker of Ray's that they find."""
    return FileLock(Path(tempfile.gettempdir()) / "scvec-tests-with-ray.lock")


def before_workers() -> None:
    """Have the processes that are started from here keep to one thread in BLAS and OpenMP.

    Threads that wait for each other on busy cores cost more than they bring. scvec's own loops keep two: what they
    say must not depend on that. What the caller has set stays.
    """
    for name in POOLS:
        os.environ.setdefault(name, "1")
    os.environ.setdefault(LOOPS, "2")


def in_worker() -> None:
    """Have a worker, and the processes that it starts, compile into a folder of its own.

    Numba's cache knows no lock: two that write at once may leave a loop under the name of another.
    """
    name = os.environ.get("PYTEST_XDIST_WORKER")
    if name:
        os.environ.setdefault("NUMBA_CACHE_DIR", str(CACHE / name))
