"""Recipes on counts, against the plain definition in float64."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from scvec.embed.projection import Projection, fit, normalise, top_genes
from scvec.errors import InputError, MismatchError
from scvec.ingest import GeneTexts
from scvec.ingest.cells.scale import Values, expression
from scvec.ingest.matching import GeneMatch
from scvec.spec import RECIPES, Recipe
from tests import toy

COUNTS = Values("counts")
IDS = np.arange(1000, 1000 + toy.N_GENES)
NAMES = np.array(toy.SYMBOLS, dtype=object)


def matched(names: Any, columns: Any, gene_ids: Any) -> GeneMatch:
    """Return a match; a projection asks nothing of its texts and routes."""
    routes = np.full(len(columns), "symbol", object)
    return GeneMatch(names, "var_names", cast(GeneTexts, None), columns, gene_ids, routes, np.array([], int))


MATCH = matched(NAMES, np.arange(0, 240, 2), IDS[::2])
VECTORS = np.random.default_rng(0).standard_normal((120, 16)).astype(np.float32)


def fitted(recipe: Recipe, x: sp.csr_matrix[np.float32], vectors: Any = VECTORS) -> Projection:
    def batches(_title: str) -> Iterator[tuple[int, Any]]:
        for start in range(0, x.shape[0], 7):
            yield start, x[start : start + 7]

    return fit(recipe, MATCH, vectors if recipe.weights == "text" else None, batches, COUNTS, x.shape[0])


def embedded(projection: Projection, x: Any, values: Values = COUNTS, match: GeneMatch = MATCH) -> np.ndarray[Any, Any]:
    return projection.embed(sp.csr_matrix(x), values, projection.aligner(match))[0]


def plain(x: Any, top_n: int = 999, centre: Any = 0.0) -> np.ndarray[Any, Any]:
    """GenePT-w by its definition."""
    dense = np.asarray(x.toarray(), np.float64)
    logged = np.log1p(dense / dense.sum(1, keepdims=True) * 1e4)[:, ::2]
    for row in logged:
        row[np.argsort(-row, kind="stable")[top_n:]] = 0
    vectors = logged @ VECTORS.astype(np.float64) / logged.sum(1, keepdims=True) - centre
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True))


def test_genept_w_and_topn_are_their_definition() -> None:
    x = toy.cells(25).X
    np.testing.assert_allclose(embedded(fitted(RECIPES["genept-w"], x), x), plain(x), atol=1e-6)
    few = replace(RECIPES["topn"], top_n=10)
    np.testing.assert_allclose(embedded(fitted(few, x), x), plain(x, 10), atol=1e-6)


def test_centring_takes_the_reference_s_mean_alone() -> None:
    reference, query = toy.cells(25).X, toy.cells(9, seed=3).X
    dense = reference.toarray().astype(np.float64)
    logged = np.log1p(dense / dense.sum(1, keepdims=True) * 1e4)[:, ::2]
    mean = (logged @ VECTORS / logged.sum(1, keepdims=True)).mean(0)
    projection = fitted(replace(RECIPES["genept-w"], centre=True), reference)
    np.testing.assert_allclose(projection.centre, mean, rtol=1e-5)
    np.testing.assert_allclose(embedded(projection, query), plain(query, centre=mean), atol=1e-5)


def test_expression_is_an_svd_of_the_reference() -> None:
    from sklearn.decomposition import TruncatedSVD

    x = toy.cells(40).X
    projection = fitted(replace(RECIPES["expression"], dimension=5), x)
    logged = normalise(x, COUNTS, 1e4)[:, ::2]
    expected = TruncatedSVD(5, random_state=0).fit(logged).transform(logged)
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    np.testing.assert_allclose(embedded(projection, x), expected, atol=1e-4)
    with pytest.raises(InputError, match="40 cells and 120 known genes"):
        fitted(RECIPES["expression"], x)


def test_fitting_on_a_sample_is_seeded_and_bounded() -> None:
    x = toy.cells(60).X
    few = replace(RECIPES["expression"], dimension=3, fit_cells=20)
    first, second, other = (fitted(one, x).weights for one in (few, few, replace(few, random_state=1)))
    np.testing.assert_array_equal(first, second)
    assert not np.allclose(first, other)


def test_the_order_of_columns_and_unknown_columns_do_not_matter() -> None:
    x = toy.cells(12).X
    projection = fitted(RECIPES["genept-w"], x)
    order = np.random.default_rng(1).permutation(toy.N_GENES)
    places = np.flatnonzero(order % 2 == 0)
    shuffled = matched(NAMES[order], places, IDS[order[places]])
    np.testing.assert_allclose(embedded(projection, x[:, order], match=shuffled), embedded(projection, x), atol=1e-6)


def test_a_cell_without_known_expression_is_zero_and_marked() -> None:
    x = toy.cells(3).X.toarray()
    x[0] = 0
    x[1, ::2] = 0
    for recipe in (RECIPES["genept-w"], replace(RECIPES["genept-w"], centre=True)):
        projection = fitted(recipe, toy.cells(25).X)
        vectors, empty = projection.embed(sp.csr_matrix(x), COUNTS, projection.aligner(MATCH))
        assert empty.tolist() == [True, True, False]
        assert np.isfinite(vectors).all()
        assert np.abs(vectors[:2]).max() == 0
        assert np.linalg.norm(vectors[2]) == pytest.approx(1)


def test_log1p_of_any_known_total_is_the_same_as_counts() -> None:
    counts = toy.cells(10).X
    logged = toy.cells(10).X.toarray()
    other = sp.csr_matrix(np.log1p(logged / logged.sum(1, keepdims=True) * 2345.0).astype(np.float32))
    expected = normalise(counts, COUNTS, 1e4).toarray()
    np.testing.assert_allclose(normalise(other, Values("log1p", 2345.0), 1e4).toarray(), expected, rtol=1e-4)
    np.testing.assert_allclose(normalise(other, Values("log1p"), 1e4).toarray(), other.toarray(), rtol=1e-6)


@pytest.mark.parametrize("scale", ["counts", "log1p"])
def test_columns_of_one_gene_are_added_up_before_the_logarithm(scale: str) -> None:
    """A gene's counts split over two columns embed as the gene does."""
    rng = np.random.default_rng(2)
    whole = toy.cells(12).X.toarray()
    part = rng.binomial(whole[:, :6].astype(int), 0.4).astype(np.float32)
    split = np.hstack([whole, part])
    split[:, :6] -= part
    ids = np.concatenate([IDS[::2], IDS[:6:2]])
    twice = matched(
        np.append(NAMES, [f"twin{i}" for i in range(6)]), np.append(np.arange(0, 240, 2), [240, 242, 244]), ids
    )
    assert twice.genes.tolist() == IDS[::2].tolist()
    values = COUNTS
    if scale == "log1p":
        split, values = np.log1p(split / split.sum(1, keepdims=True) * 500).astype(np.float32), Values("log1p", 500.0)
    projection = fitted(RECIPES["genept-w"], toy.cells(12).X)
    np.testing.assert_allclose(embedded(projection, split, values, twice), embedded(projection, whole), atol=1e-5)


def test_inputs_are_not_changed() -> None:
    x = toy.cells(5).X
    before = x.copy()
    embedded(fitted(RECIPES["genept-w"], x), x)
    expression(x, Values("log1p"))
    assert (x != before).nnz == 0


@given(
    hnp.arrays(np.float32, st.tuples(st.integers(1, 6), st.integers(1, 8)), elements=st.integers(0, 4).map(float)),
    st.integers(1, 9),
)
def test_top_genes_takes_the_first_of_equals(dense: np.ndarray[Any, Any], n: int) -> None:
    expected = dense.copy()
    for row in expected:
        row[np.argsort(-row, kind="stable")[n:]] = 0
    np.testing.assert_array_equal(top_genes(sp.csr_matrix(dense), n).toarray(), expected)


def test_saving(tmp_path: Path) -> None:
    recipe = RECIPES["genept-w"]
    projection = fitted(recipe, toy.cells(5).X)
    projection.save(tmp_path / "p")
    again = Projection.load(tmp_path / "p", recipe)
    for name in ("gene_ids", "weights", "centre"):
        np.testing.assert_array_equal(getattr(again, name), getattr(projection, name))
    with pytest.raises(MismatchError, match="another recipe"):
        Projection.load(tmp_path / "p", replace(recipe, top_n=3))
