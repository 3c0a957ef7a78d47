"""The store as a database: opened by lancedb, polars, pyarrow and DuckDB, by programs that do not know scvec."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import lancedb
import numpy as np
import pyarrow as pa
import pytest

import scvec as sv
from scvec.atlas import Atlas
from scvec.atlas.paths import cells_path
from scvec.errors import StoreError
from scvec.store import registry
from tests import toy, toy_ontology

QUESTIONS = """
import json, sys
import duckdb, lancedb, numpy as np, polars as pl, pyarrow.compute as pc

db = lancedb.connect(sys.argv[1])
names = {one: db.list_namespaces(namespace_path=[one]).namespaces for one in db.list_namespaces().namespaces}

cells = db.open_table("cells", namespace_path=["atlases", "toy"])
cells.checkout("current")
vector = np.array(json.loads(sys.argv[2]), np.float32)
near = cells.search(vector, vector_column_name="vector").distance_type("cosine").where("batch = 'd1'").limit(5)

arrow = cells.to_arrow()
by_donor = duckdb.sql("SELECT batch, label, count(*) FROM arrow GROUP BY ALL ORDER BY ALL").fetchall()

texts = db.open_table("9606", namespace_path=["gene_texts"])
glucagon = texts.search().where("text LIKE '%glucagon%'").select(["symbol"]).to_polars()
by_polars = pl.from_arrow(texts.to_arrow()).filter(pl.col("text").str.contains("glucagon"))
column = texts.to_arrow()["text"]

print(json.dumps({
    "namespaces": names,
    "releases": list(texts.tags.list()),
    "near": [(one["cell_id"], one["_distance"]) for one in near.to_list()],
    "by_donor": by_donor,
    "glucagon": sorted(glucagon["symbol"].to_list()),
    "by_polars": sorted(by_polars["symbol"].to_list()),
    "by_pyarrow": pc.sum(pc.match_substring(column, "glucagon")).as_py(),
    "scvec": [one for one in sys.modules if one.startswith("scvec")],
}))
"""


def asked(uri: str, *words: str) -> dict[str, Any]:
    """Return what another program answers, in which scvec cannot be imported."""
    away = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, "-c", QUESTIONS, uri, *words], capture_output=True, text=True, env=away, check=False
    )
    assert done.returncode == 0, done.stderr
    answers: dict[str, Any] = json.loads(done.stdout)
    return answers


def test_other_programs_read_the_store(store: sv.Store, atlas: Atlas) -> None:
    vector = atlas.vectors(atlas.filled[:1])
    found = asked(store.uri, json.dumps(vector[0].tolist()))
    assert not found["scvec"]
    assert found["namespaces"]["atlases"] == ["toy"]
    assert {"gene_texts", "gene_vectors"} <= found["namespaces"].keys()
    assert found["releases"] == list(store.table("gene_texts/9606").tags())

    truth = atlas.search(vector, 5, atlas.narrowed(atlas.where("batch = 'd1'")))
    assert [one for one, _ in found["near"]] == atlas.cell_ids(atlas.positions(truth.ids[0])).tolist()
    np.testing.assert_allclose([one for _, one in found["near"]], truth.distances[0], atol=1e-6)

    obs = toy.cells(120, seed=0).obs
    counts = obs.groupby(["donor", "cell_type"], observed=True).size()
    assert {(donor, label): n for donor, label, n in found["by_donor"]} == counts.to_dict()

    texts = sv.ingest.open_texts(store, "human").frame
    named = sorted(row["symbol"] for row in texts.to_dicts() if "glucagon" in row["text"])
    assert named == found["glucagon"] == found["by_polars"]
    assert len(named) == found["by_pyarrow"] > 0


def test_tags_and_versions_are_those_of_scvec(store: sv.Store, atlas: Atlas) -> None:
    smaller = sv.atlas.remove(atlas, "label = 'beta'")
    cells = lancedb.connect(store.uri).open_table("cells", namespace_path=["atlases", "toy"])
    assert cells.tags.list()["current"]["version"] == smaller.cells.version
    cells.checkout("current")
    assert cells.count_rows() == len(smaller.cells) < len(atlas.cells)
    cells.checkout(atlas.cells.version)
    assert cells.count_rows() == len(atlas.cells)
    # The dataset is one for pyarrow too.
    assert cells.to_lance().count_rows(filter="label = 'beta'") == atlas.labels.tolist().count("beta")


def test_what_is_published_is_listed(tmp_path: Path) -> None:
    store, manifest = sv.Store(tmp_path / "store"), {"kind": "test"}
    sv.ontology.import_ontology(store, toy_ontology.write(tmp_path))
    store.table("gene_vectors/model/1").append(pa.table({"a": [1]}), manifest)
    # What is committed and not published yet is no table for others.
    store.table("atlases/new/cells").write([], pa.schema({"a": pa.int64()}), manifest)
    assert registry.registered(store) == {"gene_vectors/model/1", "ontology/CL"}
    store.table("atlases/new/cells").tag("current", 1)
    assert (
        registry.registered(store)
        == set(store.tables())
        == {"atlases/new/cells", "gene_vectors/model/1", "ontology/CL"}
    )

    versions = len(list(tmp_path.glob("store/__manifest/_versions/*.manifest")))
    store.table("gene_vectors/model/1").append(pa.table({"a": [2]}), manifest)
    assert len(list(tmp_path.glob("store/__manifest/_versions/*.manifest"))) == versions  # it is listed already

    store.remove("atlases/new")
    assert registry.registered(store) == {"gene_vectors/model/1", "ontology/CL"}
    assert lancedb.connect(store.uri).list_namespaces().namespaces == ["gene_vectors", "ontology"]


@pytest.mark.parametrize("lost", ["all", "damaged", "moved", "removed by hand"])
def test_a_lost_registration_is_made_again(store: sv.Store, tmp_path: Path, lost: str) -> None:
    tables, there = store.tables(), Path(store.uri)
    of_atlas = tuple(path for path in tables if path.startswith("atlases/"))
    if lost == "all":
        shutil.rmtree(there / registry.REGISTRY)
    elif lost == "damaged":
        for file in (there / registry.REGISTRY / "_versions").iterdir():
            file.write_bytes(b"no manifest")
        with pytest.raises(StoreError, match="LanceDB's list of tables"):
            registry.registered(store)
    elif lost == "moved":
        there.rename(tmp_path / "moved")
        there = tmp_path / "moved"
    else:
        shutil.rmtree(there / "atlases")
        tables = [path for path in tables if path not in of_atlas]
    found = sv.Store(there).register()
    assert list(found.tables) == tables
    assert found.added == (tuple(tables) if lost in ("all", "damaged") else ())
    assert found.dropped == (of_atlas if lost == "removed by hand" else ())
    assert (there / "__manifest.damaged").exists() == (lost == "damaged")
    assert sv.Store(there).register().added == ()
    database = lancedb.connect(str(there))
    for path in tables:
        *namespace, name = path.split("/")
        assert database.open_table(name, namespace_path=namespace).count_rows() == len(store_table(there, path))


def test_tables_of_others_stay_listed(store: sv.Store) -> None:
    """LanceDB places tables that others make in a namespace under names of its own."""
    db = lancedb.connect(store.uri)
    db.create_table("notes", pa.table({"a": [1, 2]}), namespace_path=["gene_texts"])
    assert store.register().dropped == ()
    assert db.open_table("notes", namespace_path=["gene_texts"]).count_rows() == 2


def test_a_name_that_lancedb_refuses_keeps_no_other_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    store = sv.Store(tmp_path / "store")
    for path in ("atlases/a..b/cells", "gene_texts/1"):
        store.table(path).append(pa.table({"a": [1]}), {"kind": "test"})
    store.remove(registry.REGISTRY)
    assert store.register().added == ("gene_texts/1",)
    assert "LanceDB lists no table with '..' in its name: atlases/a..b/cells" in caplog.text


def test_the_list_of_another_store_is_not_changed(store: sv.Store, tmp_path: Path) -> None:
    shutil.copytree(store.uri, tmp_path / "other")
    shutil.rmtree(Path(store.uri, "__manifest"))
    Path(store.uri, "__manifest").symlink_to(tmp_path / "other" / "__manifest")
    shutil.rmtree(Path(store.uri, "gene_vectors"))
    listed = registry.registered(sv.Store(tmp_path / "other"))
    store.table("gene_texts/2").append(pa.table({"a": [1]}), {"kind": "test"})  # which only logs a warning
    with pytest.raises(StoreError, match="by a symbolic link"):
        store.register()
    assert registry.registered(sv.Store(tmp_path / "other")) == listed


def store_table(uri: Path, path: str) -> Any:
    return sv.Store(uri).table(path).latest()


def test_a_list_that_cannot_be_written_loses_no_table(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / registry.REGISTRY / "_versions").mkdir(parents=True)
    (tmp_path / registry.REGISTRY / "_versions" / "1.manifest").write_bytes(b"no manifest")
    table = sv.Store(tmp_path).table("gene_vectors/model/1")
    table.append(pa.table({"a": [1]}), {})
    assert len(table.latest()) == 1
    assert "scvec store register" in caplog.text


def test_writers_at_the_same_time(tmp_path: Path) -> None:
    """Tables that are published together are all listed."""
    paths = [f"gene_vectors/model/{i}" for i in range(8)]
    sv.Store(tmp_path).mark()

    def publish(path: str) -> None:
        sv.Store(tmp_path).table(path).append(pa.table({"a": [1]}), {})

    threads = [threading.Thread(target=publish, args=[path]) for path in paths]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert registry.registered(sv.Store(tmp_path)) == set(paths)


def test_lancedb_reads_while_an_atlas_is_extended(store: sv.Store, atlas: Atlas, files: Path) -> None:
    """Whoever follows the tag sees the atlas before or after, and never something between."""
    before, seen, ended = len(atlas.cells), set[int](), threading.Event()

    def read() -> None:
        while not ended.is_set():
            table = lancedb.connect(store.uri).open_table("cells", namespace_path=["atlases", "toy"])
            table.checkout("current")
            rows = table.to_arrow()
            assert len(set(rows["row"].to_pylist())) == len(rows) == table.count_rows()
            seen.add(len(rows))

    reader = threading.Thread(target=read)
    reader.start()
    try:
        extended = sv.atlas.extend(atlas, files / "query.h5ad", label_key="cell_type", batch_key="donor")
        sv.atlas.remove(extended, "label = 'beta'")
    finally:
        ended.set()
        reader.join()
    after = {len(store.table(cells_path("toy")).at(version)) for version in sv.atlas.versions(store, "toy")}
    assert before in seen <= after
    assert len(after) == 3
