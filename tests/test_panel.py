"""A query of few genes is called by a fit on these, without a rebuild."""

from __future__ import annotations

import stat
from pathlib import Path

import numpy as np
import pytest
from anndata import AnnData

import scvec as sv
from scvec.atlas import Atlas
from scvec.atlas.engine import Local
from scvec.atlas.panel import is_few, on_panel
from scvec.errors import InputError
from tests import toy
from tests.test_atlas_life import KEYS, REFINED

FEW = 24
"""Of 240 genes, half of which tell labels apart."""


@pytest.fixture
def built(store: sv.Store, files: Path) -> Atlas:
    """An atlas without texts, by the default recipe."""
    return sv.atlas.build(store, "free", files / "reference.h5ad", label_key="cell_type", batch_key="donor")


def few(n: int = 41, seed: int = 1) -> AnnData:
    cells = toy.cells(n, seed=seed)
    genes = np.random.default_rng(3).choice(toy.N_GENES, FEW, replace=False)
    return cells[:, np.sort(genes)].copy()


def panels(atlas: Atlas) -> list[Path]:
    return sorted(Path(atlas.store.uri).glob("atlases/free/panels/*/*"))


def test_a_query_of_few_genes_is_called_by_a_fit_on_them(built: Atlas) -> None:
    query = few()
    calls = sv.annotate(query, built, max_error=0.2, sets=True)
    assert (calls.label_before_rejection == query.obs["cell_type"].to_numpy()).mean() > 0.9
    assert np.isfinite(calls.confidence).all()
    assert "called by a fit on these 24 genes" in " ".join(calls.notes)
    assert set(calls.neighbor_names.ravel()) <= set(built.obs["cell_id"].to_pylist())
    own = calls.query.atlas
    assert own.is_panel
    assert len(own.embedding.gene_ids) == FEW
    # Neighbours are cells of the atlas, at the distance of their vectors on these genes.
    near = own.vectors(calls.neighbors.ids[:, 0])
    np.testing.assert_allclose(1 - (near * calls.vectors).sum(axis=1), calls.distance, atol=1e-5)


def test_a_query_that_measures_most_genes_is_not(built: Atlas) -> None:
    calls = sv.annotate(toy.cells(20, seed=2)[:, :230].copy(), built)
    assert not calls.query.atlas.is_panel
    assert panels(built) == []


def test_the_fit_is_kept_and_used_again(built: Atlas, monkeypatch: pytest.MonkeyPatch) -> None:
    first = sv.annotate(few(), built)
    assert len(panels(built)) == 1

    def refused(*args: object) -> None:
        raise AssertionError("it is fitted again")

    monkeypatch.setattr("scvec.atlas.panel.fit_reference", refused)
    again = sv.annotate(few(), sv.atlas.open(built.store, "free"))
    np.testing.assert_array_equal(again.scores, first.scores)
    np.testing.assert_array_equal(again.vectors, first.vectors)


def test_a_damaged_fit_is_made_again(built: Atlas) -> None:
    first = sv.annotate(few(), built)
    (folder,) = panels(built)
    (folder / "projection.safetensors").write_bytes(b"damaged")
    again = sv.annotate(few(), sv.atlas.open(built.store, "free"))
    np.testing.assert_array_equal(again.scores, first.scores)
    assert (folder / "projection.safetensors").stat().st_size > 100


def test_a_store_that_cannot_be_written_is_asked_all_the_same(built: Atlas) -> None:
    folder = Path(built.store.uri) / "atlases" / "free"
    (folder / "panels").write_text("a file where a folder should be")
    folder.chmod(stat.S_IRUSR | stat.S_IXUSR)
    try:
        calls = sv.annotate(few(), built)
    finally:
        folder.chmod(0o755)
    assert calls.query.atlas.is_panel


def test_what_reads_the_cells_again_reads_them_on_these_genes(built: Atlas) -> None:
    calls = sv.annotate(few(), built)
    found = sv.explain.attributions(calls)
    assert set(found.to_polars()["symbol"]) <= set(few().var_names)
    assert len(sv.overview.overview(calls).calls) == 41


def test_an_atlas_without_its_cells_says_what_to_do(store: sv.Store, files: Path) -> None:
    atlas = sv.atlas.build(store, "plain", files / "reference.h5ad", recipe="genept-w", encoder="hash", **KEYS)
    every = np.ones(toy.N_GENES, bool)
    assert on_panel(atlas, every) is None
    calls = sv.annotate(few(), atlas)
    assert not calls.query.atlas.is_panel
    assert "recipe genept-w has no head" in " ".join(calls.notes)


def test_few_is_by_expression(built: Atlas) -> None:
    composition = built.profiles.composition
    order = np.argsort(-composition)
    measured = np.zeros(len(composition), bool)
    measured[order[composition[order].cumsum() < 0.7]] = True
    assert not is_few(built, measured)
    assert is_few(built, ~measured)


def test_removed_cells_are_not_found(built: Atlas) -> None:
    left = sv.atlas.remove(built, "label = 'beta'")
    calls = sv.annotate(few(), left)
    assert "beta" not in set(calls.label_before_rejection)
    assert not np.isin(calls.neighbors.ids, np.setdiff1d(built.rows, left.rows)).any()


def test_an_atlas_without_the_cells_that_it_keeps_is_asked_as_a_whole(built: Atlas, files: Path) -> None:
    extended = sv.atlas.extend(built, files / "query.h5ad")
    left = sv.atlas.remove(extended, "dataset = 'reference'")
    calls = sv.annotate(few(), left)
    assert not calls.query.atlas.is_panel
    assert set(calls.label_before_rejection) == set(toy.LABELS)
    assert "too few of the cells that it keeps" in " ".join(calls.notes)
    with pytest.raises(InputError, match="that it keeps for queries of few genes is left"):
        sv.annotate(few(), extended, where="dataset = 'query'")


def test_labels_that_came_later_are_told(built: Atlas) -> None:
    cells = toy.cells(40, seed=6)
    cells.obs["cell_type"] = cells.obs["cell_type"].cat.rename_categories({"immune": "new"})
    calls = sv.annotate(few(), sv.atlas.extend(built, cells))
    assert calls.query.atlas.is_panel
    assert "1 label that came after the atlas was fitted, such as new, cannot be called" in " ".join(calls.notes)


def test_parts_are_searched_on_the_same_genes(built: Atlas) -> None:
    calls = sv.annotate(few(), built)
    found = sv.atlas.search_parts(calls.query.atlas, calls.vectors, 5, engine=Local())
    np.testing.assert_array_equal(found.ids, calls.neighbors.ids[:, :5])


def test_compacting_forgets_the_expression_of_removed_cells(built: Atlas) -> None:
    sv.annotate(few(), built)
    left = sv.atlas.remove(built, "label = 'beta' OR row < 9")
    assert left.kept_sample is not None
    assert len(left.kept_sample) == 120
    query = toy.cells(41, seed=1)
    before = sv.annotate(query, left).scores
    compacted = sv.atlas.compact(left, forget=True)
    assert compacted.kept_sample is not None
    np.testing.assert_array_equal(compacted.kept_sample.rows, left.rows)
    assert panels(compacted) == []
    assert len(list(Path(built.store.uri).glob("atlases/free/fitted/*"))) == 1
    assert sv.atlas.verify(compacted) == []
    np.testing.assert_array_equal(sv.annotate(query, compacted).scores, before)
    calls = sv.annotate(few(), compacted)
    assert calls.query.atlas.is_panel
    known = query.obs["cell_type"].to_numpy() != "beta"
    assert (calls.label == query.obs["cell_type"].to_numpy())[known].mean() > 0.9


def test_a_panel_of_one_species_serves_a_text_recipe(store: sv.Store, files: Path) -> None:
    atlas = sv.atlas.build(store, "toy", files / "reference.h5ad", recipe=REFINED, overwrite=True, **KEYS)
    calls = sv.annotate(few(), atlas)
    assert calls.query.atlas.is_panel
    assert calls.query.atlas.recipe.weights == "free"


def test_it_says_what_it_is(built: Atlas) -> None:
    calls = sv.annotate(few(), built)
    assert repr(calls.query.atlas) == f"{built!r}; on {FEW} of its genes"
    assert calls.provenance["query"]["fitted_on_its_genes"] == FEW
    assert "fitted_on_its_genes" not in sv.annotate(toy.cells(20, seed=2), built).provenance["query"]
