from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from scvec.core.arrow import vectors_from_arrow, vectors_to_arrow
from scvec.errors import ConflictError, DiskFullError, MismatchError, NotInStoreError, StoreError, StoreFormatError
from scvec.store import FORMAT, MARKER, Store
from scvec.store import table as table_module

SCHEMA = pa.schema([("n", pa.int64())])


def batch(*values: int) -> pa.RecordBatch:
    return pa.record_batch([pa.array(values, pa.int64())], schema=SCHEMA)


def numbers(table: pa.Table) -> list[int]:
    return list(table["n"].to_pylist())


def test_nothing_is_made_before_the_first_write(tmp_path: Path) -> None:
    store = Store(tmp_path / "s")
    assert not store.exists
    assert store.children("atlases") == []
    assert not store.table("t").exists
    assert not (tmp_path / "s").exists()


def test_versions_tags_and_manifests(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table_module, "ROWS_PER_FRAGMENT", 2)
    table = Store(tmp_path / "s").table("some/t")
    first = table.write([batch(1, 2), batch(3), batch(4, 5, 6)], SCHEMA, {"made": "first"})
    table.tag("a", first)
    second = table.write([batch(9)], SCHEMA, {"made": "second"})
    table.tag("b", second)
    assert (first, second) == (1, 2)
    assert list(table.tags()) == ["a", "b"]
    assert numbers(table.at("a").read()) == [1, 2, 3, 4, 5, 6]
    assert [one for part in table.at("a").batches(["n"]) for one in part["n"].to_pylist()] == [1, 2, 3, 4, 5, 6]
    assert table.at(1).manifest == {"made": "first"}
    assert table.latest().manifest == {"made": "second"}
    assert len(table.at("b")) == 1
    assert numbers(table.at("a").take([5, 0], ["n"])) == [6, 1]
    table.tag("a", second)
    assert numbers(table.at("a").read()) == [9]
    assert Store(tmp_path / "s").children("some") == ["t"]


def test_append_keeps_to_one_manifest(tmp_path: Path) -> None:
    table = Store(tmp_path / "s").table("t")
    table.append(pa.Table.from_batches([batch(1)]), {"made": "so"})
    table.append(pa.Table.from_batches([batch(2)]), {"made": "so"})
    assert numbers(table.latest().read()) == [1, 2]
    with pytest.raises(MismatchError):
        table.append(pa.Table.from_batches([batch(3)]), {"made": "otherwise"})
    assert numbers(table.latest().read()) == [1, 2]


@pytest.mark.parametrize("error", [ValueError("bad cell"), KeyboardInterrupt()])
def test_a_write_that_breaks_off_commits_nothing(tmp_path: Path, error: BaseException) -> None:
    def breaking() -> Iterator[pa.RecordBatch]:
        yield batch(7)
        raise error

    store = Store(tmp_path / "s")
    with pytest.raises(type(error)):
        store.table("t").write(breaking(), SCHEMA, {})
    assert not store.table("t").exists
    assert not (tmp_path / "s" / "t.lance").exists()
    store.table("t").write([batch(1)], SCHEMA, {})
    with pytest.raises(type(error)):
        store.table("t").write(breaking(), SCHEMA, {})
    assert numbers(store.table("t").latest().read()) == [1]


def test_what_is_not_there_is_named(tmp_path: Path) -> None:
    store = Store(tmp_path / "s")
    with pytest.raises(NotInStoreError, match="no table t"):
        store.table("t").latest()
    store.table("t").write([batch(1)], SCHEMA, {})
    for version in ("nope", 99):
        with pytest.raises(NotInStoreError, match=str(version)):
            store.table("t").at(version)
    with pytest.raises(StoreError, match="tag"):
        store.table("t").tag("a b", 1)
    with pytest.raises(StoreError, match="missing"), store.local_file("no-file"):
        pass


def test_a_newer_format_is_refused(tmp_path: Path) -> None:
    Store(tmp_path).table("t").write([batch(1)], SCHEMA, {})
    marker = tmp_path / MARKER
    marker.write_text(json.dumps({"format": FORMAT + 1}))
    with pytest.raises(StoreFormatError, match="upgrade"):
        Store(tmp_path)
    marker.write_text("{")
    with pytest.raises(StoreError, match=MARKER):
        Store(tmp_path)


def test_a_store_of_the_last_format_is_read_and_becomes_one_of_this(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.table("t").write([batch(1)], SCHEMA, {})
    (tmp_path / MARKER).write_text(json.dumps({"format": 2}))
    older = Store(tmp_path)
    assert numbers(older.table("t").latest().read()) == [1]
    assert older.read_json(MARKER)["format"] == 2  # reading changes nothing
    older.table("t").write([batch(2)], SCHEMA, {})
    assert older.read_json(MARKER)["format"] == FORMAT
    (tmp_path / MARKER).write_text(json.dumps({"format": 1}))
    with pytest.raises(StoreFormatError, match="import gene texts and build atlases again"):
        Store(tmp_path)


def rows(*values: int) -> pa.Table:
    return pa.Table.from_batches([batch(*values)])


def test_staged_rows_are_seen_once_they_are_committed(tmp_path: Path) -> None:
    table = Store(tmp_path / "s").table("t")
    staged = [*table.stage(rows(1, 2)), *table.stage(rows(3))]
    assert not table.exists
    first = table.commit(staged, SCHEMA, {"made": "whole"})
    assert numbers(table.latest().read()) == [1, 2, 3]
    more = table.stage(rows(4), whole=False)
    gone = table.stage(rows(5), whole=False)
    assert table.commit_after(first, more) == 2
    assert numbers(table.latest().read()) == [1, 2, 3, 4]
    with pytest.raises(ConflictError, match=r"at version 2, .*another process.*: expected version 1"):
        table.commit_after(first, gone)
    data = tmp_path / "s" / "t.lance" / "data"
    n_files = len(list(data.iterdir()))
    table.discard(gone)
    assert len(list(data.iterdir())) == n_files - 1
    assert numbers(table.at(table.restore(first)).read()) == [1, 2, 3]
    assert table.versions() == [1, 2, 3]


def test_rows_go_and_files_are_tidied(tmp_path: Path) -> None:
    table = Store(tmp_path / "s").table("t")
    schema = pa.schema([("row", pa.int64())])
    parts = [pa.table({"row": list(range(i, i + 4))}, schema=schema) for i in range(0, 20, 4)]
    version = table.commit([one for part in parts for one in table.stage(part)], schema, {})
    version = table.delete(version, "row", np.array([11, *range(13, 20)]))
    assert table.latest().read()["row"].to_pylist() == [*range(11), 12]
    version = table.compact(version)
    table.tag("kept", version)
    table.stage(parts[0], whole=False)
    table.forget()
    assert table.versions() == [version]
    assert len(list((tmp_path / "s" / "t.lance" / "data").iterdir())) == 1
    assert table.at("kept").read()["row"].to_pylist() == [*range(11), 12]
    assert [one["row"].to_pylist() for one in table.latest().batches(["row"], "row >= 9")] == [[9, 10, 12]]


def test_one_writer_at_a_time(tmp_path: Path) -> None:
    store, other = Store(tmp_path / "s"), Store(tmp_path / "s")
    with store.only_writer("a/writer"):
        with pytest.raises(ConflictError, match="another process is writing a/writer"), other.only_writer("a/writer"):
            pass
        with other.only_writer("b/writer"):
            pass
    with other.only_writer("a/writer"):
        pass


def test_the_lock_goes_with_its_process(tmp_path: Path) -> None:
    held = (
        f"import time; from scvec.store import Store\nwith Store({str(tmp_path / 's')!r}).only_writer('a/writer'):\n"
        " print(flush=True); time.sleep(60)"
    )
    store = Store(tmp_path / "s")
    with subprocess.Popen([sys.executable, "-c", held], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        with pytest.raises(ConflictError, match="another process is writing a/writer"), store.only_writer("a/writer"):
            pass
        process.kill()
    with store.only_writer("a/writer"):
        pass


def test_put_folder_is_whole_or_not_there(tmp_path: Path) -> None:
    store = Store(tmp_path / "s")

    def write(text: str, *, breaking: bool = False) -> Callable[[Path], int]:
        def filling(folder: Path) -> int:
            (folder / "f").write_text(text)
            if breaking:
                raise RuntimeError
            return len(text)

        return filling

    with pytest.raises(RuntimeError):
        store.put_folder("a/b", write("x", breaking=True))
    assert not list((tmp_path / "s" / "a").iterdir())
    assert store.put_folder("a/b", write("one")) == 3
    with pytest.raises(RuntimeError):
        store.put_folder("a/b", write("x", breaking=True))
    assert (store.local_folder("a/b") / "f").read_text() == "one"
    store.put_folder("a/b", write("other"))
    assert (store.local_folder("a/b") / "f").read_text() == "other"
    with pytest.raises(StoreError, match="missing"):
        store.local_folder("a/c")


def test_a_file_is_no_store(tmp_path: Path) -> None:
    (tmp_path / "f").write_text("")
    with pytest.raises(StoreError, match="is a file"):
        Store(tmp_path / "f")


def test_put_file_leaves_no_half(tmp_path: Path) -> None:
    store = Store(tmp_path / "s")

    def breaking(path: Path) -> None:
        path.write_text("half")
        raise RuntimeError

    with pytest.raises(RuntimeError):
        store.put_file("a/b.txt", breaking)
    assert list((tmp_path / "s" / "a").iterdir()) == []


@given(hnp.arrays(np.float32, st.tuples(st.integers(0, 9), st.integers(1, 7)), elements=st.floats(width=32)))
def test_vectors_round_trip(vectors: np.ndarray[tuple[int, int], np.dtype[np.float32]]) -> None:
    np.testing.assert_array_equal(vectors_from_arrow(vectors_to_arrow(vectors)), vectors)


def test_a_full_disk_is_said_and_leaves_the_table(small_disk: Path) -> None:
    store = Store(small_disk)
    store.table("t").write([batch(1)], SCHEMA, {})
    noise = np.random.default_rng(0).integers(0, 2**62, 400_000)
    with pytest.raises(DiskFullError, match="no space left"):
        store.table("t").write([batch(*noise.tolist())], SCHEMA, {})
    assert numbers(Store(small_disk).table("t").latest().read()) == [1]
    with pytest.raises(DiskFullError):
        store.put_file("f", lambda path: path.write_bytes(os.urandom(2**21)))
    assert not (small_disk / "f").exists()
