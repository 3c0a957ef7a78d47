"""What is held out of a reference: whole donors, each cell once, and never on both sides."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scvec.core.types import Neighbors
from scvec.knn.folds import folds, retrieve
from scvec.knn.options import Voting
from scvec.knn.voting import vote


def strings(values: Any) -> Any:
    return np.array([f"b{one}" for one in values], dtype=object)


CELLS = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 6)), min_size=1, max_size=80)


@given(CELLS, st.integers(2, 6), st.integers(0, 99))
def test_every_cell_is_held_out_once_and_never_seen_then(cells: list[tuple[int, int]], n: int, seed: int) -> None:
    codes, batches = np.array(cells).T
    found = folds(codes, strings(batches), n, seed)
    n_batches = len(np.unique(batches))
    assert len(found) <= n
    held = np.concatenate([fold.held for fold in found]) if found else np.array([], int)
    if len(cells) > 1:
        assert sorted(held.tolist()) == list(range(len(cells)))
    for fold in found:
        assert not set(fold.seen.tolist()) & set(fold.held.tolist())
        assert sorted([*fold.seen.tolist(), *fold.held.tolist()]) == list(range(len(cells)))
        assert (np.diff(fold.seen) > 0).all()
        assert (np.diff(fold.held) > 0).all()
        assert len(fold.seen)
        assert len(fold.held)
    apart = [not set(batches[fold.seen].tolist()) & set(batches[fold.held].tolist()) for fold in found]
    # Labels that all batches have are in every fold; others may be held out with all of their batches.
    shared = [len(np.unique(batches[codes == code])) == n_batches for code in codes]
    if n_batches > 1 and all(shared):
        assert len(found) == min(n, n_batches)
        assert all(apart)


def test_where_batches_are_labels_cells_are_held_out_within_labels() -> None:
    codes = np.repeat(np.arange(4), 10)
    for fold in folds(codes, strings(codes), 5, 0):
        assert np.bincount(codes[fold.held]).tolist() == [2, 2, 2, 2]
    # A label that one donor alone has is no reason to.
    codes[0], batches = 5, np.tile(np.arange(2), 20)
    for fold in folds(codes, strings(batches), 5, 0):
        assert len(np.unique(batches[fold.held])) == 1


@given(st.lists(st.integers(0, 4), min_size=2, max_size=80), st.integers(2, 6), st.integers(0, 99))
def test_of_one_batch_cells_are_held_out_within_labels(labels: list[int], n: int, seed: int) -> None:
    """Each label is spread over the folds as evenly as can be, and so are all cells together."""
    codes = np.array(labels)
    found = folds(codes, strings(np.zeros(len(codes), int)), n, seed)
    assert len(found) == min(n, len(codes))
    sizes = [len(fold.held) for fold in found]
    assert max(sizes) - min(sizes) <= 1
    for code in np.unique(codes):
        own = [int((codes[fold.held] == code).sum()) for fold in found]
        assert max(own) - min(own) <= 1


def test_of_one_batch_the_seed_decides() -> None:
    codes, one = np.repeat([0, 1], 20), strings(np.zeros(40, int))
    first, again, other = (folds(codes, one, 4, seed) for seed in (0, 0, 1))
    assert [fold.held.tolist() for fold in first] == [fold.held.tolist() for fold in again]
    assert [fold.held.tolist() for fold in first] != [fold.held.tolist() for fold in other]
    assert first[0].held.tolist() != list(range(len(first[0].held)))


def test_donors_are_spread_by_their_size() -> None:
    sizes = {"a": 50, "b": 30, "c": 25, "d": 5, "e": 4}
    donors = np.array([name for name, size in sizes.items() for _ in range(size)], dtype=object)
    found = folds(np.zeros(len(donors), int), donors, 2, 0)
    assert [sorted(set(donors[fold.held].tolist())) for fold in found] == [["a", "d", "e"], ["b", "c"]]


def test_a_single_cell_cannot_be_held_out() -> None:
    assert folds(np.array([0]), strings([0]), 5, 0) == ()


@pytest.mark.parametrize("k", [1, 3, 50])
def test_retrieval_is_exact_search_and_the_usual_vote(k: int) -> None:
    rng = np.random.default_rng(0)
    vectors = rng.standard_normal((30, 4)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    codes, reference, queries = rng.integers(0, 3, 20), vectors[:20], vectors[20:]
    found, votes = retrieve(reference, codes, 5, queries, Voting(k=k))
    distances = 1 - queries.astype(np.float64) @ reference.astype(np.float64).T
    order = np.argsort(distances, axis=1, kind="stable")[:, :k]
    n = min(k, 20)
    np.testing.assert_array_equal(found.ids[:, :n], order)
    assert (found.ids[:, n:] == -1).all()
    near = Neighbors(order, np.take_along_axis(distances, order, 1).astype(np.float32))
    expected = vote(near, codes[order], np.bincount(codes, minlength=5), Voting(k=k))
    np.testing.assert_array_equal(votes.winner, expected.winner)
    np.testing.assert_allclose(votes.shares, expected.shares, atol=1e-5)
    assert votes.shares.shape == (10, 5)
