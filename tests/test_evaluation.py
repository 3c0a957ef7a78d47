from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

import scvec as sv
from scvec.annotation.result import Annotation
from scvec.annotation.second_opinions import SecondOpinion
from scvec.atlas import Atlas
from scvec.atlas.query_cells import query_cells
from scvec.cli import main
from scvec.core.types import UNKNOWN
from scvec.errors import FileError, InputError, LabelError
from scvec.evaluation.author_labels import ids_by_label
from scvec.evaluation.baselines import logistic_regression
from scvec.evaluation.result import compare
from scvec.evaluation.writing import check_folder, read_label_map, summary, write_evaluation
from scvec.ontology.tables import write_ontology
from tests import toy
from tests.toy_ontology import ALPHA, B_CELL, BETA, CD4, ENDOCRINE, LEUKOCYTE, T_CELL, TOY


def strings(*values: str) -> np.ndarray[tuple[int], np.dtype[np.object_]]:
    return np.array(values, dtype=object)


def test_the_figures_are_their_definition() -> None:
    truth = strings("a", "a", "a", "b", "b", "c")
    called = strings("a", "a", "b", "b", "unknown", "d")
    result = compare(called, truth, ["a", "b", "d", "e"])
    assert result.accuracy == pytest.approx(3 / 6)
    # a: precision 1, recall 2/3; b: 1/2, 1/2; c: 0. d and e are no classes of the query.
    assert result.classes == ("a", "b", "c")
    np.testing.assert_allclose(result.f1, [0.8, 0.5, 0])
    assert result.macro_f1 == pytest.approx(1.3 / 3)
    assert result.called == ("a", "b", "c", "d", "unknown")
    assert result.confusion.tolist() == [[2, 1, 0, 0, 0], [0, 1, 0, 0, 1], [0, 0, 0, 1, 0]]
    assert result.support.tolist() == [3, 2, 1]
    assert result.not_in_atlas == ("c",)
    assert result.known_accuracy == pytest.approx(3 / 5)
    assert result.known_macro_f1 == pytest.approx(1.3 / 2)
    assert result.to_dict()["per_class"][1] == {"label": "b", "support": 2, "precision": 0.5, "recall": 0.5, "f1": 0.5}


def test_calls_of_unseen_types_cost_precision_only_where_all_cells_count() -> None:
    truth, called = strings("a", "a", "new", "new"), strings("a", "a", "a", "a")
    result = compare(called, truth, ["a"])
    assert (result.accuracy, result.known_accuracy, result.known_macro_f1) == (0.5, 1, 1)
    assert result.macro_f1 == pytest.approx((2 / 3) / 2)
    assert "accuracy 0.500" in summary(result)
    assert "1.000 and 1.000 over the 1 that the atlas has" in summary(result)


def test_labels_of_another_language_are_refused() -> None:
    with pytest.raises(LabelError, match="`label_map`") as raised:
        compare(strings("a"), strings("NK-cells"), ["nk"])
    assert "NK-cells (nk?)" in str(raised.value)


def test_a_label_that_is_spelt_otherwise_is_pointed_at() -> None:
    result = compare(strings("t_cell", "b", "b"), strings("T cells", "delta", "b"), ["t_cell", "beta", "b"])
    (note,) = result.notes
    assert "the atlas has no cell of: T cells (t_cell?), delta; they cannot be called right" in note
    assert "`label_map`" in note
    # Where nothing is near there is nothing to map, and where all are there is nothing to say.
    assert "`label_map`" not in compare(strings("b", "b"), strings("delta", "b"), ["b"]).notes[0]
    assert compare(strings("b"), strings("b"), ["b"]).notes == ()


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("m.json", '{"A": "alpha", "B": "beta"}'),
        ("m.csv", "query,atlas\nA,alpha\nB,beta\n"),
        ("m.tsv", "query\tatlas\nA\talpha\nB\tbeta\n"),
    ],
)
def test_label_maps(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text)
    assert read_label_map(tmp_path / name) == {"A": "alpha", "B": "beta"}


@pytest.mark.parametrize(
    ("name", "text"),
    [("m.json", "[1]"), ("m.json", '{"a": 1}'), ("m.json", "{"), ("m.csv", "a,b\n1,2\n"), ("m.tsv", "")],
)
def test_label_maps_that_are_none(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(FileError, match="`label_map`"):
        read_label_map(tmp_path / name)
    with pytest.raises(FileError, match="`label_map`"):
        read_label_map(tmp_path / f"none-{name}")


def test_a_map_translates(atlas: Atlas, tmp_path: Path) -> None:
    cells = toy.cells(40, seed=1)
    cells.obs["mine"] = [f"{one} cell" if one != "beta" else one for one in cells.obs["cell_type"]]
    query = tmp_path / "q.h5ad"
    cells.write_h5ad(query)
    calls = sv.annotate(query, atlas)
    partly = sv.evaluate(calls, "mine")
    assert partly.accuracy == 0.25
    assert partly.not_in_atlas == ("alpha cell", "ductal cell", "immune cell")
    label_map = {f"{one} cell": one for one in toy.LABELS}
    assert sv.evaluate(calls, "mine", label_map=label_map).accuracy == 1
    with pytest.raises(LabelError, match="'gamma'"):
        sv.evaluate(calls, "mine", label_map={"alpha cell": "gamma"})


def test_a_report_is_a_folder(tmp_path: Path) -> None:
    result = compare(strings("a", "b", "b", "label"), strings("a", "a", "b", "b"), ["a", "b"])
    out = tmp_path / "deep" / "report"
    check_folder(out)
    paths = write_evaluation(result, out, "title")
    assert [one.name for one in paths] == ["metrics.json", "per_class.csv", "confusion.csv", "confusion.png"]
    assert json.loads(paths[0].read_text()) == result.to_dict()
    assert pl.read_csv(paths[1])["label"].to_list() == ["a", "b"]
    assert pl.read_csv(paths[2]).rows() == [("a", 1, 1, 0), ("b", 0, 1, 1)]
    assert paths[3].read_bytes().startswith(b"\x89PNG")
    with pytest.raises(InputError, match="is a file"):
        check_folder(paths[0])


REJECTING = {
    "label_before_rejection": strings("a", "a", "b", "b", "a", "unknown"),
    "reason": strings("", "low_confidence", "", "", "novel", "no_expression"),
    "confidence": np.array([0.9, 0.4, 0.8, 0.7, 0.2, np.nan], np.float32),
    "novelty": np.array([0.1, 0.2, 0.1, 0.3, 2.0, np.nan], np.float32),
    "sets": (("a",), ("a", "b"), ("b",), ("b",), ("a", "b"), ()),
}
TRUTH = ("a", "a", "b", "a", "new", "b")


def rejecting(query: Path, atlas: Atlas, **changed: Any) -> Annotation:
    """Return calls of six cells, of which one is unsure, one far and one empty, and write what the author said."""
    cells = toy.cells(6, seed=1)
    cells.obs["mine"] = list(TRUTH)
    cells.write_h5ad(query)
    calls = sv.annotate(query, atlas)
    gone = np.array([False, True, False, False, True, True])
    label = strings(*(UNKNOWN if one else "a" for one in gone))
    return replace(calls, **{"labels": ("a", "b"), "rejected": gone, "label": label, **REJECTING, **changed})


def test_calls_are_judged_before_rejection_and_after(atlas: Atlas, tmp_path: Path) -> None:
    calls = rejecting(tmp_path / "q.h5ad", atlas, provenance={"max_error": 0.1})
    result = sv.evaluate(calls, "mine")
    assert (result.accuracy, result.known_accuracy) == (0.5, 0.6)
    assert result.rejection is not None
    assert result.rejection.to_dict() == {
        "max_error": 0.1,
        "coverage": 0.6,
        "error": pytest.approx(1 / 3, abs=1e-4),
        "rejected_unknown": 1.0,
    }
    assert result.per_class()["coverage"].round(4).to_list() == [0.6667, 0.5, 0]
    assert result.trust is not None
    assert result.trust.n_without == 1
    assert result.trust.reliability.count.sum() == 4
    assert result.trust.auroc_novelty == 1
    # Of the known cells, all but the wrong call and the empty cell have the truth in their sets.
    assert result.to_dict()["set_coverage"] == 0.6
    assert result.to_dict()["set_size"] == 1
    first, second = summary(result).split("\n")
    assert "accuracy 0.500" in first
    assert second.startswith("for an error of 10.0%: 60.0% of the cells of known types called, 33.3% of these wrong")


def test_nothing_is_said_of_what_was_not_asked_for(atlas: Atlas, files: Path) -> None:
    plain = sv.annotate(files / "query.h5ad", atlas)
    result = sv.evaluate(replace(plain, confidence=plain.confidence * np.nan), "cell_type")
    assert (result.rejection, result.trust, result.sets) == (None, None, None)
    assert not {"coverage", "ece", "set_size"} & result.to_dict().keys()
    assert "coverage" not in result.per_class().columns
    assert "\n" not in summary(result)


def test_a_report_of_trust_has_its_pictures(atlas: Atlas, tmp_path: Path) -> None:
    calls = rejecting(tmp_path / "q.h5ad", atlas)
    result = sv.evaluate(calls, "mine")
    assert result.rejection is not None, "a call that is far or unsure was rejected, whatever the provenance says"
    paths = write_evaluation(result, tmp_path / "report", "title")
    assert [one.name for one in paths[-2:]] == ["reliability.png", "coverage.png"]
    assert all(one.read_bytes().startswith(b"\x89PNG") for one in paths[-2:])
    written = json.loads(paths[0].read_text(), parse_constant=lambda text: pytest.fail(f"{text} is no JSON"))
    assert written == json.loads(json.dumps(result.to_dict()))
    assert {"ece", "reliability", "risk_coverage", "auroc_confidence", "auroc_novelty"} <= written.keys()
    assert pl.read_csv(paths[1]).columns[-1] == "coverage"


def by_ontology(
    calls: Annotation,
    tmp_path: Path,
    nearest: Sequence[str],
    said: Sequence[str],
    ids: Sequence[str] | None,
    **more: Any,
) -> sv.Evaluation:
    """Judge cells called `nearest` by what the author `said`, with or without ids."""
    cells = toy.cells(len(said), seed=1)
    cells.obs["mine"] = list(said)
    cells.obs["ids"] = list(said if ids is None else ids)
    cells.write_h5ad(tmp_path / "q.h5ad")
    n = len(said)
    called = replace(
        calls,
        source=query_cells(tmp_path / "q.h5ad", calls.query.atlas),
        obs_names=np.array(cells.obs_names, object),
        label_before_rejection=strings(*nearest),
        reason=np.full(n, "", object),
        rejected=np.zeros(n, bool),
        confidence=np.full(n, 0.5, np.float32),
        novelty=np.zeros(n, np.float32),
    )
    key = None if ids is None else "ids"
    return sv.evaluate(called, "mine", **{"ontology": TOY, "label_ids": key, **more})


ATLAS_IDS = {"helper": CD4, "tee": T_CELL, "b": B_CELL, "isle": BETA}


@pytest.fixture(scope="module")
def reference(_built: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Atlas]:
    """Builds an atlas of labels with the ids of `ATLAS_IDS`, or without ids."""
    folder = tmp_path_factory.mktemp("evaluation")
    shutil.copytree(_built, folder / "store")
    cells, labels = toy.cells(120), dict(zip(toy.LABELS, ATLAS_IDS, strict=True))
    cells.obs["cell_type"] = [labels[one] for one in cells.obs["cell_type"]]
    cells.obs["cl_id"] = [ATLAS_IDS[one] for one in cells.obs["cell_type"]]
    cells.write_h5ad(folder / "reference.h5ad")

    def build(name: str, label_id_key: str | None = None) -> Atlas:
        recipe = sv.RECIPES["genept-w"].with_encoder("hash")
        path, store = folder / "reference.h5ad", sv.Store(folder / "store")
        return sv.atlas.build(store, name, path, label_key="cell_type", label_id_key=label_id_key, recipe=recipe)

    return build


@pytest.fixture(scope="module")
def calls(reference: Callable[..., Atlas], files: Path) -> Annotation:
    return sv.annotate(files / "query.h5ad", reference("judged", label_id_key="cl_id"))


def test_a_kind_of_what_the_author_says_is_right_and_less_is_wrong(calls: Annotation, tmp_path: Path) -> None:
    said, ids = ("T-Zelle", "T-Zelle", "CD4", "CD4", "Leuko"), (T_CELL, T_CELL, CD4, CD4, LEUKOCYTE)
    result = by_ontology(calls, tmp_path, ("helper", "tee", "tee", "helper", "isle"), said, ids)
    # helper is a kind of T-Zelle, tee is T-Zelle; tee says less than CD4; isle is no leukocyte.
    assert result.accuracy == 3 / 5
    assert result.not_in_atlas == (), "leukocytes are there: T cells are a kind of them"
    assert result.judged_by == "Cell Ontology 2026-03-26"
    assert result.called == ("CD4", "Leuko", "T-Zelle", "isle"), "what the query has a word for goes by that"
    table = {row["label"]: row for row in result.per_class().to_dicts()}
    assert table["T-Zelle"]["precision"] == pytest.approx(2 / 3), "the CD4 cell called tee counts against T-Zelle"
    assert table["T-Zelle"]["recall"] == 1
    assert table["CD4"]["recall"] == 0.5


def test_the_same_word_for_two_terms_is_no_right_call(calls: Annotation, tmp_path: Path) -> None:
    result = by_ontology(calls, tmp_path, ("b", "isle"), ("isle", "b"), (ALPHA, B_CELL))
    assert result.accuracy == 0
    assert result.not_in_atlas == ("isle",)
    assert f"isle ({BETA})" in result.called


def test_labels_without_ids_are_matched_by_name(
    calls: Annotation, reference: Callable[..., Atlas], files: Path, tmp_path: Path
) -> None:
    said = ("T lymphocyte", "B-cells", "helper", "oddity")
    result = by_ontology(calls, tmp_path, ("helper", "b", "helper", "b"), said, None)
    assert result.accuracy == 3 / 4, "helper is no term by its name, and is judged by its name"
    assert result.not_in_atlas == ("oddity",)
    assert "in the atlas, 4 of 4 labels have a term" in result.notes[0]
    assert "in the query, 2 of 4 labels have a term" in result.notes[1]
    assert result.notes[1].endswith("judged by exact name: helper, oddity")
    without = sv.annotate(files / "query.h5ad", reference("no-ids"))
    assert by_ontology(without, tmp_path, ("b",), ("B-cells",), None).accuracy == 1


def test_ids_that_are_none_do_not_stop_an_evaluation(calls: Annotation, tmp_path: Path) -> None:
    said, ids = ("Ts", "B cell", "Q"), ("CL_0000084", "CL:7654321", "CL:0000012")
    result = by_ontology(calls, tmp_path, ("tee", "b", "tee"), said, ids)
    # An id in another spelling; one that this release lacks, for which no name stands in; an obsolete one.
    assert result.accuracy == 1 / 3
    assert result.not_in_atlas == ("B cell", "Q")
    assert result.notes[1].endswith("judged by exact name: B cell, Q")


def test_a_map_goes_before_ids(calls: Annotation, tmp_path: Path) -> None:
    wrong_id = (B_CELL, B_CELL)
    result = by_ontology(calls, tmp_path, ("helper", "tee"), ("mine", "mine"), wrong_id, label_map={"mine": "tee"})
    assert (result.accuracy, result.classes) == (1, ("tee",))


def test_sets_are_judged_by_terms_too(calls: Annotation, tmp_path: Path) -> None:
    sets = (("isle", "helper"), ("isle", "b"))
    found = by_ontology(replace(calls, sets=sets), tmp_path, ("isle", "isle"), ("T", "T"), (T_CELL, T_CELL))
    assert found.to_dict()["set_coverage"] == 0.5


def said_by_a_readout(calls: Annotation, *labels: str) -> Annotation:
    n = len(labels)
    return replace(calls, second=SecondOpinion(strings(*labels), np.ones(n, np.float32), np.zeros(n, bool)))


def test_a_readout_s_own_labels_are_judged_by_terms_too(calls: Annotation, tmp_path: Path) -> None:
    said, ids = ("T-Zelle", "T-Zelle", "T-Zelle", "CD4", "isle"), (T_CELL, T_CELL, T_CELL, CD4, ALPHA)
    both = said_by_a_readout(calls, "CD4+ T cell", "T-Zelle", sv.UNKNOWN, "T lymphocyte", "isle")
    result = by_ontology(both, tmp_path, ("tee", "tee", "tee", "helper", "b"), said, ids)
    # A kind of it, the author's own word; nothing; less than it; the atlas's word, which is another term.
    assert result.other_calls["readout_label"].accuracy == 2 / 5
    assert result.accuracy == 4 / 5
    plain = by_ontology(calls, tmp_path, ("tee", "tee", "tee", "helper", "b"), said, ids)
    assert (plain.classes, plain.not_in_atlas, plain.notes) == (result.classes, result.not_in_atlas, result.notes)


def test_a_readout_s_labels_are_mapped_as_the_author_s_are(calls: Annotation, tmp_path: Path) -> None:
    both = said_by_a_readout(calls, "mine", "tee", "b")
    more: dict[str, Any] = {"label_map": {"mine": "tee", "b": "tee"}, "ontology": None}
    result = by_ontology(both, tmp_path, ("tee",) * 3, ("mine",) * 3, None, **more)
    assert result.other_calls["readout_label"].accuracy == 2 / 3, "b is the atlas's label"


def test_one_label_has_one_id_and_ids_need_an_ontology(calls: Annotation, tmp_path: Path) -> None:
    with pytest.raises(LabelError, match="'T' has ids"):
        by_ontology(calls, tmp_path, ("tee", "tee"), ("T", "T"), (T_CELL, CD4))
    with pytest.raises(LabelError, match="'T' has ids"):
        ids_by_label(strings("T", "T"), strings(T_CELL, CD4))
    with pytest.raises(InputError, match="`label_ids` needs `ontology`"):
        by_ontology(calls, tmp_path, ("tee",), ("T",), (T_CELL,), ontology=None)


def test_the_command_line_judges_by_the_ontology(
    store: sv.Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cells = toy.cells(40, seed=1)
    endocrine = cells.obs["cell_type"].isin(["alpha", "beta"])
    cells.obs["mine"] = np.where(endocrine, "hormones", cells.obs["cell_type"].astype(str))
    cells.obs["ids"] = np.where(endocrine, ENDOCRINE, cells.obs["cl_id"].astype(str))
    cells.write_h5ad(tmp_path / "q.h5ad")
    asked = ["evaluate", str(tmp_path / "q.h5ad"), "--atlas", "toy", "--store", store.uri, "--label-key", "mine"]
    assert main([*asked, "--by-ontology"]) == 2
    assert "scvec ontology" in capsys.readouterr().err
    write_ontology(store, TOY, {"files": []})
    for by_terms, accuracy in (([], 0.5), (["--by-ontology", "--label-id-key", "ids"], 1.0)):
        assert main([*asked, *by_terms, "--json", "--quiet"]) == 0
        assert json.loads(capsys.readouterr().out)["accuracy"] == accuracy
    assert main([*asked, "--by-ontology", "--max-error", "0.2"]) == 0
    out, err = capsys.readouterr()
    assert "for an error of 20.0%" in out
    assert "called" in out
    assert "in the query, 1 of 3 labels have a term" in err


def test_logistic_regression_reads_what_a_query_does(files: Path, tmp_path: Path) -> None:
    truth = toy.cells(41, seed=1).obs["cell_type"].tolist()
    toy.cells(41, seed=1, scale="log1p")[:, ::-1].copy().write_h5ad(tmp_path / "q.h5ad")
    called = logistic_regression(files / "reference.h5ad", tmp_path / "q.h5ad", label_key="cell_type")
    assert called.tolist() == truth
