"""The script that runs other tools, by the methods that need none of their packages."""

from __future__ import annotations

import ast
import importlib
import json
import logging
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from anndata import AnnData
from packaging.requirements import Requirement

from scvec.evaluation.baselines import logistic_regression
from tests import toy

PEERS = Path(__file__).parents[1] / "benchmarks" / "peers"
SCRIPT = PEERS / "annotate.py"
METHOD = "logistic-regression"

Here = Callable[..., tuple[int, str]]


def asked(folder: Path, options: dict[str, Any]) -> list[str]:
    """Return a command line for the files of a folder, with calls in the same folder; None leaves an option out."""
    given: dict[str, str | Path | None] = {
        "method": METHOD,
        "reference": folder / "reference.h5ad",
        "query": folder / "query.h5ad",
        "label-key": "cell_type",
        "out": folder / "calls.csv",
    }
    given |= {name.replace("_", "-"): value for name, value in options.items()}
    return [str(word) for name, value in given.items() if value is not None for word in (f"--{name}", value)]


def annotate(folder: Path, **options: str | Path | None) -> subprocess.CompletedProcess[str]:
    """Run the script in a process of its own."""
    # Elsewhere than in the repository, so that nothing of it is found by chance.
    command = [sys.executable, str(SCRIPT), *asked(folder, options)]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Here:
    """The script in this process, where it starts sooner; what it sets here is set back."""
    for name in ("OMP_NUM_THREADS", "NUMBA_NUM_THREADS"):
        monkeypatch.setenv(name, "1")
    monkeypatch.setenv("CELLTYPIST_FOLDER", str(tmp_path))
    monkeypatch.setattr(logging.root.manager, "disable", logging.root.manager.disable)
    monkeypatch.chdir(tmp_path)
    script = importlib.import_module("benchmarks.peers.annotate")

    def run(**options: str | Path | None) -> tuple[int, str]:
        code = script.main(asked(tmp_path, options))
        return code, capsys.readouterr().err

    return run


def words(folder: Path) -> list[str]:
    """Return what every command line has."""
    reference, query = str(folder / "reference.h5ad"), str(folder / "query.h5ad")
    return ["--reference", reference, "--query", query, "--label-key", "cell_type"]


def write(folder: Path, reference: AnnData, query: AnnData) -> None:
    reference.write_h5ad(folder / "reference.h5ad")
    query.write_h5ad(folder / "query.h5ad")


def hard(n: int, seed: int) -> AnnData:
    """Cells of the toy world with so little of them read that a classifier errs, and genes in an order of their own."""
    cells = toy.cells(n, seed)
    rng = np.random.default_rng(seed)
    cells.X = rng.binomial(cells.X.toarray().astype(int), 0.02).astype(np.float32)
    return cells[:, rng.permutation(cells.n_vars)[: cells.n_vars - 20]].copy()


def calls(folder: Path) -> pl.DataFrame:
    return pl.read_csv(folder / "calls.csv", schema_overrides={"obs_name": pl.String, "label": pl.String})


@pytest.mark.parametrize("seed", [0, 1])
def test_it_and_the_control_agree(tmp_path: Path, seed: int) -> None:
    reference, query = hard(120, seed), hard(200, seed + 100)
    write(tmp_path, reference, query)
    done = annotate(tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    found = calls(tmp_path)
    assert found.columns == ["obs_name", "label", "score"]
    assert found["obs_name"].to_list() == query.obs_names.tolist()
    expected = logistic_regression(tmp_path / "reference.h5ad", tmp_path / "query.h5ad", label_key="cell_type")
    assert found["label"].to_list() == expected.tolist()
    # Not a task that anything gets right, or agreement would say little.
    right = np.asarray(found["label"].to_list()) == query.obs["cell_type"].to_numpy(str)
    assert 0.3 < right.mean() < 0.95
    scores = found["score"].to_numpy()
    assert scores.min() >= 1 / 4
    assert scores.max() <= 1
    assert scores[right].mean() > scores[~right].mean()


@pytest.mark.parametrize("scale", ["log1p", "log2", "linear"])
def test_a_query_on_another_scale_gets_the_same_calls(tmp_path: Path, here: Here, scale: str) -> None:
    reference, query = hard(120, 0), hard(200, 100)
    write(tmp_path, reference, query)
    assert here()[0] == 0
    expected = calls(tmp_path)["label"].to_list()
    values = query.X * 1.5
    query.X = {"log1p": np.log1p(values), "log2": np.log2(values + 1), "linear": values}[scale]
    write(tmp_path, reference, query)
    code, said = here()
    assert code == 2
    assert "other numbers than counts" in said
    assert here(query_scale=scale)[0] == 0
    assert np.mean([one == other for one, other in zip(calls(tmp_path)["label"], expected, strict=True)]) > 0.99


def test_the_report(tmp_path: Path, files: Path) -> None:
    done = annotate(files, out=tmp_path / "calls.csv", batch_key="donor", seed="3")
    assert done.returncode == 0, done.stderr
    about = json.loads((tmp_path / "calls.json").read_text())
    assert (about["method"], about["seed"]) == (METHOD, 3)
    assert (about["n_reference"], about["n_query"], about["n_genes"]) == (120, 41, toy.N_GENES)
    assert set(about["versions"]) == {"python", "anndata", "numpy", "scipy", "scikit-learn"}
    assert about["train_s"] > 0
    assert about["annotate_s"] >= 0
    assert about["warnings"] == []
    assert 30 < about["peak_rss_mb"] < 2000


def test_the_memory_is_its_own(tmp_path: Path, files: Path) -> None:
    # A large parent, whose ru_maxrss a child inherits.
    code = (
        "import subprocess, sys\n"
        "held = bytearray(7 * 10**8)\n"
        "held[::4096] = b'x' * len(held[::4096])\n"
        "sys.exit(subprocess.run(sys.argv[1:], check=False).returncode)"
    )
    out = tmp_path / "calls.csv"
    command = [sys.executable, "-c", code, sys.executable, str(SCRIPT), "--method", METHOD, "--out", str(out)]
    subprocess.run([*command, *words(files)], check=True)
    if not Path("/proc/self/status").is_file():
        pytest.skip("only Linux tells a process's own peak")
    assert json.loads(out.with_suffix(".json").read_text())["peak_rss_mb"] < 600


def test_the_query_needs_no_labels_and_counts_may_lie_in_a_layer(tmp_path: Path, here: Here) -> None:
    reference, query = hard(120, 0), hard(200, 100)
    write(tmp_path, reference, query)
    assert here() == (0, "")
    expected = calls(tmp_path)
    for cells in (reference, query):
        cells.layers["umi"] = cells.X
        cells.X = np.asarray(cells.X) / 3
    del query.obs["cell_type"]
    write(tmp_path, reference, query)
    assert here(layer="umi") == (0, "")
    assert calls(tmp_path).equals(expected)
    # X itself is refused, and calls of the run before are gone.
    code, err = here()
    assert code == 2
    assert "other numbers than counts" in err
    assert not (tmp_path / "calls.csv").exists()
    assert not (tmp_path / "calls.json").exists()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"reference": "absent.h5ad"}, "absent.h5ad"),
        ({"query": "text.h5ad"}, "cannot be read as h5ad"),
        ({"query": "mouse.h5ad"}, "no gene name in common"),
        ({"label_key": "absent"}, "no obs column 'absent'; it has cell_type"),
        ({"label_key": "gaps"}, "obs['gaps'] lacks 1 of 120 values"),
        ({"batch_key": "absent"}, "no obs column 'absent'"),
        ({"layer": "absent"}, "no layer 'absent'; it has none"),
        ({"out": "calls.json"}, "is no .csv"),
        ({"out": "absent/calls.csv"}, "in a folder that is there"),
    ],
)
def test_what_is_not_there_is_said_in_one_line(tmp_path: Path, here: Here, options: dict[str, str], said: str) -> None:
    reference, query = toy.cells(120, 0), toy.cells(41, 1)
    reference.obs["gaps"] = [None, *["a"] * 119]
    write(tmp_path, reference, query)
    query.var_names = [f"Other{i}" for i in range(query.n_vars)]
    query.write_h5ad(tmp_path / "mouse.h5ad")
    (tmp_path / "text.h5ad").write_text("not HDF5")
    before = {path.name for path in tmp_path.iterdir()}
    code, err = here(**options)
    assert code == 2
    assert said in err
    assert err.count("\n") == 1
    assert {path.name for path in tmp_path.iterdir()} == before


def test_a_method_that_fails_leaves_nothing(tmp_path: Path) -> None:
    reference = toy.cells(40, 0)
    reference.obs["cell_type"] = "alpha"
    write(tmp_path, reference, toy.cells(41, 1))
    (tmp_path / "calls.csv").write_text("obs_name,label,score\nof,another,1\n")
    done = annotate(tmp_path)
    assert done.returncode == 1
    assert done.stderr.startswith("logistic-regression failed on")
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "calls.csv").exists()
    assert not (tmp_path / "calls.json").exists()


def test_a_package_that_is_not_installed_is_named(files: Path, tmp_path: Path) -> None:
    # A module that refuses to load, in place of one that is missing: it may be there.
    (tmp_path / "singler.py").write_text("raise ImportError('No module named singler')\n")
    command = [sys.executable, str(SCRIPT), "--method", "singler", "--out", str(tmp_path / "calls.csv"), *words(files)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env={"PYTHONPATH": str(tmp_path)})
    assert done.returncode == 2
    assert "requirements.txt" in done.stderr
    assert done.stderr.count("\n") == 1


def test_nothing_of_scvec_is_imported() -> None:
    tree = ast.parse(SCRIPT.read_text(encoding="utf-8"))
    names = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    names |= {str(node.module) for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert "anndata" in names
    assert not {name.split(".")[0] for name in names} & {"scvec", "benchmarks", "tests"}
    # Its folder comes first on its path: a file named as a package would be imported in the package's place.
    assert not {path.stem for path in PEERS.glob("*.py")} & {name.split(".")[0] for name in names}


def test_the_pins_are_versions() -> None:
    lines = (PEERS / "requirements.txt").read_text(encoding="utf-8").splitlines()
    pins = [Requirement(line) for line in lines if line and not line.startswith("#")]
    assert all(len(pin.specifier) == 1 and next(iter(pin.specifier)).operator == "==" for pin in pins)
    names = [pin.name for pin in pins]
    assert len(set(names)) == len(names)
    versions = {pin.name: next(iter(pin.specifier)).version for pin in pins}
    # Each method's report asks for these.
    source = SCRIPT.read_text(encoding="utf-8")
    assert {"celltypist", "singler", "symphonypy", "scanpy", "harmonypy", "pynndescent", "umap-learn"} <= set(versions)
    assert all(f'"{name}"' in source for name in versions if name != "pandas")
    # celltypist's training uses an argument that 1.8 took out; scanpy's Ingest fails on the index of 0.7.
    assert tuple(map(int, versions["scikit-learn"].split("."))) < (1, 8)
    assert tuple(map(int, versions["pynndescent"].split("."))) < (0, 7)
