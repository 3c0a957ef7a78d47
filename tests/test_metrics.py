"""The figures are their definitions, on arrays small enough to count by hand, and those of scikit-learn."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from scvec.evaluation.metrics import (
    N_SHOWN,
    Rejection,
    Score,
    SetQuality,
    Trust,
    auroc,
    reliability,
    risk_coverage,
    wilson,
)

CALLS = st.lists(st.tuples(st.integers(0, 20), st.booleans()), min_size=1, max_size=60)


def bools(*values: int) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    return np.array(values, dtype=bool)


def test_calibration_error_is_the_mean_gap_between_confidence_and_share_right() -> None:
    confidence = np.array([0.95, 0.91, 0.93, 0.95, 0.15, 0.11], np.float32)
    found = reliability(confidence, bools(1, 1, 0, 1, 0, 1), n_bins=10)
    assert found.count.tolist() == [0, 2, 0, 0, 0, 0, 0, 0, 0, 4]
    np.testing.assert_allclose(found.confidence[[1, 9]], [0.13, 0.935])
    np.testing.assert_allclose(found.right[[1, 9]], [0.5, 0.75])
    assert found.ece == pytest.approx((4 * 0.185 + 2 * 0.37) / 6, abs=1e-6)
    assert np.isnan(found.right[0])
    assert found.to_dict()["count"] == [2, 4]


def test_a_bin_has_its_top_and_the_first_has_zero() -> None:
    assert reliability(np.array([0, 0.25, 0.5, 0.5001, 1]), bools(1, 1, 1, 1, 1), n_bins=4).count.tolist() == [
        2,
        1,
        1,
        1,
    ]


@given(CALLS)
def test_calibration_error_is_its_sum_written_out(calls: list[tuple[int, bool]]) -> None:
    confidence, right = np.array([one / 20 for one, _ in calls]), np.array([one for _, one in calls])
    expected = 0.0
    for low in range(15):
        inside = (confidence > low / 15) & (confidence <= (low + 1) / 15) | ((low == 0) & (confidence == 0))
        if inside.any():
            expected += inside.mean() * abs(confidence[inside].mean() - right[inside].mean())
    assert reliability(confidence, right).ece == pytest.approx(expected)


@given(CALLS)
def test_auroc_is_that_of_scikit_learn(calls: list[tuple[int, bool]]) -> None:
    score, positive = np.array([one for one, _ in calls], float), np.array([one for _, one in calls])
    if positive.all() or not positive.any():
        assert auroc(positive, score) is None
    else:
        assert auroc(positive, score) == pytest.approx(roc_auc_score(positive, score))


@given(CALLS)
def test_accuracy_against_coverage_is_what_each_threshold_accepts(calls: list[tuple[int, bool]]) -> None:
    confidence, right = np.array([one / 20 for one, _ in calls]), np.array([one for _, one in calls])
    curve = risk_coverage(confidence, right)
    assert curve.confidence.tolist() == sorted(set(confidence.tolist()), reverse=True)
    for threshold, share, accuracy in zip(curve.confidence, curve.coverage, curve.accuracy, strict=True):
        accepted = confidence >= threshold
        assert (share, accuracy) == pytest.approx((accepted.mean(), right[accepted].mean()))


def test_a_long_curve_is_written_down_short_and_to_its_end() -> None:
    n = 5000
    shown = risk_coverage(np.linspace(1, 0, n), np.arange(n) < n / 2).to_dict()
    assert len(shown["coverage"]) == N_SHOWN == 101
    assert shown["coverage"][-1] == 1
    assert shown["accuracy"][-1] == 0.5
    np.testing.assert_allclose(np.diff(shown["coverage"]), 0.01, atol=0.001)


def test_an_interval_is_wide_where_there_are_few_calls() -> None:
    # Wilson's, as R's prop.test(..., correct = FALSE) gives it for 8 of 10; and none goes beyond 0 and 1.
    np.testing.assert_allclose(wilson(np.array([0.8]), np.array([10]))[:, 0], [0.4902, 0.9433], atol=1e-4)
    ends = wilson(np.array([0.0, 1.0, 1.0]), np.array([1, 1, 1000]))
    assert ((ends >= -1e-9) & (ends <= 1 + 1e-9)).all()
    assert ends[0, 2] > 0.99 > ends[0, 1]


def test_trust_looks_at_known_cells_and_at_novelty_of_all() -> None:
    nan = np.nan
    confidence = np.array([0.9, 0.8, 0.3, 0.95, nan, 0.7])
    novelty = np.array([0.1, 0.2, 0.3, 0.9, nan, 0.25])
    right, known = bools(1, 1, 0, 0, 0, 0), bools(1, 1, 1, 0, 1, 0)
    found = Trust.of(confidence, novelty, right, known)
    assert found is not None
    assert found.reliability.count.sum() == 3
    assert found.auroc_confidence == 1
    # Of six pairs of a cell of an unseen type and one of a known type, five are in order.
    assert found.auroc_novelty == pytest.approx(5 / 6)
    assert found.n_without == 1
    assert json.loads(json.dumps(found.to_dict()))["n_without_confidence"] == 1


def test_what_cannot_be_measured_is_none_and_not_nan() -> None:
    one = np.array([0.9, 0.8])
    found = Trust.of(one, one, bools(1, 1), bools(1, 1))
    assert found is not None
    assert (found.auroc_confidence, found.auroc_novelty) == (None, None)
    assert "NaN" not in json.dumps(found.to_dict())
    assert Trust.of(np.full(2, np.nan), np.full(2, np.nan), bools(1, 1), bools(1, 1)) is None


def test_rejection_counts_known_and_unseen_types_apart() -> None:
    rejected = bools(0, 0, 1, 1, 0, 1, 1, 0)
    right, known = bools(1, 0, 1, 0, 1, 0, 0, 0), bools(1, 1, 1, 1, 1, 0, 0, 0)
    found = Rejection.of(0.05, rejected, right, known, np.array([0, 0, 0, 1, 1, 2, 2, 2]))
    assert found.to_dict() == {"max_error": 0.05, "coverage": 0.6, "error": 0.3333, "rejected_unknown": 0.6667}
    np.testing.assert_allclose(found.class_coverage, [2 / 3, 1 / 2, 1 / 3])
    nothing = Rejection.of(None, bools(1, 1), bools(1, 1), bools(1, 1), np.array([0, 0]))
    assert (nothing.coverage, nothing.error, nothing.rejected_unknown) == (0, None, None)


def test_sets_are_judged_on_known_cells() -> None:
    # Cell 0 has two labels, cell 1 none, cell 2 (of an unseen type) three, cell 3 one.
    found = SetQuality.of(np.array([0, 0, 2, 2, 2, 3]), bools(0, 1, 0, 0, 0, 0), bools(1, 1, 0, 1))
    assert found.to_dict() == {"set_coverage": 0.3333, "set_size": 1.0}


def test_what_is_written_down_of_few_calls() -> None:
    """To four digits; every bin that has a call, and every point of a short curve."""
    confidence, right = np.array([0.123456, 0.123, 0.124, 0.98766]), bools(1, 0, 1, 0)
    shown = reliability(confidence, right, n_bins=10).to_dict()
    assert shown == {"confidence": [0.1235, 0.9877], "right": [0.6667, 0.0], "count": [3, 1]}
    curve = risk_coverage(confidence[:3], right[:3])
    assert curve.to_dict() == {
        "confidence": [0.124, 0.1235, 0.123],
        "coverage": [0.3333, 0.6667, 1.0],
        "accuracy": [1.0, 1.0, 0.6667],
    }


def figures(text: object) -> list[str]:
    return re.findall(r"\d+\.\d+%?", str(text))


def test_figures_have_their_digits_where_they_are_written_and_where_they_are_said() -> None:
    confidence, right = np.array([0.91234, 0.8, 0.7, 0.6, 0.5]), bools(1, 0, 1, 1, 0)
    trust = Trust.of(confidence, np.array([0.1, 0.2, 0.3, 0.4, 0.35]), right, bools(1, 1, 1, 1, 0))
    assert trust is not None
    # Each in a bin of its own: (0.08766 + 0.8 + 0.3 + 0.4) / 4. One of three right calls is surer than the wrong one.
    assert [trust.to_dict()[one] for one in ("ece", "auroc_confidence", "auroc_novelty")] == [0.3969, 0.3333, 0.75]
    assert figures(trust) == ["0.397", "0.333", "0.750"]
    assert figures(Trust.of(confidence[:1], confidence[:1], bools(1), bools(1))) == ["0.088"]

    rejection = Rejection(0.05, 0.6, 1 / 3, 2 / 3, np.ones(1))
    assert figures(rejection) == ["5.0%", "60.0%", "33.3%", "66.7%"]
    assert figures(Rejection(None, 0.0, None, None, np.ones(1))) == ["0.0%"]

    sets = SetQuality.of(np.array([0, 0, 1, 2]), bools(0, 1, 0, 0), bools(1, 1, 1))
    assert sets.to_dict() == {"set_coverage": 0.3333, "set_size": 1.3333}
    assert figures(sets) == ["1.33", "33.3%"]

    score = Score.of(np.array(["a", "b", "x"], object), np.array(["a", "a", "b"], object))
    assert score.to_dict() == {"accuracy": 0.3333, "macro_f1": 0.3333}
    assert figures(score) == ["0.333", "0.333"]


def test_figures_are_frozen() -> None:
    confidence, right = np.array([0.5, 0.25]), bools(1, 0)
    bins, curve = reliability(confidence, right), risk_coverage(confidence, right)
    arrays = [bins.confidence, bins.right, bins.count, curve.confidence, curve.coverage, curve.accuracy]
    assert not any(one.flags.writeable for one in arrays)
    assert not Rejection.of(0.1, bools(0, 1), right, bools(1, 1), np.array([0, 1])).class_coverage.flags.writeable


# Again, in plain loops


@given(CALLS)
def test_auroc_is_the_share_of_pairs_in_order(calls: list[tuple[int, bool]]) -> None:
    """Of a positive and a negative, a tie counts half."""
    pairs = [(one, other) for one, up in calls for other, down in calls if up and not down]
    found = auroc(np.array([one for _, one in calls]), np.array([one for one, _ in calls], float))
    expected = sum(1.0 if one > other else 0.5 if one == other else 0.0 for one, other in pairs)
    assert found == (pytest.approx(expected / len(pairs)) if pairs else None)


@given(st.lists(st.tuples(st.sampled_from("abcd"), st.sampled_from("abc")), min_size=1, max_size=40))
def test_scores_are_those_of_plain_counts(calls: list[tuple[str, str]]) -> None:
    """F1 is 2 tp / (2 tp + fp + fn); its mean is over the author's classes, and none is over those called alone."""
    found = Score.of(*(np.array(one, object) for one in zip(*calls, strict=True)))
    f1 = []
    for label in sorted({truth for _, truth in calls}):
        hits = sum(called == truth == label for called, truth in calls)
        others = sum((called == label) != (truth == label) for called, truth in calls)
        f1.append(2 * hits / (2 * hits + others))
    assert found.macro_f1 == pytest.approx(sum(f1) / len(f1))
    assert found.accuracy == pytest.approx(sum(called == truth for called, truth in calls) / len(calls))


def test_a_class_that_is_never_called_counts_as_nothing() -> None:
    found = Score.of(np.array(["a", "a", "a", "x"], object), np.array(["a", "a", "b", "b"], object))
    # Of a: 2 hits, 1 too many, none missed: 4 / 5. Of b: none. Of x, which is no class of the author's, nothing.
    assert [found.accuracy, found.macro_f1] == pytest.approx([0.5, 0.4])
    assert found.to_dict() == {"accuracy": 0.5, "macro_f1": 0.4}


@given(st.integers(1, 1000), st.floats(0, 1))
def test_the_ends_of_an_interval_are_1_96_standard_errors_from_the_share(count: int, of: float) -> None:
    """Wilson's ends are the chances p at which the share seen is 1.96 standard errors of p away."""
    share = round(of * count) / count
    low, high = wilson(np.array([share]), np.array([count]))[:, 0]
    assert -1e-12 <= low <= share + 1e-12
    assert share - 1e-12 <= high <= 1 + 1e-12
    for end in (low, high):
        assert (share - end) ** 2 == pytest.approx(1.96**2 * max(0.0, end * (1 - end)) / count, abs=1e-9)
    assert high > low
