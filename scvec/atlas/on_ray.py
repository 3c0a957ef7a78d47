"""Making shards and parts of an index on a Ray cluster (Moritz et al. 2018, arXiv 1712.05889).

Each plain task makes a few pieces and returns what to record of them. If a task's worker or node dies, Ray runs the
task again, and files may be written twice. Only what is reported to the driver gets into the tables, so that each cell
is there once; the other files are removed by ``scvec atlas compact --forget``.
"""

from __future__ import annotations

import logging
import socket
import warnings
from collections import deque
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

from scvec.atlas.engine import Common, Engine, Made, Piece, Worker
from scvec.errors import MissingDependencyError, ScvecError, ServiceError, StoreError, missing

RETRIES = 3
"""How often a task is run again if its worker or node dies."""

AHEAD = 2
"""Tasks submitted to Ray at a time, per core: one that runs and one that waits."""

SHARE, MAX_PIECES = 4, 8
"""Tasks per core, which determines the pieces per task, and the maximum of these. The pieces of a task are neighbours
in one file, which is then opened once."""

SECONDS_TO_CONNECT, SECONDS_TO_STOP = 10.0, 30.0


@contextmanager
def ray_engine(address: str | None) -> Iterator[Engine]:
    """Give an engine on a Ray cluster.

    All nodes must have scvec installed, and must see the store and the files of cells under the same paths or URIs.

    Parameters
    ----------
    address
        ``"auto"``, ``"host:port"`` or ``"ray://host:port"``: a running cluster, which keeps running. None: a cluster on
        this machine, which ends with the context. If this process is already connected to a cluster, None and
        ``"auto"`` mean that one, and the process stays connected.

    Raises
    ------
    MissingDependencyError
        If Ray is not installed, or, for ``ray://``, its client.
    ServiceError
        If there is no such cluster.
    """
    try:
        import ray
    except ImportError as error:
        raise missing("ray", "ray", "the Ray engine") from error
    if ray.is_initialized():
        if address not in (None, "auto"):
            raise ServiceError(
                f"this process is already connected to a Ray cluster (`address` is {address!r})",
                fix="leave out `address`, or call ray.shutdown() first",
            )
        yield RayEngine()
        return
    with warnings.catch_warnings():
        # Lance warns of any fork; those of Ray run another program at once.
        warnings.filterwarnings("ignore", "lance is not fork-safe", UserWarning)
        _connect(address)
    try:
        yield RayEngine()
    finally:
        ray.shutdown()


def _connect(address: str | None) -> None:
    """Join a cluster, or start one on this machine."""
    import ray

    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    if address is None:
        ray.init(address="local", include_dashboard=False, **quiet)
        return
    try:
        if address != "auto":
            _reach(address)
        ray.init(address=address, **quiet)
    except ImportError as error:
        raise MissingDependencyError("a ray:// address needs Ray's client", fix="pip install 'ray[client]'") from error
    except (OSError, ValueError, RuntimeError) as error:
        raise ServiceError(
            f"no Ray cluster at {address} ({_first_line(error)})",
            "auto on a node of a cluster, host:port or ray://host:port",
            "start one with ray start --head, or leave out `address` for one on this machine",
        ) from error


def _reach(address: str) -> None:
    """Raise `OSError` or `ValueError` if nothing listens there: Ray would retry for minutes, with many messages."""
    place = urlsplit(address if "://" in address else f"//{address}")
    if place.hostname is None or place.port is None:
        raise ValueError("no host:port")
    socket.create_connection((place.hostname, place.port), SECONDS_TO_CONNECT).close()


class RayEngine:
    """The cluster that this process is connected to. Get one from `ray_engine`."""

    def each(self, worker: Worker[Common, Piece, Made], common: Common, pieces: Sequence[Piece]) -> Generator[Made]:
        """Yield what the worker makes of each piece, in any order, each of them once.

        Raises
        ------
        ScvecError
            As the worker raised it.
        StoreError
            If a task's worker or node died at the first run and at all `RETRIES`.
        """
        import ray

        if not pieces:
            return
        # One core per task, which Ray tells OpenMP; Numba has to be told here.
        task = ray.remote(num_cpus=1, max_retries=RETRIES, runtime_env={"env_vars": {"NUMBA_NUM_THREADS": "1"}})(_make)
        shared = ray.put(common)
        waiting = deque(_batches(pieces, _cores()))
        running: dict[Any, Sequence[Piece]] = {}
        try:
            while waiting or running:
                while waiting and len(running) < AHEAD * _cores():
                    batch = waiting.popleft()
                    running[task.remote(worker, shared, batch)] = batch
                (ready,), _ = ray.wait(list(running), num_returns=1)
                made = _result(ready, running[ready])
                del running[ready]
                yield from made
        except ScvecError:
            # Nothing may still be written while the error is handled. Tasks are not cancelled: Ray 2.60 aborts the
            # driver if one ends meanwhile. Whatever else ends this, such as Ctrl-C, ends the connection and the tasks.
            if running:
                ray.wait(list(running), num_returns=len(running), timeout=SECONDS_TO_STOP)
            raise


def _make(worker: Worker[Common, Piece, Made], common: Common, pieces: Sequence[Piece]) -> list[Made]:
    """Make some pieces, in a process of the cluster."""
    with worker(common) as make:
        return [make(piece) for piece in pieces]


def _batches(pieces: Sequence[Piece], cores: int) -> list[Sequence[Piece]]:
    size = max(1, min(MAX_PIECES, len(pieces) // (SHARE * cores)))
    return [pieces[start : start + size] for start in range(0, len(pieces), size)]


def _cores() -> int:
    """Return how many tasks the cluster can run at once at present."""
    import ray

    return max(1, int(ray.cluster_resources().get("CPU", 0)))


def _result(reference: Any, pieces: Sequence[Piece]) -> Any:
    """Return what a task made, or raise what it raised."""
    import ray
    from ray.exceptions import RayError, RayTaskError

    try:
        return ray.get(reference)
    except RayTaskError as error:
        raise error.cause from error
    except RayError as error:
        named = f"{pieces[0]}" + (f" and {len(pieces) - 1} more" if len(pieces) > 1 else "")
        raise StoreError(
            f"Ray did not make {named}: {_first_line(error)}",
            fix="see Ray's logs, and run the command again: finished work is kept",
        ) from error


def _first_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0][:200] if lines else type(error).__name__
