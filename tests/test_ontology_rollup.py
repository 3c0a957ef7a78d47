"""Votes that split are rolled up to what enough of them agree on, and calls are judged by the ontology."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scvec.core.types import Floats
from scvec.errors import InputError, KeyNotFoundError
from scvec.ontology import Ontology, RolledUp, Term, credited, is_right, roll_up
from scvec.ontology.terms import NO_ANSWER
from tests.toy_ontology import (
    ALPHA,
    B_CELL,
    BETA,
    CD4,
    CD8,
    CELL,
    ENDOCRINE,
    EUKARYOTIC,
    LEUKOCYTE,
    LYMPHOCYTE,
    NKT,
    RETINAL,
    T_CELL,
    TOY,
)

LABELS = (CD4, CD8, B_CELL, T_CELL, BETA, "", ALPHA, NKT, "", CD8)


def rolled(shares: Sequence[float], ids: Sequence[str], support: float) -> tuple[str, float]:
    """Roll up one cell."""
    found = roll_up(np.array([shares], np.float32), ids, TOY, support)
    return found.ids[0], round(float(found.support[0]), 4)


@pytest.mark.parametrize(
    ("shares", "ids", "support", "answer"),
    [
        ((0.6, 0.4), (CD4, CD8), 0.6, (CD4, 0.6)),
        ((0.6, 0.4), (CD4, CD8), 0.7, (T_CELL, 1.0)),
        ((0.5, 0.3, 0.2), (CD4, CD8, B_CELL), 0.8, (T_CELL, 0.8)),
        ((0.5, 0.3, 0.2), (CD4, CD8, B_CELL), 0.9, (LYMPHOCYTE, 1.0)),
        # A label's own kinds speak for it.
        ((0.4, 0.35, 0.25), (T_CELL, CD4, BETA), 0.7, (T_CELL, 0.75)),
        # ... and it says nothing for its kinds.
        ((0.45, 0.55), (CD4, T_CELL), 0.5, (T_CELL, 1.0)),
        ((0.55, 0.45), (CD4, T_CELL), 0.6, (T_CELL, 1.0)),
        # Nothing but *eukaryotic cell* is common to them.
        ((0.5, 0.5), (CD4, BETA), 0.6, ("", 0.0)),
        # Two labels of one id.
        ((0.3, 0.4, 0.3), (CD8, BETA, CD8), 0.6, ("", 0.0)),
        ((0.41, 0.2, 0.39), (CD8, BETA, CD8), 0.8, (CD8, 0.8)),
        # A label without an id speaks for itself alone.
        ((0.6, 0.4), ("", CD4), 0.6, ("", 0.6)),
        ((0.6, 0.4), ("", CD4), 0.7, ("", 0.0)),
        ((0.4, 0.35, 0.25), (CD4, "", CD8), 0.6, (T_CELL, 0.65)),
        # The first of equal ones; of two ways up the one that says more.
        ((0.5, 0.5), (CD8, CD4), 0.5, (CD8, 0.5)),
        ((0.5, 0.5), (NKT, B_CELL), 1.0, (LYMPHOCYTE, 1.0)),
        # What is true of any cell is no answer, whoever calls it.
        ((0.9, 0.1), (CELL, CD4), 0.5, ("", 0.0)),
        ((0.9, 0.1), (EUKARYOTIC, CD4), 0.5, ("", 0.0)),
        # Nobody voted.
        ((0.0, 0.0), (CD4, CD8), 0.5, ("", 0.0)),
        # Ids in another spelling, and obsolete ones.
        ((0.5, 0.5), ("CL_0000624", "CL:0000044"), 0.9, (LYMPHOCYTE, 1.0)),
        # Sums of float32.
        ((0.1, 0.2, 0.3, 0.4), (CD4, CD8, NKT, T_CELL), 1.0, (T_CELL, 1.0)),
    ],
)
def test_a_cell_is_rolled_up(
    shares: Sequence[float], ids: Sequence[str], support: float, answer: tuple[str, float]
) -> None:
    assert rolled(shares, ids, support) == answer


@pytest.mark.parametrize(("short", "answer"), [(0.9e-6, CD4), (1.1e-6, T_CELL)])
def test_votes_a_millionth_short_are_enough(short: float, answer: str) -> None:
    assert rolled((0.75, 0.25), (CD4, CD8), 0.75 + short)[0] == answer


@st.composite
def votes(draw: st.DrawFn) -> Floats:
    """(n, L) shares of a few neighbours; some rows of nobody."""
    counts = draw(st.lists(st.lists(st.integers(0, 4), min_size=len(LABELS), max_size=len(LABELS)), max_size=6))
    whole = np.array(counts, np.float64).reshape(-1, len(LABELS))
    return np.asarray(whole / np.maximum(whole.sum(axis=1, keepdims=True), 1), np.float32)


SUPPORTS = st.floats(0.01, 1.0)


def by_hand(shares: np.ndarray[tuple[int], np.dtype[np.float32]], support: float) -> str:
    """Roll up one cell as it is said in words."""
    code = int(shares.argmax())
    if shares[code] == 0 or not LABELS[code]:
        return ""
    reached = [
        one
        for one in TOY.ancestors(LABELS[code])
        if one not in NO_ANSWER
        and sum(float(share) for share, label in zip(shares, LABELS, strict=True) if label and TOY.is_a(label, one))
        >= support - 1e-6
    ]
    return max(reached, key=TOY.depth, default="")


@given(scores=votes(), support=SUPPORTS)
def test_it_is_what_the_words_say(scores: Floats, support: float) -> None:
    found = roll_up(scores, LABELS, TOY, support)
    assert found.ids.tolist() == [by_hand(row, support) for row in scores]


@given(scores=votes(), support=SUPPORTS)
def test_an_answer_has_its_support_and_is_above_the_winner(scores: Floats, support: float) -> None:
    found = roll_up(scores, LABELS, TOY, support)
    for row, answer, share in zip(scores, found.ids, found.support, strict=True):
        winner = LABELS[int(row.argmax())]
        if answer:
            assert share >= support - 1e-5
            assert share >= row.max() - 1e-5
            assert TOY.is_a(winner, answer)
            assert answer not in NO_ANSWER
        elif share:
            assert winner == ""
            assert share == row.max() >= support - 1e-5


@given(scores=votes(), supports=st.tuples(SUPPORTS, SUPPORTS).map(sorted))
def test_asking_for_less_never_says_less(scores: Floats, supports: list[float]) -> None:
    def depths(found: RolledUp) -> list[int]:
        return [TOY.depth(one) if one else -1 for one in found.ids]

    less, more = (depths(roll_up(scores, LABELS, TOY, one)) for one in supports)
    assert all(low >= high for low, high in zip(less, more, strict=True))


@given(scores=votes(), support=SUPPORTS)
def test_a_cell_s_answer_is_its_own(scores: Floats, support: float) -> None:
    together = roll_up(scores, LABELS, TOY, support)
    for i, row in enumerate(scores):
        alone = roll_up(row[None], LABELS, TOY, support)
        assert alone.ids[0] == together.ids[i]
        assert alone.support[0] == pytest.approx(together.support[i])


def test_a_cell_that_nobody_voted_on_is_not_rolled_beside_others() -> None:
    found = roll_up(np.array([[0.5, 0.5], [0, 0]], np.float32), [CD4, CD8], TOY, 0.9)
    assert (found.ids.tolist(), found.support.tolist()) == ([T_CELL, ""], [1.0, 0.0])


def test_the_answer_is_frozen_and_of_its_types() -> None:
    found = roll_up(np.zeros((3, 2), np.float32), [CD4, CD8], TOY, 0.5)
    assert [one.dtype.str for one in (found.ids, found.support)] == ["|O", "<f4"]
    for array in (found.ids, found.support):
        assert array.shape == (3,)
        assert not array.flags.writeable
    assert len(roll_up(np.zeros((2, 0), np.float32), [], TOY, 0.5).ids) == 2


@pytest.mark.parametrize("support", [0.0, -1.0, 1.01, float("nan")])
def test_a_support_out_of_range_is_refused(support: float) -> None:
    with pytest.raises(InputError, match=r"`support` must be .*got"):
        rolled((1.0,), (CD4,), support)


def test_ids_that_do_not_fit_are_refused() -> None:
    with pytest.raises(InputError, match="1 ids for 2 labels"):
        rolled((0.5, 0.5), (CD4,), 0.5)
    with pytest.raises(KeyNotFoundError, match="CL:9999999"):
        rolled((0.5, 0.5), (CD4, "CL:9999999"), 0.5)


@pytest.mark.parametrize(
    ("called", "truth", "right"),
    [
        (CD4, CD4, True),
        (CD4, T_CELL, True),
        (T_CELL, CD4, False),
        (CD8, CD4, False),
        (NKT, LEUKOCYTE, True),
        (RETINAL, ENDOCRINE, False),
        ("", CD4, False),
        (CD4, "", False),
        ("", "", False),
        ("CL_0000084", "CL:0000044", True),
        ("CL:0000044", T_CELL, False),
    ],
)
def test_a_kind_is_right_and_what_it_is_a_kind_of_is_not(called: str, truth: str, right: bool) -> None:
    pair = np.array([called, CD4], object), np.array([truth, BETA], object)
    assert is_right(*pair, TOY).tolist() == [right, False]
    found = credited(np.array(["their", "b"], object), np.array(["ours", "c"], object), *pair, TOY)
    assert found.tolist() == ["ours" if right else "their", "b"]
    assert found.dtype == object


def test_no_cells_are_judged_and_unknown_ids_are_refused() -> None:
    none = np.array([], object)
    assert is_right(none, none, TOY).dtype == bool
    assert len(credited(none, none, none, none, TOY)) == 0
    with pytest.raises(KeyNotFoundError, match="CL:9999999"):
        is_right(np.array(["CL:9999999"], object), np.array([CD4], object), TOY)


def test_depth_decides_where_the_shortest_way_misleads() -> None:
    """The shortest way to the top is one step from B and two from A, yet B is a kind of A."""
    top, a, b = "CL:0000010", "CL:0000020", "CL:0000030"
    way = {CELL: (), top: (CELL,), a: (top,), b: (CELL, a)}
    small = Ontology("1", {one: Term(one, one, parents=above) for one, above in way.items()}, {})
    found = roll_up(np.array([[0.6, 0.4]], np.float32), [b, a], small, 0.6)
    assert found.ids.tolist() == [b]
    assert roll_up(np.array([[0.6, 0.4]], np.float32), [b, a], small, 0.9).ids.tolist() == [a]
