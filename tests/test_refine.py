"""A head over text: its losses against torch's gradients, its views, its formula, and what training makes of it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st

from scvec.core.jit import side_by_side
from scvec.core.types import Floats, silent
from scvec.core.vectors import unit_rows
from scvec.embed.encoders.simple import Hash, Random
from scvec.embed.moments import Moments
from scvec.embed.projection import normalise
from scvec.embed.recipe import Recipe, Refinement
from scvec.embed.refine import Head, Trained, fit_head
from scvec.embed.refine.losses import proxy, supcon, through_unit, triplet, unit
from scvec.embed.refine.probe import SCALE as PROBE_SCALE
from scvec.embed.refine.probe import cosines_of, in_span, probe
from scvec.embed.refine.train import MOMENTUM, SCALE, TEXT_DIMENSION, _Descent, text_parts, train
from scvec.embed.refine.views import Views, _thinned, chances, views
from scvec.embed.sample import Sample
from scvec.errors import LabelError, MismatchError
from scvec.ingest.cells.scale import Values
from scvec.knn.folds import folds, retrieve
from scvec.knn.options import DEFAULT
from tests import toy

IDS = np.arange(1000, 1000 + toy.N_GENES)
TEXTS = [toy.THEMES.get(toy.theme_of(i) or "", "housekeeping in all cells") for i in range(toy.N_GENES)]
VECTORS = Hash().encode(TEXTS)
NOISE = Random().encode([f"{i} {text}" for i, text in enumerate(TEXTS)])
FEW = Refinement(steps=24, batch_cells=32)


def recipe(refine: Refinement = FEW, **values: Any) -> Recipe:
    return Recipe(name="refined", encoder="hash", refine=refine, **values)


def sample_of(x: Any, labels: Any, donors: Any, *, thins: bool = False) -> Sample:
    counts = sp.csr_matrix(x, dtype=np.float32)
    names, codes = np.unique(np.asarray(labels, str), return_inverse=True)
    return Sample(
        logged=normalise(counts, Values("counts"), 1e4),
        counts=counts if thins else None,
        totals=np.asarray(counts.sum(axis=1, dtype=np.float64)).ravel() if thins else np.ones(len(codes)),
        codes=codes.astype(np.int64),
        names=tuple(names.tolist()),
        batches=np.asarray(donors, object),
    )


def toy_sample(n: int = 96, seed: int = 0, *, thins: bool = False) -> Sample:
    cells = toy.cells(n, seed)
    return sample_of(cells.X, cells.obs["cell_type"], cells.obs["donor"], thins=thins)


def fitted(sample: Sample, refine: Refinement = FEW, vectors: Floats = VECTORS, **values: Any) -> Trained:
    return fit_head(recipe(refine, **values), IDS[: vectors.shape[0]], vectors, sample, silent)


def whole(head: Head) -> Any:
    return np.ones(len(head.gene_ids), bool)


def called(head: Head, reference: Sample, query: Sample) -> Any:
    """Return the codes of the nearest mean vector of a label of the reference."""
    vectors, _ = head.vectors(reference.logged, whole(head))
    means = np.stack([vectors[reference.codes == code].mean(axis=0) for code in range(reference.n_labels)])
    return (head.vectors(query.logged, whole(head))[0] @ unit(means)[0].T).argmax(axis=1)


# Losses


def drawn(seed: int, n: int, d: int, n_labels: int) -> tuple[Any, Any]:
    rng = np.random.default_rng(seed)
    return rng.standard_normal((n, d)).astype(np.float32), rng.integers(0, n_labels, n)


def plain_supcon(units: Any, codes: Any, temperature: float) -> Any:
    """By its definition, a vector at a time."""
    import torch

    similar = units @ units.T / temperature
    losses = []
    for i in range(len(codes)):
        others = [j for j in range(len(codes)) if j != i]
        own = [j for j in others if codes[j] == codes[i]]
        if own:
            losses.append(-(similar[i, own] - torch.logsumexp(similar[i, others], 0)).mean())
    return torch.stack(losses).mean() if losses else (units * 0).sum()


def plain_triplet(units: Any, codes: Any, margin: float) -> Any:
    import torch

    losses = []
    for i in range(len(codes)):
        own = [j for j in range(len(codes)) if j != i and codes[j] == codes[i]]
        other = [j for j in range(len(codes)) if codes[j] != codes[i]]
        if own and other:
            near = max(units[i] @ units[j] for j in other)
            losses.append(torch.relu(near - min(units[i] @ units[j] for j in own) + margin))
    return torch.stack(losses).mean() if losses else (units * 0).sum()


def by_torch(loss: Any, values: Any, *rest: Any) -> tuple[float, Any]:
    import torch

    leaf = torch.tensor(values, dtype=torch.float64, requires_grad=True)
    found = loss(leaf, *rest)
    found.backward()
    assert leaf.grad is not None
    return float(found.detach()), leaf.grad.numpy()


@given(st.integers(0, 2**31), st.integers(2, 12), st.integers(2, 6), st.integers(1, 12), st.floats(0.1, 3))
def test_the_losses_and_their_gradients_are_those_of_their_definitions(
    seed: int, n: int, d: int, n_labels: int, scale: float
) -> None:
    """Of any labels: all alike, or all apart, so that none has another of its own."""
    vectors, codes = drawn(seed, n, d, n_labels)
    units, _ = unit(vectors)
    before = units.copy()
    for own, plain in ((supcon, plain_supcon), (triplet, plain_triplet)):
        loss, gradient = own(units, codes, scale)
        expected, slopes = by_torch(plain, units, codes, scale)
        np.testing.assert_array_equal(units, before)
        assert loss == pytest.approx(expected, rel=1e-4, abs=1e-5)
        np.testing.assert_allclose(gradient, slopes, rtol=1e-3, atol=2e-5)


@given(st.integers(0, 2**31), st.integers(1, 9), st.integers(1, 6), st.integers(1, 5))
def test_the_proxy_loss_is_cross_entropy(seed: int, n: int, d: int, n_labels: int) -> None:
    import torch

    vectors, codes = drawn(seed, n, d, n_labels)
    axes = np.random.default_rng(seed + 1).standard_normal((n_labels, d)).astype(np.float32)

    def plain(values: Any) -> Any:
        return torch.nn.functional.cross_entropy(values @ torch.tensor(axes).double().T, torch.tensor(codes))

    loss, gradient = proxy(vectors, codes, axes)
    expected, slopes = by_torch(plain, vectors)
    assert loss == pytest.approx(expected, rel=1e-4, abs=1e-5)
    np.testing.assert_allclose(gradient, slopes, rtol=1e-3, atol=1e-5)


@given(st.integers(0, 2**31), st.integers(2, 9), st.integers(2, 6))
def test_a_gradient_goes_through_the_scaling_to_length_one(seed: int, n: int, d: int) -> None:
    import torch

    vectors, codes = drawn(seed, n, d, 3)

    def plain(values: Any) -> Any:
        return plain_supcon(torch.nn.functional.normalize(values), codes, 0.5)

    units, lengths = unit(vectors)
    np.testing.assert_allclose(units * lengths, vectors, rtol=1e-5, atol=1e-6)
    gradient = through_unit(supcon(units, codes, 0.5)[1], units, lengths)
    slopes = by_torch(plain, vectors)[1]
    np.testing.assert_allclose(gradient, slopes, rtol=2e-3, atol=2e-4 * max(1.0, float(1 / lengths.min())))


def test_a_vector_of_length_zero_has_finite_gradients() -> None:
    units, lengths = unit(np.array([[0, 0], [1, 0], [0, 2]], np.float32))
    assert units[0].tolist() == [0, 0]
    _, gradient = supcon(units, np.array([0, 0, 1]), 0.2)
    assert np.isfinite(through_unit(gradient, units, lengths)).all()


@pytest.mark.parametrize("loss", ["supcon", "triplet"])
@pytest.mark.parametrize("weight", [0.0, 0.7])
def test_a_step_goes_down_the_gradient_of_the_whole(loss: Any, weight: float) -> None:
    """Both parts of the weights, the centring on what a view kept of its genes, and the decay, against torch's."""
    import torch

    rng = np.random.default_rng(3)
    sample = toy_sample(24)
    refine = Refinement(loss=loss, proxy=weight, decay=0.01, dimension=5)
    texts = text_parts(VECTORS, 0.5)
    axes = rng.standard_normal((4, 5)).astype(np.float32)
    moments = Moments.of(sample)
    kept = rng.uniform(0.3, 1, (24, 1)).astype(np.float32)
    batch = Views(unit_rows(sample.logged), kept, sample.codes)
    descent = _Descent(refine, texts, moments, axes)
    descent._shared.value = (rng.standard_normal(descent._shared.value.shape) * 0.1).astype(np.float32)
    leaves = [torch.tensor(part.value, dtype=torch.float64) for part in (descent._free, descent._shared)]
    for leaf in leaves:
        leaf.requires_grad_()
    cells = torch.tensor(batch.cells.toarray(), dtype=torch.float64)
    centred = cells - torch.tensor(np.sqrt(kept)).double() * torch.tensor(moments.mean).double()
    mapped = SCALE * centred @ (leaves[0] + torch.tensor(texts).double() @ leaves[1])
    units = torch.nn.functional.normalize(mapped)
    total = plain_supcon(units, batch.codes, 0.2) if loss == "supcon" else plain_triplet(units, batch.codes, 0.2)
    logits = mapped @ torch.tensor(axes).double().T
    total = total + weight * torch.nn.functional.cross_entropy(logits, torch.tensor(batch.codes))
    total = total + 0.005 * sum((leaf**2).sum() for leaf in leaves)
    total.backward()
    before = [descent._free.value.copy(), descent._shared.value.copy()]
    descent.step(batch, 0.1)
    for old, part, leaf in zip(before, (descent._free, descent._shared), leaves, strict=True):
        assert leaf.grad is not None
        gradient = (old - part.value) / (0.1 * (1 + MOMENTUM))
        expected = leaf.grad.numpy()
        np.testing.assert_allclose(gradient, expected, atol=2e-3 * float(np.abs(expected).max()))
    np.testing.assert_allclose(
        descent.weights(), descent._free.value + texts @ descent._shared.value, rtol=1e-4, atol=1e-5
    )


# Views


def blocks(n: int = 12, width: int = 60) -> Sample:
    """Each cell expresses genes of its own, so that a view tells whose it is."""
    x = np.kron(np.eye(n), np.random.default_rng(0).integers(1, 9, width))
    return sample_of(x, [f"l{i % 3}" for i in range(n)], ["d"] * n, thins=True)


def evenly(sample: Sample) -> Any:
    return np.full(len(sample), 1 / len(sample))


@given(st.integers(0, 2**31), st.floats(0, 0.95), st.floats(0, 0.9))
def test_a_batch_has_two_views_of_each_of_its_cells(seed: int, dropout: float, thinning: float) -> None:
    sample = blocks()
    asked = recipe(Refinement(gene_dropout=dropout, thinning=thinning, batch_cells=7))
    found = views(sample, evenly(sample), asked, np.random.default_rng(seed))
    dense = found.cells.toarray()
    assert dense.shape == (14, 720)
    owners = [set((np.flatnonzero(row) // 60).tolist()) for row in dense]
    for i, (first, second) in enumerate(zip(owners[:7], owners[7:], strict=True)):
        assert len(first | second) <= 1
        for owner in first | second:
            assert found.codes[i] == found.codes[i + 7] == sample.codes[owner]
    lengths = np.linalg.norm(dense, axis=1)
    assert np.all(np.isclose(lengths, 1, atol=1e-5) | (lengths == 0))
    assert found.kept.shape == (14, 1)
    assert (found.kept >= 1 - dropout - 1e-6).all()
    assert (found.kept <= 1).all()
    again = views(sample, evenly(sample), asked, np.random.default_rng(seed))
    np.testing.assert_array_equal(again.cells.toarray(), dense)


def test_half_of_the_views_lose_up_to_the_share_of_their_genes() -> None:
    sample = blocks(6, 500)
    asked = recipe(Refinement(gene_dropout=0.6, batch_cells=600))
    found = views(sample, evenly(sample), asked, np.random.default_rng(1))
    kept = found.kept[:, 0]
    there = np.diff(found.cells.indptr) / 500
    np.testing.assert_allclose(there, kept, atol=0.12)
    assert np.corrcoef(there, kept)[0, 1] > 0.98
    whole = kept == 1
    assert (there[whole] == 1).all()
    assert 0.45 < whole.mean() < 0.55
    assert kept.min() < 0.42  # all of the range is used
    assert 0.65 < kept[~whole].mean() < 0.75
    none = views(sample, evenly(sample), recipe(Refinement(gene_dropout=0.0, batch_cells=20)), np.random.default_rng(1))
    np.testing.assert_array_equal(none.cells[:20].toarray(), none.cells[20:].toarray())
    assert (none.kept == 1).all()


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 3)), min_size=1, max_size=60))
def test_labels_and_their_batches_have_equal_chances(cells: list[tuple[int, int]]) -> None:
    codes, batches = np.array(cells).T
    chance = chances(codes, batches)
    assert chance.sum() == pytest.approx(1)
    labels = np.unique(codes)
    for label in labels:
        own = codes == label
        assert chance[own].sum() == pytest.approx(1 / len(labels))
        for batch in np.unique(batches[own]):
            both = own & (batches == batch)
            assert chance[both].sum() == pytest.approx(1 / len(labels) / len(np.unique(batches[own])))
            np.testing.assert_allclose(chance[both], chance[both][0])


def test_cells_are_drawn_by_their_chances() -> None:
    sample = blocks(4)
    asked = recipe(Refinement(gene_dropout=0.0, batch_cells=50))
    found = views(sample, np.array([0, 1.0, 0, 0]), asked, np.random.default_rng(0))
    assert set(found.codes.tolist()) == {1}


@given(st.integers(0, 2**31), st.floats(0, 0.95))
def test_thinning_only_ever_lowers_counts(seed: int, most: float) -> None:
    counts = sp.csr_matrix(toy.cells(10, seed % 7).X)
    totals = np.asarray(counts.sum(axis=1, dtype=np.float64)).ravel()
    found = _thinned(totals, counts, most, 1e4, np.random.default_rng(seed))
    # Of a cell that kept a share of its counts, those left are scaled up by at most one over the least share.
    scaled = np.expm1(found.toarray().astype(np.float64)) * totals[:, None] / 1e4
    assert (scaled * (1 - most) <= counts.toarray() + 1e-2).all()
    if most == 0:
        np.testing.assert_allclose(scaled, counts.toarray(), atol=1e-3)


def test_thinning_keeps_the_mean_and_takes_the_share_asked_for() -> None:
    counts = sp.csr_matrix(np.full((4000, 2), [3.0, 40.0], np.float32))
    found = _thinned(np.full(4000, 43.0), counts, 0.8, 1e4, np.random.default_rng(0))
    scaled = np.expm1(found.toarray().astype(np.float64)) * 43 / 1e4
    np.testing.assert_allclose(scaled.mean(axis=0), [3, 40], rtol=0.03)
    # A share of 0.2 to 1 is kept: of three counts none is, with the mean of (1 - share) cubed.
    assert (scaled[:, 0] == 0).mean() == pytest.approx(0.8**3 / 4, abs=0.02)


def test_a_reference_of_log1p_values_is_not_thinned() -> None:
    sample = replace(blocks(), counts=None)
    thin, not_thin = (
        views(sample, evenly(sample), recipe(Refinement(thinning=share)), np.random.default_rng(5))
        for share in (0.9, 0.0)
    )
    np.testing.assert_array_equal(thin.cells.toarray(), not_thin.cells.toarray())


def test_thinning_changes_what_is_learnt() -> None:
    thins = replace(FEW, thinning=0.5)
    one, other = (fitted(toy_sample(48, thins=counted), thins).head for counted in (True, False))
    assert not np.allclose(one.weights[:, :32], other.weights[:, :32])


# Moments, texts, probe


def test_moments_are_those_of_cells_of_length_one() -> None:
    sample = toy_sample(30).at(np.array([i for i in range(30) if i % 4 != 2]))  # one of the labels is not there
    dense = sample.logged.toarray().astype(np.float64)
    dense /= np.linalg.norm(dense, axis=1, keepdims=True)
    moments = Moments.of(sample)
    means = [dense[sample.codes == code].mean(axis=0) for code in (0, 1, 3)]
    np.testing.assert_allclose(moments.labels[[0, 1, 3]], means, atol=1e-6)
    assert not moments.labels[2].any()
    np.testing.assert_allclose(moments.mean, np.mean(means, axis=0), atol=1e-6)
    np.testing.assert_allclose(moments.power, (dense**2).mean(axis=0), atol=1e-6)
    assert moments.power.sum() == pytest.approx(1, abs=1e-5)


def test_text_parts_are_centred_and_weighed() -> None:
    few = np.random.default_rng(0).standard_normal((50, 8)).astype(np.float32) + 3
    parts = text_parts(few, 0.3)
    assert parts.shape == (50, 8)
    assert np.sqrt((parts**2).sum(axis=1).mean()) == pytest.approx(0.3, rel=1e-5)
    np.testing.assert_allclose(parts.mean(axis=0), 0, atol=1e-6)
    centred = few - few.mean(axis=0)
    ratio = np.linalg.norm(centred, axis=1) / np.linalg.norm(parts, axis=1)
    np.testing.assert_allclose(ratio, ratio[0], rtol=1e-4)
    # Of many dimensions, those in which texts differ most are kept.
    wide = np.zeros((300, 200), np.float32)
    wide[:, 100] = np.random.default_rng(1).standard_normal(300) * 50
    wide += np.random.default_rng(2).standard_normal(wide.shape).astype(np.float32)
    parts = text_parts(wide, 1.0)
    assert parts.shape == (300, TEXT_DIMENSION)
    assert abs(np.corrcoef(parts[:, 0], wide[:, 100])[0, 1]) > 0.99
    assert not text_parts(few, 0.0).any()
    assert not text_parts(np.ones((5, 3), np.float32), 0.3).any()


def test_the_probe_is_scikit_learn_s_regression() -> None:
    from sklearn.linear_model import LogisticRegression

    sample = toy_sample(41)
    weights, intercept = probe(sample, 0)
    cells = unit_rows(sample.logged)
    model = LogisticRegression(class_weight="balanced", max_iter=900, tol=1e-7)
    expected = model.fit(cells * np.float32(PROBE_SCALE), sample.codes).decision_function(
        cells * np.float32(PROBE_SCALE)
    )
    np.testing.assert_allclose(cells @ weights + intercept, expected, atol=1e-2 * np.abs(expected).max())
    part = replace(sample, codes=np.where(sample.codes == 1, 2, sample.codes))  # a label that this part lacks
    weights, intercept = probe(part, 0)
    assert not weights[:, 1].any()
    assert intercept[1] == 0
    assert ((cells @ weights + intercept)[:, [0, 2, 3]].argmax(axis=1) == np.array([0, 0, 1, 2])[part.codes]).all()


def test_a_probe_is_the_same_from_the_cells_cosines_and_from_their_genes(monkeypatch: pytest.MonkeyPatch) -> None:
    """And a cell that is there twice, so that the cosines have no inverse, changes neither."""
    sample, query = toy_sample(60).at(np.array([*range(60), 0, 1])), unit_rows(toy_sample(40, seed=1).logged)
    assert in_span(sample)
    cosines = cosines_of(sample)
    dense = unit_rows(sample.logged).toarray()
    np.testing.assert_allclose(cosines, dense @ dense.T, atol=1e-5)
    found = probe(sample, 0, cosines)
    for one, other in zip(found, probe(sample, 0), strict=True):
        np.testing.assert_array_equal(one, other)
    monkeypatch.setattr("scvec.embed.refine.probe.MOST", 10)
    assert not in_span(sample)
    by_genes = probe(sample, 0)
    logits, expected = (query @ weights + intercept for weights, intercept in (found, by_genes))
    np.testing.assert_allclose(logits, expected, atol=1e-3 * np.abs(expected).max())


# The head


def a_head(seed: int, n_genes: int, parts: tuple[tuple[int, int, float], ...] = ((0, 3, 1.0), (3, 5, 2.0))) -> Head:
    rng = np.random.default_rng(seed)
    power = rng.random(n_genes).astype(np.float32)
    power /= power.sum()
    return Head(
        recipe(),
        np.arange(n_genes),
        rng.standard_normal((n_genes, 5)).astype(np.float32),
        (rng.random(n_genes) / 3).astype(np.float32),
        power,
        rng.standard_normal(5).astype(np.float32),
        parts,
    )


@given(st.integers(0, 2**31), st.integers(1, 5), st.integers(2, 12))
def test_a_head_is_its_formula_and_unmeasured_genes_count_as_at_the_mean(seed: int, n: int, n_genes: int) -> None:
    rng = np.random.default_rng(seed)
    head = a_head(seed, n_genes)
    measured = rng.random(n_genes) < 0.7
    known = (rng.random((n, n_genes)) * (rng.random((n, n_genes)) < 0.6) * measured).astype(np.float32)
    vectors, empty = head.vectors(sp.csr_matrix(known), measured)
    assert empty.tolist() == (~known.any(axis=1)).tolist()
    seen = np.sqrt(head.power[measured].sum())
    for cell, vector in zip(known.astype(np.float64), vectors, strict=True):
        if not cell.any():
            assert not vector.any()
            continue
        filled = np.where(measured, cell / np.linalg.norm(cell) * seen, head.mean)
        mapped = (filled - head.mean) @ head.weights + head.bias
        first, second = mapped[:3] / np.linalg.norm(mapped[:3]), mapped[3:] / np.linalg.norm(mapped[3:])
        np.testing.assert_allclose(vector, np.concatenate([first, 2 * second]) / np.sqrt(5), atol=2e-4)


@given(st.integers(0, 2**31), st.floats(0.1, 4))
def test_parts_have_their_weights_in_the_cosine(seed: int, weight: float) -> None:
    """The cosine of whole vectors is the mean of the cosines of their parts, weighed by the squares."""
    head = a_head(seed, 9, ((0, 3, 1.0), (3, 5, weight)))
    known = sp.csr_matrix(np.random.default_rng(seed).random((6, 9)).astype(np.float32))
    vectors, _ = head.vectors(known, whole(head))
    first, second = unit(vectors[:, :3])[0], unit(vectors[:, 3:])[0]
    expected = (first @ first.T + weight**2 * second @ second.T) / (1 + weight**2)
    np.testing.assert_allclose(vectors @ vectors.T, expected, atol=1e-4)


def test_half_of_the_genes_place_a_cell_where_all_would() -> None:
    """And much better than if the other half counted as not expressed."""
    query, head = toy_sample(40, seed=1), fitted(toy_sample()).head
    full, _ = head.vectors(query.logged, whole(head))
    # Most markers of two types are not measured, and few of the two others.
    theme = np.array([toy.theme_of(i) or "" for i in range(toy.N_GENES)])
    rng = np.random.default_rng(0)
    measured = rng.random(toy.N_GENES) < np.where(np.isin(theme, ["alpha", "beta"]), 0.2, 0.6)
    cut = sp.csr_matrix(query.logged.multiply(measured), dtype=np.float32)
    cut.eliminate_zeros()
    aware, _ = head.vectors(cut, measured)
    naive, _ = head.vectors(cut, whole(head))
    off_aware, off_naive = (1 - (one * full).sum(axis=1) for one in (aware, naive))
    assert off_aware.mean() < 0.5 * off_naive.mean()
    nearest = query.codes[(aware @ full.T).argmax(axis=1)]
    assert (nearest == query.codes).mean() > 0.95


def test_saving(tmp_path: Path) -> None:
    head = fitted(toy_sample(32)).head
    head.save(tmp_path / "head")
    again = Head.load(tmp_path / "head", head.recipe)
    for name in ("gene_ids", "weights", "mean", "power", "bias"):
        np.testing.assert_array_equal(getattr(again, name), getattr(head, name))
        assert not getattr(again, name).flags.writeable
    assert again.parts == head.parts
    assert again.dimension == head.dimension == 32 + 4
    with pytest.raises(MismatchError, match="another recipe"):
        Head.load(tmp_path / "head", recipe(replace(FEW, proxy=0.5)))


# Training


def test_the_same_seed_trains_the_same_bits() -> None:
    sample = toy_sample(48)
    first, second, other = fitted(sample), fitted(sample), fitted(sample, random_state=1)
    for name in ("weights", "mean", "power", "bias"):
        np.testing.assert_array_equal(getattr(first.head, name), getattr(second.head, name))
    assert (first.steps, first.curve) == (second.steps, second.curve)
    assert not np.allclose(first.head.weights[:, :32], other.head.weights[:, :32])


def test_any_number_of_threads_trains_the_same_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    found = []
    for threads in ("1", "4"):
        monkeypatch.setenv("NUMBA_NUM_THREADS", threads)
        monkeypatch.setattr("os.sched_getaffinity", lambda _process: set(range(4)), raising=False)
        found.append(fitted(toy_sample(48), vectors=NOISE))
    one, many = found
    assert one.curve == many.curve
    for (fold, head), (other_fold, other) in zip(one.folds, many.folds, strict=True):
        np.testing.assert_array_equal(fold.held, other_fold.held)
        np.testing.assert_array_equal(head.weights, other.weights)
    for name in ("weights", "mean", "power", "bias"):
        np.testing.assert_array_equal(getattr(one.head, name), getattr(many.head, name))


def test_it_learns_the_types_though_the_texts_are_noise() -> None:
    reference, query = toy_sample(), toy_sample(60, seed=1)
    trained = fitted(reference, vectors=NOISE)
    assert trained.curve[trained.steps] > 0.95
    assert (called(trained.head, reference, query) == query.codes).all()


def hard(n: int, seed: int) -> Sample:
    """Two types that differ a little in some genes, and programs that are on or off in cells of either."""
    rng = np.random.default_rng(seed)
    codes, on = rng.integers(0, 2, n), rng.random((n, 3)) < 0.5
    rates = np.full((n, 80), 1.0)
    rates[:, :8] += 1.6 * codes[:, None]
    for program in range(3):
        rates[:, 20 + 20 * program : 40 + 20 * program] += 12.0 * on[:, program, None]
    return sample_of(rng.poisson(rates), codes, [f"d{i % 2}" for i in range(n)])


@pytest.mark.parametrize("loss", ["supcon", "triplet"])
def test_training_beats_the_mean_cells_it_starts_from(loss: Any) -> None:
    """Where cells differ most in what has nothing to do with their type."""
    reference, query = hard(160, 0), hard(200, 1)
    asked = recipe(Refinement(loss=loss, probe=0.0, steps=60, batch_cells=64, gene_dropout=0.2, dimension=8))
    weights = train(asked, text_parts(NOISE[:80], 0.1), reference, None, lambda _n: None)
    start = weights_at_the_start(asked, reference)
    moments = Moments.of(reference)

    def accuracy(one: Floats) -> float:
        head = Head(asked, IDS[:80], one, moments.mean, moments.power, np.zeros(8, np.float32), ((0, 8, 1.0),))
        vectors = head.vectors(reference.logged, whole(head))[0]
        near = (head.vectors(query.logged, whole(head))[0] @ vectors.T).argsort(axis=1)[:, -15:]
        return float(((reference.codes[near].mean(axis=1) > 0.5) == query.codes).mean())

    assert list(weights) == [*range(7, 60, 7), 60]
    assert accuracy(weights[60]) > accuracy(start) + 0.1
    assert accuracy(weights[60]) > 0.8


def weights_at_the_start(asked: Recipe, sample: Sample) -> Floats:
    """Return the weights before the first step: of a rate that is next to nothing."""
    assert asked.refine is not None
    still = replace(asked, refine=replace(asked.refine, learning_rate=1e-12))
    return train(still, text_parts(NOISE[:80], 0.1), sample, 1, lambda _n: None)[1]


def without(genes: Any, n: int = 96, seed: int = 0) -> Sample:
    """Return cells that do not express these genes."""
    cells = toy.cells(n, seed, form="dense")
    cells.X[:, genes] = 0
    return sample_of(cells.X, cells.obs["cell_type"], cells.obs["donor"])


HIDDEN = [i for i in range(toy.N_GENES) if toy.theme_of(i) and i % 3 == 1]
"""Markers of every type, each with a text that says of which."""


def only(genes: Any) -> Any:
    """Return one cell that expresses these genes alone."""
    cell = np.zeros((1, toy.N_GENES), np.float32)
    cell[0, genes] = 2.0
    return sp.csr_matrix(cell)


@pytest.mark.parametrize("probe_weight", [0.0, 1.0])
def test_a_gene_that_training_never_saw_has_the_weights_of_its_text(probe_weight: float) -> None:
    reference = without(HIDDEN)
    refine = Refinement(text_weight=3.0, steps=60, probe=probe_weight)
    head = fitted(reference, refine).head
    vectors, _ = head.vectors(reference.logged, whole(head))
    means = np.stack([vectors[reference.codes == code].mean(axis=0) for code in range(4)])[:, :32]
    for code, label in enumerate(reference.names):
        cell = only([gene for gene in HIDDEN if toy.theme_of(gene) == label])
        vector = head.vectors(cell, whole(head))[0][0, :32]
        assert (means @ vector).argmax() == code, label
    # Two genes of one text have the same weights.
    alike = [gene for gene in HIDDEN if toy.theme_of(gene) == "beta"]
    np.testing.assert_allclose(head.weights[alike[0]], head.weights[alike[1]], atol=1e-6)
    assert np.abs(head.weights[HIDDEN, :32]).max() > 0
    assert not head.weights[HIDDEN, 32:].any()  # the probe reads no text


def test_without_text_such_a_gene_has_nothing() -> None:
    head = fitted(without(HIDDEN), Refinement(text_weight=0.0, steps=24)).head
    assert not head.weights[HIDDEN].any()
    seen = np.setdiff1d(np.arange(toy.N_GENES), HIDDEN)
    assert np.abs(head.weights[seen]).sum(axis=1).min() > 0


def test_free_weights_are_those_of_a_text_that_counts_nothing() -> None:
    """Without texts, vectors have no dimensions; the head is that of texts of weight 0."""
    sample = toy_sample()
    free = fit_head(recipe().without_text(), IDS, np.zeros((len(IDS), 0), np.float32), sample, silent)
    texts = fit_head(recipe(replace(FEW, text_weight=0.0)), IDS, VECTORS, sample, silent)
    np.testing.assert_array_equal(free.head.weights, texts.head.weights)
    assert free.curve == texts.curve
    assert free.head.recipe.weights == "free"


def test_triplets_and_no_proxy_are_options() -> None:
    reference, query = toy_sample(), toy_sample(40, seed=1)
    for refine in (
        Refinement(loss="triplet", steps=24, batch_cells=32),
        Refinement(loss="triplet", margin=0.9, proxy=0.0, steps=24, batch_cells=32),
        replace(FEW, proxy=0.0),
    ):
        head = fitted(reference, refine).head
        assert (called(head, reference, query) == query.codes).all()


@pytest.mark.parametrize(
    "change",
    [
        {"temperature": 0.5},
        {"proxy": 0.3},
        {"gene_dropout": 0.1},
        {"text_weight": 0.9},
        {"decay": 0.5},
        {"learning_rate": 0.1},
        {"steps": 12},
        {"batch_cells": 20},
        {"loss": "triplet", "temperature": None},
    ],
    ids=str,
)
def test_every_parameter_of_the_training_counts(change: dict[str, Any]) -> None:
    sample = hard(40, 0)
    one, other = (
        train(recipe(refine), text_parts(VECTORS[:80], refine.text_weight), sample, 9, lambda _n: None)[9]
        for refine in (FEW, replace(FEW, **change))
    )
    assert np.abs(one - other).max() > 1e-5


def test_one_label_is_refused_with_the_cure() -> None:
    cells = toy.cells(12)
    with pytest.raises(LabelError, match=r"'beta'.*two labels.*genept-w") as caught:
        fitted(sample_of(cells.X, ["beta"] * 12, cells.obs["donor"]))
    assert "\n" not in str(caught.value)


def test_the_probe_is_a_part_and_can_be_left_out() -> None:
    sample = toy_sample(48)
    with_probe, without_probe = (fitted(sample, replace(FEW, probe=one)).head for one in (1.5, 0.0))
    assert with_probe.parts == ((0, 32, 1.0), (32, 36, 1.5))
    assert without_probe.parts == ((0, 32, 1.0),)
    np.testing.assert_array_equal(with_probe.weights[:, :32], without_probe.weights)
    # Its part of a vector has the direction of the regression's logits.
    slopes, intercept = probe(sample, 0)
    logits = unit_rows(sample.logged) @ slopes + intercept
    part = with_probe.vectors(sample.logged, whole(with_probe))[0][:, 32:]
    np.testing.assert_allclose(unit(part)[0], logits / np.linalg.norm(logits, axis=1, keepdims=True), atol=1e-3)


def test_two_labels() -> None:
    cells = toy.cells(80)
    two = np.isin(cells.obs["cell_type"], ["alpha", "immune"])
    reference = sample_of(cells.X[two], cells.obs["cell_type"][two], cells.obs["donor"][two])
    head = fitted(reference).head
    assert head.dimension == 32 + 2
    np.testing.assert_allclose(head.weights[:, 32], -head.weights[:, 33])
    part = head.vectors(reference.logged, whole(head))[0][:, 32:]
    assert (part.argmax(axis=1) == reference.codes).all()


def test_more_labels_than_dimensions() -> None:
    reference, query = toy_sample(), toy_sample(40, seed=1)
    head = fitted(reference, Refinement(dimension=2, probe=0.0, steps=60)).head
    assert head.dimension == 2
    assert (called(head, reference, query) == query.codes).mean() > 0.9


def test_a_label_of_one_donor_alone_does_not_count_where_this_donor_is_held_out() -> None:
    cells = toy.cells(90)
    kind, donor = cells.obs["cell_type"].to_numpy(str), cells.obs["donor"].to_numpy(str)
    kept = (kind != "immune") | (donor == "d1")
    sample = sample_of(cells.X[kept], kind[kept], donor[kept])
    trained = fitted(sample)
    assert len(trained.folds) == 3
    assert trained.curve[trained.steps] > 0.9
    for fold, head in trained.folds:
        assert head.dimension == 36
        if "d1" in sample.batches[fold.held]:
            assert not head.weights[:, 32 + sample.names.index("immune")].any()


def test_where_nothing_can_be_held_out_all_steps_are_taken() -> None:
    """Two cells of two labels: one alone has a single label."""
    cells = toy.cells(2)
    trained = fitted(sample_of(cells.X, cells.obs["cell_type"].to_numpy(str), np.array(["d1", "d1"], object)))
    assert (trained.folds, trained.curve, trained.steps) == ((), {}, FEW.steps)
    assert trained.to_dict() == {"steps": FEW.steps, "folds": 0, "held_out_macro_f1": {}}


def test_the_steps_are_those_that_call_held_out_cells_best() -> None:
    trained = fitted(hard(120, 0), Refinement(steps=64, batch_cells=32, gene_dropout=0.2), NOISE[:80])
    assert list(trained.curve) == list(range(8, 65, 8))
    best = max(round(score, 4) for score in trained.curve.values())
    assert trained.steps == min(step for step, score in trained.curve.items() if round(score, 4) == best)
    assert len(set(trained.curve.values())) > 1

    def again() -> Floats:
        texts, steps = text_parts(NOISE[:80], 0.1), trained.steps
        return train(trained.head.recipe, texts, hard(120, 0), steps, lambda _n: None)[steps]

    (weights,) = side_by_side([again])
    np.testing.assert_array_equal(trained.head.weights[:, : weights.shape[1]], weights)
    assert trained.to_dict()["held_out_macro_f1"][str(trained.steps)] == best


def test_of_equal_scores_the_fewest_steps_are_taken() -> None:
    trained = fitted(toy_sample())
    assert set(trained.curve.values()) == {1.0}
    assert trained.steps == min(trained.curve) == 3


def test_the_curve_is_of_cells_that_nothing_had_seen() -> None:
    """Of donors that differ much: their means must not be known either."""
    from sklearn.metrics import f1_score

    some = hard(160, 0)
    dense = some.logged.toarray()
    dense[some.batches == "d1", :40] *= np.random.default_rng(0).uniform(0.3, 2, 40)
    sample = replace(some, logged=sp.csr_matrix(dense))
    asked = recipe(Refinement(steps=16, batch_cells=32, dimension=8, folds=2))
    texts = text_parts(NOISE[:80], 0.1)
    scores: dict[int, list[float]] = {}
    for fold in folds(sample.codes, sample.batches, 2, 0):
        seen = sample.at(fold.seen)
        moments = Moments.of(seen)
        for step, weights in train(asked, texts, seen, None, lambda _n: None).items():
            parts = ((0, 8, 1.0),)
            head = Head(asked, IDS[:80], weights, moments.mean, moments.power, np.zeros(8, np.float32), parts)
            reference, held = (head.vectors(one.logged, whole(head))[0] for one in (seen, sample.at(fold.held)))
            _, votes = retrieve(reference, seen.codes, 2, held, DEFAULT)
            score = f1_score(sample.codes[fold.held], votes.winner, average="macro")
            scores.setdefault(step, []).append(float(score))
    trained = fit_head(asked, IDS[:80], NOISE[:80], sample, silent)
    assert trained.curve == pytest.approx({step: np.mean(found) for step, found in scores.items()}, abs=1e-9)


def test_progress_comes_to_its_end() -> None:
    done, totals = [0], [0]

    @contextmanager
    def counting(_title: str, total: int) -> Iterator[Any]:
        totals[0] += total

        def advance(n: int) -> None:
            done[0] += n

        yield advance

    fit_head(recipe(), IDS, VECTORS, toy_sample(30), counting)
    assert done == totals
    assert totals[0] == 4 * FEW.steps
