"""Signals by which new types are told: against plain definitions, on cells of planted types, and as they are kept."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st

from scvec.atlas.likeness import COMPONENTS, Likeness
from scvec.embed.sample import Sample
from scvec.embed.surplus import FLOOR, N_GENES, PRIOR, Surplus, counts_of
from scvec.knn.calibration import NOTHING_SAID, SHRINKAGE, Calibration, HeldOut, Signals, calibrate
from scvec.knn.spread import RIDGE, Spread
from scvec.knn.unlike import shift_of

GENES = 30


def cells(seed: int, means: Any, n: int = 40, depth: int = 400) -> tuple[Any, Any]:
    """Return n Poisson cells of each row of (L, g) `means`, log-normalised, and their codes."""
    rng = np.random.default_rng(seed)
    codes = np.repeat(np.arange(len(means)), n)
    shares = np.asarray(means, float) / np.sum(means, axis=1, keepdims=True)
    counts = rng.poisson(depth * shares[codes]).astype(np.float64)
    counts[:, 0] = 1  # a single count in each cell, by which counts are told from normalised values
    logged = np.log1p(1e4 * counts / counts.sum(axis=1, keepdims=True))
    return sp.csr_matrix(logged.astype(np.float32)), codes


def sample_of(logged: Any, codes: Any, n_labels: int) -> Sample:
    names = tuple(f"type{i}" for i in range(n_labels))
    batches = np.full(len(codes), "donor", object)
    return Sample(logged, None, np.ones(len(codes)), codes, names, batches)


def types(seed: int, n_labels: int) -> Any:
    return np.random.default_rng(seed).gamma(0.5, 1, (n_labels, GENES)) + 0.05


EVERY = np.ones(GENES, bool)


# Surplus


def test_counts_are_found_again() -> None:
    logged, _ = cells(0, types(0, 3))
    counts, depths = counts_of(logged)
    assert counts.min(axis=1).toarray().min() >= 0
    np.testing.assert_allclose(counts.data, counts.data.round(), atol=1e-2)
    np.testing.assert_allclose(np.asarray(counts.sum(axis=1)).ravel(), depths, rtol=1e-4)


@given(st.integers(0, 2**31), st.integers(1, 4))
def test_surplus_is_its_definition(seed: int, n_labels: int) -> None:
    logged, codes = cells(seed, types(seed, n_labels), n=5)
    known = Surplus.of(sample_of(logged, codes, n_labels))
    counts, depths = counts_of(logged)
    shares = counts.toarray() / depths[:, None]
    mean = shares.mean(axis=0)
    called = np.random.default_rng(seed).integers(-1, n_labels, len(codes))
    found = known(logged, EVERY, called)
    for label in range(n_labels):
        own = (shares[codes == label].sum(axis=0) + PRIOR * mean) / ((codes == label).sum() + PRIOR)
        np.testing.assert_allclose(known.shares[label], own, rtol=1e-4, atol=1e-7)
    for i, label in enumerate(called):
        if label < 0:
            assert found[i] == 0
            continue
        depth = min(depths[i], known.depth)
        count, expected = depth * shares[i], depth * known.shares[label].astype(float)
        over = count * np.log((count + FLOOR) / (expected + FLOOR)) - (count - expected)
        over = np.where(count > expected, np.maximum(over, 0) / np.sqrt(1 + known.dispersion * expected), 0)
        assert found[i] == pytest.approx(np.sort(over)[-N_GENES:].sum(), rel=1e-3, abs=1e-3)


def test_a_gene_that_no_cell_of_the_label_has_is_a_surplus_and_one_that_varies_is_none() -> None:
    means = np.ones((2, GENES))
    means[:, 5], means[:, 6] = 0.001, 0.001
    rng = np.random.default_rng(1)
    logged, codes = cells(1, means, n=200)
    wild = logged.toarray()
    wild[:, 7] = np.log1p(1e4 * rng.gamma(0.3, 0.2, len(codes)))  # varies within each label
    known = Surplus.of(sample_of(sp.csr_matrix(wild.astype(np.float32)), codes, 2))
    assert known.dispersion[7] > 3 * np.median(known.dispersion)
    plain, other, varying = wild[0].copy(), wild[0].copy(), wild[0].copy()
    other[5] = varying[7] = np.log1p(1e4 * 20 / 400)
    plain[7] = varying[7] / 4
    other[7] = plain[7]
    found = known(sp.csr_matrix(np.stack([plain, other, varying])), EVERY, np.zeros(3, int))
    assert found[1] - found[0] > 5 * abs(found[2] - found[0])


def test_deeper_cells_than_the_references_are_taken_as_its_deep_ones() -> None:
    logged, codes = cells(2, types(2, 2))
    known = Surplus.of(sample_of(logged, codes, 2))
    deep, own = cells(3, types(2, 2), depth=40_000)
    other = np.median(known(logged, EVERY, 1 - codes))  # as if they were of the other label
    assert np.median(known(deep, EVERY, 1 - own)) < 1.5 * other
    assert np.median(replace(known, depth=1e9)(deep, EVERY, 1 - own)) > 5 * other


def test_genes_that_a_query_lacks_are_none_of_its_counts() -> None:
    logged, codes = cells(4, types(4, 2))
    known = Surplus.of(sample_of(logged, codes, 2))
    measured = np.arange(GENES) < 20
    few = sp.csr_matrix(logged.toarray() * measured)
    again = few.copy()
    again.data = np.log1p(3 * np.expm1(few.data))  # scaled to the total of its own genes
    np.testing.assert_allclose(known(few, measured, codes), known(again, measured, codes), rtol=1e-3, atol=1e-3)


# Spread


@given(st.integers(0, 2**31), st.integers(2, 5), st.integers(1, 6))
def test_distances_are_those_of_mahalanobis(seed: int, n_labels: int, d: int) -> None:
    rng = np.random.default_rng(seed)
    codes = rng.integers(0, n_labels, 60)
    points = (rng.normal(size=(60, d)) + 3 * rng.normal(size=(n_labels, d))[codes]).astype(np.float32)
    known = Spread.of(points, codes, n_labels + 1)  # the last label has no cell
    means = np.stack([points[codes == code].mean(axis=0) for code in range(n_labels) if (codes == code).any()])
    place = np.cumsum([(codes == code).any() for code in range(n_labels)]) - 1
    inside = points - means[place[codes]]
    covariance = inside.T.astype(float) @ inside / 60
    covariance += RIDGE * np.trace(covariance) / d * np.eye(d)
    inverse, found = np.linalg.inv(covariance), known.distances(points)
    for code in range(n_labels):
        if (codes == code).any():
            off = points - means[place[code]]
            np.testing.assert_allclose(found[:, code], ((off @ inverse) * off).sum(axis=1), rtol=1e-2, atol=1e-2)
    assert np.isinf(found[:, n_labels]).all()
    other = found.copy()
    other[np.arange(60), codes] = np.inf
    expected = other.min(axis=1) - found[np.arange(60), codes]
    np.testing.assert_allclose(known.lead(points, codes), expected.astype(np.float32), rtol=1e-3, atol=1e-2)


def test_a_label_that_the_spread_lacks_says_nothing() -> None:
    points = np.random.default_rng(0).normal(size=(20, 3)).astype(np.float32)
    known = Spread.of(points, np.repeat([0, 1], 10), 3)
    for codes in (np.full(20, -1), np.full(20, 2), np.full(20, 7)):
        assert np.isnan(known.to_own(points, codes)).all()
        assert np.isnan(known.lead(points, codes)).all()
    alone = Spread.of(points, np.zeros(20, int), 1)
    assert np.isnan(alone.lead(points, np.zeros(20, int))).all()  # no other label to be farther


# Likeness as it is kept


@pytest.mark.parametrize("views", [True, False])
def test_a_likeness_is_read_as_it_was_saved(tmp_path: Path, views: bool) -> None:
    logged, codes = cells(5, types(5, 3))
    points = np.random.default_rng(5).normal(size=(len(codes), 4)).astype(np.float32)
    components = Spread.of(points, codes, 3) if views else None
    made = Likeness(Surplus.of(sample_of(logged, codes, 3)), Spread.of(points, codes, 3), components)
    made.save(tmp_path / "likeness.safetensors")
    read = Likeness.load(tmp_path / "likeness.safetensors")
    found, again = (one.signals(logged, EVERY, points, {COMPONENTS: points}, codes) for one in (made, read))
    assert set(found) == set(again) == {"surplus", "spread"} | ({"lead"} if views else set())
    for name, values in found.items():
        np.testing.assert_array_equal(values, again[name])
        assert np.isfinite(values).all()


# Novelty


def signals_of(seed: int, m: int, shift: float = 0.0) -> tuple[Any, dict[str, Any]]:
    """Return calls of three labels, whose leads differ in scale, and their further signals."""
    rng = np.random.default_rng(seed)
    called = rng.integers(0, 3, m)
    lead = np.array([5, 50, 500])[called] * (1 + 0.2 * rng.normal(size=m) - 0.2 * shift)
    return called, {"spread": rng.gamma(9, 1 + shift / 5, m), "surplus": rng.gamma(4, 1 + shift / 3, m), "lead": lead}


def held_of(seed: int, m: int) -> HeldOut:
    called, further = signals_of(seed, m)
    still = np.full(m, 0.5, np.float32)
    return HeldOut(called, called, still, still, still, still, still, further)


def seen_of(called: Any, further: dict[str, Any]) -> Signals:
    still = np.full(len(called), 0.5, np.float32)
    return Signals(still, still, still, still, called, further)


def test_novelty_joins_the_shares_of_its_signals() -> None:
    rng = np.random.default_rng(2)
    held = replace(held_of(0, 200), odd=rng.random(200).astype(np.float32))
    called, further = signals_of(1, 5, 2.0)
    seen = replace(seen_of(called, further), odd=rng.random(5).astype(np.float32))
    found = calibrate(held).novelty(seen)
    own = held.further
    lead = np.asarray(own["lead"], float)
    for i, code in enumerate(called):
        expected = -0.5 * math.log(((held.odd >= seen.odd[i]).sum() + 1) / 201)
        for name in ("spread", "surplus"):
            value = np.float32(further[name][i])
            expected -= math.log(((own[name] >= value).sum() + 1) / 201)

        def scaled(values: Any, label: int) -> Any:
            of = lead[held.called == label]
            mean = (of.sum() + SHRINKAGE * lead.mean()) / (len(of) + SHRINKAGE)
            spread = math.sqrt((len(of) * of.var() + SHRINKAGE * lead.var()) / (len(of) + SHRINKAGE))
            return (values - mean) / spread

        all_scaled = np.array([scaled(one, label) for one, label in zip(lead, held.called, strict=True)])
        expected -= math.log(((all_scaled <= scaled(further["lead"][i], code)).sum() + 1) / 201)
        assert found[i] == pytest.approx(expected, abs=1e-4)


def test_no_more_known_cells_than_asked_for_are_novel_and_most_new_ones_are() -> None:
    known, new = [], []
    for seed in range(30):
        calibration = calibrate(held_of(seed, 400))
        limit = calibration.too_novel(0.05)
        known.append((calibration.novelty(seen_of(*signals_of(1000 + seed, 400))) > limit).mean())
        new.append((calibration.novelty(seen_of(*signals_of(2000 + seed, 400, 4.0))) > limit).mean())
    assert 0.03 < np.mean(known) < 0.06
    assert np.mean(new) > 0.9


def test_a_signal_that_is_missing_says_what_it_says_on_average() -> None:
    calibration = calibrate(held_of(3, 300))
    called, further = signals_of(4, 50)
    whole = calibration.novelty(seen_of(called, further))
    for name in further:
        lacking = {**further, name: np.full(50, np.nan)}
        without = {key: one for key, one in further.items() if key != name}
        found = calibration.novelty(seen_of(called, lacking))
        np.testing.assert_allclose(found, calibration.novelty(seen_of(called, without)) - NOTHING_SAID, rtol=1e-5)
        assert (found != whole).any()
    later = seen_of(np.full(50, 9), further)  # a label that came later has no cells that were held out
    assert np.isfinite(calibration.novelty(later)).all()


def test_a_calibration_is_read_as_it_was_saved_and_an_older_one_too(tmp_path: Path) -> None:
    path, made = tmp_path / "calibration.safetensors", calibrate(held_of(6, 100))
    seen = seen_of(*signals_of(7, 20))
    made.save(path)
    read = Calibration.load(path)
    np.testing.assert_array_equal(read.novelty(seen), made.novelty(seen))
    older = calibrate(replace(made.held, further={}, fold=None))
    older.save(path)
    read = Calibration.load(path)
    assert read.held.fold is None
    assert not read.held.further
    np.testing.assert_array_equal(read.novelty(seen), 0 * seen.far)  # by distance and unexpected genes, all alike


def test_parts_that_are_joined_know_their_fold() -> None:
    joined = HeldOut.joined([held_of(0, 3), held_of(1, 2)])
    assert joined.fold is not None
    assert joined.fold.tolist() == [0, 0, 0, 1, 1]
    assert joined.further["spread"].shape == (5,)


# Unlike the donors that were held out


def parts_of(seed: int, shifts: list[float], m: int = 150) -> HeldOut:
    """Return calls of as many parts, each further from the reference by its own shift."""
    parts = []
    for i, shift in enumerate(shifts):
        called, further = signals_of(seed + i, m, shift)
        still = np.full(m, 0.5, np.float32)
        parts.append(HeldOut(called, called, still, still, still, still, still, further))
    return HeldOut.joined(parts)


def unlike(held: HeldOut, called: Any, further: dict[str, Any]) -> Any:
    calibration = calibrate(held)
    seen = seen_of(called, further)
    return shift_of(calibration, calibration.novelty(seen), calibration.confidence(seen), called)


def test_a_query_like_the_donors_held_out_is_not_unlike_and_one_of_another_study_is() -> None:
    alarms, seen = [], []
    for seed in range(0, 400, 10):
        rng = np.random.default_rng(seed)
        held = parts_of(seed, rng.uniform(0, 1, 4).tolist())
        alarms.append(unlike(held, *signals_of(seed + 8, 150, rng.uniform(0, 1))).is_unlike)
        seen.append(unlike(held, *signals_of(seed + 9, 150, 4.0)).is_unlike)
    assert np.mean(alarms) < 0.1
    assert np.mean(seen) > 0.95


def test_novelty_is_counted_from_a_shift_but_not_where_calls_are_in_doubt() -> None:
    held = parts_of(0, [0.0, 0.2, 0.4])
    called, further = signals_of(9, 300, 4.0)
    found = unlike(held, called, further)
    assert found.excess == pytest.approx(found.shift - found.usual)
    calibration, seen = calibrate(held), seen_of(called, further)
    novelty, confidence = calibration.novelty(seen), calibration.confidence(seen)
    foreign = shift_of(calibration, novelty, confidence - 0.5, called)
    far = shift_of(calibration, novelty + 9, confidence, called)
    for one in (foreign, far):
        assert one is not None
        assert one.is_unlike
        assert one.excess == 0
    same = unlike(held, *signals_of(10, 300, 0.2))
    assert same.excess == 0


def test_neither_another_mix_of_types_nor_a_single_new_one_makes_a_query_unlike() -> None:
    held = parts_of(0, [0.0, 0.2, 0.4])
    called, further = signals_of(50, 900)
    mix = np.flatnonzero((called == 0) | (np.arange(900) % 20 == 0))
    assert not unlike(held, called[mix], {name: one[mix] for name, one in further.items()}).is_unlike
    _, new = signals_of(51, 900, 6.0)
    one_new = {name: np.where(called == 1, new[name], further[name]) for name in further}
    one_new["lead"] = np.where(called == 1, 10, further["lead"])
    assert not unlike(held, called, one_new).is_unlike


def test_without_folds_or_labels_to_compare_nothing_is_said() -> None:
    held = parts_of(0, [0.0, 0.2])
    called, further = signals_of(1, 40, 9.0)
    assert unlike(replace(held, fold=None), called, further) is None
    few = np.flatnonzero(called == 0)
    found = unlike(held, called[few], {name: one[few] for name, one in further.items()})
    assert math.isnan(found.shift)
    assert not found.is_unlike
