"""The table of an atlas's labels, which every change keeps true."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pytest

import scvec as sv
from scvec.atlas import Atlas, verify
from scvec.atlas.label_table import ENTRY, INDEXES, N_MARKERS, label_schema
from scvec.errors import StoreError
from tests import toy, toy_ontology


def check(atlas: Atlas) -> pl.DataFrame:
    """Return the table of labels after it was compared with plain arithmetic on the cells."""
    snapshot = atlas.label_table
    assert snapshot is not None
    assert snapshot.without(INDEXES) == []
    assert snapshot.schema.remove_metadata().equals(label_schema(atlas.manifest["dimension"]))
    assert snapshot.manifest["cells_version"] <= atlas.cells.version
    frame = pl.DataFrame(pl.from_arrow(snapshot.read()))
    names, counts = np.unique(atlas.labels.astype(str), return_counts=True)
    assert dict(frame.select("label", "n_cells").iter_rows()) == dict(zip(names.tolist(), counts.tolist(), strict=True))
    assert frame["label"].is_sorted()
    filled = ~np.asarray(atlas.obs["empty"])
    for label, label_id, vector in frame.select("label", "label_id", "vector").iter_rows():
        assert label_id == (atlas.label_ids[label] or None)
        own = (atlas.labels == label) & filled
        if not own.any():
            assert vector is None
            continue
        mean = atlas.vectors(atlas.rows[own]).astype(np.float64).mean(axis=0)
        np.testing.assert_allclose(vector, mean / np.linalg.norm(mean), atol=1e-5)
    tags = atlas.store.table(f"atlases/{atlas.name}/labels").tags()
    assert tags == {"current": atlas.manifest[ENTRY]["version"]}
    assert verify(atlas) == []
    return frame


def test_a_build_writes_it(atlas: Atlas) -> None:
    frame = check(atlas)
    assert frame["label"].to_list() == sorted(toy.LABELS)
    assert frame["definition"].null_count() == len(frame)  # the store has no ontology
    assert frame["text"].to_list() == frame["label"].to_list()
    assert atlas.manifest[ENTRY] == {"version": atlas.manifest[ENTRY]["version"], "ontology": None, "n_labels": 4}
    markers = frame.explode("markers").unnest("markers")
    assert (markers["weight"] > 0).all()
    assert markers["symbol"].to_list() == [f"TOY{gene - 1000}" for gene in markers["gene_id"]]
    for (label,), genes in markers.group_by(["label"]):
        assert 0 < len(genes) <= N_MARKERS
        assert genes["weight"].is_sorted(descending=True)
        best = genes.head(5)["gene_id"].to_list()
        assert {toy.theme_of(gene - toy.FIRST_ID[toy.HUMAN]) for gene in best} == {label}


def test_terms_come_from_the_store_s_ontology(atlas_with_terms: Atlas) -> None:
    atlas = atlas_with_terms
    frame = check(atlas)
    assert atlas.manifest[ENTRY]["ontology"] == toy_ontology.RELEASE
    beta = frame.row(by_predicate=pl.col("label") == "beta", named=True)
    assert (beta["name"], beta["synonyms"]) == (
        "type B pancreatic cell",
        ["insulin secreting cell", "pancreatic beta cell"],
    )
    assert beta["definition"] is None  # as that term has none
    immune = frame.row(by_predicate=pl.col("label") == "immune", named=True)
    assert (immune["label_id"], immune["name"]) == (toy.LABEL_IDS["immune"], None)  # which this ontology lacks
    assert atlas.label_table is not None
    found = atlas.label_table.matching("cells that secrete insulin", "text", ["label"])
    assert found["label"].to_pylist()[0] == "beta"


def test_an_extension_and_a_removal_keep_it_true(atlas: Atlas, tmp_path: Path) -> None:
    before = atlas.label_table
    assert before is not None
    rows = before.read()
    cells = toy.cells(41, seed=3)
    cells.obs["cell_type"] = ["new" if one == "beta" else one for one in cells.obs["cell_type"].astype(str)]
    cells.obs["cl_id"] = ["CL:9999999" if one == "new" else toy.LABEL_IDS[one] for one in cells.obs["cell_type"]]
    cells.X = cells.X.toarray() * (np.arange(41) < 40)[:, None]
    cells.write_h5ad(tmp_path / "more.h5ad")
    extended = sv.atlas.extend(atlas, tmp_path / "more.h5ad")
    frame = check(extended)
    new = frame.row(by_predicate=pl.col("label") == "new", named=True)
    assert (new["label_id"], new["markers"]) == ("CL:9999999", None)  # it came after the fit
    assert before.read().equals(rows)  # readers of the older version
    left = sv.atlas.remove(extended, "label = 'new'")
    assert "new" not in check(left)["label"].to_list()
    fewer = sv.atlas.remove(left, "dataset = 'more'")
    assert check(fewer).drop("vector").equals(pl.DataFrame(pl.from_arrow(rows)).drop("vector"))


def test_what_leaves_the_cells_leaves_it(atlas: Atlas) -> None:
    entry = atlas.manifest[ENTRY]
    rebuilt = sv.atlas.rebuild(atlas)
    assert rebuilt.manifest[ENTRY] == entry
    removed = sv.atlas.remove(rebuilt, "label = 'beta'")
    assert removed.manifest[ENTRY] != entry
    compacted = sv.atlas.compact(removed)
    assert compacted.manifest[ENTRY] == removed.manifest[ENTRY]
    check(compacted)
    back = sv.atlas.checkout(atlas.store, "toy", atlas.cells.version)
    assert back.manifest[ENTRY] == entry
    assert "beta" in check(back)["label"].to_list()
    forgotten = sv.atlas.compact(back, forget=True)
    check(forgotten)


def test_an_atlas_of_an_earlier_version_has_none_until_it_changes(atlas: Atlas) -> None:
    path = Path(atlas.store.uri, "atlases", "toy", f"v{atlas.cells.version}", "manifest.json")
    values = json.loads(path.read_text())
    del values[ENTRY]
    path.write_text(json.dumps(values))
    atlas.store.remove("atlases/toy/labels.lance")
    old = sv.atlas.open(atlas.store, "toy")
    assert old.label_table is None
    assert verify(old) == []
    assert sv.search.words(old, toy.THEMES["beta"]).labels[0] == "beta"
    check(sv.atlas.rebuild(old))


@pytest.mark.parametrize("damaged", ["data", "_versions", "_indices", "_refs/tags", ""])
def test_a_damaged_one_is_found_and_made_again(atlas: Atlas, damaged: str) -> None:
    """Also where Lance can commit no other version to what is left."""
    folder = Path(atlas.store.uri, "atlases", "toy", "labels.lance")
    if not damaged:
        shutil.rmtree(folder)
    for file in Path(folder, damaged).rglob("*") if damaged else ():
        if file.is_file():
            file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    (fault,) = verify(atlas)
    assert "labels" in fault.what
    assert fault.derived
    check(sv.atlas.repair(atlas, [fault]))


def test_an_atlas_without_its_gene_texts_has_markers_without_symbols(atlas: Atlas) -> None:
    """Its cells can be removed: what is committed by then must be published."""
    atlas.store.remove("gene_texts")
    removed = sv.atlas.remove(sv.atlas.open(atlas.store, "toy"), "label = 'beta'")
    markers = check(removed).explode("markers").unnest("markers")
    assert markers["gene_id"].null_count() == 0
    assert markers["symbol"].null_count() == len(markers)


def test_older_versions_do_not_take_the_one_that_was_made_again(atlas: Atlas) -> None:
    """Its versions are counted from 1, as those of the table that was lost were."""
    smaller = sv.atlas.remove(atlas, "label = 'beta'")
    shutil.rmtree(Path(atlas.store.uri, "atlases", "toy", "labels.lance"))
    again = sv.atlas.repair(smaller, verify(smaller))
    assert again.manifest[ENTRY]["version"] == atlas.manifest[ENTRY]["version"]
    for version in (atlas.cells.version, smaller.cells.version):
        old = sv.atlas.open(atlas.store, "toy", version)
        with pytest.raises(StoreError, match=r"is lost.*scvec atlas checkout toy"):
            _ = old.label_table
        back = sv.atlas.checkout(atlas.store, "toy", version)
        assert ("beta" in check(back)["label"].to_list()) == (version == atlas.cells.version)


@pytest.mark.parametrize("module", ["lancedb", "duckdb"])
def test_databases_read_it(atlas: Atlas, module: str) -> None:
    package = pytest.importorskip(module)
    wanted = {f"TOY{gene}" for gene in range(toy.N_GENES) if toy.theme_of(gene) == "beta"}
    if module == "duckdb":
        assert atlas.label_table is not None
        labels: pa.Table = atlas.label_table.read()
        sql = "SELECT label, m.symbol FROM (SELECT label, unnest(markers) AS m FROM labels) ORDER BY m.weight DESC"
        connection = package.connect()
        connection.register("labels", labels)
        rows = [symbol for label, symbol in connection.execute(sql).fetchall() if label == "beta"]
        assert set(rows[:5]) <= wanted
        return
    table = package.connect(f"{atlas.store.uri}/atlases/toy").open_table("labels")
    assert table.search("beta", query_type="fts").to_arrow()["label"].to_pylist() == ["beta"]
    beta = table.search().where("label = 'beta'").to_arrow()
    found = table.search(beta["vector"][0].as_py()).limit(1).to_arrow()
    assert found["label"].to_pylist() == ["beta"]
