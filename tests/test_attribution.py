"""What genes contribute: exact sums, complete integrals, groups as their cells, and the verb."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import polars as pl
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st

import scvec as sv
from scvec.atlas import Atlas
from scvec.cli import main
from scvec.embed.contributions import along_path
from scvec.embed.projection import Projection
from scvec.embed.recipe import Recipe, Refinement
from scvec.embed.refine import Head
from scvec.errors import FileError, InputError, KeyNotFoundError
from scvec.explain import attributions
from tests import toy


def drawn(seed: int, n: int = 7, g: int = 12, d: int = 6) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    x = rng.poisson(0.8, (n, g)).astype(np.float32) * rng.uniform(0.1, 3, (n, g)).astype(np.float32)
    x[0] = 0
    has = rng.random(g) < 0.8
    return {
        "known": sp.csr_matrix(x * has),
        "has": has,
        "weights": rng.standard_normal((g, d)).astype(np.float32),
        "mean": rng.uniform(0, 0.5, g).astype(np.float32),
        "bias": rng.standard_normal(d).astype(np.float32),
        "towards": rng.standard_normal((n, d)).astype(np.float32),
        "codes": rng.integers(-1, 3, n),
    }


def head(made: dict[str, Any], parts: Any = ((0, 4, 1.0), (4, 6, 0.7))) -> Head:
    power = np.full(12, 1 / 12, np.float32)
    recipe = Recipe(name="refined", encoder="hash", refine=Refinement())
    return Head(recipe, np.arange(12), made["weights"], made["mean"], power, made["bias"], parts)


def projection(made: dict[str, Any], top_n: int | None) -> Projection:
    recipe = Recipe(name="one", encoder="hash", top_n=top_n, centre=True)
    return Projection(recipe, np.arange(12), made["weights"], made["bias"])


@given(st.integers(0, 9999), st.sampled_from([None, 3]))
def test_of_a_mean_of_genes_contributions_add_up_to_the_similarity(seed: int, top_n: int | None) -> None:
    made = drawn(seed)
    one = projection(made, top_n)
    given = one.contributions(made["known"], made["has"], made["towards"])
    wanted = np.einsum("nd,nd->n", one.vectors(made["known"], made["has"])[0], made["towards"], dtype=np.float64)
    found = given.of_cells(np.arange(7))
    np.testing.assert_allclose(found.sum(axis=1), wanted, atol=1e-5)
    np.testing.assert_allclose(given.total, wanted, atol=1e-12)
    assert not given.baseline.any()
    assert not found[made["known"].toarray() == 0].any()  # what is not expressed says nothing


@settings(max_examples=50)
@given(st.integers(0, 9999))
def test_through_a_head_contributions_and_baseline_add_up_to_the_similarity(seed: int) -> None:
    made = drawn(seed)
    one = head(made)
    given = one.contributions(made["known"], made["has"], made["towards"])
    wanted = np.einsum("nd,nd->n", one.vectors(made["known"], made["has"])[0], made["towards"], dtype=np.float64)
    found = given.of_cells(np.arange(7))
    np.testing.assert_allclose(given.total, wanted, atol=1e-12)
    np.testing.assert_allclose(given.baseline[1:] + found[1:].sum(axis=1), wanted[1:], atol=1e-5)
    assert not found[0].any()  # an empty cell's vector is zero
    assert not found[:, ~made["has"]].any()


@given(st.integers(0, 9999))
def test_a_group_is_the_sum_of_its_cells(seed: int) -> None:
    made = drawn(seed)
    for one in (head(made), projection(made, None)):
        given = one.contributions(made["known"], made["has"], made["towards"])
        cells = given.of_cells(np.arange(7))
        for group in range(3):
            rows = made["codes"] == group
            np.testing.assert_allclose(given.of_groups(made["codes"], 3)[group], cells[rows].sum(axis=0), atol=1e-4)


def test_the_gradient_along_a_way_is_the_one_of_calculus() -> None:
    """Of torch's gradients at many places on the way, their mean."""
    import torch

    rng = np.random.default_rng(0)
    start, end, towards = (rng.standard_normal((3, 4)) for _ in range(3))
    places = (np.arange(20_000) + 0.5) / 20_000
    for i in range(3):
        at = torch.tensor(start[i] + places[:, None] * (end[i] - start[i]), requires_grad=True)
        (at @ torch.tensor(towards[i]) / at.norm(dim=1)).sum().backward()
        assert at.grad is not None
        wanted = at.grad.numpy().mean(axis=0)
        np.testing.assert_allclose(along_path(end, start, towards)[i], wanted, rtol=1e-6)


@pytest.fixture
def query(tmp_path: Path) -> Path:
    cells = toy.cells(60, seed=5)
    cells.obs["group"] = ["one", "two"] * 30
    cells.write_h5ad(tmp_path / "query.h5ad")
    return tmp_path / "query.h5ad"


@pytest.fixture
def calls(atlas: Atlas, query: Path) -> sv.Annotation:
    return sv.annotate(query, atlas)


def test_contributions_and_baseline_are_the_difference_of_similarities(
    atlas: Atlas, calls: sv.Annotation, query: Path
) -> None:
    found = attributions(calls)
    gap = found.similarity - found.similarity_against
    np.testing.assert_allclose(found.contributions.sum(axis=1) + found.baseline, gap, atol=1e-5)
    assert found.groups.tolist() == sorted(set(calls.label.tolist()))
    assert found.label.tolist() == found.groups.tolist()
    assert found.n_cells.sum() == len(calls)
    assert (found.similarity > found.similarity_against).all()


def test_what_speaks_for_a_label_is_there_of_its_own_genes_and_lacking_of_the_other_s(
    atlas: Atlas, calls: sv.Annotation, query: Path
) -> None:
    """The toy's cells express the genes of their label's theme."""
    frame = attributions(calls).to_frame(8).filter(pl.col("contribution") > 0)
    assert {"above", "below"} == set(frame["expressed"])
    for gene, label, against, expressed in frame.select("gene_id", "label", "against", "expressed").iter_rows():
        assert toy.theme_of(gene - toy.FIRST_ID[toy.HUMAN]) == (label if expressed == "above" else against)


def test_a_group_is_the_mean_of_its_cells_and_cells_keep_the_order_asked_for(
    atlas: Atlas, calls: sv.Annotation, query: Path
) -> None:
    label = calls.label[0]
    names = calls.obs_names[calls.label == label].tolist()[::-1]
    other = next(one for one in calls.labels if one != label)
    group = attributions(calls, against=other)
    cells = attributions(calls, against=other, cells=names)
    assert cells.groups.tolist() == names
    mean = cells.contributions.mean(axis=0)
    np.testing.assert_allclose(group.contributions[group.groups.tolist().index(label)], mean, atol=1e-6)


def test_groups_are_a_column_or_given_and_nothing_said_of_the_others(
    atlas: Atlas, calls: sv.Annotation, query: Path
) -> None:
    by_column = attributions(calls, group_key="group")
    given = attributions(calls, groups=["one", ""] * 30)
    assert by_column.groups.tolist() == ["one", "two"]
    assert given.groups.tolist() == ["one"]
    assert given.n_cells.tolist() == [30]
    np.testing.assert_array_equal(by_column.contributions[0], given.contributions[0])


def test_an_empty_cell_is_left_out_and_not_explained(atlas: Atlas, tmp_path: Path) -> None:
    cells = toy.cells(20, seed=5)
    cells.X = sp.csr_matrix(cells.X.toarray() * (np.arange(20) != 3)[:, None])
    cells.write_h5ad(tmp_path / "q.h5ad")
    calls = sv.annotate(tmp_path / "q.h5ad", atlas)
    assert attributions(calls, groups=["all"] * 20).n_cells.tolist() == [19]
    with pytest.raises(InputError, match="has no expression"):
        attributions(calls, cells=[str(calls.obs_names[3])])
    with pytest.raises(InputError, match="no cell to explain"):
        attributions(calls, groups=[""] * 3 + ["only"] + [""] * 16)


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"cells": ["nobody"]}, "no cell 'nobody'"),
        ({"group_key": "nothing"}, "no obs column for `group_key` 'nothing'"),
        ({"against": "nothing"}, "no label for `against` 'nothing'"),
        ({"groups": ["one"]}, "`groups` has 1 values"),
        ({"groups": ["one"] * 60, "group_key": "group"}, "exclude each other"),
    ],
)
def test_what_is_not_there_is_said(
    atlas: Atlas, calls: sv.Annotation, query: Path, asked: dict[str, Any], said: str
) -> None:
    with pytest.raises(InputError, match=said):
        attributions(calls, **asked)


def test_a_label_is_not_compared_with_itself(atlas: Atlas, calls: sv.Annotation, query: Path) -> None:
    found = attributions(calls, against="beta")
    plain = attributions(calls)
    assert found.label.tolist() == plain.label.tolist()
    for label, other, usual in zip(found.label, found.against, plain.against, strict=True):
        assert other == (usual if label == "beta" else "beta")


def test_a_stray_vote_makes_no_runner_up(atlas: Atlas, calls: sv.Annotation, query: Path) -> None:
    only = np.array([[label == name for name in calls.labels] for label in calls.label], np.float32)
    plain = attributions(replace(calls, scores=only))
    for share, is_other in ((0.001, False), (0.2, True)):
        scores = calls.scores.copy()
        for i, name in enumerate(calls.labels):
            scores[calls.label == name] = np.eye(4)[i] * (1 - share) + np.eye(4)[(i + 1) % 4] * share
        found = attributions(replace(calls, scores=scores.astype(np.float32)))
        wanted = [calls.labels[(calls.labels.index(one) + 1) % 4] for one in found.label]
        assert found.against.tolist() == (wanted if is_other else plain.against.tolist())


def test_a_label_without_cells_is_no_runner_up(store: sv.Store, query: Path) -> None:
    sv.atlas.remove(sv.atlas.open_atlas(store, "toy"), "label = 'ductal'")
    atlas = sv.atlas.open_atlas(store, "toy")
    calls = sv.annotate(query, atlas)
    assert "ductal" not in attributions(calls).against.tolist()
    with pytest.raises(InputError, match="no label for `against` 'ductal'"):
        attributions(calls, against="ductal")


def test_a_query_that_was_changed_since_is_refused(calls: sv.Annotation, query: Path) -> None:
    """With other values, with other cells, and gone."""
    for other in (toy.cells(60, seed=6), toy.cells(10, seed=5)):
        other.write_h5ad(query)
        with pytest.raises(InputError, match=r"query\.h5ad was changed since it was annotated.*annotate it again"):
            attributions(calls)
    query.unlink()
    with pytest.raises(FileError, match="does not exist"):
        attributions(calls)


def test_calls_refer_to_the_version_of_the_atlas_that_made_them(atlas: Atlas, calls: sv.Annotation) -> None:
    before = attributions(calls)
    sv.atlas.remove(atlas, "batch = 'd0'")
    np.testing.assert_array_equal(attributions(calls).contributions, before.contributions)


def test_calls_that_do_not_know_their_query_are_refused(calls: sv.Annotation) -> None:
    with pytest.raises(InputError, match="do not know their query: expected calls by annotate"):
        attributions(replace(calls, source=None))


def test_the_frame_names_both_ends_once(atlas: Atlas, calls: sv.Annotation, query: Path) -> None:
    found = attributions(calls)
    frame = found.to_frame(2)
    assert frame.group_by("group").len()["len"].to_list() == [4] * len(found)
    with pytest.raises(InputError, match="`n_genes` must be at least 1"):
        found.to_frame(0)
    whole = found.to_frame(10_000)
    assert whole.select("group", "gene_id").is_unique().all()
    assert (whole["contribution"] != 0).all()


def test_scanpy_plots_what_is_written(
    atlas: Atlas, calls: sv.Annotation, query: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sc = pytest.importorskip("scanpy")
    import matplotlib as mpl

    mpl.use("agg")
    adata = ad.read_h5ad(query)
    found = attributions(calls)
    result = found.to_adata(calls.to_adata(adata))
    assert "scvec_genes" not in adata.uns
    for label, own in zip(found.groups, found.contributions, strict=True):
        first = result.uns["scvec_genes"]["names"][label][0], result.uns["scvec_genes"]["scores"][label][0]
        assert first == (found.symbols[own.argmax()], own.max())
    result.write_h5ad(query.parent / "written.h5ad")
    result = ad.read_h5ad(query.parent / "written.h5ad")
    shown = sc.pl.rank_genes_groups_dotplot(result, key="scvec_genes", n_genes=2, dendrogram=False, show=False)
    assert "mainplot_ax" in shown
    sc.pl.rank_genes_groups(result, key="scvec_genes", n_genes=3, show=False)


def test_scanpy_s_form_is_of_the_groups_explained(atlas: Atlas, calls: sv.Annotation, query: Path) -> None:
    adata = calls.to_adata(ad.read_h5ad(query))
    found = attributions(calls, group_key="group")
    with pytest.raises(InputError, match="has no group one"):
        found.to_adata(adata)
    with pytest.raises(KeyNotFoundError, match="groupby"):
        found.to_adata(adata, "nothing")
    assert found.to_adata(adata, "group").uns["scvec_genes"]["names"].dtype.names == ("one", "two")


def test_the_verb_says_and_writes_the_genes(
    store: sv.Store, query: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    verb = ["explain", str(query), "--atlas", "toy", "--store", store.uri, "--quiet"]
    out = tmp_path / "genes.csv"
    assert main([*verb, "--genes", "2", "--out", str(out)]) == 0
    said = capsys.readouterr().out
    frame = pl.read_csv(out)
    assert frame.columns == ["group", "label", "against", "gene_id", "symbol", "contribution", "expressed"]
    assert len(frame) == 16
    for symbol in frame["symbol"].to_list():
        assert symbol in said
    assert main([*verb, "--cell", "s5c3", "--cell", "s5c0", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [row["group"] for row in rows] == ["s5c3", "s5c0"]
    assert all(row["similarity"] > row["similarity_against"] for row in rows)
    assert all(len(row["genes"]) == 20 for row in rows)


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (["--cell", "nobody"], "no cell 'nobody'"),
        (["--group", "nothing"], "no obs column for --group 'nothing'"),
        (["--cell", "s5c0", "--group", "group"], "--cell and --group"),
        (["--against", "nothing"], "no label for --against 'nothing'"),
        (["--out", "genes.h5ad"], "must be a file name that ends in .parquet, .csv"),
    ],
)
def test_of_bad_input_the_verb_says_one_line(
    store: sv.Store, query: Path, asked: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code = main(["explain", str(query), "--atlas", "toy", "--store", store.uri, "--quiet", *asked])
    err = capsys.readouterr().err
    assert code == 2
    assert said in err
    assert len(err.splitlines()) == 1
