"""A word where one is due: droplets, novel queries, cells of the atlas, the same cells twice, one label."""

from __future__ import annotations

import anndata as ad
import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st

import scvec as sv
from scvec.atlas import Atlas
from scvec.atlas.building.twins import twins
from tests import toy


def _about(calls: sv.Annotation, words: str) -> list[str]:
    return [note for note in calls.notes if words in note]


def _renamed(cells: ad.AnnData) -> ad.AnnData:
    cells = cells.copy()
    cells.obs_names = [f"{name}-1" for name in cells.obs_names]
    return cells


def _reference() -> ad.AnnData:
    return toy.cells()


def test_an_ordinary_query_gets_no_remark(atlas: Atlas) -> None:
    calls = sv.annotate(toy.cells(80, seed=3), atlas)
    for words in ("droplets", "novel", "cells of the atlas", "one label"):
        assert not _about(calls, words), calls.notes


def test_empty_droplets_are_told(atlas: Atlas) -> None:
    cells, rng = toy.cells(40, seed=3), np.random.default_rng(0)
    droplets = ad.AnnData(sp.csr_matrix(rng.poisson(3 / toy.N_GENES, (400, toy.N_GENES)).astype(np.float32)))
    droplets.obs_names, droplets.var_names = [f"droplet{i}" for i in range(400)], cells.var_names
    calls = sv.annotate(ad.concat([cells, droplets]), atlas)
    (note,) = _about(calls, "droplets")
    assert "of 440 cells express fewer than 5 of the atlas's genes" in note
    assert "filtered" in note


def test_a_query_of_other_cells_is_told_to_be_novel(atlas: Atlas) -> None:
    cells = toy.cells(80, seed=3)
    cells.X = sp.csr_matrix(cells.X.toarray()[:, np.random.default_rng(0).permutation(toy.N_GENES)])
    (note,) = _about(sv.annotate(cells, atlas), "more novel than 95%")
    assert "`max_error` rejects them" in note


@pytest.mark.parametrize("scale", ["counts", "log1p"])
def test_cells_of_the_atlas_are_told_under_any_name_and_scale(store: sv.Store, scale: str) -> None:
    atlas = sv.atlas.build(store, "ref", _reference(), label_key="cell_type", recipe="expression")
    query = _renamed(toy.cells(scale=scale))
    calls = sv.annotate(query, atlas)
    assert _about(calls, "120 of 120 cells are cells of the atlas")
    assert any("120 of 120 cells are cells of the atlas" in note for note in sv.evaluate(calls, "cell_type").notes)
    others = sv.annotate(toy.cells(80, seed=3), atlas)
    assert not any("cells of the atlas" in note for note in sv.evaluate(others, "cell_type").notes)


def test_the_same_cells_twice_are_told_when_an_atlas_is_built_and_extended(store: sv.Store) -> None:
    once, again = _reference(), _renamed(_reference())
    built = sv.atlas.build(store, "twice", [once, again], label_key="cell_type", recipe="expression")
    assert any("120 of 240 cells equal another one" in note for note in built.manifest["label_notes"])
    atlas = sv.atlas.build(store, "ref", once, label_key="cell_type", recipe="expression")
    assert not atlas.manifest["label_notes"]
    more = sv.atlas.extend(atlas, toy.cells(80, seed=3), dataset="more")
    assert not more.manifest["label_notes"]
    extended = sv.atlas.extend(more, again, dataset="again")
    assert any("120 of 120 added cells are in the atlas" in note for note in extended.manifest["label_notes"])


def test_an_atlas_of_one_label_says_so(store: sv.Store) -> None:
    cells = toy.cells(240)
    cells = cells[cells.obs["cell_type"] == "beta"].copy()
    atlas = sv.atlas.build(store, "beta", cells, label_key="cell_type", recipe="expression")
    assert any("all cells have the label beta" in note for note in atlas.manifest["label_notes"])
    assert _about(sv.annotate(toy.cells(80, seed=3), atlas), "the atlas has one label, beta")


@given(st.integers(1, 30), st.integers(0, 2**32 - 1))
def test_twins_are_the_cells_that_repeat(n: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    different = rng.poisson(2, (n, 200)).astype(np.float32)
    order = rng.integers(0, n, 2 * n)
    first = [one not in order[:i] for i, one in enumerate(order.tolist())]
    np.testing.assert_array_equal(twins(sp.csr_matrix(np.log1p(different[order]))), np.logical_not(first))


def test_cells_of_few_genes_are_no_twins() -> None:
    assert not twins(sp.csr_matrix(np.ones((5, 10), np.float32))).any()
