"""Recipes on counts, against the plain definition in float64."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from scvec.embed.projection import Projection, aligner, fit, measured, normalise, top_genes
from scvec.embed.recipe import RECIPES, Recipe, Refinement
from scvec.embed.sample import Sample, SampledFile, draw
from scvec.errors import InputError, MismatchError
from scvec.ingest import GeneTexts
from scvec.ingest.cells.scale import Values, expression, to_linear
from scvec.ingest.matching import GeneMatch
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


def embed(
    projection: Projection, batch: Any, values: Values, columns: sp.csr_matrix[np.float32]
) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Return vectors of cells as a matrix has them, and which are empty."""
    known = normalise(batch, values, projection.recipe.target_sum, columns)
    return projection.vectors(known, measured(columns))


def fitted(recipe: Recipe, x: sp.csr_matrix[np.float32], vectors: Any = VECTORS) -> Projection:
    logged = normalise(sp.csr_matrix(x), COUNTS, recipe.target_sum, aligner(MATCH, MATCH.genes))
    return fit(recipe, MATCH.genes, vectors if recipe.weights == "text" else None, logged)


def embedded(projection: Projection, x: Any, values: Values = COUNTS, match: GeneMatch = MATCH) -> np.ndarray[Any, Any]:
    return embed(projection, sp.csr_matrix(x), values, aligner(match, projection.gene_ids))[0]


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


def drawn(x: Any, labels: Any, n: int, seed: int = 0, values: Values = COUNTS, **recipe: Any) -> Sample:
    """Draw cells from files of seven; the batch of each is its row."""
    rows, named = (np.array(one, dtype=object) for one in ([str(i) for i in range(x.shape[0])], labels))
    parts = [
        SampledFile(MATCH, values, named[here], rows[here], x[here].__getitem__)
        for here in (slice(start, start + 7) for start in range(0, x.shape[0], 7))
    ]
    return draw(replace(RECIPES["genept-w"], fit_cells=n, random_state=seed, **recipe), MATCH.genes, parts)


def rows_of(sample: Sample) -> list[int]:
    return [int(one) for one in sample.batches]


def test_all_cells_of_a_small_reference_are_drawn_but_the_empty_ones() -> None:
    x = toy.cells(30).X.toarray()
    x[3] = 0
    x[9, ::2] = 0  # all of its expression is on genes that are not known
    labels = [toy.LABELS[i % 4] for i in range(30)]
    sample = drawn(sp.csr_matrix(x), labels, 30)
    kept = [i for i in range(30) if i not in (3, 9)]
    assert rows_of(sample) == kept
    assert sample.names == tuple(sorted(toy.LABELS))
    assert [sample.names[code] for code in sample.codes] == [labels[i] for i in kept]
    expected = normalise(sp.csr_matrix(x), COUNTS, 1e4)[kept][:, ::2]
    np.testing.assert_allclose(sample.logged.toarray(), expected.toarray())
    assert sample.counts is None
    assert sample.totals.tolist() == [1.0] * 28


@given(st.lists(st.integers(1, 40), min_size=1, max_size=6), st.integers(1, 90), st.integers(0, 99))
def test_a_draw_is_bounded_seeded_and_fair(sizes: list[int], n: int, seed: int) -> None:
    """No label gives a cell more than another while that one has more to give; order and labels stay."""
    labels = np.random.default_rng(seed).permutation(np.repeat([f"l{i}" for i in range(len(sizes))], sizes))
    x = sp.csr_matrix(np.ones((len(labels), toy.N_GENES), np.float32))
    sample = drawn(x, labels, n, seed)
    rows = rows_of(sample)
    assert len(sample) == len(rows) == len(set(rows)) == sample.logged.shape[0]
    assert rows == sorted(rows)
    assert [sample.names[code] for code in sample.codes] == labels[rows].tolist()
    assert rows == rows_of(drawn(x, labels, n, seed))
    taken = np.bincount(sample.codes, minlength=len(sizes))
    assert len(sample) == min(n, sum(sizes))
    for one, size in zip(taken, sizes, strict=True):
        assert one == size or one >= taken.max() - 1


def test_another_seed_draws_other_cells_and_rare_labels_are_kept_whole() -> None:
    labels = ["common"] * 100 + ["rare"] * 3
    x = sp.csr_matrix(np.ones((103, toy.N_GENES), np.float32))
    first, second = drawn(x, labels, 20), drawn(x, labels, 20, seed=1)
    assert rows_of(first) != rows_of(second)
    for one in (first, second):
        assert {100, 101, 102} < set(rows_of(one))
        assert len(one) == 20
        assert max(rows_of(one)[:-3]) > 50 > min(rows_of(one))


def test_counts_are_drawn_only_where_they_are_thinned() -> None:
    x, labels = toy.cells(20).X, [toy.LABELS[i % 4] for i in range(20)]
    refine = Refinement(thinning=0.5)
    sample = drawn(x, labels, 12, refine=refine)
    rows = rows_of(sample)
    assert sample.counts is not None
    np.testing.assert_array_equal(sample.counts.toarray(), x[rows].toarray()[:, ::2])
    np.testing.assert_allclose(sample.totals, x[rows].toarray().sum(1))
    assert drawn(x, labels, 12, refine=replace(refine, thinning=0.0)).counts is None
    logged = sp.csr_matrix(x).log1p()
    assert drawn(logged, labels, 12, values=Values("log1p"), refine=refine).counts is None


def test_what_is_measured_is_what_has_a_column() -> None:
    some = MATCH.only(IDS[:40])
    np.testing.assert_array_equal(measured(aligner(some, MATCH.genes)), MATCH.genes < 1040)


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
        vectors, empty = embed(projection, sp.csr_matrix(x), COUNTS, aligner(MATCH, projection.gene_ids))
        assert empty.tolist() == [True, True, False]
        assert np.isfinite(vectors).all()
        assert np.abs(vectors[:2]).max() == 0
        assert np.linalg.norm(vectors[2]) == pytest.approx(1)


def test_log1p_of_any_known_total_is_the_same_as_counts() -> None:
    counts = toy.cells(10).X
    logged = toy.cells(10).X.toarray()
    other = sp.csr_matrix(np.log1p(logged / logged.sum(1, keepdims=True) * 2345.0).astype(np.float32))
    expected = normalise(counts, COUNTS, 1e4).toarray()
    values = Values("log1p", 2345.0)
    np.testing.assert_allclose(normalise(to_linear(other, values, "x"), values, 1e4).toarray(), expected, rtol=1e-4)


@pytest.mark.parametrize("form", ["counts", "log1p"])
def test_known_genes_can_be_brought_to_their_share_of_a_cell(form: str) -> None:
    """As where a matrix has few genes: what else it measures does not matter then."""
    counts = toy.cells(12).X.toarray()
    columns = aligner(MATCH, MATCH.genes)
    shares = counts[:, ::2].sum(1) / counts.sum(1)

    def normalised(x: Any, share: float | None) -> Any:
        if form == "counts":
            return normalise(sp.csr_matrix(x), COUNTS, 1e4, columns, share).toarray()
        logged = np.log1p(x / x.sum(1, keepdims=True) * 700).astype(np.float32)
        values = Values("log1p", 700.0)
        return normalise(to_linear(sp.csr_matrix(logged), values, "x"), values, 1e4, columns, share).toarray()

    np.testing.assert_allclose(np.expm1(normalised(counts, 0.3)).sum(axis=1), 3000, rtol=1e-4)
    usual = normalised(counts, None)
    for i in range(12):
        np.testing.assert_allclose(normalised(counts[[i]], float(shares[i])), usual[[i]], rtol=1e-4)
    more = counts.copy()
    more[:, 1::2] *= 7
    np.testing.assert_allclose(normalised(more, 0.3), normalised(counts, 0.3), rtol=1e-4)
    assert np.abs(normalised(more, None) - usual).max() > 0.1


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
        split, values = (split / split.sum(1, keepdims=True) * 500).astype(np.float32), Values("log1p", 500.0)
    projection = fitted(RECIPES["genept-w"], toy.cells(12).X)
    np.testing.assert_allclose(embedded(projection, split, values, twice), embedded(projection, whole), atol=1e-5)


def test_inputs_are_not_changed() -> None:
    x = toy.cells(5, scale="log1p").X
    before = x.copy()
    embedded(fitted(RECIPES["genept-w"], x), x)
    expression(to_linear(x, Values("log1p"), "x"))
    expression(to_linear(x, Values("log1p", named=True), "x"))
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
