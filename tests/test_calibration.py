"""What held-out cells say of calls: signals, confidence, thresholds, novelty, sets; against plain definitions."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st

from scvec.core.types import Neighbors
from scvec.embed.profiles import N_ODD, Profiles
from scvec.embed.sample import Sample
from scvec.knn.calibration import MIN_CELLS, N_NEAREST, Calibration, HeldOut, Signals, calibrate, signals
from scvec.knn.voting import Votes, vote


def world(seed: int, m: int, n_labels: int = 3, *, unknown: float = 0.0) -> HeldOut:
    """Return m simulated calls: the chance that one is right goes by its share of the votes and its distance."""
    rng = np.random.default_rng(seed)
    share = rng.uniform(0.3, 1, m).astype(np.float32)
    far = rng.gamma(2, 0.05, m).astype(np.float32)
    chance = 1 / (1 + np.exp(-(8 * share - 3 - 10 * far)))
    called = rng.integers(0, n_labels, m)
    right = rng.random(m) < chance
    truth = np.where(right, called, (called + 1) % n_labels)
    truth = np.where(~right & (rng.random(m) < unknown), -1, truth)
    own = np.where(right, share, rng.uniform(0, 1 - share)).astype(np.float32)
    own = np.where(truth < 0, np.nan, own).astype(np.float32)
    margin = (share * rng.random(m)).astype(np.float32)
    return HeldOut(called, truth, own, share, margin, far, rng.random(m).astype(np.float32))


def signals_of(held: HeldOut) -> Signals:
    return Signals(held.share, held.margin, held.far, held.odd)


# Signals


@given(st.integers(0, 2**31), st.integers(1, 6), st.integers(1, 9), st.integers(1, 4))
def test_signals_are_their_definition(seed: int, n: int, k: int, n_labels: int) -> None:
    rng = np.random.default_rng(seed)
    distances = np.sort(rng.random((n, k)).astype(np.float32), axis=1)
    there = np.arange(k) < rng.integers(0, k + 1, (n, 1))
    near = Neighbors(np.where(there, rng.integers(0, 50, (n, k)), -1), np.where(there, distances, np.inf))
    codes, odd = rng.integers(0, n_labels, (n, k)), rng.random(n).astype(np.float32)
    votes = vote(near, codes, np.ones(n_labels, int))
    found = signals(near, codes, votes, odd)
    for i in range(n):
        label = votes.winner[i]
        if label < 0:
            assert (found.share[i], found.margin[i], found.far[i], found.odd[i]) == (0, 0, 0, 0)
            continue
        own = [d for d, code, here in zip(distances[i], codes[i], there[i], strict=True) if here and code == label]
        other = [d for d, code, here in zip(distances[i], codes[i], there[i], strict=True) if here and code != label]
        farthest = max([*own, *other])
        to_own = np.mean(own[:N_NEAREST])
        to_other = np.mean(other[:N_NEAREST]) if other else farthest
        assert found.share[i] == votes.shares[i, label]
        assert found.far[i] == pytest.approx(to_own, abs=1e-6)
        assert found.margin[i] == pytest.approx(to_other - to_own, abs=1e-6)
        assert found.odd[i] == odd[i]


def test_held_out_calls_know_the_share_of_the_truth() -> None:
    votes = Votes(np.array([0, 1, 0]), np.array([[0.6, 0.4], [0.3, 0.7], [1, 0]], np.float32))
    some = Signals(*(np.array([0.6, 0.7, 1.0], np.float32) for _ in range(4)))
    held = HeldOut.of(votes, some, np.array([1, 1, -1]))
    np.testing.assert_array_equal(held.own_share, np.array([0.4, 0.7, np.nan], np.float32))
    assert held.right.tolist() == [False, True, False]
    assert held.known.tolist() == [True, True, False]
    twice = HeldOut.joined([held, held])
    assert twice.truth.tolist() == [1, 1, -1] * 2
    with pytest.raises(ValueError, match="read-only"):
        held.truth[0] = 0


# Thresholds


def doubted(right: Any) -> float:
    """Return how many may be wrong: those that are, one more, and a standard error."""
    wrong = float((~right).sum())
    return wrong + 1 + float(np.sqrt(wrong + 1))


@given(st.integers(0, 2**31), st.integers(1, 400), st.integers(1, 4), st.floats(0.005, 0.5), st.booleans())
def test_of_the_held_out_cells_accepted_no_more_are_wrong_than_asked_for(
    seed: int, m: int, n_labels: int, max_error: float, tied: bool
) -> None:
    held = world(seed, m, n_labels, unknown=0.3)
    if tied:  # many cells of one confidence: they are accepted together, or not at all
        still = np.zeros_like(held.far)
        held = replace(held, share=held.share.round(1), margin=still, far=still, odd=still)
    calibration = calibrate(held)
    confidence = calibration.confidence(signals_of(held))
    thresholds = calibration.thresholds(max_error, n_labels)
    together = held.known & (confidence >= calibration.thresholds(max_error, n_labels + 1)[-1])
    assert (~held.right[together]).sum() <= max_error * max(1, together.sum())
    for label in range(n_labels):
        own = held.known & (held.called == label)
        accepted = own & (confidence >= thresholds[label])
        if own.sum() >= max(MIN_CELLS, 2 / max_error):
            assert doubted(held.right[accepted]) <= max_error * (accepted.sum() + 1) + 1e-9 or not accepted.any()
            # And it is the lowest: with any more cells of the label, too many are wrong.
            for lower in np.unique(confidence[own & ~accepted]):
                more = own & (confidence >= lower)
                assert doubted(held.right[more]) > max_error * (more.sum() + 1) - 1e-9
        else:
            assert thresholds[label] == calibration.thresholds(max_error, n_labels + 1)[-1]


@given(st.integers(0, 2**31), st.lists(st.floats(0.001, 0.9), min_size=2, max_size=5))
def test_less_error_accepts_no_more(seed: int, errors: list[float]) -> None:
    calibration = calibrate(world(seed, 300))
    found = [calibration.thresholds(one, 3) for one in sorted(errors)]
    limits = [calibration.too_novel(one) for one in sorted(errors)]
    shares = [calibration.set_shares(one, 3) for one in sorted(errors)]
    for strict, lax in pairwise(found):
        assert (strict >= lax).all()
    assert limits == sorted(limits, reverse=True)
    for wide, narrow in pairwise(shares):
        assert (wide <= narrow).all()


def test_new_calls_keep_the_error_too() -> None:
    """Thresholds from some calls, errors of others that are drawn alike."""
    wrong = accepted = 0
    for seed in range(10):
        calibration, new = calibrate(world(seed, 2000)), world(1000 + seed, 2000)
        kept = calibration.confidence(signals_of(new)) >= calibration.thresholds(0.1, 3)[new.called]
        wrong, accepted = wrong + int((~new.right[kept]).sum()), accepted + int(kept.sum())
    assert accepted > 0.4 * 10 * 2000
    assert 0.08 < wrong / accepted < 0.11


def test_a_label_of_few_calls_has_the_threshold_of_all() -> None:
    held = world(0, 500, 2)
    called = held.called.copy()
    called[:] = 0
    called[: MIN_CELLS - 1] = 1
    few = replace(held, called=called, truth=np.where(held.right, called, 1 - called))
    thresholds = calibrate(few).thresholds(0.1, 3)
    assert thresholds[1] == thresholds[2]
    called[MIN_CELLS - 1] = 1
    more = replace(held, called=called, truth=np.where(held.right, called, 1 - called))
    thresholds = calibrate(more).thresholds(0.1, 3)
    assert thresholds[1] != thresholds[2]


# Novelty


def test_conformal_novelty_flags_no_more_than_its_share_of_cells_like_those_held_out() -> None:
    """Of one signal alone the p-value is exact; of both, added up, it is so but for the rounding of few cells."""
    for share in (0.02, 0.1, 0.3):
        flagged: dict[str, list[float]] = {"one": [], "both": []}
        for seed in range(60):
            held, new = world(seed, 200), world(5000 + seed, 200)
            keep = held.right
            held = HeldOut(*(getattr(held, name)[keep] for name in HELD))
            for name, found in (("both", new), ("one", replace(new, odd=np.zeros_like(new.odd)))):
                own = held if name == "both" else replace(held, odd=np.zeros_like(held.odd))
                calibration = calibrate(own)
                like = calibration.novelty(signals_of(found))[found.right]
                flagged[name].append(float((like > calibration.too_novel(share)).mean()))
        assert share / 2 < np.mean(flagged["one"]) <= share + 0.004
        assert share / 2 < np.mean(flagged["both"]) <= share + 0.02


HELD = ("called", "truth", "own_share", "share", "margin", "far", "odd")


@given(st.integers(0, 2**31), st.integers(1, 80), st.floats(0.01, 0.9))
def test_at_most_that_share_of_the_held_out_cells_is_too_novel(seed: int, m: int, share: float) -> None:
    held = world(seed, m, unknown=0.5)
    calibration = calibrate(held)
    novelty = calibration.novelty(signals_of(held))
    assert (novelty[held.known] > calibration.too_novel(share)).sum() <= share * (held.known.sum() + 1)
    assert (novelty >= -1e-6).all()


def test_novelty_is_minus_the_logarithms_of_two_shares() -> None:
    held = world(3, 60, unknown=0.2)
    calibration = calibrate(held)
    new = world(4, 9)
    right = held.right
    expected = [
        -np.log(((held.far[right] >= far).sum() + 1) / (right.sum() + 1))
        - np.log(((held.odd[right] >= odd).sum() + 1) / (right.sum() + 1))
        for far, odd in zip(new.far, new.odd, strict=True)
    ]
    np.testing.assert_allclose(calibration.novelty(signals_of(new)), expected, rtol=1e-5, atol=1e-6)
    away = replace(signals_of(new), far=new.far + 10, odd=new.odd + 10)
    assert (calibration.novelty(away) > calibration.too_novel(0.05)).all()


# Confidence


def test_confidence_is_the_share_of_calls_that_are_right() -> None:
    """Of calls of about one confidence, about that share is right."""
    calibration, new = calibrate(world(0, 6000)), world(1, 20000)
    confidence = calibration.confidence(signals_of(new))
    assert confidence.std() > 0.1
    for low in np.arange(0.2, 1, 0.1):
        inside = (confidence >= low) & (confidence < low + 0.1)
        if inside.sum() > 300:
            assert new.right[inside].mean() == pytest.approx(confidence[inside].mean(), abs=0.05)
    assert new.right.mean() == pytest.approx(confidence.mean(), abs=0.02)


def test_calls_that_could_not_be_right_lower_the_confidence_and_not_the_error() -> None:
    held = world(0, 2000)
    truth = np.where(held.right, held.truth, -1)
    own = np.where(held.right, held.own_share, np.nan).astype(np.float32)
    none_wrong = replace(held, truth=truth, own_share=own)
    calibration = calibrate(none_wrong)
    confidence = calibration.confidence(signals_of(held))
    assert confidence[held.right].mean() > confidence[~held.right].mean() + 0.1
    # No call of a cell of a known type is wrong: all of them are accepted.
    thresholds = calibration.thresholds(0.05, 3)
    assert (confidence >= thresholds[held.called])[held.right].all()


@pytest.mark.parametrize(("right", "chance"), [(True, 41 / 42), (False, 1 / 42)])
def test_all_right_and_all_wrong(right: bool, chance: float) -> None:
    held = world(0, 40)
    truth = held.called if right else (held.called + 1) % 3
    calibration = calibrate(replace(held, truth=truth))
    confidence = calibration.confidence(signals_of(held))
    np.testing.assert_allclose(confidence, chance, rtol=1e-5)
    thresholds = calibration.thresholds(0.05, 3)
    assert (confidence >= thresholds[0]).all() == right
    assert np.isinf(thresholds).all() == (not right)
    assert np.isfinite(calibration.novelty(signals_of(held))).all()
    # 1 / 41 is the least error that forty right calls vouch for.
    assert np.isinf(calibration.thresholds(0.02, 3)).all()


def test_a_handful_of_cells_vouches_for_nothing() -> None:
    calibration = calibrate(world(0, 5))
    assert np.isinf(calibration.thresholds(0.05, 3)).all()
    assert calibration.too_novel(0.05) == np.inf
    assert (calibration.set_shares(0.05, 3) == 0).all()


# Sets


@given(st.integers(0, 2**31), st.integers(1, 400), st.floats(0.005, 0.6))
def test_all_but_that_share_of_a_label_s_cells_give_it_its_set_share(seed: int, m: int, max_error: float) -> None:
    held = world(seed, m, 2, unknown=0.3)
    shares = calibrate(held).set_shares(max_error, 3)
    left_out = [held.known & (held.own_share < shares[2])]
    for label in (0, 1):
        own = held.truth == label
        if own.sum() >= MIN_CELLS:
            left_out.append(own & (held.own_share < shares[label]))
            assert left_out[-1].sum() <= max_error * (own.sum() + 1)
            # And no greater share of the votes would do.
            assert (own & (held.own_share <= shares[label])).sum() >= np.floor(max_error * (own.sum() + 1))
        else:
            assert shares[label] == shares[2]
    assert left_out[0].sum() <= max_error * (held.known.sum() + 1)


def test_sets_of_new_cells_lack_the_truth_as_often_as_asked_for() -> None:
    lacking = []
    for seed in range(30):
        shares, new = calibrate(world(seed, 600)).set_shares(0.1, 3), world(1000 + seed, 600)
        lacking.append(float((new.own_share < shares[new.truth]).mean()))
    assert 0.08 < np.mean(lacking) <= 0.105


def test_saving(tmp_path: Path) -> None:
    calibration = calibrate(world(0, 80, unknown=0.3))
    calibration.save(tmp_path / "c")
    again = Calibration.load(tmp_path / "c")
    for name in HELD:
        np.testing.assert_array_equal(getattr(again.held, name), getattr(calibration.held, name))
    np.testing.assert_array_equal(again.coefficients, calibration.coefficients)
    new = signals_of(world(1, 30))
    np.testing.assert_array_equal(again.confidence(new), calibration.confidence(new))


# Odd genes


def plain_odd(profiles: Profiles, known: Any, measured: Any, codes: Any) -> tuple[list[float], list[list[float]]]:
    """Return the excess, and how far each of its genes is above, of dense cells one by one."""
    seen = np.sqrt(profiles.power[measured].astype(np.float64).sum())
    excess, above = [], []
    for cell, code in zip(known.astype(np.float64), codes, strict=True):
        length = np.linalg.norm(cell)
        over = cell / (length or 1) * seen - profiles.labels[code]
        top = sorted((one for one, value in zip(over, cell, strict=True) if value > 0 and one > 0), reverse=True)
        top = top[:N_ODD] if code >= 0 else []
        excess.append(sum(top))
        above.append(top)
    return excess, above


@given(st.integers(0, 2**31), st.integers(1, 5), st.integers(1, 40), st.floats(0.1, 1))
def test_odd_genes_are_those_farthest_above_the_label(seed: int, n: int, n_genes: int, density: float) -> None:
    rng = np.random.default_rng(seed)
    power = rng.random(n_genes).astype(np.float32)
    labels = (rng.random((3, n_genes)) * rng.random() / 2).astype(np.float32)
    power /= power.sum()
    profiles = Profiles(np.arange(n_genes), labels, power, power)
    measured = rng.random(n_genes) < 0.8
    known = (rng.random((n, n_genes)) * (rng.random((n, n_genes)) < density) * measured).astype(np.float32)
    codes = rng.integers(-1, 3, n)
    excess, genes = profiles.odd(sp.csr_matrix(known), measured, codes)
    expected, above = plain_odd(profiles, known, measured, codes)
    np.testing.assert_allclose(excess, expected, atol=1e-5)
    assert genes.shape == (n, N_ODD)
    seen = np.sqrt(profiles.power[measured].sum())
    for cell, code, named, own in zip(known, codes, genes, above, strict=True):
        there = named[named >= 0]
        assert len(set(there.tolist())) == len(there) == len(own)
        assert (named[len(own) :] == -1).all()
        over = cell[there] / (np.linalg.norm(cell) or 1) * seen - labels[code][there]
        np.testing.assert_allclose(over, own, atol=1e-5)


def test_profiles_know_how_much_of_a_cell_is_on_some_genes() -> None:
    """Of a query that measures these alone."""
    rng = np.random.default_rng(0)
    counts = rng.poisson(2.0, (20, 30)) + np.eye(20, 30, dtype=int)
    shares = counts / counts.sum(axis=1, keepdims=True)
    known = np.arange(30) < 24  # the reference's matrix has others too
    logged = sp.csr_matrix(np.log1p(shares[:, known] * 500).astype(np.float32))
    names, codes = ("a", "b"), np.arange(20) % 2
    sample = Sample(logged, None, np.ones(20), codes, names, np.full(20, "d", object))
    profiles = Profiles.of(np.arange(24), sample, 500.0)
    measured = rng.random(24) < 0.5
    assert profiles.share(measured) == pytest.approx(shares[:, :24][:, measured].sum(axis=1).mean(), rel=1e-5)
    assert profiles.share(np.ones(24, bool)) == pytest.approx(shares[:, known].sum(axis=1).mean(), rel=1e-5)
    unit_cells = logged.toarray() / np.linalg.norm(logged.toarray(), axis=1, keepdims=True)
    np.testing.assert_allclose(profiles.labels, [unit_cells[codes == code].mean(axis=0) for code in (0, 1)], atol=1e-6)
    np.testing.assert_allclose(profiles.power, (unit_cells**2).mean(axis=0), atol=1e-6)


def test_profiles_are_saved(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    labels, power, composition = (rng.random(shape).astype(np.float32) for shape in ((2, 7), 7, 7))
    profiles = Profiles(np.arange(7), labels, power, composition)
    profiles.save(tmp_path / "p")
    again = Profiles.load(tmp_path / "p")
    for name in ("gene_ids", "labels", "power", "composition"):
        np.testing.assert_array_equal(getattr(again, name), getattr(profiles, name))
        assert not getattr(again, name).flags.writeable
