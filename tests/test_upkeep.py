"""Merging small files, and removing versions that nothing needs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import lancedb
import numpy as np
import pyarrow as pa
import pytest

import scvec as sv
from scvec.atlas import Atlas
from scvec.cli import main
from scvec.errors import ConflictError, NotInStoreError, StoreError
from scvec.store import ColumnIndex, Table, tidy
from tests import toy


def contents(store: sv.Store) -> dict[str, int]:
    return {str(path): path.stat().st_mtime_ns for path in Path(store.uri).rglob("*") if path.is_file()}


def test_vectors_that_were_appended_are_merged(tmp_path: Path) -> None:
    store = sv.Store(tmp_path / "store")
    table = store.table("gene_vectors/model/1")
    for i in range(6):
        table.append(pa.table({"a": list(range(10 * i, 10 * i + 10))}), {"kind": "test"})
    rows, before = table.latest().read(), contents(store)
    size = sum(path.stat().st_size for path in Path(store.uri, "gene_vectors").rglob("*") if path.is_file())
    dry = tidy(store, table.path, dry_run=True)
    assert contents(store) == before
    assert dry.steps == ("merge 6 files", "remove 5 versions without a tag")
    assert dry.bytes_after < dry.bytes_before

    done = tidy(store, table.path)
    assert done.steps[0] == "merge 6 files"
    assert done.bytes_before == dry.bytes_before == size
    assert done.bytes_after == store.n_bytes(f"{table.path}.lance") < done.bytes_before
    assert table.latest().read().equals(rows)
    assert table.latest().manifest == {"kind": "test"}
    assert (table.latest().n_files, len(table.versions())) == (1, 1)
    assert tidy(store, table.path).steps == ()
    table.append(pa.table({"a": [60]}), {"kind": "test"})
    assert len(table.latest()) == 61


def test_rows_that_are_written_meanwhile_are_appended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The version that they were to follow is gone when they are committed."""
    table = sv.Store(tmp_path / "store").table("gene_vectors/model/1")
    for i in range(3):
        table.append(pa.table({"a": [i]}), {"kind": "test"})
    write = Table._write_fragments

    def tidied(self: Table, rows: pa.Table, mode: str) -> list[Any]:
        made = write(self, rows, mode)
        assert tidy(sv.Store(tmp_path / "store"), table.path).steps
        return made

    monkeypatch.setattr(Table, "_write_fragments", tidied)
    table.append(pa.table({"a": [3]}), {"kind": "test"})
    assert table.latest().read()["a"].to_pylist() == [0, 1, 2, 3]


def test_releases_stay(store: sv.Store, ncbi: tuple[Path, Path]) -> None:
    sv.ingest.texts(store, taxon="human", gene_info=ncbi[0], gene_summary=ncbi[1], release="again")
    before = {one.release: one.frame for one in sv.ingest.list_texts(store)}
    sv.atlas.optimize(store)
    assert len(before) == 2
    for release, frame in before.items():
        assert sv.ingest.open_texts(store, "human", release).frame.equals(frame)


def test_releases_without_indexes_get_them(
    store: sv.Store, ncbi: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As those of an earlier scvec; the order of releases stays, of which the last is the default."""
    with monkeypatch.context() as earlier:
        earlier.setattr("scvec.ingest.genes.gene_texts.TEXT_INDEXES", ())
        for release in ("b", "a"):
            sv.ingest.texts(store, taxon="human", gene_info=ncbi[0], gene_summary=ncbi[1], release=release)
    table = store.table("gene_texts/9606")
    order, before = list(table.tags()), {one.release: one.frame for one in sv.ingest.list_texts(store)}
    assert not table.at("a").indexes
    (dry,) = (one for one in sv.atlas.optimize(store, dry_run=True) if one.path == table.path)
    assert dry.steps[0] == "make the indexes of b, a"

    sv.atlas.optimize(store)
    assert list(table.tags()) == order
    for release, frame in before.items():
        assert table.at(release).indexes.keys() == table.at(order[0]).indexes.keys() > set()
        assert sv.ingest.open_texts(store, "human", release).frame.equals(frame)
    assert len(table.at("a").matching("glucagon", "text", ["gene_id"])) > 0
    assert sv.atlas.optimize(store)[0].steps == ()


@pytest.mark.parametrize("moved", range(3))
def test_a_killed_process_leaves_the_order_of_releases(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moved: int
) -> None:
    """The last one is the default: at whichever tag the process ends, it stays so, and the next run ends the work."""
    table = sv.Store(tmp_path / "store").table("gene_texts/1")
    rows = pa.table({"text": ["a cat", "two dogs"]})
    for release in ("b", "c", "a"):
        table.tag(release, table.write(rows.to_batches(), rows.schema, {"release": release}))
    indexes, tag, left = [ColumnIndex("text", "text")], Table.tag, list(range(moved))

    def killed(self: Table, name: str, version: int) -> None:
        if not left:
            raise KeyboardInterrupt
        left.pop()
        tag(self, name, version)

    with monkeypatch.context() as ending:
        ending.setattr(Table, "tag", killed)
        with pytest.raises(KeyboardInterrupt):
            tidy(sv.Store(tmp_path / "store"), table.path, indexes)
    assert list(table.tags()) == ["b", "c", "a"]
    tidy(sv.Store(tmp_path / "store"), table.path, indexes)
    assert list(table.tags()) == ["b", "c", "a"]
    for release in table.tags():
        assert table.at(release).manifest == {"release": release}
        assert table.at(release).without(indexes) == []


def test_releases_that_another_process_imports_meanwhile_stay_the_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = sv.Store(tmp_path / "store").table("gene_texts/1")
    rows = pa.table({"text": ["a cat"]})
    table.tag("a", table.write(rows.to_batches(), rows.schema, {"release": "a"}))
    index = Table.index_columns

    def meanwhile(self: Table, base: int, indexes: Sequence[ColumnIndex]) -> int:
        table.tag("b", table.write(rows.to_batches(), rows.schema, {"release": "b"}))
        return index(self, base, indexes)

    monkeypatch.setattr(Table, "index_columns", meanwhile)
    with pytest.raises(ConflictError, match="another process"):
        tidy(sv.Store(tmp_path / "store"), table.path, [ColumnIndex("text", "text")])
    assert list(table.tags()) == ["a", "b"]


def test_tables_of_others_keep_their_versions(store: sv.Store) -> None:
    """A LanceDB database may hold tables that scvec has not made."""
    own = lancedb.connect(store.uri).create_table("mine", pa.table({"a": [1]}))
    own.add(pa.table({"a": [2]}))
    assert "mine" not in [one.path for one in sv.atlas.optimize(store)]
    assert len(own.list_versions()) == 2


def test_nothing_is_removed_through_a_link(tmp_path: Path) -> None:
    other, store = sv.Store(tmp_path / "other"), sv.Store(tmp_path / "store")
    for one in (other, store):
        for i in range(3):
            one.table("gene_vectors/model/1").append(pa.table({"a": [i]}), {"kind": "test"})
    Path(store.uri, "gene_vectors", "linked").mkdir()
    Path(store.uri, "gene_vectors", "linked", "1.lance").symlink_to(Path(other.uri, "gene_vectors/model/1.lance"))
    before = contents(other)
    with pytest.raises(StoreError, match="by a symbolic link"):
        sv.atlas.optimize(store)
    with pytest.raises(StoreError, match="by a symbolic link"):
        store.table("gene_vectors/linked/1").drop([1, 2])
    with pytest.raises(StoreError, match="by a symbolic link"):
        store.table("gene_vectors/linked/1").forget()
    assert contents(other) == before


def test_links_in_circles_have_no_size(store: sv.Store) -> None:
    path = "gene_vectors/hash/1.lance"
    before = store.n_bytes(path)
    for name in ("one", "two"):
        Path(store.uri, path, name).symlink_to(Path(store.uri, path))
    assert store.n_bytes(path) == before
    assert store.n_bytes("gene_vectors/none.lance") == 0


def test_folders_of_others_are_no_tables(store: sv.Store) -> None:
    """Also those with a name that no file of the store may have."""
    before = store.tables()
    for name in (r"a\b", "C:x", "own"):
        Path(store.uri, "gene_texts", name).mkdir()
    assert store.tables() == before


def test_an_atlas_of_an_earlier_scvec_is_left(store: sv.Store) -> None:
    old = store.table("atlases/old/cells")
    rows = pa.table({"row": [1]})
    old.tag("current", old.write(rows.to_batches(), rows.schema, {"written_by": "scvec 0.3"}))
    done = {one.path: one for one in sv.atlas.optimize(store)}
    assert done["atlases/old"].steps[0].startswith("left as it is: atlas 'old' was built by scvec 0.3")
    assert done["gene_texts/9606"].steps


def test_a_dry_run_takes_no_lock(store: sv.Store) -> None:
    lock = Path(store.uri, "atlases/toy/writer.lock")
    lock.unlink(missing_ok=True)
    sv.atlas.optimize(store, dry_run=True)
    assert not lock.exists()
    with store.only_writer("atlases/toy/writer"):
        assert sv.atlas.optimize(store, dry_run=True)


def test_an_atlas_keeps_what_can_be_checked_out(store: sv.Store, atlas: Atlas) -> None:
    smaller = sv.atlas.remove(atlas, "label = 'beta'")
    versions = sv.atlas.versions(store, "toy")
    vectors = smaller.vectors(smaller.rows)
    (dry,) = (one for one in sv.atlas.optimize(store, dry_run=True) if one.path == "atlases/toy")
    assert dry.steps[0] == "rewrite 1 file"  # which still holds the cells that were removed
    assert sv.atlas.versions(store, "toy") == versions

    sv.atlas.optimize(store)
    now = sv.atlas.open_atlas(store, "toy")
    assert now.cells.n_deleted == 0
    assert set(versions) < set(sv.atlas.versions(store, "toy"))
    np.testing.assert_array_equal(now.vectors(now.rows), vectors)
    assert len(sv.atlas.open_atlas(store, "toy", atlas.cells.version).cells) == 120
    assert sv.atlas.verify(now) == []
    assert all(one.steps == () for one in sv.atlas.optimize(store))

    done = sv.atlas.optimize(store, forget=True)
    (of_atlas,) = (one for one in done if one.path == "atlases/toy")
    assert of_atlas.bytes_after < of_atlas.bytes_before
    assert len(sv.atlas.versions(store, "toy")) == 1
    with pytest.raises(NotInStoreError):
        sv.atlas.open_atlas(store, "toy", atlas.cells.version)
    assert sv.atlas.verify(sv.atlas.open_atlas(store, "toy")) == []


def test_one_writer(store: sv.Store) -> None:
    with store.only_writer("atlases/toy/writer"), pytest.raises(ConflictError, match="another process is writing"):
        sv.atlas.optimize(store)


def test_the_verbs(store: sv.Store, atlas: Atlas, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    sv.atlas.remove(atlas, "label = 'beta'")
    capsys.readouterr()
    assert main(["store", "info", "--store", store.uri, "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    tables = {one["path"]: one for one in said["tables"]}
    assert list(tables) == store.tables()
    assert tables["atlases/toy/cells"]["n_rows"] == 120 - toy.cells().obs["cell_type"].tolist().count("beta")
    assert tables["atlases/toy/cells"]["tags"] == {"current": 2}
    assert all(one["in_lancedb"] and one["n_bytes"] > 0 for one in tables.values())

    assert main(["store", "optimize", "--store", store.uri, "--dry-run"]) == 0
    assert "would be done" in capsys.readouterr().out
    assert main(["store", "optimize", "--store", store.uri, "--forget", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["bytes_after"] < said["bytes_before"]

    store.remove("__manifest")
    assert main(["store", "info", "--store", store.uri]) == 0
    assert "scvec store register" in capsys.readouterr().err
    assert main(["store", "register", "--store", store.uri]) == 0
    assert "added: " in capsys.readouterr().out
    assert main(["store", "info", "--store", str(tmp_path / "none")]) == 0
    assert "no tables yet" in capsys.readouterr().err
    assert not (tmp_path / "none").exists()
