"""Some cells of a file: a condition, the cells of a table, cells with a label; the same as a file of only these."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import scvec as sv
from scvec.atlas import Atlas
from scvec.cli import main
from scvec.errors import InputError, LabelError
from scvec.ingest import open_cells
from scvec.ingest.cells.selection import Selection
from scvec.ingest.cells.unlabelled import means_none
from tests import sources, toy

N = 150


def mixed() -> AnnData:
    """Cells with annotations of every kind: text, categories, whole and broken numbers, booleans, gaps."""
    cells = toy.cells(N, seed=3)
    cells.obs["depth"] = np.arange(N)
    cells.obs["share"] = np.where(np.arange(N) % 5 == 0, np.nan, np.arange(N) / N)
    cells.obs["good"] = np.arange(N) % 4 != 1
    cells.obs["two words"] = pd.Categorical([f"x{i % 3}" if i % 7 else None for i in range(N)])
    cells.obsm["X_pca"] = np.random.default_rng(0).normal(size=(N, 4)).astype(np.float32)
    return cells


CONDITIONS: dict[str, Callable[[pd.DataFrame], Any]] = {
    "donor = 'd1'": lambda obs: obs["donor"] == "d1",
    "donor <> 'd1' AND cell_type IN ('alpha', 'beta')": lambda obs: (
        (obs["donor"] != "d1") & obs["cell_type"].isin(["alpha", "beta"])
    ),
    "depth >= 30": lambda obs: obs["depth"] >= 30,
    "share < 0.5": lambda obs: obs["share"] < 0.5,
    "good": lambda obs: obs["good"],
    "NOT good OR depth = 3": lambda obs: ~obs["good"] | (obs["depth"] == 3),
    "good = false": lambda obs: ~obs["good"],
    "`two words` = 'x1'": lambda obs: obs["two words"] == "x1",
    "\"two words\" <> 'x1'": lambda obs: (obs["two words"] != "x1") & obs["two words"].notna(),
    "`two words` IS NULL": lambda obs: obs["two words"].isna(),
    "share IS NOT NULL": lambda obs: obs["share"].notna(),
    "cell_type LIKE '%a'": lambda obs: obs["cell_type"].isin(["alpha", "beta"]),
    "DONOR = 'd1' AND Depth > 9": lambda obs: (obs["donor"] == "d1") & (obs["depth"] > 9),
    "depth BETWEEN 10 AND 12": lambda obs: obs["depth"].between(10, 12),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("selection")


@pytest.mark.parametrize("condition", CONDITIONS)
@pytest.mark.parametrize("kind", ["memory", "csr", "zarr3"])
def test_a_condition_is_that_of_pandas(folder: Path, condition: str, kind: str) -> None:
    cells = mixed()
    wanted = cells[np.asarray(CONDITIONS[condition](cells.obs), bool)]
    given_as: Any = cells if kind == "memory" else written(cells, folder, kind)
    with open_cells(given_as, None, Selection(only=condition)) as file, file.matrix() as matrix:
        assert file.obs_names.tolist() == wanted.obs_names.tolist()
        assert file.labels("donor", "k").tolist() == wanted.obs["donor"].tolist()
        np.testing.assert_array_equal(file.given("X_pca"), wanted.obsm["X_pca"])
        rows = [batch.toarray() for _, batch in matrix.batches("reading")]
        np.testing.assert_array_equal(np.concatenate(rows), wanted.X.toarray())
        np.testing.assert_array_equal(matrix.take(np.array([0, 2])).toarray(), wanted.X.toarray()[[0, 2]])
        assert file.left_out == {"n_cells_in_file": N, "only": condition}
        assert f"{len(wanted)} of {N} cells are read" in file.notes[-1]


def written(cells: AnnData, folder: Path, kind: str) -> Path:
    path = folder / (f"{kind}.h5ad" if kind in ("csr", "csc", "dense") else f"{kind}.zarr")
    return path if path.exists() else sources.write(cells, folder, kind)


@pytest.mark.parametrize(
    ("condition", "said"),
    [
        ("", "it is empty"),
        ("donor =", "expected"),
        ("donor = 'd1') OR (donor = 'd2'", "brackets do not match"),
        ("donor = 'd1'; DROP TABLE x", "cannot stand in a condition"),
        ("donor IN (SELECT donor FROM obs)", "no column SELECT"),
        ("read_csv('/etc/passwd') = 'x'", "the function read_csv"),
        ("random() < 0.5", "the function random"),
        ("donor = 'd1' OR now() > '2020'", "the function now"),
        ("donor = 'd1' OR current_date > '2020'", "no column current_date"),
        ("1 = 1", "asks nothing of the cells"),
        ("COUNT(*) > 1", "the function COUNT"),
        ("COLUMNS('donor')", "the function COLUMNS"),
        ("depth", "neither true nor false"),
        ("MAX(depth) > 3", "the function MAX"),
        ("donor > 3", "compare numbers with numbers"),
        ("depth = '3'", "compare numbers with numbers"),
        ("doner = 'd1'", "no column doner: expected SQL on the columns cell_type, cl_id, donor"),
        ('donor = "d1"', "no column d1.*put text in single quotes"),
        ("donor = 'nobody'", "no cell fulfils"),
        ("donor = 'd1'" + " OR donor = 'd1'" * 300, "at most 200"),
        ("(" * 60 + "good" + ")" * 60, "nested more than"),
        ("donor IN (" + ", ".join(["'d1'"] * 3000) + ")", "more than 10,000"),
    ],
)
def test_a_condition_that_is_invalid_is_one_line(condition: str, said: str) -> None:
    with (
        pytest.raises(InputError, match=said) as raised,
        open_cells(mixed(), None, Selection(only=condition)),
    ):
        pass
    assert raised.value.parameter == "only"
    assert len(str(raised.value)) < 600
    assert "\n" not in str(raised.value)


def test_a_changed_selection_is_a_changed_file(folder: Path, tmp_path: Path) -> None:
    cells = mixed()
    path = written(cells, folder, "csr")
    with open_cells(path) as whole, open_cells(path, None, Selection(only="good")) as some:
        assert whole.fingerprint() != some.fingerprint()
        with open_cells(path, None, Selection(only="good = true")) as same:
            assert some.fingerprint() == same.fingerprint()


# What is built of a selection is what is built of a file that has only these cells.


def same_atlas(one: Atlas, other: Atlas) -> None:
    assert one.labels.tolist() == other.labels.tolist()
    np.testing.assert_array_equal(one.vectors(one.rows), other.vectors(other.rows))
    np.testing.assert_array_equal(one.profiles.composition, other.profiles.composition)


KEPT: dict[str, Callable[[pd.DataFrame], Any]] = {
    "donor <> 'd1'": lambda obs: obs["donor"] != "d1",
    "depth >= 30": lambda obs: obs["depth"] >= 30,
    "good OR depth < 20": lambda obs: obs["good"] | (obs["depth"] < 20),
}


@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    kind=st.sampled_from(["memory", "csr", "csc", "dense", "zarr2", "view"]),
    condition=st.sampled_from(list(KEPT)),
    recipe=st.sampled_from(["expression", "genept-w"]),
)
def test_a_build_from_a_selection_is_a_build_from_a_file_of_it(
    store: sv.Store, folder: Path, kind: str, condition: str, recipe: str
) -> None:
    cells = mixed()
    kept = cells[np.asarray(KEPT[condition](cells.obs), bool)]
    given_as: Any = written(cells, folder, kind) if kind not in ("memory", "view") else cells
    if kind == "view":
        given_as = cells[:, :]
    how: Any = {"label_key": "cell_type", "batch_key": "donor", "recipe": recipe, "overwrite": True}
    how |= {"encoder": "hash"} if recipe == "genept-w" else {}
    one = sv.atlas.build(store, "one", given_as, only=condition, **how)
    other = sv.atlas.build(store, "other", kept.copy(), **how)
    same_atlas(one, other)
    query = toy.cells(30, seed=9)
    found, expected = sv.annotate(query, one), sv.annotate(query, other)
    for name in ("label", "confidence", "novelty", "distance"):
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name))
    (entry,) = one.manifest["sources"]
    assert entry["selection"] == {"n_cells_in_file": N, "only": condition}
    assert f"{kept.n_obs} of {N} cells are read" in one.manifest["label_notes"][0]


def test_reference_and_query_in_one_file(store: sv.Store, folder: Path) -> None:
    cells = mixed()
    path = written(cells, folder, "csr")
    how: Any = {"label_key": "cell_type", "recipe": "expression"}
    atlas = sv.atlas.build(store, "part", path, only="donor <> 'd1'", **how)
    calls = sv.annotate(path, atlas, only="donor = 'd1'")
    alone = cells[cells.obs["donor"] == "d1"].copy()
    assert calls.obs_names.tolist() == alone.obs_names.tolist()
    assert calls.to_polars().equals(sv.annotate(alone, atlas).to_polars())
    assert sv.evaluate(calls, "cell_type").n_cells == alone.n_obs
    assert calls.provenance["query"]["selection"]["only"] == "donor = 'd1'"
    extended = sv.atlas.extend(atlas, path, only="donor = 'd1'", dataset="more")
    assert extended.manifest["n_cells"] == N
    assert extended.manifest["sources"][1]["selection"]["only"] == "donor = 'd1'"


def test_a_query_in_memory_whose_selection_changed_is_refused(toys: Atlas) -> None:
    cells = mixed()
    calls = sv.annotate(cells, toys, only="good")
    cells.obs["good"] = cells.obs["good"].to_numpy()[::-1]
    with pytest.raises(InputError, match="was changed since it was annotated"):
        sv.explain.attributions(calls)


# Labels that mean none.


@pytest.mark.parametrize(
    "label",
    [
        *("", " ", "nan", "NaN", "NA", "n/a", "None", "NULL", "<NA>", "Unknown", "UNKNOWN", " unassigned "),
        *("Unlabelled", "unlabeled", "Unannotated", "not_available", "-", "?", "not  assigned", "#N/A"),
    ],
)
def test_labels_that_mean_none(label: str) -> None:
    assert means_none(label)


@pytest.mark.parametrize(
    "label",
    [
        *("Unknown epithelial", "unclassified endocrine", "doublet", "low quality", "0", "-1", "NK", "B", "N"),
        *("Nano", "T?", "unknown_1", "+", "none of these"),
    ],
)
def test_labels_that_mean_a_type(label: str) -> None:
    assert not means_none(label)
    assert means_none(label, [label.upper()])


NONE: list[Any] = [np.nan, None, "", "nan", "NA", "Unassigned", "Unknown", "unknown", " n/a"]


@pytest.mark.parametrize("none", NONE, ids=repr)
@pytest.mark.parametrize("kind", ["memory", "csr", "zarr2"])
def test_cells_without_a_label_are_left_out_of_a_build(store: sv.Store, tmp_path: Path, none: Any, kind: str) -> None:
    cells = toy.cells(60)
    labels = cells.obs["cell_type"].astype(object)
    labels.iloc[::10] = none
    cells.obs["cell_type"] = labels.astype("category")
    given_as: Any = cells if kind == "memory" else sources.write(cells, tmp_path, kind)
    atlas = sv.atlas.build(store, "gaps", given_as, label_key="cell_type", batch_key="donor", recipe="expression")
    kept = cells[np.arange(60) % 10 != 0].copy()
    same_atlas(
        atlas, sv.atlas.build(store, "kept", kept, label_key="cell_type", batch_key="donor", recipe="expression")
    )
    (note,) = atlas.manifest["label_notes"]
    assert "6 of 60 cells left out, as they have no label" in note
    assert atlas.manifest["sources"][0]["selection"]["n_cells_in_file"] == 60
    assert sum(atlas.manifest["sources"][0]["selection"]["unlabelled"].values()) == 6
    more = sv.atlas.extend(atlas, given_as, dataset="again")
    assert more.manifest["n_cells"] == 108


def test_further_labels_that_mean_none(store: sv.Store) -> None:
    cells = toy.cells(80)
    how: Any = {"label_key": "cell_type", "recipe": "expression"}
    atlas = sv.atlas.build(store, "less", cells, unlabelled=["IMMUNE", "nobody"], **how)
    assert sorted(set(atlas.labels.tolist())) == ["alpha", "beta", "ductal"]
    calls = sv.annotate(cells, atlas, unlabelled=["immune"])
    assert sv.evaluate(calls, "cell_type").classes == ("alpha", "beta", "ductal")


def test_cells_without_any_label_are_refused(store: sv.Store) -> None:
    cells = toy.cells(12)
    cells.obs["cell_type"] = ["nan"] * 10 + ["Unknown"] * 2
    with pytest.raises(LabelError, match=r"a label for none of its 12 cells \(10 'nan', 2 'Unknown'\)"):
        sv.atlas.build(store, "none", cells, label_key="cell_type", recipe="expression")


def test_a_batch_that_is_missing_stays_an_error_with_a_way_out(store: sv.Store) -> None:
    cells = toy.cells(60)
    donors = cells.obs["donor"].astype(object)
    donors.iloc[[4, 9]] = None
    cells.obs["donor"] = donors
    how: Any = {"label_key": "cell_type", "batch_key": "donor", "recipe": "expression"}
    with pytest.raises(LabelError, match=r"lacks 2 of 60 values .*`only`.*IS NOT NULL"):
        sv.atlas.build(store, "batches", cells, **how)
    atlas = sv.atlas.build(store, "batches", cells, only="donor IS NOT NULL", **how)
    assert atlas.manifest["n_cells"] == 58


def test_a_partly_labelled_query_is_evaluated_on_its_labelled_cells(toys: Atlas) -> None:
    cells = toy.cells(40, seed=5)
    calls = sv.annotate(cells, toys, max_error=0.05, sets=True)
    partly = cells.obs["cell_type"].astype(object).where(np.arange(40) % 4 > 0)
    cells.obs["partly"] = partly.astype("category")
    found = sv.evaluate(calls, "partly")
    some = cells[np.arange(40) % 4 > 0].copy()
    expected = sv.evaluate(sv.annotate(some, toys, max_error=0.05, sets=True), "cell_type")
    assert found.notes[0] == "evaluated on the 30 of 40 cells that have an author's label"
    assert replace(found, notes=()).to_dict() == replace(expected, notes=()).to_dict()


def test_cells_in_no_cluster_and_no_group(toys: Atlas) -> None:
    cells = toy.cells(40, seed=5)
    clusters = cells.obs["cell_type"].astype(object).where(np.arange(40) % 4 > 0)
    cells.obs["cluster"] = clusters.astype("category")
    calls = sv.annotate(cells, toys, cluster_key="cluster")
    assert calls.cluster_label is not None
    assert set(calls.cluster_label[np.arange(40) % 4 == 0]) == {"unknown"}
    assert (calls.cluster_label[np.arange(40) % 4 > 0] == cells.obs["cell_type"][np.arange(40) % 4 > 0]).all()
    assert sv.explain.attributions(calls, group_key="cluster").n_cells.sum() == 30
    assert sv.explain.contrast(calls, "beta", "ductal", group_key="cluster").n_cells == (10, 10)


@pytest.fixture(scope="module")
def toys(_built: Path) -> Atlas:
    return sv.atlas.open_atlas(sv.Store(_built), "toy")


# Calls of some cells, written where all are.


def test_calls_of_some_cells_into_an_adata_of_all(toys: Atlas) -> None:
    cells = mixed()
    calls = sv.annotate(cells, toys, only="donor = 'd1'", max_error=0.05, sets=True)
    assert calls.of_some
    calls.write(cells, "islet")
    here = (cells.obs["donor"] == "d1").to_numpy()
    assert cells.obs["islet"].notna().tolist() == here.tolist()
    assert cells.obs["islet"][here].tolist() == calls.label.tolist()
    np.testing.assert_array_equal(cells.obs["islet_confidence"][here], calls.confidence)
    assert cells.obs["islet_confidence"][~here].isna().all()
    assert cells.obs["islet_rejected"].isna().tolist() == (~here).tolist()
    np.testing.assert_array_equal(cells.obsm["X_islet"][here], calls.vectors)
    assert np.isnan(cells.obsm["X_islet"][~here]).all()
    assert (cells.obsm["islet_neighbors"][~here] == "").all()


@pytest.mark.parametrize("kind", ["csr", "zarr2", "zarr3"])
def test_a_copy_of_the_query_keeps_all_of_its_cells(toys: Atlas, folder: Path, tmp_path: Path, kind: str) -> None:
    cells = mixed()
    path = written(cells, folder, kind)
    calls = sv.annotate(path, toys, only="donor = 'd1'")
    out = tmp_path / f"calls{path.suffix}"
    sv.annotation.writing.write(calls, out)
    found = ad.read_zarr(out) if out.is_dir() else ad.read_h5ad(out)
    expected = calls.to_adata(cells)
    assert found.obs_names.tolist() == cells.obs_names.tolist()
    pd.testing.assert_series_equal(found.obs["scvec"], expected.obs["scvec"], check_names=False)
    pd.testing.assert_series_equal(found.obs["scvec_rejected"], expected.obs["scvec_rejected"], check_names=False)
    np.testing.assert_array_equal(found.obsm["X_scvec"], expected.obsm["X_scvec"])
    np.testing.assert_array_equal(found.X.toarray(), cells.X.toarray())


def test_calls_onto_filtered_reordered_and_larger_data(toys: Atlas, tmp_path: Path) -> None:
    cells = toy.cells(40, seed=5)
    calls = sv.annotate(cells, toys)
    label = dict(zip(calls.obs_names, calls.label, strict=True))
    cells.write_h5ad(tmp_path / "cells.h5ad")
    backed = ad.read_h5ad(tmp_path / "cells.h5ad", backed="r")
    for some in (cells[:10].copy(), cells[::-1].copy(), cells[[5, 3, 8]], backed):
        made = calls.to_adata(some)
        assert made.obs["scvec"].tolist() == [label[one] for one in some.obs_names]
    backed.file.close()
    more = ad.concat([cells, toy.cells(6, seed=8)])
    with pytest.raises(InputError, match=r"6 of the 46 cells .* were not annotated.*`missing`"):
        calls.to_adata(more)
    made = calls.to_adata(more, missing=True)
    assert made.obs["scvec"].isna().tolist() == [False] * 40 + [True] * 6
    made.write_h5ad(tmp_path / "more.h5ad")
    assert ad.read_h5ad(tmp_path / "more.h5ad").obs["scvec"].isna().sum() == 6
    with pytest.raises(InputError, match="6 of the 6 cells"):
        calls.to_adata(toy.cells(6, seed=8), missing=True)


@pytest.mark.parametrize("kind", ["tenx", "tenx2", "mtx", "mtx.gz"])
def test_a_10x_query_becomes_an_h5ad(toys: Atlas, tmp_path: Path, kind: str) -> None:
    cells = mixed()
    query = sources.write(cells, tmp_path / "in", kind)
    cells.obs[["donor", "depth"]].to_csv(tmp_path / "obs.csv")
    calls = sv.annotate(query, toys, obs=tmp_path / "obs.csv", only="donor <> 'd1'")
    sv.annotation.writing.write(calls, tmp_path / "calls.h5ad")
    found = ad.read_h5ad(tmp_path / "calls.h5ad")
    kept = cells[cells.obs["donor"] != "d1"]
    assert found.obs_names.tolist() == kept.obs_names.tolist()
    assert found.obs["scvec"].tolist() == calls.label.tolist()
    assert found.obs["donor"].tolist() == kept.obs["donor"].tolist()
    assert found.var_names.tolist() == cells.var_names.tolist()
    np.testing.assert_array_equal(found.X.toarray(), kept.X.toarray())
    again = sv.annotate(found, toys)
    assert again.to_polars().equals(calls.to_polars())


def run(*words: object) -> int:
    return main([str(word) for word in words])


def test_the_whole_way_from_the_command_line(
    store: sv.Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Reference and query in one file, partly labelled."""
    monkeypatch.setenv("SCVEC_STORE", store.uri)
    cells = toy.cells(N, seed=3)
    labels = cells.obs["cell_type"].astype(object)
    labels.iloc[::10] = "Unassigned"
    cells.obs["cell_type"] = labels
    cells.write_h5ad(tmp_path / "all.h5ad")
    label = ("--label-key", "cell_type")
    build = ("atlas", "build", "part", tmp_path / "all.h5ad", *label, "--recipe", "expression", "--where")
    assert run(*build, "donor <> 'd1'", "--json") == 0
    out, err = capsys.readouterr()
    made = json.loads(out)
    assert (made["n_cells"], made["n_labels"]) == (90, 4)
    assert made["sources"][0]["selection"] == {
        "n_cells_in_file": N,
        "only": "donor <> 'd1'",
        "unlabelled": {"Unassigned": 10},
    }
    assert "10 of 100 cells left out, as they have no label (10 'Unassigned')" in err
    some = (tmp_path / "all.h5ad", "--atlas", "part", "--only", "donor = 'd1'")
    assert run("evaluate", *some, *label, "--json") == 0
    out, err = capsys.readouterr()
    assert json.loads(out)["n_cells"] == 45
    assert "evaluated on the 45 of 50 cells" in err
    assert run("query", *some, "--out", tmp_path / "calls.h5ad", "--json") == 0
    assert ad.read_h5ad(tmp_path / "calls.h5ad").obs["scvec"].notna().sum() == 50
    assert run("report", *some, *label, "--out", tmp_path / "page.html") == 0
    extend = ("atlas", "extend", "part", tmp_path / "all.h5ad", "--dataset", "more", "--json", "--only")
    capsys.readouterr()
    assert run(*extend, "donor = 'd1'", "--unlabelled", "IMMUNE") == 0
    assert json.loads(capsys.readouterr().out)["n_cells"] == 90 + int(
        ((cells.obs["donor"] == "d1") & ~cells.obs["cell_type"].isin(["immune", "Unassigned"])).sum()
    )
    assert run("query", *some[:-1], "doner = 'd1'", "--out", tmp_path / "no.csv") == 2
    assert "--only \"doner = 'd1'\"" in capsys.readouterr().err
