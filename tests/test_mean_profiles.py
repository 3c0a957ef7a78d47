"""A reference of mean profiles, one or a few a label, in place of cells."""

from __future__ import annotations

from dataclasses import replace

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

import scvec as sv
from scvec.embed.sample import PROFILE_ROWS
from scvec.errors import InputError
from scvec.views import NEIGHBORS, fit_views
from scvec.views.rank import SCALE
from scvec.views.sparse import dense_ranks
from tests import toy
from tests.test_refine import toy_sample
from tests.test_views import drawn, reference


def mean_profiles() -> ad.AnnData:
    """Return the mean cell of each label of toy cells, of no counts."""
    cells = toy.cells(200, seed=3)
    means = pd.DataFrame(cells.to_df()).groupby(cells.obs["cell_type"].to_numpy()).mean()
    names = means.index.astype(str)
    return ad.AnnData(means.to_numpy(np.float32), obs=pd.DataFrame({"cell_type": names}, index=names), var=cells.var)


def test_calls_rest_on_ranks_and_components_and_no_error_is_stated(store: sv.Store) -> None:
    atlas = sv.atlas.build(store, "means", mean_profiles(), label_key="cell_type")
    assert any("express more than half of the genes" in note for note in atlas.manifest["label_notes"])
    assert atlas.views is not None
    assert atlas.views.joining.of(NEIGHBORS) == 0
    query = toy.cells(80, seed=4)
    calls = sv.annotate(query, atlas)
    assert (calls.label == query.obs["cell_type"].to_numpy()).mean() > 0.95
    assert np.isnan(calls.confidence).all()
    with pytest.raises(InputError, match="has no calibration"):
        sv.annotate(query, atlas, max_error=0.05)


def test_cells_are_no_profiles_however_few_and_dense_rows_are_however_named() -> None:
    sample = toy_sample(24)
    dense = replace(sample, logged=sp.csr_matrix(np.ones(sample.logged.shape, np.float32)))
    sparse = replace(sample, logged=sp.csr_matrix(np.eye(*sample.logged.shape, dtype=np.float32)))
    assert dense.is_of_profiles
    assert not sparse.is_of_profiles
    many = dense.at(np.repeat(np.arange(24), PROFILE_ROWS))
    assert not many.is_of_profiles


def test_a_panel_of_cells_makes_no_profiles() -> None:
    sample = toy_sample(24)
    logged = np.zeros(sample.logged.shape, np.float32)
    logged[:, :6] = 1.0
    cells = replace(sample, logged=sp.csr_matrix(logged))
    panel = cells.on(np.arange(logged.shape[1]) < 6)
    assert len(panel) == len(cells)
    assert not panel.is_of_profiles
    dense = replace(sample, logged=sp.csr_matrix(np.ones_like(logged)))
    assert dense.on(np.arange(logged.shape[1]) < 6).is_of_profiles


def test_ranks_of_one_mean_row_a_label_call_cells() -> None:
    cells = reference()
    member = sp.csr_matrix((np.full(len(cells), 0.025), (cells.codes, np.arange(len(cells)))))
    rows = replace(cells.at(np.arange(4)), logged=sp.csr_matrix(member @ cells.logged), codes=np.arange(4))
    view = fit_views(rows, ("rank",), 0)["rank"]
    query, codes = drawn(100, 1)
    logits = view.project(query).astype(np.float64)
    assert (logits.argmax(axis=1) == codes).mean() > 0.9
    # The regression starts from 30 times the correlation with each row, which tells these labels apart: it ends there.
    correlations = SCALE * dense_ranks(query, view.genes) @ dense_ranks(rows.logged, view.genes).T
    apart = logits - correlations
    assert np.abs(apart - apart.mean(axis=1, keepdims=True)).max() < 0.5
