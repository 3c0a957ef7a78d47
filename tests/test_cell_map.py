"""The plane of query and reference: islands stay islands, and what is placed afterwards lies among its like."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

import numpy as np
import pytest

import scvec as sv
from scvec.atlas import Atlas
from scvec.report.findings import cell_map

pytest.importorskip("umap")


@pytest.fixture
def calls(atlas: Atlas, files: Path) -> sv.Annotation:
    return sv.annotate(files / "query.h5ad", atlas)


def test_cells_lie_next_to_reference_cells_of_their_label(atlas: Atlas, calls: sv.Annotation) -> None:
    found = cell_map(calls, atlas)
    assert found.n_fitted == len(calls)
    near = np.linalg.norm(found.query[:, None] - found.reference[None], axis=2).argmin(axis=1)
    assert (found.labels[near] == calls.label_before_rejection).mean() > 0.95
    np.testing.assert_array_equal(found.query, cell_map(calls, atlas).query)
    assert not np.array_equal(found.query, cell_map(calls, atlas, random_state=1).query)


def test_cells_that_the_plane_was_not_fitted_to_lie_among_their_like(
    atlas: Atlas, calls: sv.Annotation, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The package has a function of the module's name.
    monkeypatch.setattr(import_module("scvec.report.findings.map"), "FITTED", 30)
    found = cell_map(calls, atlas)
    assert (found.n_fitted, len(found.rows)) == (30, 30)
    assert np.isfinite(found.query).all()
    near = np.linalg.norm(found.query[:, None] - found.reference[None], axis=2).argmin(axis=1)
    assert (found.labels[near] == calls.label_before_rejection).mean() > 0.9


def test_a_label_s_mean_is_that_of_its_cells(atlas: Atlas) -> None:
    vectors = atlas.vectors(atlas.filled)
    labels = atlas.labels[atlas.positions(atlas.filled)]
    for name, mean in zip(atlas.label_names.tolist(), atlas.label_means, strict=True):
        np.testing.assert_allclose(mean, vectors[labels == name].mean(axis=0), atol=1e-6)
