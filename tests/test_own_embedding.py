"""Cell vectors of another tool, from ``obsm``, in place of scvec's own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import scvec as sv
from scvec.embed.given import Given, given_recipe
from scvec.errors import FileError, InputError, KeyNotFoundError, MatrixError, MismatchError
from tests import toy
from tests.sources import write

REP = "X_other"


def with_vectors(n: int, seed: int, shift: float = 4.0) -> ad.AnnData:
    """Return toy cells with vectors of another tool: a place for each label, noise, and a common offset."""
    adata = toy.cells(n, seed=seed)
    rng = np.random.default_rng(seed)
    centres = np.random.default_rng(7).normal(size=(len(toy.LABELS), 6))
    codes = np.array([toy.LABELS.index(one) for one in adata.obs["cell_type"]])
    adata.obsm[REP] = (centres[codes] + rng.normal(scale=0.2, size=(n, 6)) + shift).astype(np.float32)
    return adata


@pytest.fixture(scope="module")
def reference() -> ad.AnnData:
    return with_vectors(120, 0)


@pytest.fixture(scope="module")
def query() -> ad.AnnData:
    return with_vectors(40, 1)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory, ncbi: tuple[Path, Path]) -> sv.Store:
    store = sv.Store(tmp_path_factory.mktemp("own"))
    sv.ingest.texts(store, taxon="human", gene_info=ncbi[0], gene_summary=ncbi[1])
    return store


@pytest.fixture(scope="module")
def atlas(store: sv.Store, reference: ad.AnnData) -> sv.Atlas:
    return sv.atlas.build(store, "own", reference, label_key="cell_type", batch_key="donor", use_rep=REP)


@pytest.fixture(scope="module")
def calls(atlas: sv.Atlas, query: ad.AnnData) -> sv.Annotation:
    return sv.annotate(query, atlas, max_error=0.05)


def test_the_vectors_are_the_given_ones_centred_by_the_reference(
    calls: sv.Annotation, atlas: sv.Atlas, reference: ad.AnnData, query: ad.AnnData
) -> None:
    centred = query.obsm[REP] - reference.obsm[REP].mean(axis=0)
    expected = centred / np.linalg.norm(centred, axis=1, keepdims=True)
    np.testing.assert_allclose(calls.vectors, expected, atol=1e-5)
    similarity = expected @ (reference.obsm[REP] - reference.obsm[REP].mean(axis=0)).T
    similarity /= np.linalg.norm(reference.obsm[REP] - reference.obsm[REP].mean(axis=0), axis=1)
    assert calls.neighbors.ids[:, 0].tolist() == similarity.argmax(axis=1).tolist()
    assert atlas.recipe == given_recipe(REP, 6).bind(atlas.recipe.release or "", None)


def test_all_else_is_as_for_own_vectors(calls: sv.Annotation, query: ad.AnnData) -> None:
    result = sv.evaluate(calls, query.obs["cell_type"])
    assert result.accuracy == 1.0
    assert np.isfinite(calls.confidence).all()
    assert np.isfinite(calls.novelty).all()
    assert result.trust is not None
    assert (calls.unexpected_genes != "").any()


@pytest.mark.parametrize("kind", ["csr", "zarr3"])
def test_a_file_gives_the_same_calls(
    calls: sv.Annotation, atlas: sv.Atlas, query: ad.AnnData, tmp_path: Path, kind: str
) -> None:
    from_file = sv.annotate(write(query, tmp_path, kind), atlas, max_error=0.05)
    np.testing.assert_array_equal(from_file.vectors, calls.vectors)
    assert from_file.label.tolist() == calls.label.tolist()


@settings(max_examples=15)
@given(st.permutations(range(40)), st.integers(1, 40))
def test_a_view_has_its_own_vectors(
    calls: sv.Annotation, atlas: sv.Atlas, query: ad.AnnData, order: list[int], n: int
) -> None:
    found = sv.annotate(query[order[:n]], atlas)
    np.testing.assert_array_equal(found.vectors, calls.vectors[order[:n]])


def test_a_cell_without_a_vector_is_empty(atlas: sv.Atlas, query: ad.AnnData) -> None:
    lacking = query.copy()
    lacking.obsm[REP][3] = 0
    found = sv.annotate(lacking, atlas)
    assert found.reason.tolist() == ["no_expression" if i == 3 else "" for i in range(40)]


def test_it_can_be_extended_and_opened_again(store: sv.Store, reference: ad.AnnData, query: ad.AnnData) -> None:
    small = sv.atlas.build(store, "small", reference[:60], label_key="cell_type", use_rep=REP, shard_cells=25)
    sv.atlas.extend(small, reference[60:], dataset="second")
    opened = sv.atlas.open(store, "small")
    centre = reference.obsm[REP][:60].mean(axis=0)
    centred = reference.obsm[REP] - centre
    np.testing.assert_allclose(
        opened.vectors(np.arange(120)), centred / np.linalg.norm(centred, axis=1, keepdims=True), atol=1e-5
    )
    assert sv.evaluate(sv.annotate(query, opened), "cell_type").accuracy == 1.0


def test_another_key_may_hold_the_query(calls: sv.Annotation, atlas: sv.Atlas, query: ad.AnnData) -> None:
    renamed = query.copy()
    renamed.obsm["X_mapped"] = renamed.obsm.pop(REP)
    found = sv.annotate(renamed, atlas, use_rep="X_mapped")
    np.testing.assert_array_equal(found.vectors, calls.vectors)


def test_a_changed_array_is_noticed(atlas: sv.Atlas, query: ad.AnnData) -> None:
    changing = query.copy()
    found = sv.annotate(changing, atlas)
    changing.obsm[REP] = changing.obsm[REP] * 2
    with pytest.raises(InputError, match="was changed since it was annotated"), found.query.opened():
        pass


def test_genes_have_no_part_in_it(calls: sv.Annotation) -> None:
    for asked in (
        lambda: sv.explain.attributions(calls),
        lambda: sv.explain.contrast(calls, "alpha", "beta"),
    ):
        with pytest.raises(InputError, match=r"obsm\['X_other'\]: no gene has a part"):
            asked()


def test_the_report_shows_genes_of_the_labels(calls: sv.Annotation, tmp_path: Path) -> None:
    found = sv.report.write(calls, tmp_path / "report.html", labels="cell_type")
    assert found.genes is None
    for label, row in zip(found.markers.groups, found.markers.share, strict=True):
        own = [toy.theme_of(toy.SYMBOLS.index(one)) == label for one in found.markers.symbols]
        assert row[own].mean() > row[np.logical_not(own)].mean()
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "no gene has a part in the calls" in text
    assert 'id="label"' not in text


def _other_dimension(query: ad.AnnData) -> ad.AnnData:
    query.obsm[REP] = query.obsm[REP][:, :4]
    return query


def _infinite(query: ad.AnnData) -> ad.AnnData:
    query.obsm[REP][0, 0] = np.inf
    return query


def _words(query: ad.AnnData) -> ad.AnnData:
    query.obsm[REP] = query.obsm[REP].astype(str)
    return query


@pytest.mark.parametrize(
    ("spoil", "error", "said"),
    [
        (_other_dimension, InputError, "4 dimensions: expected 6"),
        (_infinite, MatrixError, "NaN or infinite"),
        (_words, MatrixError, "expected numbers, one row for each of the 40 cells"),
        (lambda _query: toy.cells(40, seed=1), KeyNotFoundError, "no array of obsm for `use_rep` 'X_other'"),
    ],
)
def test_a_query_that_does_not_fit_is_refused(
    atlas: sv.Atlas, query: ad.AnnData, spoil: Any, error: type[Exception], said: str
) -> None:
    with pytest.raises(error, match=said):
        sv.annotate(spoil(query.copy()), atlas)


def test_what_does_not_go_together_is_refused(
    store: sv.Store, reference: ad.AnnData, query: ad.AnnData, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match="`use_rep` cannot be combined with `recipe`"):
        sv.atlas.build(store, "no", reference, label_key="cell_type", use_rep=REP, recipe="expression")
    with pytest.raises(InputError, match="takes vectors that come with the cells"):
        sv.atlas.build(store, "no", reference, label_key="cell_type", recipe=given_recipe(REP, 6))
    narrow = reference.copy()
    narrow.obsm[REP] = narrow.obsm[REP][:, :4]
    with pytest.raises(InputError, match="has 4 and 6 dimensions in different files"):
        sv.atlas.build(store, "no", [reference, narrow], label_key="cell_type", use_rep=REP)
    plain = sv.atlas.build(store, "plain", reference, label_key="cell_type", recipe="random")
    with pytest.raises(InputError, match="makes vectors of expression, and takes none from `use_rep`"):
        sv.annotate(query, plain, use_rep=REP)
    tenx = write(toy.cells(40, seed=1), tmp_path, "tenx")
    with pytest.raises((KeyNotFoundError, FileError), match="there is none"):
        sv.annotate(tenx, sv.atlas.open(store, "own"))
    assert "no" not in sv.atlas.list_atlases(store)


def test_it_is_read_back_with_its_recipe_only(atlas: sv.Atlas, tmp_path: Path) -> None:
    embedding = atlas.embedding
    assert isinstance(embedding, Given)
    embedding.save(tmp_path / "given")
    again = Given.load(tmp_path / "given", atlas.recipe)
    np.testing.assert_array_equal(again.centre, embedding.centre)
    with pytest.raises(MismatchError, match="another recipe"):
        Given.load(tmp_path / "given", given_recipe("X_else", 6))
    with pytest.raises(TypeError, match="not made of expression"):
        embedding.vectors(toy.cells(4).X, np.ones(len(embedding.gene_ids), bool))
