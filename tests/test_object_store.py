"""A store on a real S3 server on loopback, and the folders in it; folders on an emulator of Google's store too."""

from __future__ import annotations

import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import lancedb
import numpy as np
import pytest

import scvec as sv
from scvec.atlas import Atlas
from scvec.atlas.engine import Local
from scvec.errors import StoreError
from scvec.store import registry
from scvec.store.folder import Folder
from tests.engines import build, check_whole

moto = pytest.importorskip("moto.server", reason="moto is not installed: pip install 'moto[server]'")


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    made = moto.ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    made.start()
    yield "http://{}:{}".format(*made.get_host_and_port())
    made.stop()


@pytest.fixture
def bucket(server: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """A bucket of the test's own."""
    for key, value in {
        "AWS_ENDPOINT_URL": server,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_REGION": "us-east-1",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ALLOW_HTTP": "true",
        "AWS_EC2_METADATA_DISABLED": "true",
    }.items():
        monkeypatch.setenv(key, value)
    name = request.node.name.partition("[")[0].replace("_", "-")[:60]
    urllib.request.urlopen(urllib.request.Request(f"{server}/{name}", method="PUT")).close()
    return f"s3://{name}"


@pytest.fixture
def google() -> Iterator[Folder]:
    """A folder in Google's store, by its emulator, which lacks the interface that Lance uses."""
    emulator = pytest.importorskip("gcp_storage_emulator.server", reason="gcp-storage-emulator is not installed")
    made = emulator.create_server("127.0.0.1", 0, in_memory=True, default_bucket="bucket")
    made.start()
    address = "http://{}:{}".format(*made._api._httpd.server_address)
    yield Folder("gs://bucket/folder", {"base_url": address, "allow_http": True, "skip_signature": True})
    made.stop()


@pytest.fixture(params=["local", "s3", "gs"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Folder:
    if request.param == "local":
        return Folder(tmp_path / "folder")
    if request.param == "gs":
        found: Folder = request.getfixturevalue("google")
        return found
    return Folder(f"{request.getfixturevalue('bucket')}/{request.param}/folder")


def write(names: dict[str, str]) -> Any:
    def into(path: Path) -> int:
        for name, text in names.items():
            (path / name).write_text(text)
        return len(names)

    return into


def test_folders(folder: Folder) -> None:
    with pytest.raises(StoreError, match="parts/one is missing"):
        folder.local_folder("parts/one")
    assert folder.put_folder("parts/one", write({"b": "1", "a": "2", "z": ""}), last="b") == 3
    assert folder.children("parts") == ["one"]
    assert folder.children("parts/one") == ["a", "b", "z"]
    assert (folder.size("parts/one/b"), folder.size("parts/one/z"), folder.size("parts/one/none")) == (1, 0, 0)
    local = folder.local_folder("parts/one")
    assert {path.name: path.read_text() for path in local.iterdir()} == {"b": "1", "a": "2", "z": ""}
    assert folder.local_folder("parts/one") == local
    folder.put_folder("parts/one", write({"c": "3"}))
    assert folder.children("parts/one") == ["c"]
    assert [path.name for path in folder.local_folder("parts/one").iterdir()] == ["c"]
    folder.put_folder("parts/one.2", write({"d": "4"}))
    folder.remove("parts/one")
    assert folder.children("parts") == ["one.2"]
    with pytest.raises(StoreError, match="parts/one is missing"):
        folder.local_folder("parts/one")
    folder.remove("parts/one")
    folder.remove_file("parts/one.2/d")
    assert not folder.has_file("parts/one.2/d")


def test_folders_that_are_no_objects(folder: Folder) -> None:
    """Lance writes files, and no folders."""
    for path in ("one/two/a", "one/two/b", "one/c", "ones"):
        if folder.is_local:
            folder.write_json(path, {})
        else:
            with folder._fs.open_output_stream(f"{folder._root}/{path}") as stream:
                stream.write(b"{}")
    assert folder.children("") == ["one", "ones"]
    assert folder.folders("") == ["one"]
    assert folder.children("one") == ["c", "two"]
    assert folder.folders("one") == ["two"]
    assert folder.children("none") == []
    folder.remove("one/two")
    assert folder.children("one") == ["c"]
    folder.remove("one/c")  # no folder
    folder.remove("one")
    assert folder.children("") == ["ones"]


def test_a_folder_that_fails_is_not_there(folder: Folder) -> None:
    folder.put_folder("one", write({"a": "old"}))

    def fail(path: Path) -> None:
        (path / "a").write_text("new")
        raise KeyboardInterrupt

    for name in ("one", "two"):
        with pytest.raises(KeyboardInterrupt):
            folder.put_folder(name, fail)
    assert folder.children("") == ["one"]
    assert (folder.local_folder("one") / "a").read_text() == "old"


def test_the_last_file_of_a_folder_comes_last(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, placed = Folder(f"{bucket}/x"), []
    upload = Folder._upload

    def noted(self: Folder, local: Path, target: str) -> None:
        placed.append(local.name)
        if len(placed) == 3:
            raise KeyboardInterrupt
        upload(self, local, target)

    monkeypatch.setattr(Folder, "_upload", noted)
    with pytest.raises(KeyboardInterrupt):
        folder.put_folder("one", write({"b": "", "a": "", "c": ""}), last="a")
    assert placed[-1] == "a"
    assert not folder.has_file("one/a")


def test_lancedb_lists_an_object_store(bucket: str, ncbi: tuple[Path, Path]) -> None:
    """Tables are registered where they lie, and opened there by another program's library, with their tags."""
    store = sv.Store(f"{bucket}/store")
    texts = sv.ingest.texts(store, taxon="human", gene_info=ncbi[0], gene_summary=ncbi[1])
    sv.embed.genes(store, texts, encoder="hash")
    database = lancedb.connect(store.uri)
    assert database.list_namespaces().namespaces == ["gene_texts", "gene_vectors"]
    table = database.open_table("9606", namespace_path=["gene_texts"])
    table.checkout(texts.release)
    assert table.count_rows() == len(texts)
    store.remove(registry.REGISTRY)
    assert list(store.register().added) == store.tables()
    assert lancedb.connect(store.uri).list_tables(namespace_path=["gene_texts"]).tables == ["9606"]


def test_an_atlas_in_an_object_store(bucket: str, ncbi: tuple[Path, Path], files: Path, atlas: Atlas) -> None:
    """Built, extended, searched, verified, repaired, compacted, and at each step what it is in a local store."""
    far = sv.Store(f"{bucket}/store")
    texts = sv.ingest.texts(far, taxon="human", gene_info=ncbi[0], gene_summary=ncbi[1])
    sv.embed.genes(far, texts, encoder="hash")
    spec = sv.IndexSpec(factory="IVF4,Flat", memory=100 * 1024, recall=1.0)
    made = []
    for store in (far, atlas.store):
        built = build(store, files / "reference.h5ad", shard_cells=40, index=spec, batch_key="donor")
        assert len(built.manifest["index"]["parts"]) >= 2
        made.append(sv.atlas.extend(built, files / "query.h5ad", shard_cells=20))
    again = sv.atlas.open_atlas(sv.Store(far.uri), "big")
    check_whole(again, 161)
    assert again.manifest == made[1].manifest
    np.testing.assert_array_equal(again.vectors(again.rows), made[1].vectors(made[1].rows))
    there, here = (sv.annotate(files / "query.h5ad", one) for one in (again, made[1]))
    assert there.to_frame().equals(here.to_frame())
    queries = again.vectors(again.rows[:20])
    found = sv.atlas.search_parts(again, queries, 9, Local())
    np.testing.assert_array_equal(found.ids, again.search(queries, 9).ids)

    part = f"{again.manifest['index']['folder']}/{again.manifest['index']['parts'][0]['name']}"
    far.remove_file(f"{part}/rows.npy")
    faults = sv.atlas.verify(again)
    assert [fault.derived for fault in faults] == [True]
    mended = sv.atlas.repair(again, faults)
    check_whole(mended, 161)
    assert mended.cells.version == again.cells.version + 1
    names = [one["name"] for one in mended.manifest["index"]["parts"]]
    assert names[1:] == [one["name"] for one in again.manifest["index"]["parts"]][1:]
    assert len(mended.cells) == len(again.cells)
    removed = sv.atlas.remove(mended, "label = 'beta'")
    compacted = sv.atlas.compact(removed, forget=True)
    assert sv.atlas.verify(compacted) == []
    assert sv.atlas.versions(far, "big") == [compacted.cells.version]
    assert set(sv.annotate(files / "query.h5ad", compacted).to_frame()["label"]) == {"alpha", "ductal", "immune"}


def test_a_build_in_an_object_store_goes_on(bucket: str, ncbi: tuple[Path, Path], files: Path) -> None:
    from tests.engines import After

    def end() -> None:
        raise KeyboardInterrupt

    store = sv.Store(f"{bucket}/store")
    texts = sv.ingest.texts(store, taxon="human", gene_info=ncbi[0], gene_summary=ncbi[1])
    sv.embed.genes(store, texts, encoder="hash")
    with pytest.raises(KeyboardInterrupt):
        build(store, files / "reference.h5ad", After(Local(), end, 5))
    assert sv.atlas.list_atlases(store) == []
    again = After(Local())
    check_whole(build(sv.Store(store.uri), files / "reference.h5ad", again), 120)
    assert [one.number for one in again.asked[:-1]] == list(range(5, 12))
    assert "job" not in store.children("atlases/big")
