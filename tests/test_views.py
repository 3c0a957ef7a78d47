"""Views of a cell: what they depend on, how they are joined, and what a shifted query does to them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import rankdata

from scvec.views import VIEWS, Joining, Labelled, View, Views, fit_joining, fit_views, joined
from scvec.views.joining import SHARPNESS
from scvec.views.markers import pairwise_genes, telling_genes
from scvec.views.shift import shift_of
from scvec.views.sparse import dense_ranks
from scvec.views.teaching import taught
from scvec.views.view import Cells

GENES, LABELS = 120, 4


def drawn(
    n: int, seed: int, labels: int = LABELS, factor: np.ndarray | None = None, depth: int = 800
) -> tuple[Cells, np.ndarray]:
    """Draw counts of n cells, whose labels express ten genes each more than others, and normalise them."""
    rng = np.random.default_rng(seed)
    codes = np.arange(n) % labels
    rates = np.full((n, GENES), 1.0)
    for i, code in enumerate(codes):
        rates[i, code * 10 : code * 10 + 10] = 6.0
    if factor is not None:
        rates *= factor
    counts = rng.poisson(rates / rates.sum(axis=1, keepdims=True) * depth * rng.uniform(0.5, 2, (n, 1)))
    scaled = counts / counts.sum(axis=1, keepdims=True) * 1e4
    return sp.csr_matrix(np.log1p(scaled).astype(np.float32)), codes


def reference(n: int = 160, seed: int = 0) -> Labelled:
    logged, codes = drawn(n, seed)
    return Labelled(logged, codes, LABELS, np.arange(n) // 40, np.ones(GENES, bool))


@pytest.fixture(scope="module")
def cells() -> Labelled:
    return reference()


@pytest.fixture(scope="module")
def views(cells: Labelled) -> dict[str, View]:
    return fit_views(cells, VIEWS, 0)


@pytest.mark.parametrize("name", sorted(VIEWS))
def test_a_view_calls_cells_that_it_has_not_seen(views: dict[str, View], name: str) -> None:
    query, codes = drawn(100, 1)
    shares = views[name].shares(views[name].project(query))
    assert shares.shape == (100, LABELS)
    np.testing.assert_allclose(shares.sum(axis=1), 1)
    assert (shares.argmax(axis=1) == codes).mean() > 0.95


@pytest.mark.parametrize("name", sorted(VIEWS))
@given(order=st.permutations(range(12)), size=st.integers(1, 12))
@settings(deadline=None, max_examples=20)
def test_points_and_shares_depend_on_the_cell_alone(
    views: dict[str, View], name: str, order: list[int], size: int
) -> None:
    query, _ = drawn(12, 2)
    view, mixed = views[name], sp.csr_matrix(query[order])
    whole = view.project(query)
    parts = np.vstack([view.project(sp.csr_matrix(mixed[i : i + size])) for i in range(0, 12, size)])
    np.testing.assert_array_equal(parts, whole[order])
    np.testing.assert_array_equal(view.shares(parts), view.shares(whole)[order])


@pytest.mark.parametrize("name", sorted(VIEWS))
@given(seed=st.integers(0, 1000), labels=st.integers(2, 6), n=st.integers(12, 40))
@settings(deadline=None, max_examples=10)
def test_a_view_survives_its_arrays(name: str, seed: int, labels: int, n: int) -> None:
    logged, codes = drawn(n, seed, labels)
    fit, read = VIEWS[name]
    view = fit(Labelled(logged, codes, labels, np.zeros(n, int), np.ones(GENES, bool)), 0)
    again = read(view.arrays())
    np.testing.assert_array_equal(again.project(logged), view.project(logged))
    np.testing.assert_array_equal(again.shares(view.project(logged)), view.shares(view.project(logged)))
    np.testing.assert_array_equal(again.genes, view.genes)


@pytest.mark.parametrize("name", sorted(VIEWS))
def test_rare_absent_and_single_labels_do_no_harm(name: str) -> None:
    fit, _ = VIEWS[name]
    logged, codes = drawn(42, 3)
    kept = np.flatnonzero((codes < 2) | (np.arange(42) < 6))  # two cells of label 2, one of label 3
    rare = Labelled(
        sp.csr_matrix(logged[kept]), codes[kept], LABELS + 1, np.zeros(len(kept), int), np.ones(GENES, bool)
    )
    view = fit(rare, 0)
    shares = view.shares(view.project(drawn(40, 4)[0]))
    assert np.isfinite(shares).all()
    assert shares[:, LABELS].max() < 1e-6  # no cell has this label
    assert (shares.argmax(axis=1) == drawn(40, 4)[1])[np.arange(40) % 4 == 2].mean() > 0.5
    alone = fit(rare.at(np.flatnonzero(rare.codes == 1)), 0)
    assert (alone.shares(alone.project(logged)).argmax(axis=1) == 1).all()


@pytest.mark.parametrize("name", sorted(VIEWS))
def test_contributions_add_up_to_the_difference_of_two_labels(views: dict[str, View], name: str) -> None:
    query, codes = drawn(30, 5)
    view, other = views[name], (codes + 1) % LABELS
    points = view.project(query)
    found = np.asarray(view.contributions(query, codes, other).sum(axis=1)).ravel()
    logs, rows = np.log(view.shares(points)), np.arange(30)
    intercept = view.arrays()["intercept"]
    np.testing.assert_allclose(
        found + intercept[codes] - intercept[other], logs[rows, codes] - logs[rows, other], rtol=1e-3, atol=1e-3
    )


def test_ranks_are_those_of_scipy() -> None:
    query, _ = drawn(20, 6)
    genes = np.arange(0, GENES, 3)
    wanted = rankdata(query[:, genes].toarray(), axis=1)
    wanted -= wanted.mean(axis=1, keepdims=True)
    wanted /= np.linalg.norm(wanted, axis=1, keepdims=True)
    np.testing.assert_allclose(dense_ranks(query, genes), wanted, atol=1e-5)


def test_ranks_do_not_change_with_the_scale(views: dict[str, View]) -> None:
    query, _ = drawn(20, 7)
    other = query.copy()
    other.data = np.sqrt(other.data)
    np.testing.assert_allclose(views["rank"].project(other), views["rank"].project(query), rtol=1e-4, atol=1e-4)


def test_genes_are_those_that_tell_labels_apart(cells: Labelled) -> None:
    telling = telling_genes(cells, 40)
    assert set(range(40)) <= set(telling.tolist())
    assert set(pairwise_genes(cells, 8, 1500).tolist()) <= set(range(40))
    assert len(pairwise_genes(cells, 30, 20)) <= 40
    some = cells.measured.copy()
    some[:10] = False
    for found in (
        telling_genes(replace(cells, measured=some), 40),
        pairwise_genes(replace(cells, measured=some), 8, 99),
    ):
        assert found.min() >= 10


def test_a_product_of_shares() -> None:
    one, other = np.array([[0.6, 0.4], [0.5, 0.5]]), np.array([[0.2, 0.8], [0.9, 0.1]])
    both = joined({"rank": one, "neighbors": other}, Joining({"rank": 1.0, "neighbors": 1.0}, least=0.0))
    wanted = one * other
    np.testing.assert_allclose(both, wanted / wanted.sum(axis=1, keepdims=True))
    assert Joining.from_dict(Joining().to_dict()) == Joining()


def test_a_view_that_is_wrong_on_held_out_cells_counts_less() -> None:
    rng = np.random.default_rng(0)
    codes = rng.integers(0, 3, 300)
    good, bad = np.full((300, 3), 0.2), rng.dirichlet(np.full(3, 0.2), 300)
    good[np.arange(300), codes] = 0.6
    how = fit_joining({"corrected": good, "neighbors": bad}, codes)
    assert how.sharpness["corrected"] > 2 * how.sharpness["neighbors"]


def test_a_platform_is_met_and_a_query_like_the_reference_is_left_alone(views: dict[str, View]) -> None:
    view = views["corrected"]
    factor = np.exp(np.random.default_rng(9).normal(0, 0.8, GENES))
    arrays = view.arrays()
    shifted, codes = drawn(200, 10, factor=factor)
    same, _ = drawn(200, 11)
    everyone = np.ones(200, bool)
    of = {
        name: shift_of(view.project(query), codes, everyone, arrays["centres"], arrays["sizes"])
        for name, query in (("shifted", shifted), ("same", same))
    }
    assert of["shifted"].agreement > 0.8
    assert np.linalg.norm(of["same"].offset) < 0.3 * np.linalg.norm(of["shifted"].offset)
    points = view.project(shifted)
    centres = np.stack([points[codes == code].mean(axis=0) for code in range(LABELS)])
    moved = centres - of["shifted"].offset
    assert np.linalg.norm(moved - arrays["centres"]) < 0.6 * np.linalg.norm(centres - arrays["centres"])


EVERY = np.ones(LABELS, bool)


def flat(n: int) -> np.ndarray:
    """Votes of neighbours that know nothing."""
    return np.full((n, LABELS), 1 / LABELS, np.float32)


@given(order=st.permutations(range(60)), whole=st.booleans())
@settings(deadline=None, max_examples=10)
def test_the_order_of_a_query_changes_nothing(views: dict[str, View], order: list[int], whole: bool) -> None:
    query, _ = drawn(60, 12, factor=np.exp(np.random.default_rng(9).normal(0, 0.5, GENES)))
    together = Views(views, Joining())
    points, trusted = together.points(query), np.ones(60, bool) if whole else None
    first = together.settle(flat(60), points, EVERY, trusted)
    second = together.settle(flat(60), {name: one[order] for name, one in points.items()}, EVERY, trusted)
    np.testing.assert_allclose(second.shares, first.shares[order], atol=2e-3 if whole else 0)


def test_blocks_of_cells_change_nothing(views: dict[str, View], monkeypatch: pytest.MonkeyPatch) -> None:
    query, _ = drawn(100, 12, factor=np.exp(np.random.default_rng(9).normal(0, 0.5, GENES)))
    together = Views(views, Joining())
    points, every = together.points(query), np.ones(100, bool)
    whole = together.settle(flat(100), points, EVERY, every)
    for room in ("together", "shift", "teaching"):
        monkeypatch.setattr(f"scvec.views.{room}.BLOCK", 7)
    parts = together.settle(flat(100), points, EVERY, every)
    np.testing.assert_array_equal(parts.shares, whole.shares)
    for name in whole.by_view:
        np.testing.assert_array_equal(parts.by_view[name], whole.by_view[name])
        np.testing.assert_array_equal(parts.leads[name], whole.leads[name])


def test_a_handful_of_cells_is_called_cell_by_cell(views: dict[str, View]) -> None:
    query, _ = drawn(20, 13)
    together = Views(views, Joining())
    points = together.points(query)
    found = together.settle(flat(20), points, EVERY, np.ones(20, bool))
    alone = together.settle(flat(20), points, EVERY)
    np.testing.assert_array_equal(found.shares, alone.shares)


def test_new_cells_neither_steer_nor_are_taught(views: dict[str, View]) -> None:
    query, codes = drawn(200, 14)
    new = np.arange(200) >= 150
    together = Views(views, Joining())
    points = together.points(query)
    far = {name: np.where(new[:, None], one + 50, one).astype(np.float32) for name, one in points.items()}
    near, away = (together.settle(flat(200), one, EVERY, ~new) for one in (points, far))
    np.testing.assert_allclose(near.shares[~new], away.shares[~new], atol=1e-6)
    alone = together.settle(flat(200), points, EVERY).shares
    shares = taught(alone, points["corrected"], ~new)
    np.testing.assert_array_equal(shares[new], alone[new])
    assert (near.shares.argmax(axis=1) == codes)[~new].mean() > 0.95


def test_a_missing_view_is_left_out(views: dict[str, View]) -> None:
    query, _ = drawn(10, 15)
    rank = views["rank"].shares(views["rank"].project(query))
    np.testing.assert_allclose(joined({"rank": rank}, Joining({"rank": 1.0}, 0.0)), rank, atol=1e-9)
    assert set(SHARPNESS) == {*VIEWS, "neighbors"}
