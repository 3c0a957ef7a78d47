from __future__ import annotations

import math
import os
import shutil
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

import scvec as sv
from scvec.atlas import Atlas
from scvec.ontology.tables import write_ontology
from tests import reported, toy, toy_ontology, workers

pytest.register_assert_rewrite("tests.engines")

DATA = Path(os.environ.get("SCVEC_DATA", Path(__file__).parents[1] / ".." / "shared" / "data"))

# How long an example takes says more of the machine than of the code.
settings.register_profile("dev", max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
# In CI the same examples each time: a change turns it red, and not a draw.
settings.register_profile("ci", settings.get_profile("dev"), max_examples=400, derandomize=True, database=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "dev"))


def pytest_configure(config: pytest.Config) -> None:
    if hasattr(config, "workerinput"):
        workers.in_worker()
    elif config.getoption("numprocesses", None):
        workers.before_workers()


@pytest.fixture(autouse=True)
def no_lines_of_progress(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the command line say nothing because the machine is slow; a test of these lines sets when they are due."""
    monkeypatch.setattr("scvec.cli.app.SECONDS_A_LINE", math.inf)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    marked = [item for item in items if item.get_closest_marker("gpu")]
    if marked:
        import torch

        if not torch.cuda.is_available():
            for item in marked:
                item.add_marker(pytest.mark.skip(reason="there is no CUDA device here"))


@pytest.fixture(scope="session")
def data() -> Path:
    """The folder of real data, where it is."""
    if not (DATA / "README.md").is_file():
        pytest.skip(f"the real data is not at {DATA}; set SCVEC_DATA to where it is")
    return DATA


@pytest.fixture(scope="session")
def ncbi(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return toy.write_ncbi(tmp_path_factory.mktemp("ncbi"))


@pytest.fixture(scope="session")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with reference.h5ad and query.h5ad of the toy world. Not to be written to."""
    folder = tmp_path_factory.mktemp("files")
    toy.cells(120, seed=0).write_h5ad(folder / "reference.h5ad")
    toy.cells(41, seed=1).write_h5ad(folder / "query.h5ad")
    return folder


@pytest.fixture(scope="session")
def _built(tmp_path_factory: pytest.TempPathFactory, ncbi: tuple[Path, Path], files: Path) -> Path:
    folder = tmp_path_factory.mktemp("built") / "store"
    store = sv.Store(folder)
    texts = sv.ingest.texts(store, taxon="human", gene_info=ncbi[0], gene_summary=ncbi[1])
    genes = sv.embed.genes(store, texts, encoder="hash")
    sv.atlas.build(
        store,
        "toy",
        files / "reference.h5ad",
        genes=genes,
        label_key="cell_type",
        batch_key="donor",
        label_id_key="cl_id",
    )
    return folder


@pytest.fixture
def store(_built: Path, tmp_path: Path) -> sv.Store:
    """A store of the test's own, with toy gene texts, hash vectors and the atlas "toy"."""
    shutil.copytree(_built, tmp_path / "store")
    return sv.Store(tmp_path / "store")


@pytest.fixture
def atlas(store: sv.Store) -> Atlas:
    return sv.atlas.open_atlas(store, "toy")


@pytest.fixture
def atlas_with_terms(store: sv.Store, files: Path) -> Atlas:
    """The atlas "toy" of a store that has the toy ontology."""
    write_ontology(store, toy_ontology.TOY, {})
    return sv.atlas.build(
        store,
        "toy",
        files / "reference.h5ad",
        label_key="cell_type",
        label_id_key="cl_id",
        encoder="hash",
        overwrite=True,
    )


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> reported.World:
    """A query that was looked at from all sides, and its report. Not to be written to."""
    return reported.build(tmp_path_factory.mktemp("world"))


@pytest.fixture
def small_disk(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Path]:
    """A real file system of one megabyte, or of the size that a test gives."""
    folder = tmp_path / "disk"
    folder.mkdir()
    size = getattr(request, "param", "1m")
    words = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    mounted = subprocess.run(words, capture_output=True, check=False)
    if mounted.returncode:
        pytest.skip(f"no file system can be mounted here: {mounted.stderr.decode().strip()}")
    yield folder
    subprocess.run(["umount", folder], check=True)


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A bucket on a real S3 server on loopback."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    address = "http://{}:{}".format(*server.get_host_and_port())
    for key, value in {
        "AWS_ENDPOINT_URL": address,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_REGION": "us-east-1",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ALLOW_HTTP": "true",
        "AWS_EC2_METADATA_DISABLED": "true",
    }.items():
        monkeypatch.setenv(key, value)
    urllib.request.urlopen(urllib.request.Request(f"{address}/bucket", method="PUT")).close()
    yield "s3://bucket/store"
    server.stop()
