"""Readouts in a suite: each with its ablations, in the tables of the recipes; and the measurements of their speed."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

import scvec as sv
from scvec.bench import Suite, plan, run
from scvec.bench.methods import ABLATIONS, methods
from scvec.cli import main
from tests import toy
from tests.test_readout import one_core

pytest.importorskip("transformers")
__all__ = ["one_core"]

SUITE = """
name = "readouts"
seeds = [0, 1]
encoders = ["hash"]
recipes = []
readouts = ["tiny.toml"]

[[tasks]]
name = "donor 2"
reference = "$TOY/cells.h5ad"
hold_out = { key = "donor", values = ["d2"] }
label_key = "cell_type"
"""
READOUT = (
    'model = "$TOY_LLM"\nencoder = "hash"\nn_genes = 8\nepochs = 2\nhidden = 16\nreadout_hidden = 16\nwidth = 16\n'
)


@pytest.fixture
def suite(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file of a suite with a readout of a tiny model."""
    from tests.toy_llm import toy_llm

    toy.cells(120, seed=0).write_h5ad(tmp_path / "cells.h5ad")
    (tmp_path / "suite.toml").write_text(SUITE)
    (tmp_path / "tiny.toml").write_text(READOUT)
    monkeypatch.setenv("TOY", str(tmp_path))
    monkeypatch.setenv("TOY_LLM", toy_llm())
    return tmp_path / "suite.toml"


def test_a_readout_stands_beside_its_ablations(suite: Path, tmp_path: Path, store: sv.Store) -> None:
    asked = Suite.read(suite)
    name = f"readout of {Path(asked.readouts[0].model or '').name}"
    found = {one.name: one for one in methods(asked, asked.tasks[0])}
    own = [one for one in found if one.startswith("readout")]
    assert own == [name, *(f"{name}, {ablation} (control)" for ablation in ABLATIONS)]
    assert [found[one].kind for one in own] == ["recipe", *["control"] * 4]
    results = run(asked, tmp_path / "out", store)
    rows = {one["method"]: one for one in results.rows if one["method"] in own}
    assert {one: (row["n_runs"], row["failed"]) for one, row in rows.items()} == {one: (2, []) for one in own}
    assert len({json.dumps(row["macro_f1"]) + json.dumps(row["accuracy"]) for row in rows.values()}) > 1
    assert not store.children("readouts")
    # What was done is not done again.
    times = {path: path.stat().st_mtime_ns for path in (tmp_path / "out" / "runs").iterdir()}
    run(asked, tmp_path / "out", store)
    assert times == {path: path.stat().st_mtime_ns for path in (tmp_path / "out" / "runs").iterdir()}


def test_another_model_in_the_same_place_is_another_run(suite: Path, tmp_path: Path, store: sv.Store) -> None:
    from tests.toy_llm import toy_llm

    model = tmp_path / "model"
    shutil.copytree(toy_llm(), model)
    suite.with_name("tiny.toml").write_text(READOUT.replace("$TOY_LLM", str(model)))
    before = {one.digest for one in plan(Suite.read(suite), tmp_path / "out", store).runs}
    assert before == {one.digest for one in plan(Suite.read(suite), tmp_path / "out", store).runs}
    shutil.copy(Path(toy_llm(seed=1)) / "model.safetensors", model)
    after = plan(Suite.read(suite), tmp_path / "out", store).runs
    changed = {one.method.name for one in after if one.digest not in before}
    # The mean of the genes does not read it.
    readouts = {one.method.name for one in after if "readout" in one.method.name}
    assert changed == {one for one in readouts if "no-llm" not in one}


@pytest.mark.parametrize(
    ("readout", "said"),
    [
        (READOUT + 'ablation = "no-llm"\n', "ablation none"),
        (READOUT.replace("$TOY_LLM", "$NOT_SET"), "$NOT_SET is not set"),
        (READOUT + "sharpness = 2\n", "sharpness"),
    ],
)
def test_a_wrong_readout_is_one_line(suite: Path, readout: str, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    suite.with_name("tiny.toml").write_text(readout)
    assert main(["bench", str(suite), "--out", str(suite.with_name("out")), "--store", "nowhere"]) == 2
    assert said in capsys.readouterr().err


def test_speed_is_measured_where_there_is_no_gpu_too(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from benchmarks import common, readout_speed

    monkeypatch.setattr(common, "RESULTS", tmp_path)
    monkeypatch.setitem(readout_speed.SQUARE, "cpu", 64)
    asked = ["--device", "cpu", "--shapes", "tiny", "--genes", "8", "16", "--cells", "2", "--precision", "float32"]
    assert readout_speed.main(asked) == 0
    found = json.loads((tmp_path / "readout_speed.json").read_text())
    assert [one["n_genes"] for one in found["rows"]] == [8, 16]
    assert all(one["trained"] > 0 and one["predicted"] > 0 for one in found["rows"])
    assert readout_speed.main(["--device", "cuda:7"]) == 2
