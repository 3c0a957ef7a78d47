from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scvec.core.types import Ints, Neighbors
from scvec.errors import InputError
from scvec.knn.options import Voting
from scvec.knn.voting import vote


def neighbors(*distances: float) -> Neighbors:
    found = np.array([distances], np.float32)
    return Neighbors(np.where(np.isfinite(found), np.arange(len(distances)), -1), found)


def even(n_labels: int) -> Ints:
    """As many searched cells of each label."""
    return np.ones(n_labels, np.int64)


def test_the_defaults_are_those_that_measured_best() -> None:
    assert Voting().to_dict() == {"k": 15, "weights": "softmax", "temperature": 0.02, "frequency": 0.5}
    votes = vote(neighbors(0.1, 0.13, 0.13), np.array([[0, 1, 1]]), np.array([16, 4]))
    weights = np.array([1 / 4, 2 * np.exp(-0.03 / 0.02) / 2])
    np.testing.assert_allclose(votes.shares, [weights / weights.sum()], rtol=1e-5)


def test_weights_are_the_inverse_of_the_distance() -> None:
    votes = vote(neighbors(0.1, 0.3, 0.3), np.array([[0, 1, 1]]), even(3), Voting(weights="inverse"))
    near, far = 1 / 0.101, 1 / 0.301
    np.testing.assert_allclose(votes.shares, [[near / (near + 2 * far), 2 * far / (near + 2 * far), 0]], rtol=1e-6)
    assert votes.winner.tolist() == [0]


def test_a_tie_goes_to_the_nearest() -> None:
    assert vote(neighbors(0.1, 0.1), np.array([[1, 0]]), even(2)).winner.tolist() == [1]
    assert vote(neighbors(0.1, 0.1), np.array([[0, 1]]), even(2)).winner.tolist() == [0]


def test_missing_neighbours_have_no_vote() -> None:
    votes = vote(neighbors(0.3, np.inf, np.inf), np.array([[1, 0, 0]]), even(2))
    assert votes.shares.tolist() == [[0, 1]]
    none = vote(neighbors(np.inf), np.array([[0]]), even(2))
    assert none.winner.tolist() == [-1]
    assert none.shares.tolist() == [[0, 0]]


def test_shares_sum_to_one() -> None:
    rng = np.random.default_rng(0)
    found = Neighbors(rng.integers(0, 9, (30, 5)), np.sort(rng.random((30, 5)).astype(np.float32), axis=1))
    votes = vote(found, rng.integers(0, 4, (30, 5)), even(4))
    assert votes.shares.sum(axis=1) == pytest.approx(np.ones(30))
    np.testing.assert_array_equal(votes.shares.max(axis=1), votes.shares[np.arange(30), votes.winner])


def test_softmax_weights_fall_off_with_the_distance() -> None:
    softmax = Voting(weights="softmax", temperature=0.2)
    votes = vote(neighbors(0.1, 0.3, 0.4), np.array([[0, 1, 1]]), even(2), softmax)
    weights = np.exp(-np.array([0.1, 0.3, 0.4]) / 0.2)
    np.testing.assert_allclose(votes.shares, [[weights[0], weights[1] + weights[2]] / weights.sum()], rtol=1e-5)


def test_a_low_temperature_leaves_the_nearest_a_vote() -> None:
    votes = vote(
        neighbors(1.5, 1.6, np.inf), np.array([[1, 0, 0]]), even(2), Voting(weights="softmax", temperature=1e-5)
    )
    assert votes.winner.tolist() == [1]
    assert votes.shares.tolist() == [[0, 1]]
    none = vote(neighbors(np.inf), np.array([[0]]), even(2), Voting(weights="softmax"))
    assert (none.winner.tolist(), none.shares.tolist()) == ([-1], [[0, 0]])


def test_votes_are_divided_by_the_frequency_of_their_label() -> None:
    found, codes, counts = neighbors(0.2, 0.2, 0.2), np.array([[0, 0, 1]]), np.array([100, 4, 0])
    assert vote(found, codes, counts, Voting(frequency=0)).winner.tolist() == [0]
    for power in (0.25, 0.5, 1.0):
        votes = vote(found, codes, counts, Voting(frequency=power))
        common, rare = 2 / 100**power, 1 / 4**power
        np.testing.assert_allclose(votes.shares, [[common / (common + rare), rare / (common + rare), 0]], rtol=1e-6)
    assert vote(found, codes, counts, Voting(frequency=1)).winner.tolist() == [1]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"k": 0}, "above 0"),
        ({"weights": "cubic"}, "one of: inverse, softmax"),
        ({"temperature": 0}, "above 0"),
        ({"temperature": float("nan")}, "above 0"),
        ({"temperature": float("inf")}, "above 0"),
        ({"frequency": -0.1}, "from 0 to 1"),
        ({"frequency": 1.1}, "from 0 to 1"),
        ({"frequency": float("nan")}, "from 0 to 1"),
    ],
)
def test_parameters_out_of_range(values: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Voting(**values)


VOTINGS = st.builds(
    Voting,
    weights=st.sampled_from(["inverse", "softmax"]),
    temperature=st.floats(1e-3, 10),
    frequency=st.floats(0, 1),
)


@given(VOTINGS, st.integers(0, 2**31), st.integers(1, 6), st.integers(1, 9), st.integers(1, 5))
def test_any_vote_is_fair(voting: Voting, seed: int, n_cells: int, k: int, n_labels: int) -> None:
    """Shares are shares, none goes to a label without neighbours, and names of labels do not matter."""
    rng = np.random.default_rng(seed)
    distances = np.sort(rng.random((n_cells, k)).astype(np.float32), axis=1)
    there = np.arange(k) < rng.integers(0, k + 1, (n_cells, 1))
    found = Neighbors(np.where(there, rng.integers(0, 99, (n_cells, k)), -1), np.where(there, distances, np.inf))
    codes, counts = rng.integers(0, n_labels, (n_cells, k)), rng.integers(1, 1000, n_labels)
    votes = vote(found, codes, counts, voting)
    np.testing.assert_allclose(votes.shares.sum(axis=1), there.any(axis=1), rtol=1e-5)
    for cell in range(n_cells):
        present = set(codes[cell][there[cell]].tolist())
        assert set(np.flatnonzero(votes.shares[cell]).tolist()) <= present
        assert votes.winner[cell] in (present or {-1})
    swap = rng.permutation(n_labels)
    renamed = vote(found, swap[codes], counts[np.argsort(swap)], voting)
    np.testing.assert_allclose(renamed.shares[:, swap], votes.shares, atol=1e-6)
    assert renamed.winner.tolist() == [swap[one] if one >= 0 else -1 for one in votes.winner]


@given(st.integers(0, 2**31), st.floats(0.01, 1))
def test_a_nearer_neighbour_never_weighs_less(seed: int, temperature: float) -> None:
    distances = np.sort(np.random.default_rng(seed).random(6)).tolist()
    for voting in (Voting(), Voting(weights="softmax", temperature=temperature)):
        shares = vote(neighbors(*distances), np.arange(6)[None], even(6), voting).shares[0]
        assert (np.diff(shares) <= 0).all()


# The vote as its documentation says it, a cell at a time


def plain_vote(ids: Any, distances: Any, codes: Any, counts: Any, how: Voting) -> tuple[int, list[float]]:
    """Return the winner and the shares of one cell."""
    there = [(d, code) for one, d, code in zip(ids, distances, codes, strict=True) if one >= 0]
    votes = [0.0] * len(counts)
    for d, code in there:
        near = 1 / (d + 0.001) if how.weights == "inverse" else math.exp((there[0][0] - d) / how.temperature)
        votes[code] += near / counts[code] ** how.frequency
    shares = [one / (sum(votes) or 1) for one in votes]
    best = [code for code, share in enumerate(shares) if share >= max(shares) - 1e-9]
    return next((code for _, code in there if code in best), -1), shares


@st.composite
def crowds(draw: st.DrawFn) -> tuple[Neighbors, Ints, Ints]:
    """Neighbours of a few cells, codes and counts of their labels; many at one distance, or a last digit apart."""
    n, k, n_labels = draw(st.integers(1, 5)), draw(st.integers(1, 8)), draw(st.integers(1, 4))
    steps = draw(st.sampled_from([0, 2.0**-27, 1e-6, 1e-3, 0.1]))
    rng = np.random.default_rng(draw(st.integers(0, 2**31)))
    start = rng.choice(np.array([0, 1e-6, 0.125, 1.5], np.float32), (n, 1))
    distances = (start + np.cumsum(rng.integers(0, 2, (n, k)) * steps, axis=1)).astype(np.float32)
    there = np.arange(k) < rng.integers(0, k + 1, (n, 1))
    counts = rng.choice([1, 2, 4, 50], n_labels)
    ids = np.where(there, rng.integers(0, 99, (n, k)), -1)
    return Neighbors(ids, np.where(there, distances, np.inf)), rng.integers(0, n_labels, (n, k)), counts


@given(
    crowds(),
    st.builds(
        Voting,
        weights=st.sampled_from(["inverse", "softmax"]),
        temperature=st.sampled_from([1e-3, 0.02, 10.0, 1000.0]),
        frequency=st.sampled_from([0, 0.5, 1.0]),
    ),
)
def test_votes_are_those_of_ten_plain_lines(crowd: tuple[Neighbors, Ints, Ints], how: Voting) -> None:
    found, codes, counts = crowd
    votes = vote(found, codes, counts, how)
    assert [votes.winner.dtype, votes.shares.dtype] == [np.dtype(np.int64), np.dtype(np.float32)]
    for i, own in enumerate(codes.tolist()):
        winner, shares = plain_vote(found.ids[i].tolist(), found.distances[i].tolist(), own, counts.tolist(), how)
        assert votes.winner[i] == winner
        np.testing.assert_allclose(votes.shares[i], shares, rtol=2**-24 + 1e-9, atol=1e-38)  # the nearest float32


@pytest.mark.parametrize(("gap", "winner"), [(0.95e-9, 1), (1.05e-9, 0)])
def test_shares_are_equal_to_a_billionth(gap: float, winner: int) -> None:
    """Two neighbours at one distance: label 1 is first, and by its two cells its share is the lower one by `gap`."""
    # 1 / (1 + c) - c / (1 + c) = gap, where c = 2 ** -frequency.
    frequency = math.log2((1 + gap) / (1 - gap))
    votes = vote(neighbors(0.25, 0.25), np.array([[1, 0]]), np.array([1, 2]), Voting(frequency=frequency))
    assert votes.winner.tolist() == [winner]


def test_a_label_of_one_cell_has_no_handicap_and_one_of_two_has() -> None:
    votes = vote(neighbors(0.2, 0.2, 0.2), np.array([[0, 1, 2]]), np.array([1, 2, 4]), Voting(frequency=1))
    np.testing.assert_allclose(votes.shares, [[4 / 7, 2 / 7, 1 / 7]], rtol=1e-6)


def test_a_label_without_cells_is_no_reason_to_divide_by_zero() -> None:
    """A missing neighbour has code 0, whichever label that is; here one that was not searched."""
    votes = vote(neighbors(0.2, np.inf), np.array([[1, 0]]), np.array([0, 3]), Voting(frequency=1))
    assert (votes.winner.tolist(), votes.shares.tolist()) == ([1], [[0, 1]])
    none = vote(neighbors(np.inf, np.inf), np.array([[0, 0]]), np.array([0, 3]), Voting(frequency=1))
    assert (none.winner.tolist(), none.shares.tolist()) == ([-1], [[0, 0]])


def test_the_inverse_of_the_distance_is_of_a_thousandth_more() -> None:
    """One neighbour at no distance outvotes a hundred at a tenth: 1000 to 990; with less added it would by far."""
    distances, codes = [0.0, *[0.1] * 100], np.array([[0, *[1] * 100]])
    votes = vote(neighbors(*distances), codes, even(2), Voting(weights="inverse", frequency=0))
    np.testing.assert_allclose(votes.shares, [[1000 / (1000 + 100 / 0.101), (100 / 0.101) / (1000 + 100 / 0.101)]])
    assert votes.winner.tolist() == [0]
    more = vote(neighbors(*distances, 0.1, 0.1), np.append(codes, [[1, 1]], axis=1), even(2), Voting(weights="inverse"))
    assert more.winner.tolist() == [1]


def test_the_ends_of_every_range_are_in_it() -> None:
    assert [Voting(frequency=one).frequency for one in (0, 1)] == [0, 1]
    assert Voting(k=1).k == 1
    assert Voting(k=np.int64(3)).k == 3  # type: ignore[arg-type]
    for k in (1.5, -1):
        with pytest.raises(InputError, match="a whole number above 0"):
            Voting(k=k)  # type: ignore[arg-type]
