from __future__ import annotations

import numpy as np
import pytest

from scvec.types import Neighbors
from scvec.vote import vote


def neighbors(*distances: float) -> Neighbors:
    found = np.array([distances], np.float32)
    return Neighbors(np.where(np.isfinite(found), np.arange(len(distances)), -1), found)


def test_weights_are_the_inverse_of_the_distance() -> None:
    votes = vote(neighbors(0.1, 0.3, 0.3), np.array([[0, 1, 1]]), 3)
    near, far = 1 / 0.101, 1 / 0.301
    np.testing.assert_allclose(votes.shares, [[near / (near + 2 * far), 2 * far / (near + 2 * far), 0]], rtol=1e-6)
    assert votes.winner.tolist() == [0]


def test_a_tie_goes_to_the_nearest() -> None:
    assert vote(neighbors(0.1, 0.1), np.array([[1, 0]]), 2).winner.tolist() == [1]
    assert vote(neighbors(0.1, 0.1), np.array([[0, 1]]), 2).winner.tolist() == [0]


def test_missing_neighbours_have_no_vote() -> None:
    votes = vote(neighbors(0.3, np.inf, np.inf), np.array([[1, 0, 0]]), 2)
    assert votes.shares.tolist() == [[0, 1]]
    none = vote(neighbors(np.inf), np.array([[0]]), 2)
    assert none.winner.tolist() == [-1]
    assert none.shares.tolist() == [[0, 0]]


def test_shares_sum_to_one() -> None:
    rng = np.random.default_rng(0)
    found = Neighbors(rng.integers(0, 9, (30, 5)), np.sort(rng.random((30, 5)).astype(np.float32), axis=1))
    votes = vote(found, rng.integers(0, 4, (30, 5)), 4)
    assert votes.shares.sum(axis=1) == pytest.approx(np.ones(30))
    np.testing.assert_array_equal(votes.shares.max(axis=1), votes.shares[np.arange(30), votes.winner])
