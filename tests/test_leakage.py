"""Nothing is fitted on what it is to call: neither on a query, nor on cells held out of a reference."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
from anndata import AnnData, concat

import scvec as sv
from scvec.atlas import Atlas
from scvec.atlas.fitting import fit_reference
from scvec.core.types import silent
from scvec.embed.profiles import Profiles
from scvec.embed.recipe import Recipe, Refinement
from scvec.embed.refine import fit_head
from scvec.embed.sample import Sample
from scvec.knn.calibration import HeldOut, signals
from scvec.knn.folds import folds, retrieve
from scvec.knn.options import DEFAULT
from tests import toy
from tests.test_refine import IDS, VECTORS, hard, recipe, sample_of, toy_sample
from tests.test_trust import strangers

ARRAYS = ("weights", "mean", "power", "bias")


def annotate(cells: AnnData, atlas: Atlas, path: Path, **options: Any) -> sv.Annotation:
    cells.write_h5ad(path)
    return sv.annotate(path, atlas, max_error=0.05, sets=True, **options)


def assert_same(one: sv.Annotation, other: sv.Annotation, cells: Any) -> None:
    """Assert that an answer has, for these cells of another, the same bits."""
    assert other.to_frame(3)[cells].equals(one.to_frame(3))
    for name in ("vectors", "scores", "confidence", "novelty"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name)[cells])
    assert one.sets is not None
    assert other.sets is not None
    assert list(one.sets) == [other.sets[i] for i in np.arange(len(other))[cells]]


@pytest.fixture
def query() -> AnnData:
    return toy.cells(40, seed=1)


def test_a_cell_is_called_the_same_whatever_other_cells_come_with_it(
    atlas: Atlas, query: AnnData, tmp_path: Path
) -> None:
    alone = annotate(query, atlas, tmp_path / "alone.h5ad", adapt="off")
    others = toy.cells(60, seed=5)
    others.X = sp.csr_matrix(strangers(60) * 9)
    whole = concat([others[:31], query, others[31:]])
    among = annotate(whole, atlas, tmp_path / "among.h5ad", adapt="off")
    assert_same(alone, among, slice(31, 71))
    few = annotate(query[10:13].copy(), atlas, tmp_path / "few.h5ad", adapt="off")
    assert_same(few, alone, slice(10, 13))
    # Strangers are no part of what a query has in common with its reference.
    adapted = annotate(whole, atlas, tmp_path / "adapted.h5ad")
    assert adapted.label_before_rejection[31:71].tolist() == alone.label_before_rejection.tolist()


def test_a_query_s_own_labels_and_donors_change_nothing(atlas: Atlas, query: AnnData, tmp_path: Path) -> None:
    named = annotate(query, atlas, tmp_path / "named.h5ad")
    rng = np.random.default_rng(0)
    for key in ("cell_type", "cl_id", "donor"):
        query.obs[key] = rng.permutation(query.obs[key].to_numpy(str))
    query.obs["label"] = "beta"
    misnamed = annotate(query, atlas, tmp_path / "misnamed.h5ad")
    assert_same(named, misnamed, slice(None))
    query.obs = query.obs[[]]
    assert_same(named, annotate(query, atlas, tmp_path / "bare.h5ad"), slice(None))


def test_the_order_of_a_query_s_genes_changes_nothing(atlas: Atlas, query: AnnData, tmp_path: Path) -> None:
    usual = annotate(query, atlas, tmp_path / "usual.h5ad")
    order = np.random.default_rng(0).permutation(toy.N_GENES)
    other = annotate(query[:, order].copy(), atlas, tmp_path / "other.h5ad")
    assert other.label.tolist() == usual.label.tolist()
    assert other.reason.tolist() == usual.reason.tolist()
    assert other.sets == usual.sets
    for name in ("vectors", "scores", "confidence", "novelty"):  # but for the order in which they are added up
        np.testing.assert_allclose(getattr(other, name), getattr(usual, name), atol=1e-4)


def test_queries_leave_the_store_as_it_was(store: sv.Store, atlas: Atlas, query: AnnData, tmp_path: Path) -> None:
    def tree() -> dict[str, bytes]:
        return {str(one): one.read_bytes() for one in Path(store.uri).rglob("*") if one.is_file()}

    before = tree()
    first = annotate(query, atlas, tmp_path / "q.h5ad")
    for options in ({"k": 3}, {"where": "batch = 'd0'"}, {"cluster_key": "donor"}, {"block": ["beta"]}):
        sv.annotate(tmp_path / "q.h5ad", atlas, **options)
    annotate(toy.cells(30, seed=9), atlas, tmp_path / "other.h5ad")
    assert tree() == before
    assert_same(first, annotate(query, atlas, tmp_path / "q.h5ad"), slice(None))


def other_cells_in(sample: Sample, cells: Any, x: Any) -> Sample:
    """Return the sample with other expression in these cells."""
    dense = sample.logged.toarray()
    dense[cells] = x
    return replace(sample, logged=sp.csr_matrix(dense))


@pytest.mark.parametrize("donor", ["d0", "d1", "d2"])
@pytest.mark.parametrize(("steps", "alike"), [(1, False), (16, True)])
def test_a_fold_s_head_knows_nothing_of_the_cells_held_out(donor: str, steps: int, alike: bool) -> None:
    """Their expression may be any other. Of one step, so that only it can be chosen; of more, where as many are."""
    sample = toy_sample(60)
    held = np.flatnonzero(sample.batches == donor)
    changed = (
        sample.logged.toarray()[held] * 0.9 if alike else np.random.default_rng(0).random((len(held), toy.N_GENES)) * 5
    )
    asked = recipe(Refinement(steps=steps, batch_cells=24))
    one, other = (
        fit_head(asked, IDS, VECTORS, world, silent) for world in (sample, other_cells_in(sample, held, changed))
    )
    assert one.steps == other.steps
    for (fold, head), (_, again) in zip(one.folds, other.folds, strict=True):
        is_own = np.array_equal(fold.held, held)
        same = [np.array_equal(getattr(head, name), getattr(again, name)) for name in ARRAYS]
        assert all(same) if is_own else not any(same[:2])
    assert not np.array_equal(one.head.weights, other.head.weights)


def test_a_fold_s_head_knows_nothing_of_the_labels_held_out() -> None:
    sample = toy_sample(60)
    held = np.flatnonzero(sample.batches == "d1")
    codes = sample.codes.copy()
    codes[held] = np.random.default_rng(0).permutation(codes[held])
    asked = recipe(Refinement(steps=1, batch_cells=24))
    one, other = (fit_head(asked, IDS, VECTORS, world, silent) for world in (sample, replace(sample, codes=codes)))
    for (fold, head), (_, again) in zip(one.folds, other.folds, strict=True):
        same = [np.array_equal(getattr(head, name), getattr(again, name)) for name in ARRAYS]
        assert all(same) if np.array_equal(fold.held, held) else not any(same[:2])


@pytest.mark.parametrize("refine", [Refinement(steps=16, batch_cells=24), None])
def test_the_calibration_is_made_of_calls_by_what_had_not_seen_the_cells(refine: Refinement | None) -> None:
    """Called once more, one fold after the other, by its head, among the other cells, beside their profiles alone."""
    sample = hard(120, 0)
    bound = replace(recipe(), refine=refine)
    vectors = VECTORS[:80]
    fitted = fit_reference(bound, IDS[:80], vectors, sample, silent)
    assert fitted.calibration is not None
    heads: list[Any]
    if refine is None:
        heads = [(fold, fitted.embedding) for fold in folds(sample.codes, sample.batches, 5, 0)]
    else:
        heads = list(fit_head(bound, IDS[:80], vectors, sample, silent).folds)
    parts = []
    for fold, head in heads:
        seen, held = sample.at(fold.seen), sample.at(fold.held)
        every = np.ones(80, bool)
        reference, queries = (head.vectors(one.logged, every)[0] for one in (seen, held))
        found, votes = retrieve(reference, seen.codes, 2, queries, DEFAULT)
        odd, _ = Profiles.of(IDS[:80], seen, 1e4).odd(held.logged, every, votes.winner)
        parts.append(HeldOut.of(votes, signals(found, seen.codes[found.ids], votes, odd), held.codes))
    expected = HeldOut.joined(parts)
    for name in ("called", "truth", "own_share", "share", "margin", "far", "odd"):
        np.testing.assert_allclose(getattr(fitted.calibration.held, name), getattr(expected, name), atol=1e-6)


@pytest.mark.parametrize("batches", ["three donors", "one"])
@pytest.mark.parametrize("refine", [Refinement(steps=40, batch_cells=64), None])
def test_labels_drawn_by_chance_are_not_called_better_than_by_chance(refine: Refinement | None, batches: str) -> None:
    """A head learns them by heart; what is said of its calls does not."""
    rng = np.random.default_rng(0)
    n = 300
    x, labels = rng.poisson(1.0, (n, toy.N_GENES)), rng.integers(0, 2, n)
    donors = [f"d{i % 3}" if batches == "three donors" else "d" for i in range(n)]
    sample = sample_of(x, labels, donors)
    bound: Recipe = replace(recipe(), refine=refine)
    fitted = fit_reference(bound, IDS, VECTORS, sample, silent)
    assert fitted.calibration is not None
    held = fitted.calibration.held
    assert len(held.called) == n
    assert held.right.mean() == pytest.approx(0.5, abs=0.1)
    confidence = fitted.calibration.confidence(_signals(held))
    assert confidence.mean() == pytest.approx(0.5, abs=0.1)
    assert not (confidence >= fitted.calibration.thresholds(0.05, 2)[held.called]).any()
    if refine is not None:
        assert fitted.training is not None
        assert max(fitted.training["held_out_macro_f1"].values()) < 0.62
        vectors, _ = fitted.embedding.vectors(sample.logged, np.ones(toy.N_GENES, bool))
        _, own = retrieve(vectors, sample.codes, 2, vectors, DEFAULT)
        assert (own.winner == sample.codes).mean() > 0.95


def _signals(held: HeldOut) -> Any:
    from scvec.knn.calibration import Signals

    return Signals(held.share, held.margin, held.far, held.odd)


def test_a_label_that_only_the_held_out_cells_have_counts_as_unknown() -> None:
    cells = toy.cells(90)
    kind, donor = cells.obs["cell_type"].to_numpy(str), cells.obs["donor"].to_numpy(str)
    kept = (kind != "immune") | (donor == "d1")
    sample = sample_of(cells.X[kept], kind[kept], donor[kept])
    for refine in (Refinement(steps=8, batch_cells=24), None):
        fitted = fit_reference(replace(recipe(), refine=refine), IDS, VECTORS, sample, silent)
        assert fitted.calibration is not None
        held = fitted.calibration.held
        n_alone = int((kind[kept] == "immune").sum())
        assert int((~held.known).sum()) == n_alone
        assert not held.right[~held.known].any()
        assert np.isnan(held.own_share[~held.known]).all()
        assert held.right[held.known].mean() > 0.95


def test_of_a_panel_only_the_names_of_its_genes_are_used(store: sv.Store, files: Path, tmp_path: Path) -> None:
    names = list(toy.SYMBOLS[:150])
    rng = np.random.default_rng(0)
    made = []
    for i, x in enumerate((toy.cells(30, seed=1).X.toarray()[:, :150], rng.poisson(4.0, (55, 150)))):
        panel = AnnData(sp.csr_matrix(x.astype(np.float32)))
        panel.var_names = names
        panel.obs["cell_type"] = rng.choice(toy.LABELS, panel.n_obs)
        panel.write_h5ad(tmp_path / f"panel{i}.h5ad")
        atlas = sv.atlas.build(
            store,
            f"p{i}",
            files / "reference.h5ad",
            label_key="cell_type",
            batch_key="donor",
            recipe=sv.RECIPES["refined"].with_encoder("hash"),
            panel=tmp_path / f"panel{i}.h5ad",
        )
        derived = [*Path(store.uri, "atlases", f"p{i}").rglob("*.safetensors")]
        derived += Path(store.uri, "atlases", f"p{i}").rglob("*.npy")
        made.append({one.name: one.read_bytes() for one in derived})
        assert atlas.embedding.gene_ids.tolist() == IDS[:150].tolist()
    assert made[0] == made[1]
    kinds = {"projection.safetensors", "profiles.safetensors", "calibration.safetensors", "rows.npy", "vectors.npy"}
    kinds |= {"views.safetensors", "likeness.safetensors"}
    assert set(made[0]) == kinds
