"""A readout in a store and on the command line: resumed, saved whole, opened, refused, beside the calls."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import polars as pl
import pytest

import scvec as sv
from scvec.atlas import Atlas
from scvec.core.types import silent
from scvec.errors import ConflictError, ExistsError, InputError, KeyNotFoundError, MismatchError, MissingDependencyError
from scvec.interpret import Readout, open_readout, predict, second_opinion, train
from scvec.interpret.readout import backbone as backbones
from scvec.interpret.readout import loop
from tests import toy
from tests.test_cli import Run, one_line, run
from tests.test_readout import one_core, right, small
from tests.toy_llm import toy_llm

pytest.importorskip("transformers")
__all__ = ["one_core", "run"]

QUICK: dict[str, Any] = {"ablation": "no-llm", "width": 24, "epochs": 3}


class KilledError(Exception):
    """Stands for a process that ends."""


def killed_after(steps: int) -> Callable[..., Any]:
    @contextmanager
    def progress(title: str, total: int) -> Iterator[Callable[[int], None]]:
        left = steps

        def advance(_cells: int) -> None:
            nonlocal left
            if title.startswith("training"):
                left -= 1
                if left < 0:
                    raise KilledError

        yield advance

    return progress


def trained(store: sv.Store, files: Path, name: str = "toy", *, progress: Any = silent, **more: Any) -> Readout:
    overwrite = more.pop("overwrite", False)
    return train(
        store,
        name,
        files / "reference.h5ad",
        label_key="cell_type",
        spec=small(**more),
        overwrite=overwrite,
        progress=progress,
    )


def files_of(store: sv.Store) -> list[str]:
    root = Path(store.uri, "readouts")
    return sorted(path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file())


def without_seconds(readout: Readout) -> list[dict[str, float]]:
    return [{key: value for key, value in one.items() if key != "seconds"} for one in readout.history]


@pytest.mark.parametrize(("steps", "seconds"), [(10, -1.0), (20, -1.0), (20, 60.0)])
def test_what_was_killed_goes_on_to_the_same_bits(
    store: sv.Store, files: Path, monkeypatch: pytest.MonkeyPatch, steps: int, seconds: float
) -> None:
    whole = trained(store, files, "whole", epochs=2)
    monkeypatch.setattr(loop, "SECONDS_A_CHECKPOINT", seconds)
    with pytest.raises(KilledError):
        trained(store, files, epochs=2, progress=killed_after(steps))
    assert "toy/job/state.safetensors" in files_of(store)
    with pytest.raises(KeyNotFoundError, match=r"no readout 'toy'.*one of: whole"):
        open_readout(store, "toy")
    seen: list[int] = []

    @contextmanager
    def counting(title: str, total: int) -> Iterator[Callable[[int], None]]:
        yield seen.append if title.startswith("training") else lambda _n: None

    again = trained(store, files, epochs=2, progress=counting)
    n_seen = len(toy.cells(120)) - 12
    assert seen[0] >= (8 * (steps - 1) if seconds < 0 else n_seen)
    assert sum(seen) == 2 * n_seen
    assert without_seconds(again) == without_seconds(whole)
    for name, one in whole.modules.items():
        assert np.array_equal(again.modules[name].detach().numpy(), one.detach().numpy()), name
    left = [re.sub(r"-[0-9a-f]{12}", "", one) for one in files_of(store) if not one.endswith(".lock")]
    assert left == [f"{name}/{file}" for name in ("toy", "whole") for file in ("parts.safetensors", "readout.json")]


def test_another_plan_throws_away_what_was_left(store: sv.Store, files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "SECONDS_A_CHECKPOINT", -1.0)
    with pytest.raises(KilledError):
        trained(store, files, progress=killed_after(20), **QUICK)
    other = trained(store, files, **QUICK, random_state=5)
    fresh = train(store, None, files / "reference.h5ad", label_key="cell_type", spec=small(**QUICK, random_state=5))
    assert without_seconds(other) == without_seconds(fresh)


def test_saved_and_opened(store: sv.Store, files: Path, tmp_path: Path) -> None:
    made = trained(store, files, epochs=2, ablation="random-vectors")
    opened = open_readout(store, "toy")
    found = [predict(files / "query.h5ad", one).probabilities for one in (made, opened)]
    assert np.abs(found[0] - found[1]).max() < 1e-5
    assert (opened.labels, opened.spec, opened.best) == (made.labels, made.spec, made.best)
    manifest = opened.manifest
    assert manifest["genes"]["encoder"] == "hash"
    assert manifest["genes"]["release"] == "2021-07-01"
    assert manifest["llm"]["revision"] == made.backbone.revision
    assert manifest["source"]["file"] == "reference.h5ad"
    with pytest.raises(ExistsError, match="`overwrite`"):
        trained(store, files)
    moved = shutil.copytree(toy_llm(), tmp_path / "moved")
    assert open_readout(store, "toy", model=str(moved)).backbone.revision == made.backbone.revision
    with pytest.raises(MismatchError, match=r"readout 'toy' was trained.*`model`"):
        open_readout(store, "toy", model=toy_llm(seed=1))


def test_a_model_of_a_relative_path_is_found_from_elsewhere(
    store: sv.Store, files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(Path(toy_llm()).parent)
    made = trained(store, files, model=Path(toy_llm()).name, epochs=1)
    monkeypatch.chdir(tmp_path)
    assert open_readout(store, "toy").backbone.revision == made.backbone.revision


def test_a_readout_is_replaced_when_the_new_one_is_whole(
    store: sv.Store, files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained(store, files, **QUICK)
    before = open_readout(store, "toy").manifest
    monkeypatch.setattr(loop, "SECONDS_A_CHECKPOINT", -1.0)
    with pytest.raises(KilledError):
        trained(store, files, progress=killed_after(9), overwrite=True, **QUICK, random_state=2)
    assert open_readout(store, "toy").manifest == before
    with pytest.raises(InputError, match="the loss is"):
        trained(store, files, overwrite=True, **QUICK, learning_rate=1e6, weight_decay=1.0)
    assert open_readout(store, "toy").manifest == before
    trained(store, files, overwrite=True, **QUICK, random_state=2)
    assert open_readout(store, "toy").spec.random_state == 2


def test_a_readout_that_came_meanwhile_stays(store: sv.Store, files: Path) -> None:
    @contextmanager
    def meanwhile(title: str, total: int) -> Iterator[Callable[[int], None]]:
        if title == "reading the cells":
            trained(store, files, **QUICK)
        yield lambda _cells: None

    with pytest.raises(ExistsError, match="readout 'toy'"):
        trained(store, files, progress=meanwhile, **QUICK, random_state=2)
    assert open_readout(store, "toy").spec.random_state == 0


def test_what_is_not_as_it_was_is_refused(store: sv.Store, files: Path, ncbi: tuple[Path, Path]) -> None:
    trained(store, files, **QUICK)
    (parts,) = Path(store.uri, "readouts", "toy").glob("parts-*.safetensors")
    whole = parts.read_bytes()
    parts.write_bytes(whole[:-1] + b"x")
    with pytest.raises(MismatchError, match="train it again"):
        open_readout(store, "toy")
    parts.write_bytes(whole)
    with store.only_writer("readouts/toy/writer"), pytest.raises(ConflictError, match="one writer"):
        trained(store, files, overwrite=True, **QUICK)


def test_without_torch_the_cure_is_named(store: sv.Store, files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trained(store, files, **QUICK)
    monkeypatch.setattr(backbones, "find_spec", lambda _name: None)
    cure = r"pip install 'scvec\[llm\]'"
    with pytest.raises(MissingDependencyError, match=cure):
        open_readout(store, "toy")
    with pytest.raises(MissingDependencyError, match=cure):
        trained(store, files, "other", **QUICK)


def test_a_second_opinion_changes_no_call(store: sv.Store, files: Path, atlas: Atlas, tmp_path: Path) -> None:
    readout = trained(store, files, epochs=3)
    query = files / "query.h5ad"
    assert right(readout, query) > 0.9
    calls = sv.annotate(query, atlas)
    both = second_opinion(calls, predict(query, readout))
    assert both.second is not None
    assert both.label is calls.label
    assert np.array_equal(both.second.agrees, both.second.label == calls.label_before_rejection)
    assert both.second.score == pytest.approx(predict(query, readout).probabilities.max(1))
    assert f"agrees with the retrieval on {both.second.agrees.mean():.1%}" in both.notes[-1]
    assert both.provenance["readout"]["llm"]["revision"] == readout.backbone.revision
    assert {"readout_label", "readout_score", "readout_agrees"} <= set(both.to_frame().columns)
    with pytest.raises(InputError, match="the readout's file"):
        second_opinion(calls, predict(files / "reference.h5ad", readout))
    judged = sv.evaluate(both, "cell_type")
    truth = toy.cells(41, seed=1).obs["cell_type"].to_numpy(str)
    assert judged.other_calls["readout_label"].accuracy == float((both.second.label == truth).mean())
    assert not sv.evaluate(calls, "cell_type").other_calls
    cells = toy.cells(120)
    cells.obs["cell_type"] = "x" + cells.obs["cell_type"].astype(str)
    cells.write_h5ad(tmp_path / "other.h5ad")
    other = train(store, None, tmp_path / "other.h5ad", label_key="cell_type", spec=small(**QUICK))
    assert "readout and the atlas have no label in common" in second_opinion(calls, predict(query, other)).notes[-1]


def test_an_empty_cell_is_no_agreement(store: sv.Store, files: Path, atlas: Atlas, tmp_path: Path) -> None:
    cells = toy.cells(41, seed=1, form="dense")
    cells.X = np.where(np.arange(41)[:, None] == 3, 0, np.asarray(cells.X))
    cells.write_h5ad(tmp_path / "query.h5ad")
    query = tmp_path / "query.h5ad"
    both = second_opinion(sv.annotate(query, atlas), predict(query, trained(store, files, **QUICK)))
    assert both.second is not None
    assert both.second.label[3] == both.label_before_rejection[3] == sv.UNKNOWN
    said = both.second.label != sv.UNKNOWN
    assert both.second.agrees.tolist() == (said & (both.second.label == both.label_before_rejection)).tolist()
    row = both.to_frame().row(3, named=True)
    assert (row["readout_score"], row["readout_agrees"]) == (None, False)
    written = both.to_adata(cells)
    assert written.obs["scvec_readout_agrees"].tolist() == both.second.agrees.tolist()
    alone = replace(both, second=None).to_adata(written)
    assert [key for key in written.obs if key not in alone.obs] == [
        "scvec_readout_label",
        "scvec_readout_score",
        "scvec_readout_agrees",
    ]


def test_another_species_is_read_through_orthologs(store: sv.Store, files: Path, tmp_path: Path) -> None:
    info, summary = toy.write_ncbi(tmp_path, toy.MOUSE)
    pairs = toy.write_orthologs(tmp_path / "orthologs.gz")
    sv.ingest.texts(store, taxon="mouse", gene_info=info, gene_summary=summary, gene_orthologs=pairs)
    cells = toy.cells(41, seed=1)
    cells.var_names = [one.capitalize() for one in cells.var_names]
    cells.write_h5ad(tmp_path / "mouse.h5ad")
    readout = trained(store, files, **QUICK)
    with pytest.raises(InputError, match="`taxon` to mouse"):
        predict(tmp_path / "mouse.h5ad", readout)
    assert (predict(tmp_path / "mouse.h5ad", readout, taxon="mouse").label == cells.obs["cell_type"]).mean() > 0.9


def test_the_command_line_from_training_to_evaluation(run: Run, store: sv.Store, files: Path) -> None:
    quick = ("--n-genes", 24, "--hidden", 32, "--readout-hidden", 16, "--batch-cells", 8, "--learning-rate", 0.003)
    made = ("interpret", "train", files / "reference.h5ad", "--name", "toy", "--label-key", "cell_type")
    more = ("--batch-key", "donor", "--encoder", "hash", "--epochs", 3, "--store", store.uri)
    code, out, _ = run(*made, *more, *quick, "--model", toy_llm(), "--plot", "curve.png")
    assert code == 0
    assert out.splitlines()[0].split() == ["epoch", "loss", "loss", "held", "out", "accuracy", "macro-F1", "seconds"]
    assert "kept: macro-F1" in out
    assert Path("curve.png").read_bytes().startswith(b"\x89PNG")
    asked = ("interpret", "predict", files / "query.h5ad", "--readout", "toy", "--store", store.uri)
    for name in ("labels.parquet", "labels.csv"):
        code, out, err = run(*asked, "--out", name)
        assert (code, "41 cells written to" in out) == (0, True)
        assert "X taken as counts" in err
    frame = pl.read_parquet("labels.parquet")
    assert frame.columns == ["obs_name", "label", "score", *(f"probability {one}" for one in toy.LABELS)]
    assert pl.read_csv("labels.csv")["label"].equals(frame["label"])
    query = ("query", files / "query.h5ad", "--atlas", "toy", "--store", store.uri, "--readout", "toy")
    for name in ("calls.h5ad", "calls.parquet"):
        code, out, err = run(*query, "--out", name, "--readout-model", toy_llm())
        assert code == 0
        assert "agrees with the retrieval" in err
    written = ad.read_h5ad("calls.h5ad")
    calls = pl.read_parquet("calls.parquet")
    assert written.obs["scvec_readout_label"].tolist() == calls["readout_label"].to_list() == frame["label"].to_list()
    assert written.obs["scvec_readout_agrees"].tolist() == calls["readout_agrees"].to_list()
    judge = ("evaluate", files / "query.h5ad", "--atlas", "toy", "--label-key", "cell_type", "--store", store.uri)
    code, out, _ = run(*judge, "--readout", "toy", "--cluster-key", "donor", "--json")
    beside = json.loads(out)["other_calls"]
    assert beside.keys() == {"cluster_label", "readout_label"}
    assert beside["readout_label"]["accuracy"] > 0.9
    assert beside["cluster_label"]["accuracy"] < 0.6
    code, out, _ = run(*judge, "--readout", "toy")
    assert f"readout_label: accuracy {beside['readout_label']['accuracy']:.3f}" in out


def test_a_spec_file_and_what_is_given_before_it(run: Run, store: sv.Store, files: Path) -> None:
    spec = small(ablation="no-llm", epochs=1)
    Path("spec.toml").write_text(spec.to_toml())
    made = ("interpret", "train", files / "reference.h5ad", "--label-key", "cell_type", "--store", store.uri)
    code, out, _ = run(*made, "--name", "one", "--spec", "spec.toml", "--epochs", 2, "--seed", 4, "--json")
    assert code == 0
    expected = small(ablation="no-llm", epochs=2, random_state=4)
    assert json.loads(out)["spec"] == expected.to_dict()
    assert json.loads(out)["spec_sha256"] == expected.sha256()


def test_bad_input_is_one_line(
    run: Run, store: sv.Store, files: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trained(store, files, **QUICK)
    trained(store, files, "llm", epochs=1)
    capsys.readouterr()  # making the model says how far it is
    reference, query = files / "reference.h5ad", files / "query.h5ad"

    def make(*more: object, name: str = "new", key: str = "cell_type") -> tuple[object, ...]:
        asked = ("interpret", "train", reference, "--name", name, "--label-key", key, "--encoder", "hash")
        return (*asked, *(() if "--model" in more else ("--ablation", "no-llm")), *more)

    def ask(*more: object) -> tuple[object, ...]:
        return ("interpret", "predict", query, "--out", tmp_path / "calls.csv", *more)

    calls = ("query", query, "--atlas", "toy", "--out", tmp_path / "calls.csv")
    cases: dict[str, tuple[object, ...]] = {
        "--model must be": make()[:-2],
        "do not exist": make("--model", "/nowhere/model"),
        "use --download": make("--model", "nobody/has-this-model"),
        "readout name '../x'": make(name="../x"),
        "set --overwrite": make(name="toy"),
        "is a folder": make("--plot", tmp_path),
        "obs column for --label-key 'kind'": make(key="kind"),
        "(1): expected at least two": _one_label(tmp_path),
        "scvec embed": make("--encoder", "text-embedding-3-small"),
        "--epochs must be a whole number of at least 1 (got 0)": make("--epochs", 0),
        "--validation must be between 0 and 1 (got 1.0)": make("--validation", 1),
        "scvec genes pull --taxon rat": make("--taxon", "rat"),
        "no readout 'tox': expected one of: llm, toy": ask("--readout", "tox"),
        ".parquet, .csv": ("interpret", "predict", query, "--readout", "toy", "--out", tmp_path / "x.h5ad"),
        "no readout 'tow'": (*calls, "--readout", "tow"),
        "--readout-model without --readout": (*calls, "--readout-model", "x"),
        "of /nowhere/llm do not exist": (*calls, "--readout", "llm", "--readout-model", "/nowhere/llm", "--download"),
        "of /nowhere/too do not exist": ask("--readout", "llm", "--model", "/nowhere/too", "--download"),
    }
    before = files_of(store)
    for word, arguments in cases.items():
        code, out, err = run(*arguments, "--store", store.uri)
        assert (word, code, out) == (word, 2, "")
        assert word in one_line(err), word
        assert files_of(store) == before, word
        assert not (tmp_path / "calls.csv").exists(), word


def _one_label(folder: Path) -> tuple[object, ...]:
    cells = toy.cells(20)
    cells.obs["cell_type"] = "beta"
    cells.write_h5ad(folder / "alike.h5ad")
    return (
        *("interpret", "train", folder / "alike.h5ad", "--name", "new", "--label-key", "cell_type"),
        *("--encoder", "hash", "--ablation", "no-llm"),
    )
