"""What held-out cells say of calls: signals, confidence, thresholds, novelty, sets; against plain definitions."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from scvec.core.types import Neighbors
from scvec.embed.profiles import N_ODD, Profiles
from scvec.embed.sample import Sample
from scvec.knn.calibration import (
    MIN_CELLS,
    N_NEAREST,
    Calibration,
    HeldOut,
    Signals,
    calibrate,
    farthest_neighbor,
    signals,
)
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


def test_the_distance_to_a_label_is_that_of_its_three_nearest() -> None:
    distances = np.array([[1, 2, 3, 4, 5, 6, 7, 8], [1, 2, 3, 4, 5, 6, np.inf, np.inf]], np.float32) / np.float32(16)
    near = Neighbors(np.where(np.isfinite(distances), np.arange(8), -1), distances)
    codes = np.array([[0, 1, 0, 1, 0, 0, 1, 1], [1, 1, 1, 1, 0, 1, 1, 1]])
    votes = Votes(np.array([0, 1]), np.array([[0.75, 0.25], [0.125, 0.875]], np.float32))
    found = signals(near, codes, votes, np.array([5, 6], np.float32))
    # Of label 0: 1, 3, 5, and the others 2, 4, 7. Of label 1: 1, 2, 3, and the other 5.
    np.testing.assert_allclose(found.far, np.array([3, 2]) / 16)
    np.testing.assert_allclose(found.margin, np.array([13 / 3 - 3, 5 - 2]) / 16, rtol=1e-6)
    assert (found.share.tolist(), found.odd.tolist()) == ([0.75, 0.875], [5, 6])
    # Where all neighbours are of the label, the others are as far as the farthest that is there.
    alone = signals(near, np.zeros((2, 8), int), Votes(np.zeros(2, int), np.ones((2, 1), np.float32)), found.odd)
    np.testing.assert_allclose(alone.margin, np.array([8 - 2, 6 - 2]) / 16)


def test_held_out_calls_know_the_share_of_the_truth() -> None:
    shares = np.array([[0.625, 0.375], [0.25, 0.75], [0.875, 0.125], [1, 0]], np.float32)
    votes = Votes(np.array([0, 1, 0, 0]), shares)
    some = Signals(*[shares.max(axis=1)] * 4)
    held = HeldOut.of(votes, some, np.array([1, 1, 0, -1]))
    np.testing.assert_array_equal(held.own_share, np.array([0.375, 0.75, 0.875, np.nan], np.float32))
    assert held.own_share.dtype == np.float32
    assert held.right.tolist() == [False, True, True, False]
    assert held.known.tolist() == [True, True, True, False]
    twice = HeldOut.joined([held, held])
    assert twice.truth.tolist() == [1, 1, 0, -1] * 2
    with pytest.raises(ValueError, match="read-only"):
        held.truth[0] = 0


def test_without_neighbours_nothing_is_far() -> None:
    distances = np.array([[0.25, 0.5], [np.inf, np.inf]], np.float32)
    assert farthest_neighbor(Neighbors(np.array([[0, 9], [-1, -1]]), distances)).tolist() == [0.5, 0]


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


def plain_threshold(confidence: Any, right: Any, max_error: float) -> float:
    """Try every confidence, the highest first, and keep the lowest at which few enough are wrong."""
    found = math.inf
    for lowest in sorted(set(confidence.tolist()), reverse=True):
        accepted = [ok for one, ok in zip(confidence.tolist(), right.tolist(), strict=True) if one >= lowest]
        wrong = accepted.count(False)
        if (wrong + 1 + math.sqrt(wrong + 1)) / (len(accepted) + 1) <= max_error:
            found = lowest
    return found


@settings(max_examples=50)
@given(st.integers(0, 2**31), st.integers(0, 150), st.sampled_from([0.02, 0.05, 0.1, 0.3]), st.integers(1, 3))
def test_thresholds_are_those_of_plain_loops(seed: int, m: int, max_error: float, digits: int) -> None:
    held = world(seed, m, 2, unknown=0.3)
    calibration = Calibration(replace(held, share=held.share.round(digits)), np.array([-1.0, 3.0, 0.5, 0.2, 0.1]))
    confidence, known = calibration.held_confidence(), held.known
    together = plain_threshold(confidence[known], held.right[known], max_error)
    thresholds = calibration.thresholds(max_error, 3)
    assert thresholds[2] == np.float32(together)
    for label in (0, 1):
        own = known & (held.called == label)
        enough = own.sum() >= 50 and own.sum() * max_error >= 2
        expected = plain_threshold(confidence[own], held.right[own], max_error) if enough else together
        assert thresholds[label] == np.float32(expected)
    share = calibration.held.share
    assert calibration.sure_share(max_error) == plain_threshold(share[known], held.right[known], max_error)


def all_right(shares: Any, truth: Any, far: Any = None) -> HeldOut:
    """Return calls that are all right, given the shares of their votes."""
    share = np.asarray(shares, np.float32)
    still, codes = np.zeros_like(share), np.asarray(truth, np.int64)
    return HeldOut(codes, codes, share, share, still, still if far is None else np.asarray(far, np.float32), still)


BY_SHARE = np.array([0.0, 1.0, 0.0, 0.0, 0.0])
"""Coefficients of a confidence that is the logistic of the share of the votes."""


def logistic(share: float) -> np.float32:
    return np.float32(1 / (1 + math.exp(-share)))


def test_thirty_nine_right_calls_vouch_for_an_error_of_a_twentieth() -> None:
    """(0 + 1 + 1) / (39 + 1) is a twentieth; one call less is too few, and one wrong in 68 is the next that is."""
    shares = np.arange(100, 0, -1) / 128
    codes = np.zeros(100, int)
    held = all_right(shares, codes)
    for n, found in ((38, np.inf), (39, 62 / 128), (40, 61 / 128)):
        few = HeldOut(*(getattr(held, name)[:n] for name in HELD))
        assert Calibration(few, BY_SHARE).sure_share(0.05) == found
    # (1 + 1 + 1.414) / (a + 1) is a twentieth at 67.3: with the 50th wrong, calls are accepted to the 49th or from 68.
    wrong = replace(held, truth=np.where(np.arange(100) == 49, 1, 0))
    for n, found in ((67, 52 / 128), (68, 33 / 128)):
        few = HeldOut(*(getattr(wrong, name)[:n] for name in HELD))
        assert Calibration(few, BY_SHARE).sure_share(0.05) == found


def test_a_label_needs_fifty_calls_and_two_for_each_wrong_one_that_is_asked_for() -> None:
    """Label 0 is called with small shares and label 1 with large ones, so that their own thresholds differ."""

    def thresholds(n: int, max_error: float) -> Any:
        shares = np.append(np.full(n, 0.25), np.full(300, 0.75))
        calibration = Calibration(all_right(shares, [0] * n + [1] * 300), BY_SHARE)
        wrong = np.zeros(n + 300, bool)
        wrong[: n // 2] = True  # of label 0 every second is wrong
        held = replace(calibration.held, truth=np.where(wrong, 1 - calibration.held.called, calibration.held.called))
        return replace(calibration, held=held).thresholds(max_error, 3).tolist()

    own, together = np.inf, float(logistic(0.75))
    assert thresholds(49, 0.05) == [together, together, together]
    assert thresholds(50, 0.05) == [own, together, together]
    assert thresholds(99, 0.02) == [together, together, together]
    assert thresholds(100, 0.02) == [own, together, together]


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


def test_the_limit_of_novelty_is_a_rank() -> None:
    """Of nineteen calls at other distances, the k-th farthest has (k + 1) / 20 as far, itself and a new one counted."""
    held = all_right(np.ones(19), np.zeros(19), far=np.arange(19) / 64)
    calibration = Calibration(held, np.zeros(5))
    np.testing.assert_allclose(calibration.novelty(signals_of(held)), np.log(20 / (20 - np.arange(19))), rtol=1e-6)
    # 20 times 0.95 is 19: the farthest of the nineteen; 20 times 0.9 is 18; anything rarer than 1 in 20 is beyond them.
    assert calibration.too_novel(0.05) == pytest.approx(math.log(20 / 2))
    assert calibration.too_novel(0.1) == pytest.approx(math.log(20 / 3))
    assert calibration.too_novel(0.12) == pytest.approx(math.log(20 / 3))
    assert calibration.too_novel(0.04) == math.inf
    # Between two held-out cells as far as the next one, beyond them all 1 / 20, before them all 1.
    new = replace(signals_of(held), far=np.array([17.5 / 64, 18 / 64, 19 / 64, -1, *np.zeros(15)], np.float32))
    np.testing.assert_allclose(calibration.novelty(new)[:4], np.log([10, 10, 20, 1]), rtol=1e-6, atol=1e-7)


def test_only_right_calls_say_what_is_usual_and_only_known_cells_what_is_too_much() -> None:
    far = np.array([1, 2, 3, 4, 5], np.float32) / 8
    held = replace(all_right(np.ones(5), np.zeros(5), far), truth=np.array([0, 0, 0, 1, -1]))
    calibration = Calibration(held, np.zeros(5))
    # Three are right: of three, none is as far as the fourth and the fifth.
    np.testing.assert_allclose(calibration.novelty(signals_of(held)), np.log([1, 4 / 3, 2, 4, 4]), atol=1e-6)
    # Four are known: 5 times 0.6 is 3.
    assert calibration.too_novel(0.4) == pytest.approx(math.log(2))


def test_both_signals_count_as_much() -> None:
    held = replace(all_right(np.ones(3), np.zeros(3), [1, 2, 3]), odd=np.array([3, 1, 2], np.float32))
    found = Calibration(held, np.zeros(5)).novelty(signals_of(held))
    np.testing.assert_allclose(found, np.log([1 * 2, 4 / 3 * 1, 2 * 4 / 3]), rtol=1e-6)


# Confidence


def test_a_confidence_is_the_logistic_of_what_its_signals_weigh() -> None:
    """0.5 + 2 x share - 3 x margin + 4 x log(share as far) + 5 x log(share as odd), worked out for one call."""
    held = replace(all_right(np.ones(3), np.zeros(3), [1, 2, 3]), odd=np.array([3, 1, 2], np.float32))
    calibration = Calibration(held, np.array([0.5, 2, -3, 4, 5]))
    share, margin, far, odd = np.array([[0.75], [0.25], [2.5], [0.5]], np.float32)
    one = Signals(share, margin, far, odd)
    logit = 0.5 + 1.5 - 0.75 + 4 * math.log(2 / 4) + 5 * math.log(4 / 4)
    assert calibration.confidence(one)[0] == logistic(logit)
    for sure, chance in ((1000, 1.0), (-1000, math.exp(-30))):
        extreme = Calibration(held, np.array([sure, 0, 0, 0, 0.0]))
        assert extreme.confidence(one)[0] == pytest.approx(chance, rel=1e-6, abs=0)


@pytest.mark.parametrize("constant", [False, True])
def test_coefficients_are_those_of_a_logistic_regression(constant: bool) -> None:
    """Where the penalised likelihood is highest its slope is zero; signals count in their standard deviations."""
    held = world(0, 400)
    held = replace(held, margin=np.zeros_like(held.margin)) if constant else held
    calibration = calibrate(held)
    right = held.right

    def log_share(own: Any) -> Any:
        return np.log([(np.count_nonzero(own[right] >= one) + 1) / (right.sum() + 1) for one in own])

    signal = np.stack([np.ones(400), held.share, held.margin, log_share(held.far), log_share(held.odd)], axis=1)
    spread = np.array([1, *(signal[:, 1:].std(axis=0))])
    spread[2] = 1 if constant else spread[2]
    scaled, own = signal / spread, calibration.coefficients * spread
    slope = scaled.T @ (1 / (1 + np.exp(-scaled @ own)) - right) + own
    np.testing.assert_allclose(slope, 0, atol=0.05)
    assert abs(own[1]) > 0.3  # which is far from zero: the slope there is hundreds


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


def test_the_share_of_a_set_is_a_rank() -> None:
    """Of 59 cells whose labels got 1 to 59 of 64 votes, a tenth is 60 / 10: the sixth. Fifty cells are their own."""
    shares = np.concatenate([np.arange(1, 60) / 64, np.full(49, 0.75), np.full(50, 0.5)])
    held = all_right(shares, [0] * 59 + [1] * 49 + [2] * 50)
    calibration = Calibration(held, np.zeros(5))
    # All together are 158, and 159 / 10 is 15.9: the fifteenth.
    assert calibration.set_shares(0.1, 4).tolist() == [6 / 64, 15 / 64, 0.5, 15 / 64]
    # One in 60 is the lowest, and less than that is lower than all.
    assert calibration.set_shares(1 / 60, 1).tolist() == [1 / 64]
    assert calibration.set_shares(1 / 61, 1).tolist() == [0]
    # Cells whose type was not there do not count: a NaN is no share.
    unknown = replace(held, truth=np.where(np.arange(158) < 59, -1, held.truth))
    assert Calibration(unknown, np.zeros(5)).set_shares(0.1, 4).tolist() == [0.5, 0.5, 0.5, 0.5]


def plain_share(own: Any, max_error: float) -> float:
    """Return the highest of the shares, or 0, that at most `max_error` of n + 1 values, one of them new, are up to."""
    values = sorted(own.tolist())
    return max((one for i, one in enumerate(values) if i + 1 <= max_error * (len(values) + 1)), default=0.0)


@given(st.integers(0, 2**31), st.integers(0, 200), st.sampled_from([0.01, 0.05, 0.1, 0.25]), st.integers(1, 3))
def test_shares_of_sets_are_those_of_a_plain_loop(seed: int, m: int, max_error: float, digits: int) -> None:
    held = world(seed, m, 2, unknown=0.3)
    held = replace(held, own_share=held.own_share.round(digits))
    together = plain_share(held.own_share[held.known], max_error)
    own = [held.own_share[held.truth == label] for label in (0, 1)]
    expected = [plain_share(one, max_error) if len(one) >= 50 else together for one in own]
    found = Calibration(held, np.zeros(5)).set_shares(max_error, 3)
    np.testing.assert_array_equal(found, np.array([*expected, together], np.float32))


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
