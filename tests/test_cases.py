"""What is asked about: what is sure is what was calibrated, votes are the clusters', definitions the ontology's."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import scvec as sv
from scvec.annotation.candidates import candidates_of
from scvec.atlas import Atlas
from scvec.core.types import Neighbors
from scvec.interpret.reranking.cases import MAX_CANDIDATES, MIN_VOTES, By, _most_voted, cases_of
from scvec.interpret.reranking.evidence import evidence_of
from scvec.interpret.reranking.prompt import prompt_of
from scvec.knn.calibration import HeldOut, calibrate, signals
from scvec.knn.options import DEFAULT, Voting
from scvec.knn.voting import Votes
from scvec.ontology.tables import write_ontology
from scvec.ontology.terms import Ontology, Term
from tests import toy, unsure


@pytest.fixture
def query(tmp_path: Path) -> Path:
    return unsure.write(tmp_path)


@pytest.fixture
def calls(atlas: Atlas, query: Path) -> sv.Annotation:
    return sv.annotate(query, atlas, cluster_key="cluster")


@pytest.mark.parametrize("k", [1, 4, 15])
def test_a_cell_s_case_is_what_was_calibrated(atlas: Atlas, query: Path, k: int) -> None:
    calls = sv.annotate(query, atlas, k=k)
    cases = cases_of(calls, atlas, "cell")
    chosen = candidates_of(atlas)
    from scvec.annotation.calls import votes_of

    votes, positions = votes_of(calls.neighbors, chosen, Voting(k=k))
    if k == DEFAULT.k:  # whose votes are joined with what further views say
        votes = Votes(np.array([calls.labels.index(one) for one in calls.label]), calls.scores)
    found = signals(calls.neighbors, chosen.codes[positions], votes, np.zeros(len(calls), np.float32))
    assert len(cases) == len(calls)
    np.testing.assert_array_equal(cases.codes[:, 0], votes.winner)
    np.testing.assert_allclose(cases.distance[:, 0], found.far, rtol=1e-6)
    np.testing.assert_allclose(cases.votes[:, 0], found.share)
    # Most votes first, and only labels that have some.
    assert (np.diff(cases.votes[:, 1:], axis=1) <= 0).all()
    np.testing.assert_array_equal(cases.votes > 0, cases.codes >= 0)


def test_a_cluster_s_case_is_the_mean_of_its_cells(atlas: Atlas, calls: sv.Annotation) -> None:
    assert calls.cluster is not None
    assert calls.cluster_label is not None
    rejected = np.arange(len(calls)) % 7 == 3
    calls = replace(calls, rejected=rejected)
    from scvec.annotation.clusters import call_clusters

    calls = call_clusters(calls, calls.cluster)
    cases = cases_of(calls, atlas, "cluster")
    assert calls.cluster is not None
    assert calls.cluster_label is not None
    assert cases.names.tolist() == sorted(set(calls.cluster.tolist()))
    for i, name in enumerate(cases.names.tolist()):
        own = np.flatnonzero((calls.cluster == name) & ~rejected)
        assert cases.n_cells[i] == len(own)
        assert calls.labels[cases.codes[i, 0]] == calls.cluster_label[own[0]]
        for rank, code in enumerate(cases.codes[i]):
            if code >= 0:
                assert cases.votes[i, rank] == pytest.approx(calls.scores[own, code].mean(), rel=1e-5)
    np.testing.assert_array_equal(cases.member < 0, rejected)
    assert (cases.case_of >= 0).all()


def test_distance_is_to_the_three_nearest_of_a_label_or_the_last_neighbour(atlas: Atlas, calls: sv.Annotation) -> None:
    cases = cases_of(calls, atlas, "cluster")
    labels = atlas.label_codes
    for i in range(len(cases)):
        for rank, code in enumerate(cases.codes[i]):
            if code < 0:
                continue
            found = []
            for cell in np.flatnonzero(cases.member == i):
                near = calls.neighbors.distances[cell]
                own = near[labels[atlas.positions(calls.neighbors.ids[cell])] == code]
                found.append(own[:3].mean() if len(own) else near[-1])
            assert cases.distance[i, rank] == pytest.approx(np.mean(found), rel=1e-5)


def test_cells_in_no_cluster_are_no_case(atlas: Atlas, calls: sv.Annotation) -> None:
    from scvec.annotation.clusters import call_clusters

    cluster = np.array(["x" if i % 2 else "" for i in range(len(calls))], object)
    cases = cases_of(call_clusters(calls, cluster), atlas, "cluster")
    asked = cases.unsure(np.inf)
    assert [cases.names[i] for i in asked] == ["x"]
    assert set(cases.case_of[cluster == ""]) == {-1}


@given(st.integers(0, 2**31), st.integers(1, 12))
def test_candidates_are_the_labels_with_votes_most_first(seed: int, n_labels: int) -> None:
    rng = np.random.default_rng(seed)
    sums = rng.integers(0, 4, (5, n_labels)).astype(np.float64)
    sums[:, 0] += 1
    codes, votes = _most_voted(sums)
    assert codes.shape == votes.shape == (5, MAX_CANDIDATES)
    for row, of_row, found in zip(codes, votes, sums, strict=True):
        enough = np.flatnonzero(found >= max(MIN_VOTES * found.sum(), 1e-9))
        wanted = sorted(enough, key=lambda i: -found[i])[:MAX_CANDIDATES]
        assert [one for one in row if one >= 0] == wanted
        assert of_row[: len(wanted)].tolist() == found[wanted].tolist()


@given(st.integers(0, 2**31), st.sampled_from([0.05, 0.1, 0.3]))
def test_at_a_sure_share_the_error_is_kept(seed: int, error: float) -> None:
    rng = np.random.default_rng(seed)
    share = rng.random(400).astype(np.float32)
    right = rng.random(400) < 0.5 + share / 2
    truth = np.where(right, 0, np.where(rng.random(400) < 0.2, -1, 1))
    ones = np.ones(400, np.float32)
    held = HeldOut(np.zeros(400, np.int64), truth, ones, share, ones, ones, ones)
    threshold = calibrate(held).sure_share(error)
    kept = held.known & (share >= threshold)
    assert not kept.any() or (~held.right[kept]).mean() <= error
    assert np.isinf(threshold) == (not kept.any())


@pytest.mark.parametrize("by", ["cell", "cluster"])
def test_only_the_unsure_are_asked_about(atlas: Atlas, calls: sv.Annotation, by: By) -> None:
    cases = cases_of(calls, atlas, by)
    several = cases.n_candidates > 1
    middle = float(np.median(cases.votes[several, 0]))
    np.testing.assert_array_equal(cases.unsure(middle), np.flatnonzero(several & (cases.votes[:, 0] < middle)))
    np.testing.assert_array_equal(cases.unsure(np.inf), np.flatnonzero(several))
    assert not len(cases.unsure(0.0))


def test_definitions_come_with_the_ontology_and_are_cut(atlas: Atlas, calls: sv.Annotation, query: Path) -> None:
    cases = cases_of(calls, atlas, "cluster")
    asked = cases.unsure(np.inf)
    before = evidence_of(cases, asked, calls)
    assert all("definition" not in one for case in before for one in case.evidence["candidates"])
    ids = toy.LABEL_IDS
    terms = {ids["alpha"]: Term(ids["alpha"], "alpha", "long " * 100), ids["beta"]: Term(ids["beta"], "beta", "short")}
    write_ontology(atlas.store, Ontology("2021-01-01", terms, {}), {"origin": "a test"})
    after = [one.evidence for one in evidence_of(cases, asked, calls, tissue="blood")]
    said = {one["label"]: one.get("definition") for evidence in after for one in evidence["candidates"]}
    assert set(said) == set(toy.LABELS)
    assert said["beta"] == "short"
    assert said["alpha"] is not None
    assert said["alpha"].endswith("long...")
    assert 290 < len(said["alpha"]) <= 300
    assert said["ductal"] is None
    assert {one["tissue"] for one in after} == {"blood"}


@pytest.mark.parametrize("by", ["cell", "cluster"])
def test_the_evidence_does_not_depend_on_the_batches(
    atlas: Atlas, calls: sv.Annotation, query: Path, by: By, monkeypatch: pytest.MonkeyPatch
) -> None:
    from scvec.ingest.cells import matrix

    cases = cases_of(calls, atlas, by)
    asked = cases.unsure(np.inf)
    whole = evidence_of(cases, asked, calls)
    monkeypatch.setattr(matrix, "MAX_BATCH_CELLS", 3)
    parts = evidence_of(cases, asked, calls)
    assert [prompt_of(one, "ranking").labels for one in parts] == [one.labels for one in whole]
    if by == "cell":
        assert parts == whole
    assert [one.evidence["n_cells"] for one in parts] == [one.evidence["n_cells"] for one in whole]


def test_genes_that_the_query_does_not_measure_are_not_shown(
    atlas: Atlas, tmp_path: Path, calls: sv.Annotation
) -> None:
    few = unsure.cells()[:, :120].copy()
    few.write_h5ad(tmp_path / "few.h5ad")
    called = sv.annotate(tmp_path / "few.h5ad", atlas, cluster_key="cluster")
    cases = cases_of(called, atlas, "cluster")
    shown = evidence_of(cases, cases.unsure(np.inf), called)
    symbols = {one for case in shown for one in case.symbols}
    assert symbols
    assert symbols <= set(few.var_names)


def test_a_label_that_came_later_has_no_genes(store: sv.Store, atlas: Atlas, query: Path, tmp_path: Path) -> None:
    later = toy.cells(40, seed=3)
    later.obs["cell_type"], later.obs["cl_id"] = "zeta", "CL:0000540"
    later.write_h5ad(tmp_path / "later.h5ad")
    sv.atlas.extend(atlas, tmp_path / "later.h5ad")
    grown = sv.atlas.open_atlas(store, "toy")
    calls = sv.annotate(query, grown, cluster_key="cluster")
    cases = cases_of(calls, grown, "cluster")
    found = [one for case in evidence_of(cases, cases.unsure(np.inf), calls) for one in case.evidence["candidates"]]
    zeta = [one for one in found if one["label"] == "zeta"]
    assert zeta
    assert all(one["expressed_beyond_it"] == one["expected_but_lacking"] == [] for one in zeta)
    assert all(one["expressed_beyond_it"] for one in found if one["label"] != "zeta")


def test_neighbors_are_not_needed_to_be_many(atlas: Atlas, calls: sv.Annotation) -> None:
    none = Neighbors(np.full((len(calls), 2), -1), np.full((len(calls), 2), np.inf, np.float32))
    empty = replace(
        calls,
        neighbors=none,
        rejected=np.ones(len(calls), bool),
        reason=np.full(len(calls), "empty", object),
        scores=np.zeros_like(calls.scores),
    )
    for by in ("cell", "cluster"):
        assert len(cases_of(empty, atlas, by).unsure(np.inf)) == 0
