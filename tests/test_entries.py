"""Calls in an AnnData: what is written, what is replaced, what is refused."""

from __future__ import annotations

import json
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import scvec as sv
from scvec.annotation.entries import GREY, KEY
from scvec.atlas import Atlas
from scvec.errors import InputError
from tests import sources, toy

N = 41
COLORS = {"alpha": "#112233", "beta": "red", "ductal": "#00ff00ff", "immune": "#445566"}


@pytest.fixture(scope="module")
def toys(_built: Path) -> Atlas:
    return sv.atlas.open_atlas(sv.Store(_built), "toy")


@pytest.fixture(scope="module")
def called(toys: Atlas) -> sv.Annotation:
    return sv.annotate(toy.cells(N, seed=1), toys, max_error=0.05, sets=True)


@pytest.fixture
def adata() -> ad.AnnData:
    return toy.cells(N, seed=1)


def colored(calls: sv.Annotation) -> sv.Annotation:
    made = {**calls.provenance["atlas"], "sources": [{"colors": COLORS}]}
    return replace(calls, provenance={**calls.provenance, "atlas": made})


def names(adata: ad.AnnData) -> set[tuple[str, str]]:
    return {(part, name) for part in ("obs", "obsm", "uns") for name in getattr(adata, part)}


def test_what_is_written(called: sv.Annotation, adata: ad.AnnData) -> None:
    before = names(adata)
    called.write(adata, key_added="islet")
    assert adata.obs["islet"].tolist() == called.label.tolist()
    assert adata.obs["islet"].cat.categories.tolist() == sorted(set(called.label.tolist()))
    for name in ("confidence", "novelty", "reason", "label_before_rejection", "score", "distance", "rejected"):
        np.testing.assert_array_equal(adata.obs[f"islet_{name}"].to_numpy(), getattr(called, name))
    assert called.sets is not None
    assert adata.obs["islet_set"].tolist() == ["; ".join(one) for one in called.sets]
    np.testing.assert_array_equal(adata.obsm["X_islet"], called.vectors)
    assert called.vectors.shape == (N, 36)  # 32 dimensions of the loss, 4 of the probe
    np.testing.assert_array_equal(adata.obsm["islet_scores"], called.scores)
    assert adata.obsm["islet_neighbors"].tolist() == called.neighbor_names.tolist()
    about = adata.uns["islet"]
    assert type(about) is dict
    assert about["labels"].tolist() == list(called.labels)
    assert about["notes"].tolist() == list(called.notes)
    assert (about["atlas"], about["atlas_version"], about["recipe"]) == ("toy", 1, "refined")
    assert (about["max_error"], about["scvec"]) == (0.05, sv.__version__)
    assert json.loads(about["provenance"]) == json.loads(json.dumps(called.provenance))
    added = names(adata) - before
    assert {("uns", "islet")} | {(part, name) for part, all_of in about["written"].items() for name in all_of} == added
    assert not any("scvec" in name for _, name in added)


def test_the_calls_stay_when_the_adata_changes(called: sv.Annotation, adata: ad.AnnData) -> None:
    vectors, confidence = called.vectors.copy(), called.confidence.copy()
    called.write(adata)
    adata.obsm["X_scvec"][:] = 7
    adata.obs["scvec_confidence"] *= 0
    adata.uns["scvec"]["labels"][:] = "x"
    np.testing.assert_array_equal(called.vectors, vectors)
    np.testing.assert_array_equal(called.confidence, confidence)
    assert called.labels == toy.LABELS


def test_two_atlases_side_by_side(called: sv.Annotation, adata: ad.AnnData) -> None:
    """Also where one key begins the other, and an entry of one has the form of a key."""
    fine = replace(called, label=called.label[::-1], sets=None)
    called.write(adata, "islet")
    fine.write(adata, "islet_fine")
    expected = adata.copy()
    called.write(adata, "islet")
    assert names(adata) == names(expected)
    assert adata.obs["islet_fine"].tolist() == fine.label.tolist()
    replace(called, sets=None).write(adata, "islet")
    assert names(expected) - names(adata) == {("obs", "islet_set")}
    with pytest.raises(InputError, match=r"`key_added` 'islet_fine_reason' would replace obs\['islet_fine_reason'\]"):
        called.write(adata, "islet_fine_reason")


def test_again_under_the_same_key(called: sv.Annotation, adata: ad.AnnData) -> None:
    clustered = replace(called, cluster=called.label, cluster_label=called.label, cluster_share=called.score)
    adata.obs["scvec_mine"], adata.obsm["X_scvec_umap"] = 1, np.zeros((N, 2))
    colored(clustered).write(adata)
    adata.uns["scvec_reason_colors"] = ["#000000"]  # as scanpy's plots leave them
    once = adata.copy()
    replace(called, sets=None, label=called.label_before_rejection).write(adata)
    gone = {("obs", f"scvec_{name}") for name in ("set", "cluster", "cluster_label", "cluster_share")}
    assert names(once) - names(adata) == gone | {("uns", "scvec_colors"), ("uns", "scvec_reason_colors")}
    assert names(adata) < names(once)
    assert adata.obs["scvec"].tolist() == called.label_before_rejection.tolist()


def test_calls_of_an_earlier_version_are_replaced(called: sv.Annotation, adata: ad.AnnData) -> None:
    """0.7 kept no list of what it wrote; all columns that begin as its own did were its own."""
    called.write(adata, "scvec_fine")
    kept = {(part, name) for part, name in names(adata) if "fine" in name}
    adata.uns["scvec"] = {"labels": ["a"], "provenance": "{}"}
    adata.obs["scvec_label"], adata.obs["scvec_term"] = "a", "b"
    adata.obsm["scvec_neighbors"] = pd.DataFrame({"1": ["x"] * N}, index=adata.obs_names)
    replace(called, sets=None).write(adata)
    assert "scvec_term" not in adata.obs
    assert adata.obs["scvec_label"].tolist() == called.label.tolist()
    assert kept <= names(adata)


def test_the_default_key_survives_the_loss_of_uns(called: sv.Annotation, adata: ad.AnnData) -> None:
    called.write(adata)
    both = ad.concat([adata[:20], adata[20:]])
    assert "scvec" not in both.uns
    assert "scvec" in both.obs
    called.write(both)
    assert both.uns["scvec"]["atlas"] == "toy"


@pytest.mark.parametrize(
    ("key", "part", "name", "value"),
    [
        ("cell_type", "obs", "cell_type", None),
        ("mine", "obs", "mine_reason", "x"),
        ("pca", "obsm", "X_pca", np.zeros((N, 2))),
        ("neighbors", "uns", "neighbors", {"params": {}}),
        ("x", "uns", "x_colors", ["red"]),
    ],
)
def test_what_others_wrote_is_refused(
    called: sv.Annotation, adata: ad.AnnData, key: str, part: str, name: str, value: Any
) -> None:
    if value is not None:
        getattr(adata, part)[name] = value
    before = adata.copy()
    with pytest.raises(InputError, match=rf"`key_added` '{key}' would replace {part}\['{name}'\]"):
        called.write(adata, key)
    assert names(adata) == names(before)
    pd.testing.assert_frame_equal(adata.obs, before.obs)


def test_a_copy_of_calls_is_not_the_calls(called: sv.Annotation, adata: ad.AnnData) -> None:
    called.write(adata, "one")
    adata.uns["two"] = adata.uns["one"]
    with pytest.raises(InputError, match=r"would replace uns\['two'\]"):
        called.write(adata, "two")
    adata.uns["scvec"] = adata.uns["one"]
    called.write(adata)
    assert adata.obs["one"].tolist() == adata.obs["scvec"].tolist() == called.label.tolist()


@pytest.mark.parametrize("key", ["", "a/b", "_index", "..", "a\n", " a", None, 3])
def test_keys_that_cannot_be(called: sv.Annotation, adata: ad.AnnData, key: Any, toys: Atlas) -> None:
    for run in (called.write, called.to_adata):
        with pytest.raises(InputError, match="`key_added` must be"):
            run(adata, key)
    with pytest.raises(InputError, match="`key_added` must be"):
        sv.tl.annotate(adata, toys, key_added=key)
    assert not adata.uns


def test_cells_are_matched_by_name(called: sv.Annotation, adata: ad.AnnData) -> None:
    some = adata[[7, 3, 30]].copy()
    called.write(some, "islet")
    assert some.obs["islet"].tolist() == called.label[[7, 3, 30]].tolist()
    assert set(some.obs["islet"].cat.categories) == set(called.label[[7, 3, 30]].tolist())
    np.testing.assert_array_equal(some.obsm["X_islet"], called.vectors[[7, 3, 30]])
    more = ad.concat([adata, toy.cells(5, seed=9)])
    with pytest.raises(InputError, match="5 of the 46 cells in `adata`, such as 's9c0', were not annotated"):
        called.write(more)
    assert "scvec" not in more.obs


def test_cells_of_one_name(called: sv.Annotation, adata: ad.AnnData) -> None:
    doubled = adata.obs_names.tolist()
    doubled[1] = doubled[0]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # anndata's, about such names
        adata.obs_names = doubled
        turned = adata[::-1].copy()
        one_of_them = adata[1:5].copy()
    same = replace(called, obs_names=np.array(doubled, object))
    same.write(adata)
    assert adata.obs["scvec"].tolist() == called.label.tolist()
    for calls, cells in ((called, adata), (same, turned), (same, one_of_them)):
        with pytest.raises(InputError, match="cells of one name"):
            calls.write(cells, "other")


def test_a_view_becomes_an_adata_of_its_own(called: sv.Annotation, adata: ad.AnnData) -> None:
    view = adata[adata.obs["donor"] == "d1"]
    called.write(view)  # a warning would be an error here
    assert not view.is_view
    place = [int(name.split("c")[1]) for name in view.obs_names]
    assert view.obs["scvec"].tolist() == called.label[place].tolist()
    assert "scvec" not in adata.obs


def test_a_refused_view_stays_a_view(called: sv.Annotation, adata: ad.AnnData) -> None:
    view = adata[:5]
    with pytest.raises(InputError):
        called.write(view, "cell_type")
    assert view.is_view


def test_backed(called: sv.Annotation, adata: ad.AnnData, tmp_path: Path) -> None:
    adata.write_h5ad(tmp_path / "q.h5ad")
    before = (tmp_path / "q.h5ad").read_bytes()
    backed = ad.read_h5ad(tmp_path / "q.h5ad", backed="r")
    called.write(backed)
    assert backed.obs["scvec"].tolist() == called.label.tolist()
    copied = called.to_adata(ad.read_h5ad(tmp_path / "q.h5ad", backed="r"))
    assert not copied.isbacked
    assert copied.obs["scvec"].tolist() == called.label.tolist()
    with pytest.raises(InputError, match=r"a view of a backed AnnData.*adata\.to_memory"):
        called.write(backed[:5], "other")
    backed.file.close()
    assert (tmp_path / "q.h5ad").read_bytes() == before


def test_to_adata_leaves_its_input(called: sv.Annotation, adata: ad.AnnData) -> None:
    result = called.to_adata(adata, key_added="islet")
    assert "islet" not in adata.obs
    assert not adata.uns
    called.write(adata, "islet")
    assert names(result) == names(adata)


def test_colors_as_scanpy_has_them(called: sv.Annotation, adata: ad.AnnData) -> None:
    rejected = replace(called, label=np.where(np.arange(N) == 0, sv.UNKNOWN, called.label_before_rejection))
    known = {**COLORS, sv.UNKNOWN: GREY}
    colored(rejected).write(adata, "islet")
    categories = adata.obs["islet"].cat.categories
    assert sv.UNKNOWN in categories
    assert adata.uns["islet_colors"].tolist() == [known[label] for label in categories]
    some = adata[adata.obs["islet"].isin(["beta", "immune"])].copy()
    colored(rejected).write(some, "islet")
    assert some.uns["islet_colors"].tolist() == [COLORS["beta"], COLORS["immune"]]
    part = replace(rejected, provenance={"atlas": {"sources": [{"colors": {"beta": "red"}}]}})
    part.write(adata, "islet")
    assert "islet_colors" not in adata.uns


@pytest.mark.parametrize("kind", ["h5ad", "zarr2", "zarr3", "memory", "table", "strings", "few"])
def test_colors_come_from_the_reference(store: sv.Store, tmp_path: Path, kind: str) -> None:
    cells = toy.cells(60, seed=0)
    cells.obs["cell_type"] = cells.obs["cell_type"].cat.reorder_categories(["immune", "beta", "alpha", "ductal"])
    known = [COLORS[label] for label in cells.obs["cell_type"].cat.categories]
    cells.uns["cell_type_colors"] = np.array(known[: 3 if kind == "few" else 4], object)
    reference: Any = tmp_path / "r.h5ad"
    if kind == "strings":
        cells.obs["cell_type"] = cells.obs["cell_type"].astype(str)
    if kind == "memory":
        reference = cells
    elif kind.startswith("zarr"):
        reference = sources.write_zarr(cells, tmp_path, kind)
    else:
        cells.write_h5ad(reference, convert_strings_to_categoricals=kind != "strings")
    table = tmp_path / "obs.csv"
    cells.obs.to_csv(table)
    obs = table if kind == "table" else None
    made = sv.atlas.build(
        store,
        "colored",
        reference,
        label_key="cell_type",
        recipe=sv.RECIPES["expression"],
        obs=obs,
    )
    found = made.manifest["sources"][0].get("colors")
    assert found == (None if kind in ("table", "strings", "few") else COLORS)
    adata = toy.cells(N, seed=1)
    sv.annotate(adata, made).write(adata, "islet")
    if found:
        labels = adata.obs["islet"].cat.categories
        assert adata.uns["islet_colors"].tolist() == [{**COLORS, sv.UNKNOWN: GREY}[one] for one in labels]


def test_scanpys_plots_take_it(called: sv.Annotation, adata: ad.AnnData) -> None:
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import scanpy as sc

        colored(called).write(adata, "islet")
        chosen = adata.uns["islet_colors"].tolist()
        keys = ["islet", "islet_confidence", "islet_reason", "islet_rejected"]
        shown = sc.pl.embedding(adata, "X_islet", color=keys, show=False)
        assert len(shown) == len(keys)
        drawn = {matplotlib.colors.to_hex(one) for one in shown[0].collections[0].get_facecolors()}
        assert drawn == {matplotlib.colors.to_hex(one) for one in chosen}
        sc.pp.neighbors(adata, use_rep="X_islet", n_neighbors=5, key_added="of_islet")
        assert sc.pl.dotplot(adata, ["TOY0", "TOY1"], groupby="islet", show=False)
        plt.close("all")
    assert adata.uns["islet_colors"].tolist() == chosen


def test_in_scanpys_manner(toys: Atlas, adata: ad.AnnData) -> None:
    expected = toy.cells(N, seed=1)
    sv.annotate(expected, toys, max_error=0.1).write(expected, "islet")
    sv.tl.annotate(adata, toys, key_added="islet", max_error=0.1)
    assert names(adata) == names(expected)
    pd.testing.assert_frame_equal(adata.obs, expected.obs)
    assert adata.uns["islet"]["max_error"] == 0.1
    sv.tl.annotate(adata, toys)
    assert {"scvec", "scvec_label", "islet"} <= set(adata.obs)


cells_and_order = st.permutations(range(N)).flatmap(
    lambda order: st.integers(1, N).map(lambda n: np.array(order[:n], dtype=int))
)


@settings(suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])
@given(key=st.from_regex(KEY, fullmatch=True).filter(lambda key: len(key) < 20), order=cells_and_order)
def test_any_cells_under_any_key(called: sv.Annotation, key: str, order: np.ndarray[Any, Any]) -> None:
    """Each cell has its own call, whichever cells are there, and a second write changes nothing."""
    adata = toy_cells()[order].copy()
    before = adata.copy()
    if key in adata.obs:
        with pytest.raises(InputError):
            called.write(adata, key)
        return
    for _ in range(2):
        called.write(adata, key)
        assert adata.obs[key].tolist() == called.label[order].tolist()
        np.testing.assert_array_equal(adata.obs[f"{key}_confidence"], called.confidence[order])
        np.testing.assert_array_equal(adata.obsm[f"{key}_scores"], called.scores[order])
    own = adata.uns[key]["written"]
    assert names(adata) - {(part, name) for part in own for name in own[part]} == names(before)
    pd.testing.assert_frame_equal(adata.obs[before.obs.columns], before.obs)


_KEPT: list[ad.AnnData] = []


def toy_cells() -> ad.AnnData:
    if not _KEPT:
        _KEPT.append(toy.cells(N, seed=1))
    return _KEPT[0]
