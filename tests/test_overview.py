"""A query from all sides: what is doubted and why, where cells lie, what they express, and all of it together."""

from __future__ import annotations

import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import scvec as sv
from scvec.annotation.rejection import reject
from scvec.atlas import Atlas
from scvec.core.types import Floats
from scvec.errors import InputError, KeyNotFoundError, LabelError
from scvec.explain import attributions
from scvec.ingest.cells import open_cells
from scvec.report.findings import cell_map, doubts, markers, overview
from scvec.report.findings.label_quality import LabelQuality
from scvec.report.findings.summary import N_MARKERS, N_SPEAKING
from scvec.report.findings.unexpected_genes import mixtures, others, owners, shared
from tests import reported, toy
from tests.reported import HOSTILE, N_CELLS, N_KNOWN, N_MIXED, World

KNOWN, NEW, EMPTY = slice(0, N_KNOWN), slice(N_KNOWN + N_MIXED, N_CELLS - 1), N_CELLS - 1

# The package's name for it is the function's.
module: Any = sys.modules["scvec.report.findings.map"]


def words(reason: str) -> str:
    return reason.replace("_", " ")


@pytest.fixture(scope="module")
def uncalibrated(world: World) -> Atlas:
    """The atlas as it would be, had no cell been held out of its label."""
    atlas = sv.atlas.open_atlas(world.store, "various")
    atlas.__dict__["calibration"] = None
    return atlas


@pytest.mark.parametrize("error", [0.02, 0.05, 0.3])
@pytest.mark.parametrize("asked", [None, 0.02, 0.3])
def test_what_is_doubted_is_what_a_query_would_reject(world: World, error: float, asked: float | None) -> None:
    wanted = reject(world.calls, world.atlas, error)
    # What was asked of the query before does not matter.
    found = doubts(reject(world.calls, world.atlas, asked), world.atlas, error)
    assert found.error == error
    assert found.reason.tolist() == wanted.reason.tolist()
    doubted = (wanted.reason == "novel") | (wanted.reason == "low_confidence")
    assert doubted.any()
    assert (found.group != "").tolist() == doubted.tolist()
    for name, label, reason in zip(
        found.group[doubted], wanted.label_before_rejection[doubted], wanted.reason[doubted], strict=True
    ):
        assert name == f"{label}, {words(reason)}"


def test_groups_say_what_their_cells_are(world: World) -> None:
    calls, found = world.calls, world.overview.doubts
    assert {one.name: one.n_cells for one in found.groups} == dict(Counter(found.group[found.group != ""].tolist()))
    assert {one.reason for one in found.groups} == {"novel", "low_confidence"}
    sizes = [one.n_cells for one in found.groups]
    assert sizes == sorted(sizes, reverse=True)
    for one in found.groups:
        cells = np.flatnonzero(found.group == one.name)
        assert one.name == f"{one.label}, {words(one.reason)}"
        assert one.share == len(cells) / sum(calls.label_before_rejection == one.label)
        assert one.confidence == pytest.approx(np.median(calls.confidence[cells]))
        votes = dict(zip(calls.labels, calls.scores[cells].mean(axis=0), strict=True))
        assert one.votes == pytest.approx(votes.pop(one.label), abs=1e-6)
        assert one.votes_against == pytest.approx(max(votes.values()), abs=1e-6)
        assert votes.get(one.against, 0) == pytest.approx(max(votes.values()), abs=1e-6)
        odd = Counter(gene for text in calls.unexpected_genes[cells] for gene in text.split(", ") if gene)
        # One cell's genes are worth naming where there are hardly more cells.
        often = [n for n in sorted(odd.values(), reverse=True) if n > 1 or len(cells) < 3]
        assert [gene.n_cells for gene in one.unexpected_genes] == often[:5]
        assert all(odd[gene.symbol] == gene.n_cells for gene in one.unexpected_genes)


def test_a_gene_is_the_label_s_that_expresses_it_at_least_twice_as_much_as_any_other(world: World) -> None:
    profiles, names = world.atlas.profiles, world.atlas.label_names
    symbols = dict(world.atlas.texts.genes.select("gene_id", "symbol").iter_rows())
    owner = owners(world.atlas)
    for gene, means in zip(profiles.gene_ids.tolist(), profiles.labels.T, strict=True):
        first, second = np.argsort(-means)[:2]
        wanted = names[first] if means[first] > 0 and means[first] >= 2 * means[second] else None
        assert owner.get(symbols[gene]) == wanted
    assert set(owner.values()) == set(names)
    assert 0 < len(owner) < len(profiles.gene_ids)
    for group in world.overview.doubts.groups:
        assert all(gene.label == owner.get(gene.symbol, "") for gene in group.unexpected_genes)


def test_labels_of_few_cells_own_no_gene_and_dispute_none(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    smallest = min(np.bincount(world.atlas.label_codes))
    monkeypatch.setattr("scvec.report.findings.unexpected_genes.FEW_CELLS", int(smallest) + 1)
    kept = [name for i, name in enumerate(world.atlas.label_names) if np.sum(world.atlas.label_codes == i) > smallest]
    assert set(owners(world.atlas).values()) == (set(kept) if len(kept) > 1 else set())


def test_cells_with_another_label_s_genes_are_told_cell_by_cell() -> None:
    owner = {"A1": "a", "A2": "a", "B1": "b"}
    nearest = np.array(["b", "b", "a", "b", "b"], object)
    odd = np.array(["A1, A2, X", "A1, X", "A1, A2", "A1, A2, B1", ""], object)
    other = others(nearest, odd, np.array([0, 1, 2, 4]), owner)
    assert other.tolist() == ["a", "", "", "", ""]  # most of the genes; not half; its own; not asked; none odd
    (one,) = mixtures(np.array(["b", "b", "c"], object), np.array(["a", "a", "a"], object))
    assert (one.other, one.cells, one.n_cells) == ("a", (("b", 2), ("c", 1)), 3)
    assert mixtures(nearest, np.full(5, "", object)) == ()


def test_genes_of_no_label_that_are_odd_in_many_are_shared() -> None:
    nearest = np.array(["a", "b", "c", "a", "b", "d"], object)
    odd = np.array(["S, A", "S, A", "S, A", "S, A", "S, A", "S, A"], object)
    (one,) = shared(nearest, odd, np.arange(5), {"A": "a"})
    assert (one.symbol, one.n_cells, one.n_labels) == ("S", 5, 3)
    assert shared(nearest, odd, np.arange(4), {"A": "a"}) == ()  # too few cells
    assert shared(np.repeat(nearest[:2], 5), np.repeat(odd[:2], 5), np.arange(10), {"A": "a"}) == ()  # two labels


def test_labels_say_what_is_behind_them(world: World) -> None:
    found, calls, calibration = world.overview.doubts, world.calls, world.atlas.calibration
    assert calibration is not None
    names = world.atlas.label_names.tolist()
    assert [one.n_called for one in found.labels] == sorted((one.n_called for one in found.labels), reverse=True)
    assert {one.label for one in found.labels} == set(names)
    for one in found.labels:
        held = calibration.held.called == names.index(one.label)
        assert one.n_called == (calls.label_before_rejection == one.label).sum()
        assert one.n_doubted == ((calls.label_before_rejection == one.label) & (found.group != "")).sum()
        assert one.n_reference == (reported.reference().obs["cell_type"] == one.label).sum()
        assert (one.n_held, one.n_right) == (held.sum(), (calibration.held.truth[held] == names.index(one.label)).sum())
    assert sum(one.n_right for one in found.labels) < sum(one.n_held for one in found.labels)


def test_held_out_cells_are_counted_by_label_and_call(world: World) -> None:
    found, calibration = world.overview.doubts, world.atlas.calibration
    assert calibration is not None
    assert found.held_out is not None
    held, names = calibration.held, world.atlas.label_names.tolist()
    confidence, threshold = calibration.held_confidence(), calibration.thresholds(0.05, len(names))
    counts = dict(zip(found.held_out.labels.tolist(), found.held_out.counts, strict=True))
    assert found.held_out.n_cells == held.known.sum()
    assert found.held_out.accuracy == pytest.approx(held.right[held.known].mean())
    assert found.novelty_limit == calibration.too_novel(0.05)
    for one in found.labels:
        i = names.index(one.label)
        own, so = held.truth == i, held.called == i
        assert counts[one.label].tolist() == [(held.called[own] == names.index(name)).sum() for name in counts]
        assert (one.n_own, one.threshold) == (own.sum(), threshold[i])
        assert one.n_below == (so & (confidence < threshold[i])).sum()
        assert one.n_wrong_below == (so & ~own & (confidence < threshold[i])).sum()
        for (name, n), codes in ((one.missed, held.called[own & ~so]), (one.wrong, held.truth[so & ~own])):
            assert n == np.bincount(codes, minlength=len(names)).max()
            assert n == 0 or (codes == names.index(name)).sum() == n


@pytest.mark.parametrize(("n_called", "n_reference", "thin"), [(1, 9, True), (1, 10, False), (0, 3, False)])
def test_a_label_is_thin_where_few_cells_back_calls_of_it(n_called: int, n_reference: int, thin: bool) -> None:
    one = LabelQuality("one", n_called, 0, n_reference, 5, 5, ("", 0), 5, ("", 0), 0.5, 0, 0)
    assert one.is_thin is thin
    assert not one.is_often_wrong


@pytest.mark.parametrize(("n_held", "n_right", "often"), [(10, 7, True), (10, 8, False), (0, 0, False)])
def test_a_label_is_often_wrong_by_its_held_out_calls(n_held: int, n_right: int, often: bool) -> None:
    one = LabelQuality("one", 3, 0, 50, n_held, n_right, ("two", n_held - n_right), 9, ("", 0), 0.5, 0, 0)
    assert one.is_often_wrong is often
    assert not replace(one, n_called=0).is_often_wrong


def test_types_that_the_reference_lacks_are_far_and_an_empty_cell_is_no_doubt(world: World) -> None:
    found = world.overview.doubts
    assert set(found.reason[NEW]) == {"novel"}
    assert (found.reason[EMPTY], found.group[EMPTY]) == ("no_expression", "")
    assert (found.reason[KNOWN] == "").mean() > 0.8


def test_without_calibration_nothing_is_doubted(world: World, uncalibrated: Atlas) -> None:
    found = doubts(world.calls, uncalibrated, 0.05)
    assert found.error is None
    assert found.groups == ()
    assert set(found.group) == {""}
    assert {(one.n_held, one.n_right) for one in found.labels} == {(0, 0)}
    assert sum(one.n_called for one in found.labels) == N_CELLS - 1


def test_the_frame_has_a_row_for_each_group_and_the_same_columns_without_any(world: World, uncalibrated: Atlas) -> None:
    frame = world.overview.doubts.to_frame()
    groups = world.overview.doubts.groups
    assert [f"{one['label']}, {words(one['reason'])}" for one in frame.to_dicts()] == [one.name for one in groups]
    assert frame["n_cells"].to_list() == [one.n_cells for one in groups]
    assert frame["unexpected_genes"][0] == ", ".join(
        f"{one.symbol} ({one.n_cells})" for one in groups[0].unexpected_genes
    )
    none = doubts(world.calls, uncalibrated, 0.05).to_frame()
    assert none.is_empty()
    assert none.schema == frame.schema


@pytest.mark.parametrize("error", [0, 1, -0.1, float("nan")])
def test_an_error_is_a_share(world: World, error: float) -> None:
    with pytest.raises(InputError, match="`error` must be between 0 and 1"):
        doubts(world.calls, world.atlas, error)
    with pytest.raises(InputError, match="`error` must be between 0 and 1"):
        overview(world.calls, error=error)


def test_a_map_is_the_same_every_time_and_has_a_place_for_each_cell_but_empty_ones(world: World) -> None:
    one, again = world.overview.cell_map, cell_map(world.calls, world.atlas)
    for name in ("query", "reference", "rows", "labels"):
        np.testing.assert_array_equal(getattr(one, name), getattr(again, name))
    assert one.query.shape == (N_CELLS, 2)
    assert np.isfinite(one.query[:EMPTY]).all()
    assert np.isnan(one.query[EMPTY]).all()
    assert np.isfinite(one.reference).all()
    assert one.n_fitted == N_CELLS - 1
    labels = dict(zip(world.atlas.rows.tolist(), world.atlas.labels.tolist(), strict=True))
    assert one.labels.tolist() == [labels[row] for row in one.rows.tolist()]
    assert not np.array_equal(one.query, cell_map(world.calls, world.atlas, random_state=1).query)


def test_on_a_map_cells_lie_by_cells_of_their_label(world: World) -> None:
    one = world.overview.cell_map
    trusted = np.flatnonzero(world.overview.doubts.reason == "")
    nearest = ((one.query[trusted, None] - one.reference[None]) ** 2).sum(axis=2).argmin(axis=1)
    assert (one.labels[nearest] == world.calls.label_before_rejection[trusted]).mean() > 0.8


def test_cells_beyond_the_fitted_ones_stand_by_the_nearest_of_these(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    fitted: list[tuple[Floats, Floats]] = []

    def fit(vectors: Floats, *rest: Any) -> Floats:
        fitted.append((vectors, module._fit_in_full(vectors, *rest)))
        return fitted[0][1]

    monkeypatch.setattr(module, "_fit_in_full", module._fit, raising=False)
    monkeypatch.setattr(module, "_fit", fit)
    monkeypatch.setattr(module, "FITTED", 24)
    found = cell_map(world.calls, world.atlas)
    vectors, places = fitted[0]
    assert found.n_fitted == len(found.rows) == 24
    assert Counter(found.labels.tolist()) == dict.fromkeys(world.atlas.label_names.tolist(), 6)
    np.testing.assert_array_equal(found.reference, places[:24])
    assert np.isnan(found.query[EMPTY]).all()
    n_fitted = 0
    for place, vector in zip(found.query[:EMPTY], world.calls.vectors[:EMPTY], strict=True):
        near = np.argsort(-(vectors @ vector), kind="stable")
        is_fitted = np.array_equal(vectors[near[0]], vector)
        n_fitted += is_fitted
        np.testing.assert_allclose(place, places[near[0]] if is_fitted else places[near[:3]].mean(axis=0), atol=1e-5)
    assert n_fitted == 24


@pytest.mark.parametrize(("limit", "counts"), [(3, [1, 1, 1]), (10, [2, 4, 4]), (100, [2, 5, 60])])
def test_of_the_reference_small_labels_are_shown_whole(
    tmp_path: Path, store: sv.Store, monkeypatch: pytest.MonkeyPatch, limit: int, counts: list[int]
) -> None:
    cells = toy.cells(67)
    cells.obs["cell_type"] = [*["one"] * 60, *["two"] * 5, *["three"] * 2]
    cells.write_h5ad(tmp_path / "r.h5ad")
    recipe = sv.RECIPES["genept-w"].with_encoder("hash")
    atlas = sv.atlas.build(store, "uneven", tmp_path / "r.h5ad", label_key="cell_type", recipe=recipe)
    monkeypatch.setattr(module, "FITTED", limit)
    rows = module._even(atlas, np.random.default_rng(0))
    assert sorted(Counter(atlas.labels[atlas.positions(rows)].tolist()).values()) == counts
    assert (np.diff(rows) > 0).all()


@pytest.mark.parametrize(
    ("n_reference", "cells", "said"),
    [
        (2, [0], "and 2 of the reference"),
        (1, [EMPTY], "a map of 0 cells of the query"),
        (3, [0], ""),
    ],
)
def test_a_map_needs_four_cells_and_one_of_the_query(
    world: World, monkeypatch: pytest.MonkeyPatch, n_reference: int, cells: list[int], said: str
) -> None:
    monkeypatch.setattr(module, "_even", lambda atlas, _rng: atlas.filled[:n_reference])
    calls = world.calls
    few = replace(calls, obs_names=calls.obs_names[cells], reason=calls.reason[cells], vectors=calls.vectors[cells])
    if not said:
        assert np.isfinite(cell_map(few, world.atlas).query).all()
        return
    with pytest.raises(InputError, match=said):
        cell_map(few, world.atlas)


# scanpy sets the colour of missing values in a way that matplotlib is to give up.
@pytest.mark.filterwarnings("ignore:The set_bad function:PendingDeprecationWarning")
def test_scanpy_draws_the_map(world: World) -> None:
    sc = pytest.importorskip("scanpy")
    import matplotlib as mpl
    from matplotlib import pyplot as plt

    mpl.use("agg")
    adata = ad.read_h5ad(world.query)
    result = world.overview.cell_map.to_adata(world.calls.to_adata(adata))
    assert "X_scvec_umap" not in adata.obsm
    drawn = sc.pl.embedding(result, "X_scvec_umap", color=["scvec_label", "scvec_confidence"], show=False)
    points = drawn[0].collections[0].get_offsets()
    np.testing.assert_allclose(np.sort(points[:EMPTY], axis=0), np.sort(result.obsm["X_scvec_umap"][:EMPTY], axis=0))
    plt.close("all")
    with pytest.raises(InputError, match="give the query"):
        world.overview.cell_map.to_adata(adata[:5].copy())


@settings(max_examples=20)
@given(st.data())
def test_markers_are_what_a_dense_reckoning_gives(world: World, data: st.DataObject) -> None:
    group = st.sampled_from(["", "one", "two", HOSTILE])
    groups = np.array(data.draw(st.lists(group, min_size=N_CELLS, max_size=N_CELLS)), object)
    chosen = data.draw(st.lists(st.integers(0, toy.N_GENES - 1), unique=True, max_size=5))
    ids = np.array(chosen, np.int64) + toy.FIRST_ID[toy.HUMAN]
    found = markers(world.calls.query, groups, ids, np.array([reported.symbol(i) for i in chosen], object))
    x = reported.cells().X.toarray()
    x = np.log1p(x / np.maximum(x.sum(axis=1, keepdims=True), 1) * 1e4)
    assert found.groups.tolist() == sorted(set(groups) - {""})
    for i, name in enumerate(found.groups):
        own = x[groups == name][:, chosen]
        np.testing.assert_allclose(found.mean[i], own.mean(axis=0), rtol=1e-5)
        np.testing.assert_allclose(found.share[i], (own > 0).mean(axis=0), rtol=1e-6)


@pytest.mark.parametrize("gene", [1, toy.FIRST_ID[toy.HUMAN] + toy.N_GENES])
def test_markers_are_genes_of_the_atlas(world: World, gene: int) -> None:
    groups, genes = np.array(["one"] * N_CELLS, object), np.array([toy.FIRST_ID[toy.HUMAN], gene])
    with pytest.raises(InputError, match=f"gene {gene} is not in the atlas: expected genes of atlas 'various'"):
        markers(world.calls.query, groups, genes, np.array(["one", "two"], object))


def test_an_overview_puts_it_all_together(world: World) -> None:
    found, calls = world.overview, world.calls
    assert found.name == "query.h5ad"
    assert found.calls is calls
    assert found.doubts.error == 0.05
    assert found.genes is not None
    assert found.genes.groups.tolist() == sorted(set(calls.label_before_rejection[:EMPTY]))
    wanted = attributions(calls, groups=[*calls.label_before_rejection[:EMPTY], ""])
    np.testing.assert_array_equal(found.genes.contributions, wanted.contributions)
    assert found.doubted_genes is not None
    assert set(found.doubted_genes.groups) == {one.name for one in found.doubts.groups}
    assert found.truth is not None
    assert found.truth.tolist() == reported.cells().obs["cell_type"].tolist()
    assert found.evaluation is not None
    assert found.evaluation.to_dict() == sv.evaluate(calls, "cell_type").to_dict()


def test_markers_speak_for_a_label_by_being_there_and_are_the_most_its_own(world: World) -> None:
    genes, found = world.overview.genes, world.overview.markers
    assert genes is not None
    np.testing.assert_array_equal(found.groups, genes.groups)
    speaking: list[int] = []
    for values, excess in zip(genes.contributions, genes.excess, strict=True):
        order = [i for i in np.argsort(-values, kind="stable") if excess[i] > 0 and values[i] > 0]
        speaking += [int(i) for i in order[:N_SPEAKING]]
    at = np.array(list(dict.fromkeys(speaking)))
    groups = np.array([*world.calls.label_before_rejection[:EMPTY], ""], object)
    every = markers(world.calls.query, groups, genes.gene_ids[at], genes.symbols[at])
    wanted: list[int] = []
    for i, own in enumerate(every.share):
        others = np.delete(every.share, i, axis=0).max(axis=0)
        wanted += np.argsort(-(own - others), kind="stable")[:N_MARKERS].tolist()
    assert found.symbols.tolist() == every.symbols[list(dict.fromkeys(wanted))].tolist()
    np.testing.assert_array_equal(found.share, every.share[:, list(dict.fromkeys(wanted))])


def test_the_query_is_opened_once_and_matched_never_again(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[object] = []

    def counted(*arguments: Any) -> Any:
        opened.append(arguments)
        return open_cells(*arguments)

    monkeypatch.setattr("scvec.atlas.query_cells.open_cells", counted)
    monkeypatch.setattr("scvec.atlas.query_cells.match_genes", None)
    found = overview(world.calls, labels="cell_type")
    assert found.evaluation is not None
    assert len(opened) == 1


def test_the_error_is_the_one_given_or_asked_of_the_query(world: World) -> None:
    calls = sv.annotate(world.query, world.atlas, max_error=0.2)
    for error, wanted in ((None, 0.2), (0.02, 0.02)):
        found = overview(calls, error=error)
        assert found.doubts.error == wanted
        assert found.doubts.reason.tolist() == reject(world.calls, world.atlas, wanted).reason.tolist()
        assert (found.truth, found.evaluation) == (None, None)
        # The genes are of the cells nearest to a label, also where the call is unknown.
        assert found.genes is not None
        assert found.genes.n_cells.sum() == EMPTY


def test_author_s_labels_are_mapped_or_refused(world: World) -> None:
    mapped = overview(world.calls, labels="cell_type", label_map={"fifth": "alpha"})
    assert mapped.evaluation is not None
    assert "fifth" not in mapped.evaluation.classes
    with pytest.raises(KeyNotFoundError, match="nothing"):
        overview(world.calls, labels="nothing")
    with pytest.raises(LabelError, match="nobody"):
        overview(world.calls, labels="cell_type", label_map={"fifth": "nobody"})


def test_without_any_expression_there_is_nothing_to_see(world: World) -> None:
    empty = replace(world.calls, reason=np.full(N_CELLS, "no_expression", object))
    with pytest.raises(InputError, match="no cell has expression"):
        overview(empty)
