"""An atlas of an earlier version gets views and a sample from the files that it was built from."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import scvec as sv
from scvec.atlas import Atlas
from scvec.cli import main
from scvec.errors import InputError, KeyNotFoundError, MismatchError
from tests import toy

OLD = replace(sv.RECIPES["refined"], views=())


@pytest.fixture
def old(store: sv.Store, files: Path) -> Atlas:
    """An atlas that calls by neighbours alone."""
    reference = files / "reference.h5ad"
    return sv.atlas.build(store, "old", reference, recipe=OLD, label_key="cell_type", batch_key="donor")


def test_it_calls_as_an_atlas_that_was_built_today(old: Atlas, files: Path) -> None:
    new = sv.atlas.build(old.store, "new", files / "reference.h5ad", label_key="cell_type", batch_key="donor")
    before = sv.annotate(files / "query.h5ad", old)
    assert old.views is None
    assert dict(before.by_view) == {}
    again = sv.atlas.refit(old, files / "reference.h5ad")
    assert again.views is not None
    assert again.cells.version == old.cells.version + 1
    found, wanted = sv.annotate(files / "query.h5ad", again), sv.annotate(files / "query.h5ad", new)
    np.testing.assert_allclose(found.scores, wanted.scores, atol=1e-6)
    np.testing.assert_allclose(found.confidence, wanted.confidence, atol=1e-5)
    np.testing.assert_array_equal(found.vectors, before.vectors)
    assert again.manifest["recipe"] == old.manifest["recipe"]
    assert sv.atlas.verify(again) == []
    # The version before is as it was.
    assert sv.atlas.open(old.store, "old", version=1).views is None


def test_it_may_call_by_neighbors_alone(old: Atlas, files: Path) -> None:
    again = sv.atlas.refit(sv.atlas.refit(old, files / "reference.h5ad"), files / "reference.h5ad", views=())
    assert again.views is None
    np.testing.assert_array_equal(
        sv.annotate(files / "query.h5ad", again).scores, sv.annotate(files / "query.h5ad", old).scores
    )


def test_other_cells_are_refused(old: Atlas, files: Path) -> None:
    with pytest.raises(MismatchError, match=r"the files from which it was built, with the same .*: reference\.h5ad"):
        sv.atlas.refit(old, toy.cells(120, seed=9))
    assert sv.atlas.versions(old.store, "old") == [1]


def test_copies_of_its_files_are_told_by_what_they_hold(old: Atlas, files: Path, tmp_path: Path) -> None:
    extended = sv.atlas.extend(old, files / "query.h5ad")
    copies = [Path(shutil.copy(files / name, tmp_path / f"moved-{name}")) for name in ("query.h5ad", "reference.h5ad")]
    again = sv.atlas.refit(extended, copies)
    wanted = sv.atlas.refit(again, [files / "reference.h5ad", files / "query.h5ad"])
    query = toy.cells(30, seed=3)
    np.testing.assert_array_equal(sv.annotate(query, again).scores, sv.annotate(query, wanted).scores)


def test_removed_cells_stay_away(old: Atlas, files: Path) -> None:
    left = sv.atlas.remove(old, "label = 'beta' OR row < 9")
    again = sv.atlas.refit(left, files / "reference.h5ad")
    assert again.kept_sample is not None
    np.testing.assert_array_equal(again.kept_sample.rows, left.rows)
    query = toy.cells(41, seed=1)
    known = query.obs["cell_type"].to_numpy() != "beta"
    calls = sv.annotate(query, again)
    assert (calls.label == query.obs["cell_type"].to_numpy())[known].mean() > 0.9
    assert sv.atlas.verify(again) == []


def test_a_copy_of_a_file_of_fewer_genes_will_do(old: Atlas, files: Path, tmp_path: Path) -> None:
    fewer = toy.cells(40, seed=7)[:, :170].copy()
    extended = sv.atlas.extend(old, fewer, dataset="fewer")
    fewer.write_h5ad(tmp_path / "fewer.h5ad")
    assert sv.atlas.refit(extended, [files / "reference.h5ad", tmp_path / "fewer.h5ad"]).views is not None


def test_a_copy_with_other_values_or_labels_is_refused(old: Atlas, files: Path) -> None:
    cells = toy.cells(120, seed=0)
    others = toy.cells(120, seed=9)
    others.obs_names = cells.obs_names
    relabelled = cells.copy()
    relabelled.obs["cell_type"] = cells.obs["cell_type"].cat.rename_categories({"alpha": "beta", "beta": "alpha"})
    for wrong in (others, relabelled, cells[::-1].copy(), cells[:119].copy()):
        with pytest.raises(MismatchError, match="are not those of atlas 'old'"):
            sv.atlas.refit(old, wrong)
    with pytest.raises(MismatchError, match="are not those of atlas 'old'"):
        sv.atlas.refit(old, files / "reference.h5ad", label_key="donor")
    assert sv.atlas.refit(old, cells).views is not None


def test_what_cannot_be_fitted_is_refused(old: Atlas, store: sv.Store, files: Path) -> None:
    with pytest.raises(KeyNotFoundError, match="view 'ranks'"):
        sv.atlas.refit(old, files / "reference.h5ad", views=["ranks"])
    plain = sv.atlas.build(
        store, "plain", files / "reference.h5ad", label_key="cell_type", recipe="genept-w", encoder="hash"
    )
    with pytest.raises(InputError, match="recipe genept-w, which has no head"):
        sv.atlas.refit(plain, files / "reference.h5ad")


def test_a_recipe_of_views_that_there_are_not_is_refused_before_any_work(store: sv.Store, files: Path) -> None:
    with pytest.raises(InputError, match="`views`"):
        replace(OLD, views="rank")  # type: ignore[arg-type]
    with pytest.raises(KeyNotFoundError, match="no view 'ranks': expected one of: rank, corrected, linear"):
        sv.atlas.build(store, "x", files / "none.h5ad", recipe=replace(OLD, views=("rank", "ranks")), label_key="x")


def test_new_labels_need_a_build(old: Atlas, files: Path) -> None:
    cells = toy.cells(12, seed=6)
    cells.obs["cell_type"] = "epsilon"
    extended = sv.atlas.extend(old, cells)
    with pytest.raises(InputError, match="1 new label, such as 'epsilon'"):
        sv.atlas.refit(extended, [files / "reference.h5ad", cells])


def test_views_do_not_know_a_label_that_came_later(old: Atlas, files: Path) -> None:
    cells = toy.cells(40, seed=6)
    known = cells.obs["cell_type"].to_numpy() != "immune"
    cells.obs["cell_type"] = np.where(known, cells.obs["cell_type"].astype(str), "new immune")
    fitted = sv.atlas.refit(old, files / "reference.h5ad")
    extended = sv.atlas.extend(sv.atlas.remove(fitted, "label = 'immune'"), cells)
    calls = sv.annotate(toy.cells(40, seed=6), extended)
    assert (calls.label_before_rejection[~known] == "new immune").mean() > 0.9
    assert "immune" not in set(calls.label_before_rejection)
    np.testing.assert_allclose(calls.scores.sum(axis=1), 1, atol=1e-5)
    assert len(sv.explain.attributions(calls, groups=calls.label_before_rejection.tolist()))
    with pytest.raises(InputError, match="view 'rank' does not know label 'new immune'"):
        sv.explain.attributions(calls, view="rank")
    known_calls = np.where(calls.label_before_rejection == "new immune", "", calls.label_before_rejection)
    found = sv.explain.attributions(calls, groups=known_calls.tolist(), against="alpha", view="corrected")
    assert set(found.label) <= {"alpha", "beta", "ductal"}


def test_the_command(old: Atlas, files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    where = ["--store", str(old.store.uri)]
    assert main(["atlas", "refit", "old", str(files / "reference.h5ad"), *where]) == 0
    assert "neighbors, rank, corrected" in capsys.readouterr().out
    assert main(["atlas", "refit", "old", str(files / "query.h5ad"), *where]) == 2
    assert "are not those of atlas 'old'" in capsys.readouterr().err
