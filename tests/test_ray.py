"""Building on a real Ray cluster of two nodes on this machine, whose workers, nodes and drivers die on the way."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np
import pytest

import scvec as sv
from scvec.atlas import Atlas, on_ray
from scvec.atlas.engine import Engine, Local
from scvec.core.jit import THREADS
from scvec.errors import ConflictError, MatrixError, MissingDependencyError, ServiceError, StoreError
from tests import toy
from tests.engines import N_CELLS, SHARD_CELLS, After, build, check_equal, check_whole, data_files, times, variables
from tests.test_storage_options import by_options, everything
from tests.workers import alone_with_ray

__all__ = ["by_options"]

# Of Lance, while the nodes of the cluster are started, which are programs of their own.
pytestmark = [pytest.mark.filterwarnings("ignore:lance is not fork-safe:UserWarning"), pytest.mark.slow]
ray = pytest.importorskip("ray", reason="Ray is not installed: pip install 'scvec[ray]'")
N_SHARDS = N_CELLS // SHARD_CELLS


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    from ray.cluster_utils import Cluster

    # A node that is lost is missed within seconds and not half a minute; and workers, which give way to whatever else
    # there is to do, do not wait for it here.
    soon = {"health_check_initial_delay_ms": 0, "health_check_period_ms": 500, "health_check_failure_threshold": 4}
    soon |= {"worker_niceness": 0}
    head = {"num_cpus": 1, "include_dashboard": False, "_system_config": soon}
    with alone_with_ray():
        with pytest.MonkeyPatch.context() as patched:
            for name in THREADS:  # a node hands on to its workers what it is started with
                patched.delenv(name, raising=False)
            made = Cluster(initialize_head=True, head_node_args=head)
            made.add_node(num_cpus=1)
            made.wait_for_nodes()
        yield made
        made.shutdown()


@pytest.fixture
def engine(cluster: Any) -> Iterator[Engine]:
    with on_ray.ray_engine(cluster.address) as connected:
        yield connected


@pytest.fixture(scope="module")
def big(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of `N_CELLS` cells. Not to be written to."""
    path = tmp_path_factory.mktemp("big") / "big.h5ad"
    toy.cells(N_CELLS).write_h5ad(path)
    return path


@pytest.fixture(scope="module")
def wanted(_built: Path, big: Path, tmp_path_factory: pytest.TempPathFactory) -> Atlas:
    """The atlas of these cells, built in this process."""
    folder = tmp_path_factory.mktemp("wanted") / "store"
    shutil.copytree(_built, folder)
    return build(sv.Store(folder), big)


def busy() -> list[int]:
    """Return the processes of the workers that do something for a test."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):  # of a process that has just ended
            if path.read_bytes().startswith(b"ray::_make"):
                found.append(int(path.parent.name))
    return found


def kill(process: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(process, signal.SIGKILL)


def until(found: Callable[[], Any], seconds: float = 60) -> Any:
    end = time.monotonic() + seconds
    while not (value := found()):
        assert time.monotonic() < end
        time.sleep(0.002)
    return value


def test_ray_makes_what_this_process_makes(engine: Engine, store: sv.Store, big: Path, wanted: Atlas) -> None:
    asked = After(engine)
    built = build(store, big, asked)
    assert len(asked.asked) == N_SHARDS + 1
    check_whole(built)
    check_equal(built, wanted)


def test_a_head_and_an_index_in_parts(engine: Engine, store: sv.Store, files: Path, tmp_path: Path) -> None:
    shutil.copytree(store.uri, tmp_path / "twin")
    spec = sv.IndexSpec(factory="IVF4,Flat", memory=6 * 1024, recall=1.0)
    options: dict[str, Any] = {
        "recipe": sv.RECIPES["refined"].with_encoder("hash"),
        "batch_key": "donor",
        "label_id_key": "cl_id",
        "index": spec,
    }
    atlas = build(store, files / "reference.h5ad", engine, **options)
    assert len(atlas.manifest["index"]["parts"]) >= 3
    check_equal(atlas, build(sv.Store(tmp_path / "twin"), files / "reference.h5ad", **options))
    extended = sv.atlas.extend(atlas, files / "query.h5ad", engine=engine, shard_cells=SHARD_CELLS)
    check_whole(extended, 161)
    queries = extended.vectors(extended.rows)
    found, wanted = sv.atlas.search_parts(extended, queries, 15, engine), extended.search(queries, 15)
    np.testing.assert_array_equal(found.ids, wanted.ids)
    np.testing.assert_array_equal(found.distances, wanted.distances)


def test_workers_reach_a_store_by_its_options(
    engine: Engine, by_options: tuple[str, dict[str, object]], ncbi: tuple[Path, Path], files: Path
) -> None:
    """Their environment has no key: it comes with the tasks, and is on no disk."""
    uri, options = by_options
    store = sv.Store(uri, storage_options=options)
    texts = sv.ingest.texts(store, taxon="human", gene_info=ncbi[0], gene_summary=ncbi[1])
    sv.embed.genes(store, texts, encoder="hash")
    spec = sv.IndexSpec(factory="IVF4,Flat", memory=100 * 1024, recall=1.0)
    atlas = build(store, files / "reference.h5ad", engine, index=spec, shard_cells=40)
    check_whole(atlas, 120)
    queries = atlas.vectors(atlas.rows[:20])
    found = sv.atlas.search_parts(atlas, queries, 9, engine)
    np.testing.assert_array_equal(found.ids, atlas.search(queries, 9).ids)
    assert str(options["aws_secret_access_key"]).encode() not in everything(store)


def test_workers_are_killed(engine: Engine, store: sv.Store, big: Path, wanted: Atlas) -> None:
    killed = []

    def kill_all() -> None:
        for process in until(busy):
            kill(process)
            killed.append(process)

    built = build(store, big, After(engine, kill_all, 3))
    assert killed
    check_whole(built)
    check_equal(built, wanted)
    compacted = sv.atlas.compact(built, forget=True)
    check_whole(compacted)
    assert len(data_files(compacted)) == 1  # what was staged and lost is gone


def test_a_node_is_lost(cluster: Any, engine: Engine, store: sv.Store, big: Path, wanted: Atlas) -> None:
    node = cluster.add_node(num_cpus=1)
    cluster.wait_for_nodes()
    asked = After(engine, lambda: cluster.remove_node(node, allow_graceful=False), 2)
    built = build(store, big, asked)
    check_whole(built)
    check_equal(built, wanted)


def test_workers_that_always_die(engine: Engine, store: sv.Store, big: Path) -> None:
    """What a worker that runs out of memory each time comes to: an error, and nothing lost."""
    stop: list[bool] = []

    def kill_all() -> None:
        while not stop:
            for process in busy():
                kill(process)
            time.sleep(0.002)

    killer = Thread(target=kill_all)
    try:
        with pytest.raises(StoreError, match=r"Ray did not make shard \d+ \(cells .* run the command again"):
            build(store, big, After(engine, killer.start, 2))
    finally:
        stop.append(True)
        killer.join()
    assert sv.atlas.list_atlases(store) == ["toy"]
    again = After(Local())
    check_whole(build(store, big, again))
    assert len(again.asked) <= N_SHARDS + 1 - 2


def test_the_driver_is_killed(cluster: Any, store: sv.Store, big: Path, wanted: Atlas) -> None:
    code = (
        "import sys, scvec as sv; from scvec.atlas.on_ray import ray_engine; from tests.engines import build\n"
        "with ray_engine(sys.argv[1]) as engine: build(sv.Store(sys.argv[2]), sys.argv[3], engine)"
    )
    driver = subprocess.Popen([sys.executable, "-c", code, cluster.address, store.uri, str(big)])
    records = Path(store.uri, "atlases", "big", "job", "shards")
    until(lambda: records.is_dir() and len(list(records.glob("*.json"))) >= 10)
    driver.send_signal(signal.SIGKILL)
    driver.wait()
    recorded = {int(path.stem) for path in records.glob("[0-9]*.json")}
    assert len(recorded) < N_SHARDS
    assert sv.atlas.list_atlases(store) == ["toy"]
    until(lambda: not busy())
    again = After(Local())
    built = build(store, big, again)
    check_whole(built)
    check_equal(built, wanted)
    assert {one.number for one in again.asked[:-1]} == set(range(N_SHARDS)) - recorded


def test_a_file_is_changed_on_the_way(engine: Engine, store: sv.Store, big: Path, tmp_path: Path) -> None:
    path = Path(shutil.copy(big, tmp_path))
    with pytest.raises(ConflictError) as caught:
        build(store, path, After(engine, lambda: os.utime(path, (1, 1))))
    assert type(caught.value) is ConflictError
    assert str(caught.value).startswith(f"{path} was changed while it was read. Fix: ")
    assert "\n" not in str(caught.value)
    assert not busy()  # who deals with the error finds nobody still writing


def test_a_matrix_turns_bad_half_way(engine: Engine, atlas: Atlas, tmp_path: Path) -> None:
    cells = toy.cells(3000, seed=7, form="dense")
    cells.X[200, 3] = -1  # which no sample has
    path = tmp_path / "bad.h5ad"
    cells.write_h5ad(path)
    said = []
    for one in (engine, Local()):
        asked = After(one)
        with pytest.raises(MatrixError) as caught:
            sv.atlas.extend(atlas, path, engine=asked, shard_cells=250)
        assert len(asked.asked) == 12  # it was a worker that found it
        assert type(caught.value) is MatrixError
        said.append(str(caught.value))
        assert not Path(atlas.store.uri, "atlases", "toy", "job").exists()
    assert said[0] == said[1]
    assert "\n" not in said[0]
    check_whole(sv.atlas.open_atlas(atlas.store, "toy"), 120)


def test_a_task_keeps_to_its_core(engine: Engine) -> None:
    assert list(engine.each(variables, None, ["OMP_NUM_THREADS", "NUMBA_NUM_THREADS"])) == ["1", "1"]


def scvec(verb: str, name: str, path: Path, *options: str) -> list[str]:
    return [sys.executable, "-m", "scvec", "atlas", verb, name, str(path), "--engine", "ray", *options]


def test_the_command_line_on_a_cluster(cluster: Any, store: sv.Store, big: Path) -> None:
    """With a worker killed, of which Ray has much to say, whether our own words are wanted or not."""
    asked = ["--label-key", "cell_type", "--encoder", "hash", "--recipe", "genept-w", "--shard-cells", str(SHARD_CELLS)]
    where = ["--address", cluster.address, "--store", store.uri]
    command = scvec("build", "big", big, *asked, *where, "--json", "--quiet")
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    kill(until(busy)[0])
    shown, said = process.communicate(timeout=120)
    assert (process.returncode, said) == (0, "")
    assert json.loads(shown)["n_cells"] == N_CELLS
    check_whole(sv.atlas.open_atlas(store, "big"))


def test_the_command_line_makes_a_cluster_of_its_own(store: sv.Store, files: Path) -> None:
    command = scvec("extend", "toy", files / "query.h5ad", "--shard-cells", "20", "--store", store.uri)
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert not [line for line in done.stderr.splitlines() if "ray" in line.lower() or "warn" in line.lower()]
    assert "161 of 4 labels" in done.stdout
    check_whole(sv.atlas.open_atlas(store, "toy"), 161)


def test_a_connection_that_is_there_is_used_and_kept(cluster: Any) -> None:
    ray.init(address=cluster.address, log_to_driver=False)
    try:
        for address in (None, "auto"):
            with on_ray.ray_engine(address) as engine:
                assert sorted(engine.each(times, 2, [1, 2, 3])) == [2, 4, 6]
            assert ray.is_initialized()
        with pytest.raises(ServiceError, match="already connected to a Ray cluster"), on_ray.ray_engine("host:1"):
            pass
    finally:
        ray.shutdown()


def test_no_cluster_there() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        nobody = f"127.0.0.1:{probe.getsockname()[1]}"
        for address in (nobody, f"ray://{nobody}", "nonsense", "host:port"):
            with (
                pytest.raises(ServiceError, match=f"no Ray cluster at {address}") as caught,
                on_ray.ray_engine(address),
            ):
                pass
            assert "\n" not in str(caught.value)


def test_without_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'scvec\[ray\]'"), on_ray.ray_engine(None):
        pass
