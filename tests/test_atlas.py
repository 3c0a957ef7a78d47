from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import scvec as sv
from scvec import index as indexes
from scvec.atlas import Atlas, fitting
from scvec.embed.projection import Projection
from scvec.embed.recipe import Refinement
from scvec.embed.refine import Head, fit
from scvec.errors import (
    ExistsError,
    GeneMatchError,
    InputError,
    KeyNotFoundError,
    LabelError,
    MatrixError,
    MismatchError,
    NotInStoreError,
    ScvecError,
)
from scvec.store import Table
from tests import toy

HASH = sv.RECIPES["genept-w"].with_encoder("hash")
PAID = sv.RECIPES["refined"].with_encoder("text-embedding-3-small")


def tree(store: sv.Store) -> dict[str, bytes]:
    root = Path(store.uri)
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def readable(store: sv.Store) -> dict[str, Any]:
    """All that a reader can see of the atlases."""
    return {
        name: (atlas.manifest, atlas.obs.to_pydict(), atlas.search(atlas.vectors(np.arange(5)), 3).ids.tolist())
        for name in sv.atlas.list_atlases(store)
        for atlas in [sv.atlas.open_atlas(store, name)]
    }


def test_an_atlas_says_what_it_was_made_from(atlas: Atlas) -> None:
    made = atlas.manifest
    (source,) = made["sources"]
    assert source["file"] == "reference.h5ad"
    assert source["matrix"] == {"key": "X", "scale": "counts", "total": None, "seen": [], "doubt": ""}
    assert made["keys"] == {"label": "cell_type", "batch": "donor", "label_id": "cl_id", "obs": []}
    assert (made["n_cells"], made["n_empty"], made["n_labels"], made["taxon_id"]) == (120, 0, 4, 9606)
    assert made["coverage"] == {
        "names": "var_names taken as human symbols, by the human gene texts 2021-07-01",
        "n_genes": 240,
        "n_matched": 240,
        "share": 1.0,
        "routes": {"symbol": {"n_genes": 240, "share": 1.0}},
        "texts": made["coverage"]["texts"],
        "n_merged": 0,
        "n_unmatched": 0,
        "ambiguous": [],
        "unmatched": [],
        "left_out": [],
        "other_genomes": [],
        "prefixes": [],
        "n_joined": 0,
        "n_numbered": 0,
    }
    kinds = made["coverage"]["texts"]
    assert {kind: part["n_genes"] for kind, part in kinds.items()} == {"NCBI Gene names": 80, "NCBI Gene summary": 160}
    assert made["index"] | {"search": {}} == made["index"]
    assert (made["index"]["factory"], made["index"]["rows"], made["index"]["recall"]) == ("exact", 120, 1.0)
    assert atlas.recipe == sv.RECIPES["refined"].with_encoder("hash").bind("2021-07-01", "1")
    assert made["dimension"] == 32 + 4  # the loss's, and the probe's
    training = made["training"]
    assert training["folds"] == 3  # one for each donor
    steps = sorted(int(step) for step in training["held_out_macro_f1"])
    assert len(steps) >= 8
    assert steps[-1] == Refinement().steps
    best = max(training["held_out_macro_f1"].values())
    assert training["held_out_macro_f1"][str(training["steps"])] == best
    assert made["recipe_sha256"] == atlas.recipe.sha256()
    assert atlas.obs.column_names == ["row", "cell_id", "dataset", "batch", "label", "label_id", "empty"]
    assert atlas.obs["dataset"][0].as_py() == "reference"
    assert atlas.labels[:4].tolist() == list(toy.LABELS)
    np.testing.assert_allclose(np.linalg.norm(atlas.vectors(np.arange(120)), axis=1), 1, atol=1e-6)


@pytest.mark.parametrize("name", ["refined", "genept-w", "topn", "random"])
@pytest.mark.parametrize("index", ["exact", "HNSW8"])
def test_every_recipe_and_index_calls_toy_cells(store: sv.Store, files: Path, name: str, index: str) -> None:
    recipe = sv.RECIPES[name]
    recipe = recipe.with_encoder("hash") if recipe.reads_text else recipe
    made = sv.atlas.build(
        store,
        "other",
        files / "reference.h5ad",
        label_key="cell_type",
        recipe=recipe,
        index=sv.IndexSpec(factory=index),
    )
    assert made.manifest["index"]["recall"] > 0.99
    calls = sv.annotate(files / "query.h5ad", made)
    assert sv.evaluate(calls, "cell_type").accuracy > 0.95


@pytest.mark.parametrize("name", ["../up", "a/b", "", ".hidden", "sp ace", "x" * 101, "a..b", "a.lance"])
def test_names_are_names(store: sv.Store, files: Path, name: str) -> None:
    before = tree(store)
    with pytest.raises(InputError, match="atlas name"):
        sv.atlas.build(store, name, files / "reference.h5ad", label_key="cell_type", recipe=HASH)
    assert tree(store) == before


def test_a_name_is_taken_once(store: sv.Store, files: Path) -> None:
    with pytest.raises(ExistsError, match="`overwrite`"):
        sv.atlas.build(store, "toy", files / "reference.h5ad", label_key="cell_type", recipe=HASH)
    again = sv.atlas.build(store, "toy", files / "query.h5ad", label_key="donor", recipe=HASH, overwrite=True)
    assert (again.manifest["n_cells"], again.manifest["version"]) == (41, 2)
    assert set(again.labels) == {"d0", "d1", "d2"}
    assert len(store.table("atlases/toy/cells").at(1)) == 120
    small = sv.Recipe(name="small", weights="svd", dimension=5)
    other = sv.atlas.build(store, "toy", files / "query.h5ad", label_key="donor", recipe=small, overwrite=True)
    assert other.vectors(np.array([0])).shape == (1, 5)


@pytest.mark.parametrize("existing", [False, True])
@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"label_key": "celltype"}, KeyNotFoundError, "'celltype'"),
        ({"batch_key": "batch"}, KeyNotFoundError, "`batch_key`"),
        ({"label_id_key": "donor"}, LabelError, "has ids 'd0' and 'd1'"),
        ({"obs_keys": ["tissue"]}, KeyNotFoundError, "`obs_keys`"),
        ({"obs_keys": ["batch"]}, InputError, "not row, cell_id"),
        ({"layer": "spliced"}, KeyNotFoundError, "spliced"),
        ({"recipe": PAID}, NotInStoreError, "scvec embed --taxon human --encoder text-embedding-3-small"),
        ({"recipe": sv.Recipe(name="big", weights="svd", dimension=150)}, InputError, "150 dimensions"),
        ({"index": sv.IndexSpec(factory="IVF500,Flat")}, InputError, "IVF500,Flat"),
        ({"taxon": "mouse"}, GeneMatchError, "0 of 240 genes matched"),
        ({"taxon": "rat"}, NotInStoreError, "scvec genes pull --taxon rat"),
        ({"release": "1999"}, NotInStoreError, "1999"),
    ],
)
def test_a_refused_build_leaves_the_store_as_it_was(
    store: sv.Store, files: Path, options: dict[str, Any], error: type[ScvecError], message: str, existing: bool
) -> None:
    before = readable(store)
    files_before = set(tree(store))
    name = "toy" if existing else "new"
    arguments: dict[str, Any] = {"label_key": "cell_type", "recipe": HASH, "overwrite": True} | options
    with pytest.raises(error, match=message):
        sv.atlas.build(store, name, files / "reference.h5ad", **arguments)
    assert readable(store) == before
    if not existing:
        assert set(tree(store)) == files_before


def test_genes_and_recipe_must_agree(store: sv.Store, files: Path) -> None:
    genes = sv.embed.open_genes(store, sv.ingest.open_texts(store, "human"), encoder="tfidf")
    with pytest.raises(InputError, match="'tfidf': expected 'hash'"):
        sv.atlas.build(store, "x", files / "reference.h5ad", label_key="cell_type", genes=genes, recipe=HASH)


@pytest.mark.parametrize("moment", ["embed", "train", "calibrate", "index", "manifest", "tag"])
def test_an_interrupt_at_any_moment_leaves_the_store(
    store: sv.Store, files: Path, moment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_args: Any, **_options: Any) -> None:
        raise KeyboardInterrupt

    target: tuple[Any, str] = {
        "embed": (Projection, "vectors"),
        "train": (fit, "train"),
        "calibrate": (fitting, "calibrate"),
        "index": (indexes, "make_part"),
        "manifest": (type(store), "write_json"),
        "tag": (Table, "tag"),
    }[moment]
    before = readable(store)
    recipe = sv.RECIPES["refined"].with_encoder("hash") if moment == "train" else HASH
    with monkeypatch.context() as patched:
        patched.setattr(*target, interrupt)
        for name in ("new", "toy"):
            with pytest.raises(KeyboardInterrupt):
                sv.atlas.build(store, name, files / "query.h5ad", label_key="donor", recipe=recipe, overwrite=True)
    assert readable(store) == before
    assert sv.atlas.list_atlases(store) == ["toy"]
    built = sv.atlas.build(store, "new", files / "reference.h5ad", label_key="cell_type", recipe=HASH)
    assert built.manifest["n_cells"] == 120


def test_a_killed_build_was_not_there(store: sv.Store, files: Path) -> None:
    """A real process, killed after its table was committed and before its index was."""
    code = (
        "import sys, time; import scvec as sv; from scvec.atlas import indexing\n"
        "indexing.indexes.tune = lambda *a: (print('committed', flush=True), time.sleep(60))\n"
        "r = sv.RECIPES['genept-w'].with_encoder('hash')\n"
        "sv.atlas.build(sv.Store(sys.argv[1]), 'new', sys.argv[2], label_key='cell_type', recipe=r)"
    )
    command = [sys.executable, "-c", code, store.uri, str(files / "reference.h5ad")]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline().strip() == "committed"
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    assert sv.atlas.list_atlases(store) == ["toy"]
    with pytest.raises(NotInStoreError, match="one of: toy"):
        sv.atlas.open_atlas(store, "new")
    built = sv.atlas.build(store, "new", files / "reference.h5ad", label_key="cell_type", recipe=HASH)
    assert built.manifest["n_cells"] == 120


def test_ctrl_c_on_the_command_line(store: sv.Store, files: Path) -> None:
    """A real SIGINT to a real build: exit code 130, one line, the store as before."""
    code = (
        "import sys, time; from scvec.atlas.building import shards; from scvec.cli import main\n"
        "def slow(*a):\n    print('embedding', flush=True); time.sleep(60)\n"
        "shards._rows = slow\n"
        "sys.exit(main())"
    )
    arguments = [
        "atlas",
        "build",
        "new",
        str(files / "reference.h5ad"),
        "--label-key",
        "cell_type",
        "--encoder",
        "hash",
    ]
    before = readable(store)
    process = subprocess.Popen(
        [sys.executable, "-c", code, *arguments, "--store", store.uri],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline().strip() == "embedding"
    time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 130
    # On a slow machine, progress is written before it.
    assert errors.splitlines()[-1].startswith("scvec: interrupted; ")
    assert "Traceback" not in errors
    assert readable(store) == before
    assert sv.atlas.list_atlases(store) == ["toy"]


@pytest.mark.parametrize(
    ("kind", "file"),
    [("index", "vectors.npy"), ("index", "rows.npy")]
    + [("fitted", f"{name}.safetensors") for name in ("projection", "profiles", "calibration")],
)
def test_a_file_of_another_build_is_refused(store: sv.Store, files: Path, kind: str, file: str) -> None:
    recipe = sv.RECIPES["refined"].with_encoder("hash")
    sv.atlas.build(store, "other", files / "query.h5ad", label_key="donor", recipe=recipe)
    own, other = (next(Path(store.uri, "atlases", name, kind).rglob(file)) for name in ("toy", "other"))
    own.write_bytes(other.read_bytes())
    cure = "scvec atlas verify toy --repair" if kind == "index" else "build the atlas again with `overwrite`"
    with pytest.raises(MismatchError, match=cure):
        sv.annotate(files / "query.h5ad", sv.atlas.open_atlas(store, "toy"))


def test_a_manifest_of_another_version_is_refused(store: sv.Store) -> None:
    path = Path(store.uri) / "atlases" / "toy" / "v1" / "manifest.json"
    values = json.loads(path.read_text())
    for change in ({"version": 7}, {"n_cells": 119}, {"recipe_sha256": "0"}):
        path.write_text(json.dumps(values | change))
        with pytest.raises(MismatchError, match="manifest of atlas 'toy'"):
            sv.atlas.open_atlas(store, "toy")


def test_an_atlas_of_an_older_layout_is_refused_with_the_cure(store: sv.Store) -> None:
    """As those built before an atlas could be of several files."""
    table = store.table("atlases/toy/cells")
    made = table.at("current")
    manifest = {key: value for key, value in made.manifest.items() if key != "layout"}
    cells = made.read(["row", "cell_id"])
    table.tag("current", table.write(cells.to_batches(), cells.schema, manifest))
    with pytest.raises(MismatchError, match=r"as a single file.*scvec atlas build toy REF\.h5ad --overwrite"):
        sv.atlas.open_atlas(store, "toy")


def test_the_default_is_a_head_over_text(atlas: Atlas) -> None:
    assert isinstance(atlas.embedding, Head)
    assert atlas.embedding.recipe == atlas.recipe
    assert atlas.profiles.labels.shape == (4, toy.N_GENES)
    assert atlas.calibration is not None
    assert len(atlas.calibration.held.called) == 120  # each cell once


def test_expectations(atlas: Atlas) -> None:
    atlas.expect(None, None)
    atlas.expect("refined", "hash")
    with pytest.raises(MismatchError, match="built with recipe refined: expected topn"):
        atlas.expect("topn", None)
    with pytest.raises(MismatchError, match="built with encoder hash: expected minilm"):
        atlas.expect(None, "minilm")


def test_empty_reference_cells_are_kept_and_not_searched(store: sv.Store, tmp_path: Path) -> None:
    cells = toy.cells(40, form="dense")
    cells.X[5] = 0
    cells.write_h5ad(tmp_path / "r.h5ad")
    built = sv.atlas.build(store, "r", tmp_path / "r.h5ad", label_key="cell_type", recipe=HASH)
    assert (built.manifest["n_cells"], built.manifest["n_empty"], len(built.index)) == (40, 1, 39)
    assert built.obs["empty"].to_pylist().index(True) == 5
    found = built.search(built.vectors(np.array([1])), 40).ids[0]
    assert 5 not in found.tolist()
    cells.X[:] = 0
    cells.write_h5ad(tmp_path / "none.h5ad")
    with pytest.raises(MatrixError, match="no cell has a count of a gene"):
        sv.atlas.build(store, "none", tmp_path / "none.h5ad", label_key="cell_type", recipe=HASH)


@pytest.fixture
def kept(store: sv.Store, tmp_path: Path) -> Atlas:
    """An atlas that keeps further columns: one of numbers, one of two words with quotes in its values."""
    cells = toy.cells(40)
    cells.obs["Tissue"] = ["pancreas", "islet"] * 20
    cells.obs["age"] = [30, 40, 50, 60] * 10
    cells.obs["cell line"] = [f"it's {i % 5}" for i in range(40)]
    cells.write_h5ad(tmp_path / "r.h5ad")
    keys = ("Tissue", "age", "cell line")
    return sv.atlas.build(store, "kept", tmp_path / "r.h5ad", label_key="cell_type", recipe=HASH, obs_keys=keys)


def test_further_columns_are_kept_as_strings(kept: Atlas, store: sv.Store, files: Path) -> None:
    assert kept.manifest["keys"]["obs"] == ["Tissue", "age", "cell line"]
    assert kept.obs.column_names[-3:] == ["Tissue", "age", "cell line"]
    assert kept.obs["age"].to_pylist()[:3] == ["30", "40", "50"]
    assert "tissue" not in sv.atlas.open_atlas(store, "toy").obs.column_names
    calls = sv.annotate(files / "query.h5ad", kept, where="tissue = 'islet'")
    assert (calls.neighbors.ids[calls.neighbors.ids >= 0] % 2 == 1).all()


@pytest.mark.parametrize(
    ("condition", "rows"),
    [
        ("Tissue = 'islet'", range(1, 40, 2)),
        ("tissue = 'islet' AND age IN ('40')", range(1, 40, 4)),
        ("CAST(age AS INT) > 45", [i for i in range(40) if i % 4 > 1]),
        ("`cell line` = 'it''s 3'", range(3, 40, 5)),
        ("label LIKE 'al%' OR label = 'beta' -- a remark", [i for i in range(40) if i % 4 < 2]),
        ("cell_id = 's0c7'", [7]),
        ("NOT empty AND row >= 38", [38, 39]),
        ("age = '31'", []),
    ],
)
def test_conditions_on_cells(kept: Atlas, condition: str, rows: Sequence[int]) -> None:
    assert kept.where(condition).tolist() == list(rows)


@pytest.mark.parametrize(
    ("condition", "message"),
    [
        ("", "it is empty"),
        ("tissu = 'islet'", "no column tissu"),
        ("tissue", "`where` 'tissue'"),
        ("tissue = 'islet' age = '30'", "found: age"),
        ("tissue = 'islet' LIMIT 3", "no column LIMIT"),
        ("tissue = 'islet') OR true", "brackets do not match"),
        ("tissue = 'islet'; DROP TABLE cells", "'; DROP TAB' cannot stand"),
        ("tissue = islet", "no column islet"),
        ("tissue = ?", "a placeholder"),
        ("\"Tissue\" != 'islet'", '"Tissue" in double quotes is read as text'),
        ("CAST(tissue AS INT) = 1", "Cannot cast string"),
        ("vector = 1", "no column vector"),
        ("'", "a quote is not closed"),
        ("label='nope') OR (label='beta'", "its brackets do not match"),
        ("_rowid < 5", "no column _rowid"),
        ("`_rowaddr` < 5", "no column _rowaddr"),
        ("random() < 0.5", "the function random is not one of"),
        ("upper(uuid()) < 'A'", "the function uuid"),
        ("current_date > date '2020-01-01'", "no column current_date"),
        ("NOW() IS NULL", "the function NOW"),
        ("`random`() < 1", "the function"),
        ("repeat(label, 1000000000) = 'x'", "the function repeat"),
        ("label = N'x'", "a quote touches a word"),
        ("label = $$x$$", "a placeholder"),
        ("label IN (SELECT label)", "no column SELECT"),
        ("(" * 41 + "true" + ")" * 41, "nested more than 40 levels"),
        ("NOT " * 50 + "empty", "nested more than 40 levels"),
        ("row" + "+1" * 2000 + " = 1", "2,000 operations, more than 100"),
        ("label = 'x' OR " * 1000 + "true", "15,004 characters, more than 10,000"),
    ],
)
def test_what_is_no_condition(kept: Atlas, condition: str, message: str) -> None:
    with pytest.raises(InputError) as caught:
        kept.where(condition)
    assert message in caught.value.seen
    assert "row, cell_id, dataset, batch, label, label_id, empty, Tissue, age, cell line" in caught.value.expected
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "keys",
    [["batch"], ["Label"], ["vector"], ["row"], ["a.b"], ["a`b"], ["_rowid"], ["donor", "donor"], ["donor", "Donor"]],
)
def test_columns_that_cannot_be_kept(store: sv.Store, tmp_path: Path, keys: list[str]) -> None:
    cells = toy.cells(8)
    for key in keys:
        cells.obs[key] = "x"
    cells.write_h5ad(tmp_path / "r.h5ad")
    with pytest.raises(InputError, match="cannot be kept under that name"):
        sv.atlas.build(store, "x", tmp_path / "r.h5ad", label_key="cell_type", recipe=HASH, obs_keys=keys)


def test_empty_cells_are_not_among_those_left(store: sv.Store, tmp_path: Path) -> None:
    cells = toy.cells(40, form="dense")
    cells.X[5] = 0
    cells.write_h5ad(tmp_path / "r.h5ad")
    built = sv.atlas.build(store, "r", tmp_path / "r.h5ad", label_key="cell_type", recipe=HASH)
    calls = sv.annotate(tmp_path / "r.h5ad", built, where="row < 10")
    assert calls.provenance["n_searched"] == 9
    assert 5 not in calls.neighbors.ids


def test_a_store_in_an_object_store(bucket: str, ncbi: tuple[Path, Path], files: Path, atlas: Atlas) -> None:
    store = sv.Store(bucket)
    texts = sv.ingest.texts(store, taxon="human", gene_info=ncbi[0], gene_summary=ncbi[1])
    genes = sv.embed.genes(store, texts, encoder="hash")
    with pytest.raises(InputError, match="IVF500"):
        spec = sv.IndexSpec(factory="IVF500,Flat")
        sv.atlas.build(store, "far", files / "reference.h5ad", label_key="cell_type", genes=genes, index=spec)
    assert sv.atlas.list_atlases(store) == []
    keys: dict[str, Any] = {"label_key": "cell_type", "label_id_key": "cl_id", "batch_key": "donor"}
    sv.atlas.build(store, "far", files / "reference.h5ad", genes=genes, **keys)
    again = sv.Store(bucket)
    assert sv.atlas.list_atlases(again) == ["far"]
    assert len(sv.atlas.open_atlas(again, "far").where("label = 'beta'")) == 30
    calls = sv.annotate(files / "query.h5ad", sv.atlas.open_atlas(again, "far"))
    near = sv.annotate(files / "query.h5ad", atlas)
    assert calls.to_frame().equals(near.to_frame())
