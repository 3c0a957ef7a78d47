from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest

import scvec as sv
from scvec.atlas import Atlas
from scvec.controls import logistic_regression
from scvec.errors import FileError, InputError, LabelError, MissingDependencyError
from scvec.evaluation import compare, read_label_map
from scvec.report import plots
from scvec.report.files import check_folder, write_evaluation
from tests import toy


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
    assert result.to_dict()["per_class"][1] == {"label": "b", "support": 2, "precision": 0.5, "recall": 0.5, "f1": 0.5}


def test_labels_of_another_language_are_refused() -> None:
    with pytest.raises(LabelError, match="--label-map"):
        compare(strings("a"), strings("A cell"), ["a"])


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
    with pytest.raises(FileError, match="--label-map"):
        read_label_map(tmp_path / name)
    with pytest.raises(FileError, match="--label-map"):
        read_label_map(tmp_path / f"none-{name}")


def test_a_map_translates(atlas: Atlas, tmp_path: Path) -> None:
    cells = toy.cells(40, seed=1)
    cells.obs["mine"] = [f"{one} cell" if one != "beta" else one for one in cells.obs["cell_type"]]
    query = tmp_path / "q.h5ad"
    cells.write_h5ad(query)
    calls = sv.annotate(query, atlas)
    partly = sv.evaluate(calls, query, label_key="mine")
    assert partly.accuracy == 0.25
    assert partly.not_in_atlas == ("alpha cell", "ductal cell", "immune cell")
    label_map = {f"{one} cell": one for one in toy.LABELS}
    assert sv.evaluate(calls, query, label_key="mine", label_map=label_map).accuracy == 1
    with pytest.raises(LabelError, match="'gamma'"):
        sv.evaluate(calls, query, label_key="mine", label_map={"alpha cell": "gamma"})


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


def test_pictures_need_their_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plots, "find_spec", lambda _name: None)
    with pytest.raises(MissingDependencyError, match=r"scvec\[report\]"):
        plots.require()


def test_logistic_regression_reads_what_a_query_does(files: Path, tmp_path: Path) -> None:
    truth = toy.cells(41, seed=1).obs["cell_type"].tolist()
    toy.cells(41, seed=1, scale="log1p")[:, ::-1].copy().write_h5ad(tmp_path / "q.h5ad")
    called = logistic_regression(files / "reference.h5ad", tmp_path / "q.h5ad", label_key="cell_type")
    assert called.tolist() == truth
