"""What clusters express, with a column of clusters, with clusters made, and of the cells that calls leave unknown."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from anndata import AnnData

import scvec as sv
from scvec.errors import InputError, KeyNotFoundError, LabelError
from scvec.ingest.cells.options import ReadOptions
from scvec.naming import groups as module
from scvec.naming.groups import Groups, groups_of
from tests import toy


def by_hand(adata: AnnData, label: str) -> tuple[np.ndarray, np.ndarray]:
    """Return mean log1p CP10k, and the share of cells that express, of a label's cells on all of their genes."""
    x = np.asarray(adata[adata.obs["cell_type"] == label].X.todense(), np.float64)
    logged = np.log1p(x / x.sum(1, keepdims=True) * 1e4)
    return logged.mean(0), (x > 0).mean(0)


def test_groups_are_the_means_of_a_column(store: sv.Store) -> None:
    adata = toy.cells()
    found = groups_of(adata, store, cluster_key="cell_type")
    assert found.clusters.tolist() == list(toy.LABELS)
    assert found.n_cells.tolist() == [30] * 4
    assert found.clusters[found.member].tolist() == adata.obs["cell_type"].tolist()
    assert (found.taxon_id, found.name) == (toy.HUMAN, "adata")
    order = [found.symbols.tolist().index(one) for one in adata.var_names]
    for i, label in enumerate(toy.LABELS):
        means, shares = by_hand(adata, label)
        np.testing.assert_allclose(found.means[i, order], means, rtol=1e-6)
        np.testing.assert_allclose(found.shares[i, order], shares, rtol=1e-12)


def test_batches_do_not_matter(store: sv.Store, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = groups_of(toy.cells(), store, cluster_key="cell_type")
    monkeypatch.setattr("scvec.ingest.cells.memory.MAX_BATCH_CELLS", 7)
    parts = groups_of(toy.cells(), store, cluster_key="cell_type")
    np.testing.assert_allclose(parts.means, whole.means, rtol=1e-12)
    np.testing.assert_array_equal(parts.shares, whole.shares)
