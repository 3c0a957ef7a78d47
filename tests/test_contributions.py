"""Sums of contributions over groups, and the loops under them, against plain definitions in float64."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st

from scvec.embed import kernel
from scvec.embed.contributions import Contributions


def drawn(seed: int, d: int, *, shared: bool) -> tuple[Contributions, np.ndarray[tuple[int], np.dtype[np.int64]]]:
    """Return contributions of nine cells, some of them empty, in three groups; `shared`: a group has one gradient."""
    rng = np.random.default_rng(seed)
    n, g = 9, 13
    amounts = rng.uniform(0, 2, (n, g)) * (rng.random((n, g)) < 0.4) * (rng.random((n, 1)) < 0.8)
    codes = rng.integers(-1, 3, n)
    own = rng.standard_normal((n if not shared else 4, d)).astype(np.float32)
    made = Contributions(
        sp.csr_matrix(amounts.astype(np.float32)),
        rng.uniform(0, 1, g).astype(np.float32),
        rng.standard_normal((g, d)).astype(np.float32),
        own[codes] if shared else own,
        rng.uniform(0, 2, n),
        np.zeros(n),
        np.zeros(n),
    )
    return made, codes


@given(st.integers(0, 9999), st.sampled_from([1, 16, 70, 130]), st.booleans())
def test_sums_over_groups_are_those_of_the_definition(seed: int, d: int, shared: bool) -> None:
    made, codes = drawn(seed, d, shared=shared)
    along = (made.gradient.astype(np.float64) * made.scale[:, None]) @ made.weights.T.astype(np.float64)
    excess = made.amounts.toarray().astype(np.float64) - made.offset
    for group in range(4):
        rows = codes == group
        np.testing.assert_allclose(made.of_groups(codes, 4)[group], (excess * along)[rows].sum(axis=0), atol=2e-4)
        np.testing.assert_allclose(made.excess_of_groups(codes, 4)[group], excess[rows].sum(axis=0), atol=1e-12)
    np.testing.assert_allclose(made.of_cells(np.arange(9)), excess * along, atol=2e-4)


@given(st.integers(0, 9999), st.booleans())
def test_a_group_has_the_same_bits_whatever_the_others_are(seed: int, shared: bool) -> None:
    made, codes = drawn(seed, 70, shared=shared)
    alone = np.where(codes == 1, 0, -1)
    np.testing.assert_array_equal(made.of_groups(codes, 3)[1], made.of_groups(alone, 1)[0])


@pytest.mark.parametrize("by", ["sum", "length"])
def test_scaled_cells_have_the_sum_or_length_asked_for(by: kernel.By) -> None:
    rng = np.random.default_rng(0)
    cells = (rng.uniform(0.1, 2, (20, 30)) * (rng.random((20, 30)) < 0.05)).astype(np.float32)
    found = kernel.scaled(sp.csr_matrix(cells), by, 0.5).toarray()
    size = found.sum(axis=1) if by == "sum" else np.linalg.norm(found, axis=1)
    filled = cells.any(axis=1)
    assert 0 < filled.sum() < 20
    np.testing.assert_allclose(size[filled], 0.5, rtol=1e-6)
    assert not found[~filled].any()
