"""The suite of studies: what it holds, how its records become means, intervals and ranks, and the README's table."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import f1_score

import scvec as sv
from benchmarks import profiles, readme, studies_table
from benchmarks.common import RESULTS
from scvec.bench import Plan, Suite, plan, records
from scvec.bench.records import figures
from tests import toy

SUITES = Path(__file__).parents[1] / "benchmarks" / "suites"
TOY = """
name = "toy"
seeds = [0, 1, 2]
recipes = ["small.toml"]
[[tasks]]
name = "donor 2"
group = "donors"
reference = "cells.h5ad"
hold_out = { key = "donor", values = ["d2"] }
label_key = "cell_type"
[[tasks]]
name = "share"
group = "draws"
reference = "cells.h5ad"
hold_out = { share = 0.3 }
label_key = "cell_type"
"""


def test_the_suite_of_studies_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCVEC_DATA", "/data")
    monkeypatch.setenv("SCVEC_PROFILES", "/profiles")
    suite = Suite.read(SUITES / "studies.toml")
    assert len(suite.seeds) >= 3
    assert not any(one.panel for one in suite.tasks)
    donors = {one.hold_out.values for one in suite.tasks if one.group == "another donor" and one.hold_out}
    assert len([one for one in suite.tasks if one.group == "another donor"]) == 4 + 2 + 3
    assert {(f"human{i}",) for i in range(1, 5)} | {(f"donor{i}",) for i in range(1, 4)} == donors
    assert {one.reference.name.removesuffix("-profiles.h5ad") for one in suite.tasks if "profiles" in one.name} == set(
        tomllib.loads(profiles.TABLE.read_text())
    )
    assert {(one.query_genes, one.genes_from) for one in suite.tasks if one.group == "few genes"} == {
        (n, which) for n in (1000, 500, 200) for which in ("all", "top")
    }


@pytest.fixture
def made(tmp_path: Path, store: sv.Store) -> Plan:
    """A plan with records of one method that is right, one that draws what it calls, and one that fails."""
    toy.cells(180, seed=0).write_h5ad(tmp_path / "cells.h5ad")
    (tmp_path / "small.toml").write_text('name = "small svd"\nweights = "svd"\ndimension = 5\n')
    (tmp_path / "toy.toml").write_text(TOY)
    made = plan(Suite.read(tmp_path / "toy.toml"), tmp_path / "out", store)
    for one in made.runs:
        method = one.method
        if method.kind == "recipe":
            found = figures(one.task, one.task.truth, {})
        elif method.name == "random (control)":
            drawn = np.random.default_rng(one.seed).permutation(one.task.truth)
            found = figures(one.task, drawn, {})
        elif method.name == "expression (control)":
            found = {"failed": "too few cells"}
        else:
            continue
        records.write(made.out, records.record(one.digest, one.task, method.name, method.kind, one.seed, found))
    return made


def test_means_ranks_losses_and_failures(made: Plan) -> None:
    summary = studies_table.summarise(made)
    of = {name: i for i, name in enumerate(summary.methods)}
    right, drawn, failed, undone = (
        of[one] for one in ("small svd", "random (control)", "expression (control)", "logistic regression (control)")
    )
    assert summary.complete.tolist() == [i != undone for i in range(4)]
    assert summary.mean()[right].tolist() == [1, 1, 1]
    assert summary.mean()[failed].tolist() == [0, 0, 0]
    assert summary.ranks[[right, drawn, failed]].tolist() == [1, 2, 3]
    mean, low, high = summary.mean()[drawn]
    assert low < mean < high
    assert summary.losses[drawn] == pytest.approx(1 - summary.macro_f1[drawn])
    assert summary.ahead(right)[drawn] == pytest.approx([1 - mean, 1 - high, 1 - low])
    assert len(summary.seeds["random (control)"]["share"]) == 3
    text = studies_table.text(summary)
    assert "so not ranked: logistic regression (control)" in text
    assert "- expression (control) failed on share: too few cells" in text
    assert summary.to_dict()["summary"]["small svd"]["by_group"]["draws"] == [1, 1, 1]


def test_drawn_cells_give_scikit_learn_s_macro_f1(made: Plan) -> None:
    task = made.tasks[0]
    rng = np.random.default_rng(0)
    called = np.where(rng.random(len(task.truth)) < 0.6, task.truth, "alpha").astype(object)
    called[:2] = "elsewhere"
    names, codes = np.unique(called.astype(str), return_inverse=True)
    sampled = studies_table.Sampled.of(task)
    found = sampled.macro_f1({"labels": names.tolist(), "called": codes.tolist()})
    for draw in (0, 7):
        cells = sampled.cells[draw]
        truth = task.truth[cells].astype(str)
        # Within each class as many cells as there are.
        assert np.array_equal(np.unique(truth, return_counts=True)[1], np.unique(task.truth, return_counts=True)[1])
        expected = f1_score(truth, called[cells].astype(str), labels=np.unique(truth), average="macro", zero_division=0)
        assert found[draw] == pytest.approx(expected)


def test_the_readme_has_the_figures_of_the_results() -> None:
    values = json.loads((RESULTS / "studies.json").read_text())
    text = readme.README.read_text()
    assert readme.written(text, readme.table(values)) == text


def test_the_readme_s_table_marks_the_best() -> None:
    def of(kind: str, mean: float, rank: float, loss: float) -> dict[str, object]:
        return {
            "kind": kind,
            "mean_macro_f1": [mean] * 3,
            "mean_rank": rank,
            "worst_loss": loss,
            "by_group": {"a": [mean] * 3},
        }

    summary = {
        "refined, no text": of("recipe", 0.81, 1.5, 0.1),
        "random (control)": of("control", 0.2, 3, 0.7),
        "singler (peer)": of("peer", 0.8104, 1.25, 0.2),
    }
    table = readme.table({"summary": summary, "tasks": {"one": "a", "two": "a"}}).splitlines()
    assert table[0] == "| tasks (number) | scvec | singler |"
    assert table[2:] == [
        "| a (2) | **.810** | **.810** |",
        "| all 2 | **.810** | **.810** |",
        "| mean rank among 3 | 1.5 | **1.2** |",
        "| largest loss to the best of all | **.100** | .200 |",
    ]
    with pytest.raises(ValueError, match="lacks"):
        readme.written("no table", "")


@pytest.mark.usefixtures("data")
def test_profiles_and_cells_have_the_same_labels(tmp_path: Path) -> None:
    profiles.write_profiles(tmp_path)
    for name, pair in tomllib.loads(profiles.TABLE.read_text()).items():
        with sv.ingest.open_cells(tmp_path / f"{name}-profiles.h5ad") as file:
            reference = set(file.labels("label", "label_key"))
        with sv.ingest.open_cells(tmp_path / f"{name}-cells.h5ad") as file:
            query = set(file.labels("label", "label_key"))
        assert query == set(pair["labels"])
        assert query <= reference
    first = (tmp_path / "blood-cells.h5ad").stat().st_mtime_ns
    profiles.write_profiles(tmp_path)
    assert (tmp_path / "blood-cells.h5ad").stat().st_mtime_ns == first
