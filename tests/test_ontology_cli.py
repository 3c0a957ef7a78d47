"""The verbs on the Cell Ontology: their output, and one line for bad input with nothing half written."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path

import pytest

import scvec as sv
from scvec import ontology as on
from scvec.cli import main
from tests import toy as toy_cells
from tests import toy_ontology as toy
from tests.toy_ontology import ALPHA, BETA, TOY

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.chdir(tmp_path)

    def run(*arguments: object) -> tuple[int, str, str]:
        code = main([str(one) for one in ("ontology", *arguments)])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


@pytest.fixture
def cells(tmp_path: Path) -> Path:
    """Forty cells of four labels."""
    made = toy_cells.cells(40)
    made.obs["kind"] = ["t_cell", "alpha", "B", "ductal, of the pancreas"] * 10
    made.write_h5ad(tmp_path / "cells.h5ad")
    return tmp_path / "cells.h5ad"


@pytest.mark.parametrize("verb", ["pull", "import", "list", "match"])
def test_help_of_every_ontology_verb(run: Run, verb: str) -> None:
    code, out, _ = run(verb, "--help")
    assert code == 0
    assert f"Example: scvec ontology {verb}" in " ".join(out.split())
    assert all(option in out for option in ("--json", "--quiet", "--store", "SCVEC_STORE"))


def test_import_and_list(run: Run, tmp_path: Path) -> None:
    code, out, err = run("list")
    assert (code, err) == (0, "no Cell Ontology yet: scvec ontology pull --help\n")
    path = toy.write(tmp_path, TOY, "guide", "zst")
    assert run("import", path) == (0, "Cell Ontology 2026-03-26: 13 terms, 5 obsolete ids\n", "")
    code, out, _ = run("import", path, "--release", "mine", "--json")
    assert json.loads(out) == {"release": "mine", "n_terms": 13, "n_obsolete": 5}
    code, out, _ = run("list")
    assert [line.split() for line in out.splitlines()[2:]] == [
        ["2026-03-26", "13", "5", path.name],
        ["mine", "13", "5", path.name],
    ]
    assert [one["release"] for one in json.loads(run("list", "--json")[1])] == ["2026-03-26", "mine"]


def test_match_says_which_terms_a_file_s_labels_are(run: Run, tmp_path: Path, cells: Path) -> None:
    run("import", toy.write(tmp_path))
    match = ("match", cells, "--label-key", "kind")
    code, out, err = run(*match, "--out", "map.csv")
    assert code == 0
    assert [line.split() for line in out.splitlines()[2:4]] == [
        ["B", "10", "CL:0000236", "B", "cell", "spelling"],
        ["alpha", "10", "ambiguous"],
    ]
    assert "4 labels written to map.csv" in out
    assert err.startswith("2 of 4 labels have a term of Cell Ontology 2026-03-26: 2 by spelling\n")
    assert "1 left out as ambiguous: alpha (could be: retinal ganglion cell A (CL:0004117) or" in err
    with Path("map.csv").open(encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    assert [(row["label"], row["id"]) for row in rows] == [
        ("B", "CL:0000236"),
        ("alpha", ""),
        ("ductal, of the pancreas", ""),
        ("t_cell", "CL:0000084"),
    ]


def test_a_map_that_was_written_and_mended_is_read_again(run: Run, tmp_path: Path, cells: Path) -> None:
    run("import", toy.write(tmp_path))
    match = ("match", cells, "--label-key", "kind", "--quiet")
    run(*match, "--out", "map.csv")
    text = Path("map.csv").read_text(encoding="utf-8")
    Path("map.csv").write_text(text.replace("alpha,,", f"alpha,{ALPHA},").replace("B,CL:0000236", f"B,{BETA}"))
    code, out, err = run(*match, "--map", "map.csv", "--out", "map.csv", "--json")
    assert (code, err) == (0, "")
    found = {one["label"]: (one["id"], one["route"]) for one in json.loads(out)["labels"]}
    assert found == {
        "B": (BETA, "map"),
        "alpha": (ALPHA, "map"),
        "ductal, of the pancreas": ("", "unmatched"),
        "t_cell": ("CL:0000084", "map"),
    }
    assert on.read_map("map.csv")["alpha"] == ALPHA


def test_bad_input_to_an_ontology_verb_is_one_line_and_exit_code_2(run: Run, tmp_path: Path, cells: Path) -> None:
    def files() -> dict[Path, int]:
        return {path: path.stat().st_size for path in tmp_path.rglob("*") if path.is_file()}

    good = toy.write(tmp_path)
    (tmp_path / "cut.obo").write_bytes(good.read_bytes()[:700])
    (tmp_path / "other.obo").write_text(toy.as_obo(TOY).replace("name: B cell", "name: b"), encoding="utf-8")
    (tmp_path / "bad.csv").write_text("a,b\n")
    (tmp_path / "wrong.csv").write_text("label,id\nalpha,CL:1234567\n")
    match = ("match", cells, "--label-key", "kind")
    empty: dict[tuple[object, ...], str] = {
        ("import", tmp_path / "none.obo"): "does not exist",
        ("import", tmp_path / "cut.obo"): "truncated",
        ("import", cells): "not a text",
        match: "scvec ontology pull",
        ("pull", "--url", "ftp://there"): "http",
    }
    full: dict[tuple[object, ...], str] = {
        ("import", tmp_path / "other.obo"): "another --release",
        ("import", good, "--release", "not a tag"): "tag 'not a tag'",
        (*match, "--release", "1999"): "no release '1999'",
        (*match, "--map", tmp_path / "bad.csv", "--out", "map.csv"): "label map",
        (*match, "--map", tmp_path / "wrong.csv", "--out", "map.csv"): "CL:1234567",
        (*match, "--out", "map.h5ad"): ".csv",
        ("match", cells, "--label-key", "no"): "kind",
        ("match", tmp_path / "bad.csv", "--label-key", "kind"): "is text, but not a table",
    }
    for cases in (empty, full):
        before = files()
        for arguments, word in cases.items():
            code, out, err = run(*arguments)
            assert (arguments, code, out) == (arguments, 2, "")
            assert err.startswith("scvec: ")
            assert err.count("\n") == 1
            assert word in err
            assert files() == before
        run("import", good)
    assert on.open_ontology(sv.Store(tmp_path / "scvec-store")) == TOY
