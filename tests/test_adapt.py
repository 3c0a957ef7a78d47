"""Calls that adapt to their query: a shift is met; neither the order of its cells nor their batches change a call."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp
from anndata import AnnData
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import scvec as sv
from scvec.atlas import Atlas
from scvec.cli import main
from scvec.errors import InputError, KeyNotFoundError
from tests import toy


@pytest.fixture
def built(store: sv.Store, files: Path) -> Atlas:
    return sv.atlas.build(store, "free", files / "reference.h5ad", label_key="cell_type", batch_key="donor")


def shifted(n: int = 240, depth: float = 1.0) -> AnnData:
    """Cells of a study that sees each gene better or worse than the reference does; every third has another's too."""
    cells = toy.cells(n, seed=4)
    counts = cells.X.toarray().astype(np.int64)
    counts[::3] += counts[1::3]
    counts = np.random.default_rng(1).binomial(counts, depth)
    gain = np.exp(np.random.default_rng(0).normal(0, 1, toy.N_GENES))
    cells.X = sp.csr_matrix(np.round(counts * gain).astype(np.float32))
    return cells


def test_a_query_that_is_shifted_is_met_and_told(built: Atlas) -> None:
    query = shifted(1200, 0.3)
    calls, alone = sv.annotate(query, built), sv.annotate(query, built, adapt="off")
    single = np.arange(query.n_obs) % 3 != 0
    assert (calls.label == query.obs["cell_type"].to_numpy())[single].mean() > 0.95
    changed = int((calls.label != alone.label).sum())
    assert changed
    assert f"the calls of {changed} of 1,200 cells depend on the query's other cells" in " ".join(calls.notes)
    assert "other cells" not in " ".join(alone.notes)


def test_a_few_cells_are_called_each_alone(built: Atlas) -> None:
    few = shifted()[:8].copy()
    assert "other cells" not in " ".join(sv.annotate(few, built).notes)


@settings(max_examples=5, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, 2**32 - 1))
def test_the_order_of_the_cells_changes_nothing(built: Atlas, seed: int) -> None:
    order = np.random.default_rng(seed).permutation(240)
    first, again = sv.annotate(shifted(), built), sv.annotate(shifted()[order].copy(), built)
    np.testing.assert_array_equal(again.label, first.label[order])
    np.testing.assert_array_equal(again.scores, first.scores[order])
    np.testing.assert_array_equal(again.novelty, first.novelty[order])


def test_the_size_of_the_batches_changes_nothing(built: Atlas, monkeypatch: pytest.MonkeyPatch) -> None:
    first = sv.annotate(shifted(), built)
    monkeypatch.setattr("scvec.ingest.cells.memory.MAX_BATCH_CELLS", 7)
    again = sv.annotate(shifted(), built)
    np.testing.assert_allclose(again.scores, first.scores, atol=1e-6)
    np.testing.assert_array_equal(again.unexpected_genes, first.unexpected_genes)


def test_alone_each_call_depends_on_its_cell(built: Atlas) -> None:
    every = sv.annotate(shifted(), built, adapt="off")
    some = sv.annotate(shifted()[50:61].copy(), built, adapt="off")
    np.testing.assert_array_equal(some.scores, every.scores[50:61])


def test_another_word_is_refused(built: Atlas, files: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="`adapt` must be 'auto' or 'off'"):
        sv.annotate(files / "query.h5ad", built, adapt="yes")  # type: ignore[arg-type]
    where = ["--store", str(built.store.uri), "--atlas", "free"]
    assert (
        main(["query", str(files / "query.h5ad"), *where, "--adapt", "off", "--out", str(tmp_path / "calls.csv")]) == 0
    )


def test_genes_add_up_to_what_a_view_says(built: Atlas) -> None:
    query = shifted()
    calls = sv.annotate(query, built, adapt="off")
    for view in ("rank", "corrected"):
        found = sv.explain.attributions(calls, view=view)
        total = found.contributions.sum(axis=1, dtype=np.float64) + found.baseline
        np.testing.assert_allclose(total, found.similarity - found.similarity_against, atol=1e-3)
        assert (found.similarity > found.similarity_against).all()
        best = found.symbols[found.contributions.argmax(axis=1)]
        assert [toy.theme_of(toy.SYMBOLS.index(gene)) for gene in best] == found.label.tolist()
    assert list(found.decided) == ["neighbors", "rank", "corrected"]
    with pytest.raises(KeyNotFoundError, match="view 'ranks'"):
        sv.explain.attributions(calls, view="ranks")


def test_the_view_with_the_lead_decides(built: Atlas) -> None:
    calls = sv.annotate(shifted(), built, adapt="off")
    together = np.sum([np.asarray(one) for one in calls.leads.values()], axis=0)
    assert (together >= -1e-4).all()
    order = np.sort(calls.scores, axis=1)
    near = order[:, -2] > 1e-3  # shares that are not all of one label
    np.testing.assert_allclose(np.exp(together[near]), (order[:, -1] / order[:, -2])[near], rtol=1e-2)


@pytest.mark.filterwarnings("error:Mean of empty slice")
def test_a_reference_of_one_cell_a_label_calls_and_is_reported(store: sv.Store) -> None:
    tiny = sv.atlas.build(store, "tiny", toy.cells(4, seed=0), label_key="cell_type")
    query = toy.cells(41, seed=1)
    calls = sv.annotate(query, tiny)
    assert (calls.label == query.obs["cell_type"].to_numpy()).mean() > 0.5
    assert sv.overview.overview(calls).doubts.held_out is None
