"""Calls that can be trusted: rejection, prediction sets, roll-up to terms; on cells of known and unknown type."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import polars as pl
import pytest
import scipy.sparse as sp
from anndata import AnnData
from hypothesis import given
from hypothesis import strategies as st

import scvec as sv
from scvec.annotation import writing
from scvec.annotation.rejection import TOO_NOVEL, check, reject, with_sets
from scvec.annotation.rollup import RollUp, with_terms
from scvec.atlas import Atlas
from scvec.cli import main
from scvec.core.types import Neighbors
from scvec.embed.projection import normalise
from scvec.errors import InputError, NotInStoreError
from scvec.ingest.cells.scale import Values
from scvec.knn.calibration import Calibration, HeldOut
from scvec.knn.options import Voting
from scvec.ontology import import_ontology
from tests import toy, toy_ontology
from tests.toy_ontology import ALPHA, BETA, CD4, CD8, ENDOCRINE, T_CELL, TOY

ODD = [i for i in range(toy.N_GENES) if i % 8 == 5]
"""Genes that no type of the reference has for markers: those of a fifth."""

N_KNOWN, N_NEW = 80, 20


def strangers(n: int, seed: int = 7) -> np.ndarray[Any, Any]:
    """Return cells of a fifth type."""
    rates = np.full((n, toy.N_GENES), 0.3)
    rates[:, ODD] = 6.0
    rng = np.random.default_rng(seed)
    return rng.poisson(rates * rng.uniform(0.5, 2.0, (n, 1))).astype(np.float32)


def mixed() -> AnnData:
    """Return 80 cells of the known types, 20 of one that the reference lacks, and an empty one."""
    known = toy.cells(N_KNOWN, seed=1)
    x = np.vstack([known.X.toarray(), strangers(N_NEW), np.zeros((1, toy.N_GENES), np.float32)])
    cells = AnnData(sp.csr_matrix(x), var=known.var)
    cells.obs_names = [f"q{i}" for i in range(cells.n_obs)]
    cells.obs["cell_type"] = [*known.obs["cell_type"], *["fifth"] * N_NEW, "none"]
    return cells


@pytest.fixture(scope="module")
def query(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("trust") / "query.h5ad"
    mixed().write_h5ad(path)
    return path


@pytest.fixture
def trusted(atlas: Atlas, query: Path) -> sv.Annotation:
    return sv.annotate(query, atlas, max_error=0.05)


@pytest.fixture
def plain(atlas: Atlas, query: Path) -> sv.Annotation:
    return sv.annotate(query, atlas)


KNOWN, NEW = slice(0, N_KNOWN), slice(N_KNOWN, N_KNOWN + N_NEW)


def test_a_type_that_the_reference_lacks_is_unknown_and_the_others_are_called(trusted: sv.Annotation) -> None:
    truth = mixed().obs["cell_type"].to_numpy(str)
    assert set(trusted.label[NEW]) == {sv.UNKNOWN}
    assert set(trusted.reason[NEW]) == {"novel"}
    called = trusted.label[KNOWN] == truth[KNOWN]
    assert called.mean() > 0.85
    assert set(trusted.label[KNOWN][~called]) <= {sv.UNKNOWN}
    assert set(trusted.reason[KNOWN][~called]) <= {"novel", "low_confidence"}
    assert set(trusted.reason[KNOWN][called]) == {""}
    assert (trusted.label[-1], trusted.reason[-1], trusted.label_before_rejection[-1]) == (
        sv.UNKNOWN,
        "no_expression",
        sv.UNKNOWN,
    )
    np.testing.assert_array_equal(trusted.rejected, trusted.label == sv.UNKNOWN)
    assert set(trusted.label_id[trusted.rejected]) == {""}
    assert set(trusted.label_id[KNOWN][called]) == set(toy.LABEL_IDS.values())


def test_nearest_keeps_the_label_and_nothing_else_changes(trusted: sv.Annotation, plain: sv.Annotation) -> None:
    np.testing.assert_array_equal(trusted.label_before_rejection, plain.label_before_rejection)
    np.testing.assert_array_equal(plain.label_before_rejection, plain.label)
    assert set(trusted.label_before_rejection[NEW]) <= set(toy.LABELS)
    for name in ("score", "scores", "distance", "confidence", "novelty", "unexpected_genes", "vectors"):
        np.testing.assert_array_equal(getattr(trusted, name), getattr(plain, name))
    kept = ~trusted.rejected
    np.testing.assert_array_equal(trusted.label[kept], plain.label[kept])


def test_without_an_error_asked_for_every_cell_with_expression_is_called(plain: sv.Annotation) -> None:
    assert plain.rejected.tolist() == [False] * (N_KNOWN + N_NEW) + [True]
    assert plain.reason.tolist() == [""] * (N_KNOWN + N_NEW) + ["no_expression"]
    assert sv.UNKNOWN not in plain.label[:-1]
    assert plain.provenance["max_error"] is None
    assert plain.sets is None
    assert plain.terms is None


def test_what_is_far_is_more_novel_than_the_limit_and_what_is_unsure_less_sure_than_its_label_s(
    atlas: Atlas, trusted: sv.Annotation
) -> None:
    assert atlas.calibration is not None
    limit, thresholds = atlas.calibration.too_novel(TOO_NOVEL), atlas.calibration.thresholds(0.05, 4)
    for i in range(N_KNOWN + N_NEW):
        expected = "novel" if trusted.novelty[i] > limit else ""
        if not expected and trusted.confidence[i] < thresholds[trusted.labels.index(trusted.label_before_rejection[i])]:
            expected = "low_confidence"
        assert trusted.reason[i] == expected
    n_novel, n_unsure = ((trusted.reason == one).sum() for one in ("novel", "low_confidence"))
    novel, unsure = f"{n_novel} cells more novel than 95% of the held-out cells", f"{n_unsure} of too low a confidence"
    assert novel in trusted.notes[-1]
    assert unsure in trusted.notes[-1]
    assert trusted.provenance["max_error"] == 0.05


def test_confidence_and_novelty_are_there_for_all_but_empty_cells(plain: sv.Annotation) -> None:
    for values in (plain.confidence, plain.novelty):
        assert np.isnan(values).tolist() == [False] * (N_KNOWN + N_NEW) + [True]
    assert (plain.confidence[:-1] > 0).all()
    assert (plain.confidence[:-1] < 1).all()
    assert plain.novelty[NEW].min() > np.quantile(plain.novelty[KNOWN], 0.95)
    assert plain.confidence[KNOWN].mean() > plain.confidence[NEW].mean() - 1e-6


def test_odd_genes_name_what_the_unknown_type_expresses(plain: sv.Annotation) -> None:
    markers = {toy.SYMBOLS[i] for i in ODD}
    for named in plain.unexpected_genes[NEW]:
        genes = named.split(", ")
        assert len(genes) == 3
        assert set(genes) <= markers
    assert plain.unexpected_genes[-1] == ""


def test_the_oddest_genes_are_named_first(atlas: Atlas, plain: sv.Annotation) -> None:
    known = normalise(sp.csr_matrix(mixed().X), Values("counts"), 1e4)
    codes = np.array([plain.labels.index(one) if one in plain.labels else -1 for one in plain.label_before_rejection])
    _, genes = atlas.profiles.odd(known, np.ones(toy.N_GENES, bool), codes)
    for named, row in zip(plain.unexpected_genes, genes, strict=True):
        assert named == ", ".join(toy.SYMBOLS[gene] for gene in row[:3] if gene >= 0)


def test_less_error_leaves_no_more_cells(atlas: Atlas, query: Path) -> None:
    calls = [sv.annotate(query, atlas, max_error=one) for one in (0.005, 0.05, 0.3)]
    gone = [one.rejected for one in calls]
    assert (gone[0] >= gone[1]).all()
    assert (gone[1] >= gone[2]).all()
    assert gone[0].all()  # 120 cells held out, all called right, do not vouch for an error of 0.005
    assert not gone[2].all()
    assert set(calls[0].reason[NEW]) == {"novel"}  # rather than unsure, which they are too
    assert "low_confidence" in calls[0].reason[KNOWN]


# Where two labels cannot be told apart


@pytest.fixture
def twins(store: sv.Store, tmp_path: Path) -> Atlas:
    """An atlas in which half of the beta cells, by chance, have another name."""
    cells = named_by_chance(640, 0)
    cells.write_h5ad(tmp_path / "r.h5ad")
    recipe = sv.RECIPES["genept-w"].with_encoder("hash")
    return sv.atlas.build(store, "twins", tmp_path / "r.h5ad", label_key="kind", batch_key="donor", recipe=recipe)


def named_by_chance(n: int, seed: int) -> AnnData:
    cells = toy.cells(n, seed)
    rng = np.random.default_rng(seed)
    kind = cells.obs["cell_type"].to_numpy(str)
    cells.obs["kind"] = [one if one != "beta" or rng.random() < 0.5 else "beta 2" for one in kind]
    return cells


def test_sets_have_the_truth_and_labels_that_cannot_be_told_apart(twins: Atlas, tmp_path: Path) -> None:
    cells = named_by_chance(400, 1)
    cells.write_h5ad(tmp_path / "q.h5ad")
    truth = cells.obs["kind"].tolist()
    calls = sv.annotate(tmp_path / "q.h5ad", twins, sets=True)
    assert calls.sets is not None
    inside = np.array([one in found for one, found in zip(truth, calls.sets, strict=True)])
    beta = np.array([one.startswith("beta") for one in truth])
    assert inside.mean() > 0.93
    assert inside[beta].mean() > 0.88
    sizes = np.array([len(one) for one in calls.sets])
    assert sizes[beta].mean() > 1.6
    assert sizes[~beta].mean() < 1.1
    assert twins.calibration is not None
    least = twins.calibration.set_shares(0.05, 5)  # 0.05 is what it is where no error was asked for
    for i, found in enumerate(calls.sets):
        shares = dict(zip(calls.labels, calls.scores[i], strict=True))
        enough = {name for name, limit in zip(calls.labels, least, strict=True) if shares[name] >= max(limit, 1e-9)}
        assert set(found) == enough | {calls.label_before_rejection[i]}
        assert [shares[one] for one in found] == sorted((shares[one] for one in found), reverse=True)
    narrow = sv.annotate(tmp_path / "q.h5ad", twins, sets=True, max_error=0.8)
    assert narrow.sets is not None
    assert sum(map(len, narrow.sets)) < sizes.sum()
    assert all(one in found for one, found in zip(narrow.label_before_rejection, narrow.sets, strict=True))


def test_calls_by_chance_are_unsure(twins: Atlas, tmp_path: Path) -> None:
    """Half of these calls are wrong: they are left out, with the reason, and those of other types are not."""
    cells = named_by_chance(200, 1)
    cells.write_h5ad(tmp_path / "q.h5ad")
    calls = sv.annotate(tmp_path / "q.h5ad", twins, max_error=0.1)
    beta = np.array([one.startswith("beta") for one in cells.obs["kind"]])
    assert (calls.reason[beta] == "low_confidence").mean() > 0.7
    assert (calls.label[~beta] == cells.obs["kind"].to_numpy(str)[~beta]).mean() > 0.8
    assert calls.confidence[beta].mean() == pytest.approx(0.5, abs=0.15)
    assert calls.confidence[~beta].mean() > 0.9
    kept = ~calls.rejected
    wrong = calls.label[kept] != cells.obs["kind"].to_numpy(str)[kept]
    assert wrong.mean() < 0.1


def test_every_label_has_a_threshold_of_its_own(twins: Atlas, files: Path) -> None:
    calls = sv.annotate(files / "query.h5ad", twins)
    drawn = np.random.default_rng(0).uniform(0, 1, len(calls)).astype(np.float32)
    calls = replace(calls, confidence=drawn, novelty=np.zeros_like(drawn))
    assert twins.calibration is not None
    thresholds = twins.calibration.thresholds(0.3, len(calls.labels))
    assert len(set(thresholds.tolist())) > 2
    own = thresholds[[calls.labels.index(one) for one in calls.label_before_rejection]]
    found = reject(calls, twins, 0.3)
    assert found.reason.tolist() == ["low_confidence" if one else "" for one in drawn < own]


# Rejection and sets again, in plain loops, on calls and calibrations made by hand

NAMES = ("a", "b", "c")


def as_called(scores: Any, **values: Any) -> sv.Annotation:
    """Return an answer with these (n, 3) shares of the votes; a cell without votes is empty."""
    shares = np.asarray(scores, np.float32)
    n, none = len(shares), shares.max(axis=1) == 0
    text = np.full(n, "", object)
    label = np.where(none, sv.UNKNOWN, np.array(NAMES, object)[shares.argmax(axis=1)]).astype(object)
    near = Neighbors(np.zeros((n, 1), np.int64), np.zeros((n, 1), np.float32))
    drawn: dict[str, Any] = {
        "confidence": np.full(n, 0.5, np.float32),
        "novelty": np.zeros(n, np.float32),
        "reason": np.where(none, "no_expression", text).astype(object),
        "label_id": np.where(none, "", "CL:" + label).astype(object),
    }
    return sv.Annotation(
        obs_names=np.array([f"q{i}" for i in range(n)], object),
        label=label,
        label_before_rejection=label,
        unexpected_genes=text,
        score=shares.max(axis=1),
        distance=np.zeros(n, np.float32),
        rejected=none,
        labels=NAMES,
        scores=shares,
        neighbors=near,
        neighbor_names=np.full((n, 1), "r", object),
        vectors=np.zeros((n, 2), np.float32),
        provenance={},
        **(drawn | values),
    )


def vouched(shares: Mapping[int, Any], wrong: Sequence[int] = (), right: int = 0) -> Atlas:
    """Return an atlas that knows its calibration alone: of each label, the shares of its held-out cells' votes.

    The confidence is the logistic of the share; the cells of labels `wrong` were called `right`. The nearest is as far
    as the next, and so on: the novelty of the k-th farthest of m right cells is log((m + 1) / (k + 1)).
    """
    truth = np.repeat(np.array(list(shares), np.int64), [len(one) for one in shares.values()])
    share = np.concatenate([np.asarray(one, np.float32) for one in shares.values()])
    far = np.arange(len(share), dtype=np.float32)
    called = np.where(np.isin(truth, wrong), right, truth)
    held = HeldOut(called, truth, share, share, np.zeros_like(share), far, np.zeros_like(share))
    nothing: Any = None
    atlas = Atlas("by hand", nothing, nothing, {})
    vars(atlas)["calibration"] = Calibration(held, np.array([0.0, 1, 0, 0, 0]))
    return atlas


def test_a_set_has_labels_of_enough_votes_and_the_nearest_most_votes_first() -> None:
    """The 59 cells of each label gave it one share of the votes: labels get their cells' own."""
    atlas = vouched({0: [0.25] * 59, 1: [0.5] * 59, 2: [0.125] * 59})
    scores = [
        [0.25, 0.5, 0.25],  # all have as many as their cells
        [0.2421875, 0.4921875, 0.265625],  # b is nearest, whatever its cells had
        [0.375, 0.375, 0.25],  # of equal ones the first by name; b has too few
        [0.125, 0.0, 0.875],
        [0.0, 0.0, 0.0],
        [0.3125, 0.59375, 0.09375],
    ]
    found = with_sets(as_called(scores), atlas, 0.1).sets
    assert found == (("b", "a", "c"), ("b", "c"), ("a", "c"), ("c",), (), ("b", "a"))


def test_a_label_without_votes_is_in_no_set() -> None:
    """Some held-out cells of a label gave it no vote: that is no reason to have it in every set."""
    calls = as_called([[0.5, 0.5, 0.0], [0.0, 0.0, 1.0]])
    assert with_sets(calls, vouched({0: [0.0] * 59, 2: [0.0] * 59}), 0.1).sets == (("a", "b"), ("c",))


def test_of_many_labels_with_as_many_votes_the_first_by_name_come_first() -> None:
    """Not all ways to sort leave equal ones in their order, and of few they all do."""
    names = tuple(f"{i:02d}" for i in range(64))
    scores = np.tile(np.array([1 / 96, 2 / 96], np.float32), (1, 32))
    calls = replace(
        as_called([[1, 0, 0]]), labels=names, scores=scores, label_before_rejection=np.array(["01"], object)
    )
    assert with_sets(calls, vouched({0: [0.0] * 59}), 0.1).sets == ((*names[1::2], *names[::2]),)


SHARES = st.lists(st.integers(0, 4), min_size=3, max_size=3).map(lambda one: np.array(one) / max(1, sum(one)))


@given(st.lists(SHARES, min_size=1, max_size=6), st.lists(st.integers(0, 8), min_size=3, max_size=3))
def test_sets_are_those_of_a_plain_loop(scores: list[Any], eighths: list[int]) -> None:
    least = [one / 8 for one in eighths]
    calls = as_called(scores)
    found = with_sets(calls, vouched({i: [one] * 59 for i, one in enumerate(least)}), 0.1).sets
    assert found is not None
    for shares, nearest, names in zip(calls.scores.tolist(), calls.label_before_rejection, found, strict=True):
        pairs = [(-share, name) for share, name in zip(shares, NAMES, strict=True)]
        limit = dict(zip(NAMES, least, strict=True))
        inside = [one for one in pairs if one[0] < 0 and (-one[0] >= limit[one[1]] or one[1] == nearest)]
        assert names == tuple(name for _, name in sorted(inside))


def test_what_is_at_the_limit_is_not_beyond_it() -> None:
    """Of 39 cells, 40 times 0.95 is 38: more novel than the second farthest, of which log(40 / 3) is the novelty."""
    atlas = vouched({0: [0.5] * 39})
    limit, sure = np.float32(np.log(40 / 3)), np.float32(1 / (1 + np.exp(-0.5)))
    above, below = np.nextafter(limit, np.float32(9)), np.nextafter(sure, np.float32(0))
    calls = as_called(
        [[1, 0, 0], [1, 0, 0], [0, 1, 0], [1, 0, 0], [0, 0, 0]],
        novelty=np.array([limit, above, limit, above, np.nan], np.float32),
        confidence=np.array([sure, sure, below, below, np.nan], np.float32),
    )
    found = reject(calls, atlas, 0.05)  # (0 + 1 + 1) / (39 + 1): all are accepted, and no more novel ones
    assert found.reason.tolist() == ["", "novel", "low_confidence", "novel", "no_expression"]
    assert found.label.tolist() == ["a", *[sv.UNKNOWN] * 4]
    assert found.label_id.tolist() == ["CL:a", "", "", "", ""]
    assert found.label_before_rejection.tolist() == ["a", "a", "b", "a", sv.UNKNOWN]
    assert found.rejected.tolist() == [False, True, True, True, True]
    assert calls.reason.tolist() == ["", "", "", "", "no_expression"]
    assert "2 cells more novel" in found.notes[0]
    assert "1 of too low a confidence" in found.notes[0]


@given(
    st.lists(st.tuples(SHARES, st.integers(0, 5), st.integers(0, 8)), min_size=1, max_size=6),
    st.sampled_from([0.03, 0.05, 0.1]),
)
def test_rejection_is_that_of_a_plain_loop(cells: list[Any], max_error: float) -> None:
    """Labels have thresholds of their own: those of b are of little use, as half of the cells so called are c's."""
    atlas = vouched({0: np.linspace(0.25, 1, 100), 1: [0.75] * 60, 2: [0.75] * 60}, wrong=[2], right=1)
    calibration = atlas.calibration
    assert calibration is not None
    thresholds, limit = calibration.thresholds(max_error, 3), calibration.too_novel(0.05)
    assert len(set(thresholds.tolist())) > 1
    novelty = np.array([limit * one / 4 for _, one, _ in cells], np.float32)
    confidence = np.array([1 / (1 + np.exp(-one / 8)) for _, _, one in cells], np.float32)
    calls = as_called([shares for shares, _, _ in cells], novelty=novelty, confidence=confidence)
    found = reject(calls, atlas, max_error)
    for i, nearest in enumerate(calls.label_before_rejection):
        expected = "no_expression" if nearest == sv.UNKNOWN else "novel" if novelty[i] > limit else ""
        if not expected and confidence[i] < thresholds[NAMES.index(nearest)]:
            expected = "low_confidence"
        assert found.reason[i] == expected
        assert found.rejected[i] == bool(expected)
        assert found.label[i] == (sv.UNKNOWN if expected else nearest)
        assert found.label_id[i] == ("" if expected else f"CL:{nearest}")


def test_terms_of_split_votes() -> None:
    calls = as_called([[0.6, 0.4, 0], [0.4, 0.35, 0.25], [0.3, 0.3, 0.4], [0, 0, 0], [0.8, 0.2, 0]])
    assert with_terms(calls, None) is calls
    found = with_terms(calls, RollUp(TOY, (CD4, CD8, BETA), 0.75))
    assert found.terms is not None
    assert found.terms.ids.tolist() == [T_CELL, T_CELL, "", "", CD4]
    assert found.terms.names.tolist() == ["T cell", "T cell", "", "", "CD4-positive, alpha-beta T cell"]
    assert found.terms.names.dtype == object
    assert found.terms.depth.tolist() == [4, 4, -1, -1, 5]
    np.testing.assert_allclose(found.terms.support, [1, 0.75, 0, 0, 0.8], rtol=1e-6)
    assert found.notes[0].startswith("2 cells have no term")
    assert "75%" in found.notes[0]


# What is out of range


@pytest.mark.parametrize("value", [0.0, 1.0, -0.1, 5.0, float("nan")])
def test_an_error_that_is_no_share(atlas: Atlas, query: Path, value: float) -> None:
    with pytest.raises(InputError, match=f"`max_error` must be between 0 and 1.*got {value!r}") as caught:
        sv.annotate(query, atlas, max_error=value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("value", [0.0, 1.1, -0.1, float("nan")])
def test_a_support_that_is_no_share(atlas: Atlas, query: Path, value: float) -> None:
    with pytest.raises(InputError, match=f"`roll_up` must be above 0 and at most 1 .got {value!r}"):
        sv.annotate(query, atlas, roll_up=value)


def test_an_atlas_of_a_single_cell_has_no_calibration(store: sv.Store, query: Path, tmp_path: Path) -> None:
    toy.cells(1).write_h5ad(tmp_path / "r.h5ad")
    recipe = sv.RECIPES["genept-w"].with_encoder("hash")
    one = sv.atlas.build(store, "one", tmp_path / "r.h5ad", label_key="cell_type", recipe=recipe)
    assert one.calibration is None
    calls = sv.annotate(query, one)
    assert np.isnan(calls.confidence).all()
    assert calls.to_frame()["confidence"].null_count() == len(calls)
    options: tuple[dict[str, Any], ...] = ({"max_error": 0.1}, {"sets": True})
    for asked in options:
        with pytest.raises(InputError, match=r"'one' has no calibration.*leave out `max_error` and `sets`"):
            sv.annotate(query, one, **asked)


@pytest.mark.parametrize("other", [{"k": 3}, {"where": "batch = 'd0'"}, {"allow": ["beta"]}, {"block": ["beta"]}])
def test_other_votes_than_those_calibrated_keep_no_error(atlas: Atlas, query: Path, other: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=r"default votes.*leave out `max_error` and `sets`"):
        sv.annotate(query, atlas, max_error=0.05, **other)
    calls, usual = sv.annotate(query, atlas, **other), sv.annotate(query, atlas, k=15)
    assert any("these votes get no confidence" in note for note in calls.notes)
    assert np.isnan(calls.confidence).all()
    assert not any("these votes" in note for note in usual.notes)
    assert np.isfinite(usual.confidence[~usual.rejected]).all()


# What comes out


def test_the_frame_and_obs_have_what_there_is_to_say(atlas: Atlas, query: Path, tmp_path: Path) -> None:
    calls = sv.annotate(query, atlas, max_error=0.05, sets=True)
    frame = calls.to_frame()
    assert frame["reason"].to_list() == [one or None for one in calls.reason]
    assert frame["label_before_rejection"].to_list() == calls.label_before_rejection.tolist()
    assert frame["unexpected_genes"].to_list() == [one or None for one in calls.unexpected_genes]
    assert frame["set"].to_list() == [list(one) for one in calls.sets or ()]
    assert calls.sets is not None
    assert calls.sets[-1] in ((), (sv.UNKNOWN,))
    for name in ("confidence", "novelty"):
        np.testing.assert_array_equal(frame[name].to_numpy(), getattr(calls, name))
        assert frame[name][-1] is None
    assert "term" not in frame.columns
    for out in ("c.h5ad", "c.parquet", "c.csv"):
        writing.write(calls, tmp_path / out, query)
    assert pl.read_parquet(tmp_path / "c.parquet").equals(frame)
    table = pl.read_csv(tmp_path / "c.csv")
    assert table["reason"].to_list() == frame["reason"].to_list()
    assert table["set"].to_list()[:80] == [";".join(one) for one in calls.sets][:80]
    read = ad.read_h5ad(tmp_path / "c.h5ad").obs
    direct = calls.to_adata(ad.read_h5ad(query)).obs
    for obs in (read, direct):
        assert obs["scvec_reason"].tolist() == calls.reason.tolist()
        assert obs["scvec_label_before_rejection"].tolist() == calls.label_before_rejection.tolist()
        assert obs["scvec_unexpected_genes"].tolist() == calls.unexpected_genes.tolist()
        assert obs["scvec_set"].tolist() == ["; ".join(one) for one in calls.sets]
        np.testing.assert_array_equal(obs["scvec_confidence"], calls.confidence)
        np.testing.assert_array_equal(obs["scvec_novelty"], calls.novelty)
        assert obs["scvec_label"].tolist() == calls.label.tolist()
        assert "scvec_term" not in obs


def test_runners_up_of_an_unknown_cell_are_those_of_its_nearest_label(trusted: sv.Annotation) -> None:
    for row in trusted.to_frame(3).iter_rows(named=True):
        assert row["label_before_rejection"] not in (row["label_2"], row["label_3"])


def test_cells_that_are_left_out_do_not_vote_in_their_cluster(atlas: Atlas, query: Path) -> None:
    calls = sv.annotate(query, atlas, max_error=0.05, cluster_key="cell_type")
    assert calls.cluster_label is not None
    assert set(calls.cluster_label[NEW]) == {sv.UNKNOWN}
    assert calls.cluster_label[KNOWN].tolist() == mixed().obs["cell_type"].tolist()[KNOWN]


def test_on_the_command_line(store: sv.Store, query: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import_ontology(store, toy_ontology.write(tmp_path))
    out = tmp_path / "c.parquet"
    ask = ["query", str(query), "--atlas", "toy", "--store", store.uri, "--out", str(out)]
    assert main([*ask, "--max-error", "0.05", "--sets", "--roll-up", "0.8", "--json"]) == 0
    captured = capsys.readouterr()
    said = json.loads(captured.out)
    assert (said["max_error"], said["sets"], said["roll_up"]) == (0.05, True, 0.8)
    assert "more novel than 95% of the held-out cells" in captured.err
    frame = pl.read_parquet(out)
    assert set(frame["label"][NEW]) == {sv.UNKNOWN}
    assert {"set", "term", "term_id", "term_depth", "term_support"} <= set(frame.columns)
    out.unlink()
    for wrong, word in (
        (("--max-error", "1"), "--max-error"),
        (("--max-error", "0", "--sets"), "--max-error"),
        (("--roll-up", "0"), "--roll-up"),
    ):
        assert main([*ask, *wrong]) == 2
        err = capsys.readouterr().err.splitlines()
        assert len(err) == 1
        assert err[0].startswith("scvec: ")
        assert word in err[0]
        assert not out.exists()


@pytest.mark.parametrize("act", [reject, with_sets])
def test_no_step_takes_an_error_that_is_no_share(act: Callable[..., sv.Annotation]) -> None:
    atlas, calls = vouched({0: [0.5] * 59}), as_called([[1, 0, 0]], confidence=np.full(1, 0.75, np.float32))
    assert act(calls, atlas, 0.999).label.tolist() == ["a"]
    for value in (0.0, 1.0):
        with pytest.raises(InputError, match="max_error"):
            act(calls, atlas, value)
    vars(atlas)["calibration"] = None
    for refused in (lambda: act(calls, atlas, 0.05), lambda: check(atlas, 0.05)):
        with pytest.raises(InputError, match="has no calibration"):
            refused()


# Terms


@pytest.fixture
def known_terms(store: sv.Store, tmp_path: Path) -> sv.Store:
    import_ontology(store, toy_ontology.write(tmp_path))
    return store


def test_split_votes_of_two_kinds_give_what_they_have_in_common(
    known_terms: sv.Store, atlas: Atlas, query: Path
) -> None:
    even = Voting(k=60, temperature=100.0, frequency=0.0)  # all cells that are searched, one vote each
    calls = sv.annotate(query, atlas, voting=even, block=["ductal", "immune"], roll_up=0.8)
    assert calls.terms is not None
    assert set(calls.terms.ids[:-1]) == {ENDOCRINE}
    assert set(calls.terms.names[:-1]) == {"endocrine cell"}
    assert set(calls.terms.depth[:-1].tolist()) == {TOY.depth(ENDOCRINE)}
    np.testing.assert_allclose(calls.terms.support[:-1], 1, rtol=1e-5)
    assert (calls.terms.ids[-1], calls.terms.names[-1], calls.terms.depth[-1], calls.terms.support[-1]) == (
        "",
        "",
        -1,
        0,
    )
    whole = sv.annotate(query, atlas, voting=even, block=["ductal", "immune"], roll_up=1)
    assert whole.terms is not None
    assert whole.terms.ids.tolist() == calls.terms.ids.tolist()
    half = sv.annotate(query, atlas, voting=even, block=["ductal", "immune"], roll_up=0.45)
    assert half.terms is not None
    assert set(half.terms.ids[:-1]) <= {ALPHA, BETA}
    np.testing.assert_allclose(half.terms.support[:-1], 0.5, atol=0.01)


def test_votes_for_one_label_give_its_own_term(known_terms: sv.Store, atlas: Atlas, query: Path) -> None:
    calls = sv.annotate(query, atlas, roll_up=0.8)
    assert calls.terms is not None
    expected = {"alpha": ALPHA, "beta": BETA, "ductal": "", "immune": ""}  # the toy ontology has not all of them
    assert calls.terms.ids[KNOWN].tolist() == [expected[one] for one in calls.label[KNOWN]]
    for i in range(N_KNOWN):
        if calls.terms.ids[i]:
            assert calls.terms.names[i] == TOY.name(calls.terms.ids[i])
            assert calls.terms.depth[i] == TOY.depth(calls.terms.ids[i])
            assert calls.terms.support[i] >= 0.8
    n_without = int((calls.terms.ids == "").sum())
    assert f"{n_without} cell" in calls.notes[-1]
    assert "no term of the" in calls.notes[-1]
    frame = calls.to_frame()
    assert frame["term_id"].to_list() == [one or None for one in calls.terms.ids]
    assert frame["term"].to_list() == [one or None for one in calls.terms.names]
    assert frame["term_depth"].to_list() == [one if one >= 0 else None for one in calls.terms.depth.tolist()]
    np.testing.assert_array_equal(frame["term_support"], calls.terms.support)
    obs = calls.to_adata(ad.read_h5ad(query)).obs
    assert obs["scvec_term"].dropna().tolist() == [one for one in calls.terms.names if one]
    assert obs["scvec_term_id"].isna().tolist() == (calls.terms.ids == "").tolist()
    np.testing.assert_array_equal(obs["scvec_term_depth"], calls.terms.depth)
    np.testing.assert_array_equal(obs["scvec_term_support"], calls.terms.support)


def test_an_obsolete_id_is_the_term_in_its_place(known_terms: sv.Store, query: Path, tmp_path: Path) -> None:
    cells = toy.cells(80)
    cells.obs["cl_id"] = ["CL_0000073" if one == "beta" else "none" for one in cells.obs["cell_type"]]
    cells.write_h5ad(tmp_path / "r.h5ad")
    recipe = sv.RECIPES["genept-w"].with_encoder("hash")
    old = sv.atlas.build(
        known_terms, "old", tmp_path / "r.h5ad", recipe=recipe, label_key="cell_type", label_id_key="cl_id"
    )
    calls = sv.annotate(query, old, roll_up=0.5)
    assert calls.terms is not None
    sure = calls.scores[:, calls.labels.index("beta")] >= 0.5
    assert sure.sum() >= 20
    assert set(calls.terms.ids[sure]) == {BETA}


def test_labels_without_ids_are_one_line_with_the_cure(known_terms: sv.Store, query: Path, files: Path) -> None:
    recipe = sv.RECIPES["genept-w"].with_encoder("hash")
    none = sv.atlas.build(known_terms, "none", files / "reference.h5ad", label_key="cell_type", recipe=recipe)
    with pytest.raises(InputError, match=r"no label of atlas 'none' has one.*`match_labels`") as caught:
        sv.annotate(query, none, roll_up=0.8)
    assert "\n" not in str(caught.value)


def test_no_ontology_in_the_store(atlas: Atlas, query: Path) -> None:
    with pytest.raises(NotInStoreError, match="scvec ontology") as caught:
        sv.annotate(query, atlas, roll_up=0.8)
    assert "\n" not in str(caught.value)
