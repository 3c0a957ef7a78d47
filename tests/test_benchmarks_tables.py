"""The benchmarks of few genes and of the views' cost, on toy sizes: that they measure what they say."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import pytest

import scvec as sv
from benchmarks import panels, views_cost
from benchmarks.panels import REBUILT, WHOLE
from benchmarks.views_cost import ALONE, VIEWS
from scvec.bench import HoldOut, Suite, Task
from tests import toy
from tests.test_packaged_genes import named


def test_both_ways_on_each_panel(tmp_path: Path, store: sv.Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(panels, "OUT", tmp_path)
    toy.cells(180, seed=0).write_h5ad(tmp_path / "cells.h5ad")
    task = Task(
        name="few",
        group="few genes",
        reference=tmp_path / "cells.h5ad",
        hold_out=HoldOut(key="donor", values=("d2",)),
        label_key="cell_type",
        query_genes=24,
        genes_from="all",
    )
    suite = Suite(name="toy", seeds=(0,), encoders=(), recipes=(), tasks=(task,))
    wanted = list(panels.panels(suite, store, 2))
    assert [one.seed for one in wanted] == [0, 1]
    panels.measure(wanted, store)
    rows = [row for one in wanted for row in json.loads(one.kept.read_text())]
    assert [(one["method"], one["seed"]) for one in rows] == [
        (way, seed) for seed in (0, 1) for way in (WHOLE, REBUILT)
    ]
    assert all(one["n_genes"] == 24 and one["macro_f1"] > 0.5 for one in rows)
    assert all(one["first_cpu_s"] > one["again_cpu_s"] > 0 for one in rows)
    apart = panels.differences(wanted, rows)["few"]
    assert apart["low"] <= apart["mean"] <= apart["high"]
    at = wanted[0].kept.stat().st_mtime_ns
    panels.measure(wanted, store)
    assert wanted[0].kept.stat().st_mtime_ns == at
    said = panels.text(rows, {"few": apart}, {"tool": {"few": [(1, 0.25)]}})
    ahead = rows[2]["macro_f1"] - 0.25
    assert f"0.250 ({ahead:+.3f})" in said


def test_what_is_below_is_named() -> None:
    near = {"mean": -0.005, "low": -0.02, "high": 0.01}
    assert "on no task" in panels.verdict({"a": near})
    assert "on 1 of 2 tasks: b (-0.020)" in panels.verdict({"a": near, "b": {"mean": -0.02, "low": -0.03, "high": 0.0}})


@pytest.mark.slow
def test_the_version_before_is_that_of_its_folder(tmp_path: Path) -> None:
    (tmp_path / "scvec").mkdir()
    (tmp_path / "scvec" / "__init__.py").write_text('__version__ = "0.1"')
    assert views_cost.version_before(argparse.Namespace(before=tmp_path)) == "0.1"


def test_what_views_cost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(views_cost, "OUT", tmp_path)
    monkeypatch.setattr(views_cost, "QUERY_CELLS", 60)
    for name, n in (("300-0.h5ad", 300), ("60-1.h5ad", 60)):
        cells = toy.cells(n, seed=n)
        cells.var_names = named("symbol")
        cells.write_h5ad(tmp_path / name)
    args = argparse.Namespace(rounds=1, before=None)
    names = views_cost.ways(args)
    assert names == [VIEWS, ALONE]
    turns = views_cost.measured(300, args)
    assert all(one["build_cpu_s"] > 0 < one["query_mb"] for one in turns[0].values())
    (turn,) = turns
    assert turn[VIEWS][views_cost.FILE + "views.safetensors"] > 0
    assert views_cost.FILE + "views.safetensors" not in turn[ALONE]
    assert sum(views_cost.sizes_of(tmp_path / "store-300-refined").values()) >= turn[VIEWS]["store_bytes"] > 0
    assert views_cost.measured(300, args) == turns  # of the same code: it is not measured again
    said = views_cost.text({300: turns}, names, "")
    assert "sample.parquet" in said


def test_ratios_are_within_a_turn_and_turns_begin_with_each_way() -> None:
    turns = [{VIEWS: {"build_s": a}, ALONE: {"build_s": b}} for a, b in ((2.0, 1.0), (30.0, 10.0), (8.0, 2.0))]
    assert views_cost.ratio(turns, "build_s", ALONE) == 3
    assert [views_cost._ordered("abc", turn)[0] for turn in range(4)] == ["a", "b", "c", "a"]
    np.testing.assert_array_equal(views_cost._ordered("ab", 1), ["b", "a"])
