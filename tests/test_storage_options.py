"""Keys and endpoints of object stores that are given, and not taken from the environment."""

from __future__ import annotations

import os
import pickle
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import lancedb
import numpy as np
import pytest
from pyarrow import fs

import scvec as sv
from scvec.atlas.engine import Local
from scvec.errors import InputError, KeyNotFoundError, StoreError
from scvec.store import Address
from scvec.store.folder import Folder
from scvec.store.storage_options import StorageOptions
from tests.engines import build, check_whole

SECRET = "a-secret-that-is-nowhere-else"
KEYS = {"aws_access_key_id": "test", "aws_secret_access_key": SECRET}


@pytest.fixture
def by_options(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, dict[str, object]]]:
    """A bucket on a real S3 server on loopback, and the options by which it is reached; the environment has none."""
    moto = pytest.importorskip("moto.server", reason="moto is not installed: pip install 'moto[server]'")
    for name in [one for one in os.environ if one.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    server = moto.ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    url = "http://{}:{}".format(*server.get_host_and_port())
    name = uuid4().hex  # moto's buckets outlive its servers
    urllib.request.urlopen(urllib.request.Request(f"{url}/{name}", method="PUT")).close()
    yield f"s3://{name}/store", {**KEYS, "region": "us-east-1", "endpoint": url, "allow_http": True}
    server.stop()


def everything(folder: Folder) -> bytes:
    """Return the bytes of all files of an object store."""
    files = folder._fs.get_file_info(fs.FileSelector(folder._root, recursive=True))
    found = b""
    for one in files:
        if one.type == fs.FileType.File:
            with folder._fs.open_input_stream(one.path) as stream:
                found += stream.read()
    return found


def test_a_store_is_reached_by_options_alone(
    by_options: tuple[str, dict[str, object]], ncbi: tuple[Path, Path], files: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Built, extended, searched, by workers too; opened by LanceDB with the same options; no key is left in it."""
    uri, options = by_options
    store = sv.Store(uri, storage_options=options)
    texts = sv.ingest.texts(store, taxon="human", gene_info=ncbi[0], gene_summary=ncbi[1])
    sv.embed.genes(store, texts, encoder="hash")
    spec = sv.IndexSpec(factory="IVF4,Flat", memory=100 * 1024, recall=1.0)
    built = build(store, files / "reference.h5ad", shard_cells=40, index=spec, batch_key="donor")
    extended = sv.atlas.extend(built, files / "query.h5ad", shard_cells=20)
    check_whole(extended, 161)
    queries = extended.vectors(extended.rows[:20])
    found = sv.atlas.search_parts(extended, queries, 9, Local())
    np.testing.assert_array_equal(found.ids, extended.search(queries, 9).ids)
    assert sv.atlas.verify(extended) == []

    again = sv.atlas.open_atlas(pickle.loads(pickle.dumps(store.address)).open(), "big")
    assert again.manifest == extended.manifest
    database = lancedb.connect(uri, storage_options=StorageOptions(uri, options).for_lance())
    cells = database.open_table(
        "cells", namespace_path=["atlases", "big"], storage_options=StorageOptions(uri, options).for_lance()
    )
    assert cells.count_rows() == 161

    assert SECRET.encode() not in everything(store)
    shown = f"{store!r} {store.address!r} {store.storage_options!r} {texts!r} {extended!r} {capsys.readouterr()}"
    assert SECRET not in shown
    assert "aws_secret_access_key" in repr(store.storage_options)


def test_a_server_that_is_not_there_or_refuses(by_options: tuple[str, dict[str, object]]) -> None:
    uri, options = by_options
    with pytest.raises(StoreError, match="check the URI, and the keys and endpoint for it") as error:
        sv.Store(uri, storage_options={**options, "endpoint": "http://127.0.0.1:1"})
    assert SECRET not in str(error.value)
    with pytest.raises(StoreError, match="check the URI"):
        sv.Store(uri)  # no key, no region: not the server of the test


@pytest.mark.parametrize(
    ("uri", "options", "said"),
    [
        ("s3://b/s", {"secret": "x"}, "no storage option 'secret'.*aws_secret_access_key"),
        ("gs://b/s", {"aws_region": "x"}, "no storage option 'aws_region'.*google_storage_token"),
        ("az://b/s", {"account_name": "me", "sas_token": "sig=eA=="}, "no storage option 'sas_token'"),
        ("s3://b/s", {"region": "x", "AWS_REGION": "y"}, "aws_region twice"),
        ("s3://b/s", {"endpoint": "localhost:9000"}, "a URL for aws_endpoint"),
        ("s3://b/s", {"endpoint": "http://localhost:9000"}, "not encrypted.*allow_http"),
        ("s3://b/s", {"skip_signature": "maybe"}, "true or false for aws_skip_signature"),
        ("s3://key:secret@b/s", {"region": "x"}, "s3://b has options or keys in its URI"),
        ("az://b/s", {"account_key": "eA=="}, "az://b/s names no account.*AZURE_STORAGE_ACCOUNT_NAME"),
        ("store", {"region": "x"}, "`storage_options` were given for .*store: expected one of s3://, gs://"),
        ("hdfs://b/s", {"region": "x"}, "`storage_options` were given for hdfs"),
    ],
)
def test_wrong_options(uri: str, options: dict[str, object], said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AZURE_STORAGE_ACCOUNT_NAME", raising=False)
    with pytest.raises(InputError, match=said) as error:
        Folder(uri, options)
    assert not isinstance(error.value, KeyNotFoundError) or "no storage option" in str(error.value)
    assert "eA==" not in str(error.value)
    assert "key:secret" not in str(error.value)


def test_names_are_those_of_lance_and_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    made = StorageOptions("s3://b/s", {"ACCESS_KEY_ID": "a", "Region": "r", "timeout": "10s", "skip_signature": True})
    lance = {"aws_access_key_id": "a", "aws_region": "r", "timeout": "10s", "aws_skip_signature": "true"}
    assert made.for_lance() == lance
    assert StorageOptions("s3://b/s").for_lance() is None
    assert Address("s3://b/s", made) == Address("s3://b/s", StorageOptions("s3://b/s", lance))
    assert repr(made) == "StorageOptions(aws_access_key_id, aws_region, aws_skip_signature, timeout)"


@pytest.mark.parametrize(
    ("uri", "options", "path", "expected"),
    [
        (
            "s3://b/s",
            {"endpoint": "https://minio.org/", "region": "r", "virtual_hosted_style_request": True},
            "b/s",
            {"scheme": "https", "endpoint_override": "minio.org", "region": "r", "force_virtual_addressing": True},
        ),
        ("gs://b/s", {"google_storage_token": "t"}, "b/s", {}),
        ("gs://b/s t", {"base_url": "https://example.org", "skip_signature": True}, "b/s t", {}),
        ("az://box/s", {"account_name": "me", "account_key": "eA=="}, "box/s", {}),
        ("abfss://box@me.dfs.core.windows.net/s", {"account_key": "eA=="}, "box/s", {}),
    ],
)
def test_file_systems(uri: str, options: dict[str, object], path: str, expected: dict[str, object]) -> None:
    """What pyarrow takes; whether it is right is seen where there is a server."""
    made, found = StorageOptions(uri, options).file_system()
    assert found == path
    kinds = {"s3": fs.S3FileSystem, "gs": fs.GcsFileSystem, "az": fs.AzureFileSystem, "abfss": fs.AzureFileSystem}
    assert type(made) is kinds[uri.partition("://")[0]]
    if expected:
        assert made == fs.S3FileSystem(**expected)


def test_none_is_no_value() -> None:
    with pytest.raises(InputError, match=r"aws_region is None.*leave it out"):
        StorageOptions("s3://bucket/store", {"region": None})


def test_a_key_that_is_none_is_one_error() -> None:
    """Azure's library says so by an exception that is no `OSError`; no server is asked."""
    options = {"account_name": "a", "account_key": "!!no base 64", "endpoint": "http://127.0.0.1:9", "allow_http": True}
    with pytest.raises(StoreError, match="the keys and endpoint") as caught:
        sv.Store("az://container/store", options)
    assert "!!no" not in str(caught.value)


@pytest.mark.parametrize("options", [None, {"region": "us-east-1"}])
def test_keys_in_a_uri_are_refused_and_not_shown(options: dict[str, object] | None) -> None:
    with pytest.raises(InputError, match="keys in its URI") as caught:
        sv.Store(f"s3://key:{SECRET}@bucket/store", options)
    assert SECRET not in str(caught.value)
