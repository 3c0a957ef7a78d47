"""The command line: its contract, its one line for bad input, its exit codes."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path

import polars as pl
import pytest

import scvec as sv
from scvec.cli import app, main
from scvec.cli.app import ORDER
from scvec.embed.recipe import Refinement
from scvec.store import MARKER
from tests import sources, toy

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.chdir(tmp_path)

    def run(*arguments: object) -> tuple[int, str, str]:
        code = main([str(one) for one in arguments])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


VERBS = [
    ("demo",),
    ("genes",),
    ("genes", "pull"),
    ("genes", "import"),
    ("genes", "list"),
    ("genes", "diff"),
    ("genes", "check"),
    ("models",),
    ("embed",),
    ("atlas",),
    ("atlas", "build"),
    ("atlas", "list"),
    ("atlas", "info"),
    ("refine",),
    ("interpret",),
    ("interpret", "train"),
    ("interpret", "predict"),
    ("ontology",),
    ("ontology", "pull"),
    ("ontology", "import"),
    ("ontology", "list"),
    ("ontology", "match"),
    ("query",),
    ("report",),
    ("explain",),
    ("search",),
    ("evaluate",),
    ("bench",),
]


@pytest.mark.parametrize("verb", VERBS, ids=" ".join)
def test_help_of_every_verb(run: Run, verb: tuple[str, ...]) -> None:
    code, out, _ = run(*verb, "--help")
    assert code == 0
    if verb not in (("genes",), ("atlas",), ("ontology",), ("interpret",)):
        assert f"Example: scvec {' '.join(verb)}" in " ".join(out.split())
        assert all(option in out for option in ("--json", "--quiet"))
        assert ("--store" in out and "SCVEC_STORE" in out) or verb in (("models",), ("demo",))


def test_help_lists_every_verb_in_order(run: Run) -> None:
    code, out, _ = run("--help")
    places = [out.index(f"│ {verb} ") for verb in ORDER]
    assert code == 0
    assert places == sorted(places)
    assert {verb[0] for verb in VERBS} == set(ORDER)


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys; from scvec.cli import main; main(['--help'])\n"
        "heavy = {'torch', 'transformers', 'sentence_transformers', 'lance', 'numpy', 'pandas', 'polars', 'pyarrow', "
        "'anndata', 'faiss', 'sklearn', 'scipy', 'h5py', 'matplotlib'}\n"
        "print('heavy:', sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "heavy: []"


def test_the_whole_contract(run: Run, ncbi: tuple[Path, Path], files: Path) -> None:
    imported = ("genes", "import", "--taxon", "human", "--gene-info", ncbi[0], "--gene-summary", ncbi[1])
    code, out, _ = run(*imported, "--release", "2021", "--json")
    assert code == 0
    assert json.loads(out)["release"] == "2021"
    code, out, _ = run("genes", "list")
    assert out.splitlines()[2].split() == ["human", "2021", "240", "NCBI", "Gene"]
    code, out, _ = run("embed", "--taxon", "human", "--encoder", "hash", "--release", "2021", "--json")
    assert json.loads(out)["n_encoded"] == 240
    code, out, _ = run("embed", "--taxon", "human", "--encoder", "hash")
    assert "0 of 240 texts encoded" in out
    build = ("atlas", "build", "toy", files / "reference.h5ad", "--label-key", "cell_type", "--batch-key", "donor")
    code, out, err = run(
        *build, "--label-id-key", "cl_id", "--encoder", "hash", "--recipe", "topn", "--index", "HNSW16"
    )
    assert (code, err) == (0, "")
    assert "recall@15" in out
    assert json.loads(run("atlas", "list", "--json")[1])[0]["index"]["factory"] == "HNSW16"
    assert "topn (hash)" in run("atlas", "info", "toy")[1]
    query = ("query", files / "query.h5ad", "--atlas", "toy")
    for name in ("calls.h5ad", "calls.parquet", "calls.csv"):
        code, out, err = run(*query, "--out", name, "--k", "5")
        assert code == 0
        assert Path(name).exists()
        assert "X taken as counts" in err
    frame = pl.read_parquet("calls.parquet")
    assert frame.columns[:5] == ["obs_name", "label", "label_id", "score", "distance"]
    assert frame["neighbors"].list.len().unique().to_list() == [5]
    code, out, err = run(*query, "--out", "calls.csv", "--json", "--quiet")
    assert err == ""
    assert json.loads(out)["calls"] == {"alpha": 11, "beta": 10, "ductal": 10, "immune": 10}
    code, out, _ = run(
        "evaluate", files / "query.h5ad", "--atlas", "toy", "--label-key", "cell_type", "--out", "report"
    )
    assert "accuracy 1.000" in out
    assert sorted(one.name for one in Path("report").iterdir()) == [
        "confusion.csv",
        "confusion.png",
        "coverage.png",
        "metrics.json",
        "per_class.csv",
        "reliability.png",
    ]


def test_the_store_comes_from_the_environment(run: Run, store: sv.Store, monkeypatch: pytest.MonkeyPatch) -> None:
    assert json.loads(run("atlas", "list", "--json")[1]) == []
    monkeypatch.setenv("SCVEC_STORE", store.uri)
    assert json.loads(run("atlas", "list", "--json")[1])[0]["name"] == "toy"


def test_a_recipe_file(run: Run, store: sv.Store, files: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text('name = "mine"\nencoder = "hash"\ncentre = true\n')
    build = ("atlas", "build", "mine", files / "reference.h5ad", "--label-key", "cell_type", "--store", store.uri)
    code, out, _ = run(*build, "--recipe", tmp_path / "mine.toml")
    assert code == 0
    assert "mine (hash)" in out
    (tmp_path / "wrong.toml").write_text('name = "mine"\nencodr = "hash"\n')
    code, _, err = run(*build, "--recipe", tmp_path / "wrong.toml")
    assert code == 2
    assert "encodr" in err


def test_refine_is_a_build_with_the_parameters_of_the_training(run: Run, store: sv.Store, files: Path) -> None:
    keys = (
        "--label-key",
        "cell_type",
        "--batch-key",
        "donor",
        "--encoder",
        "hash",
        "--seed",
        "3",
        "--store",
        store.uri,
    )
    made: dict[str, sv.atlas.Atlas] = {}
    for name, verb, more in (
        ("built", ("atlas", "build"), ()),
        ("refined", ("refine",), ()),
        ("other", ("refine",), ("--loss", "triplet", "--margin", "0.4", "--steps", "16", "--folds", "2")),
    ):
        code, out, err = run(*verb, name, files / "reference.h5ad", *keys, *more)
        assert (code, err) == (0, "")
        assert "macro-F1" in out
        assert ("macro-F1 held out" in out) == (verb == ("refine",))
        made[name] = sv.atlas.open_atlas(store, name)
    assert made["built"].recipe == made["refined"].recipe
    assert made["built"].recipe.random_state == 3
    files_of = [Path(store.uri, "atlases", name) for name in ("built", "refined")]
    for name in ("projection", "profiles", "calibration"):
        assert len({next(folder.rglob(f"{name}.safetensors")).read_bytes() for folder in files_of}) == 1
    other = made["other"].recipe.refine
    assert other == Refinement(loss="triplet", margin=0.4, steps=16, folds=2)
    assert made["other"].manifest["training"]["folds"] == 2
    code, out, _ = run("refine", "json", files / "reference.h5ad", *keys, "--steps", "8", "--json")
    assert json.loads(out)["recipe"]["refine"]["steps"] == 8


def test_refine_and_build_share_their_options(run: Run) -> None:
    shown = {
        verb: set(re.findall(r"--[a-z][a-z-]+", run(*verb, "--help")[1])) for verb in (("refine",), ("atlas", "build"))
    }
    training = {f"--{one.name.replace('_', '-')}" for one in fields(Refinement)}
    assert shown["refine",] - shown["atlas", "build"] == training
    assert shown["atlas", "build"] <= shown["refine",] | {"--recipe"}


def one_line(err: str) -> str:
    lines = err.splitlines()
    assert len(lines) == 1, err
    assert lines[0].startswith("scvec: ")
    assert re.search(r": expected | must be .* \(got |\. Fix: ", lines[0]), err
    return lines[0]


def cases(folder: Path, files: Path) -> dict[str, tuple[tuple[object, ...], str]]:
    """What a user may get wrong: arguments, and a word that the line must have."""

    def made(name: str, **options: str) -> Path:
        toy.cells(20, seed=1, **options).write_h5ad(folder / name)
        return folder / name

    whole = (files / "query.h5ad").read_bytes()
    (folder / "cut.h5ad").write_bytes(whole[: len(whole) // 2])
    (folder / "words.h5ad").write_text("words")
    others = toy.cells(20)
    others.var_names = [f"ENSMUSG{i:011d}.3" for i in range(240)]
    others.write_h5ad(folder / "others.h5ad")
    twins = toy.cells(20)
    twins.var_names = ["TOY0", *twins.var_names[:-1]]
    twins.write_h5ad(folder / "twins.h5ad")
    alike = toy.cells(20)
    alike.obs["cell_type"] = "beta"
    alike.write_h5ad(folder / "alike.h5ad")
    (folder / "one.csv").write_text("cell,a\ns1c0,x\n")
    (folder / "bad.pickle").write_bytes(b"cos\nsystem\n(S'true'\ntR.")
    query, reference = files / "query.h5ad", files / "reference.h5ad"

    def ask(path: Path, *more: object) -> tuple[object, ...]:
        return ("query", path, "--atlas", "toy", "--out", folder / "calls.csv", *more)

    def build(path: Path, *more: object, name: str = "new") -> tuple[object, ...]:
        return ("atlas", "build", name, path, "--label-key", "cell_type", "--encoder", "hash", *more)

    def refine(path: Path, *more: object) -> tuple[object, ...]:
        return ("refine", "new", path, "--label-key", "cell_type", "--encoder", "hash", *more)

    return {
        "missing file": (ask(folder / "none.h5ad"), "not there"),
        "truncated": (ask(folder / "cut.h5ad"), "truncated"),
        "no h5ad": (build(folder / "words.h5ad"), "HDF5"),
        "a folder": (ask(folder), "a folder without matrix.mtx"),
        "no address": (
            ("query", "nowhere://there/x.h5ad", "--atlas", "toy", "--out", folder / "calls.csv"),
            "no protocol 'nowhere'",
        ),
        "no table": (ask(query, "--obs", folder / "none.csv"), "none.csv is not there"),
        "cells not in the table": (ask(query, "--obs", folder / "one.csv", "--cluster-key", "a"), "lacks 40 of the 41"),
        "h5ad of another format": (
            ("query", sources.write_tenx(toy.cells(20), folder / "x.h5"), "--atlas", "toy", "--out", folder / "x.h5ad"),
            "which is no h5ad",
        ),
        "scaled": (ask(made("scaled.h5ad", scale="scaled", form="dense")), "scaled"),
        "declared counts": (ask(made("log.h5ad", scale="log1p"), "--scale", "counts"), "fractions"),
        "declared log1p": (build(reference, "--scale", "log1p"), "whole numbers"),
        "no such layer": (ask(query, "--layer", "counts"), "'counts'"),
        "other genes": (ask(folder / "others.h5ad"), "mouse Ensembl ids"),
        "a gene twice": (ask(folder / "twins.h5ad"), "--gene-key"),
        "no such gene key": (ask(query, "--gene-key", "symbols"), "var_names"),
        "no texts of the species": (ask(query, "--taxon", "mouse"), "scvec genes pull --taxon mouse"),
        "nothing to check": (("genes", "check", folder / "cut.h5ad"), "truncated"),
        "no such release": (("genes", "diff", "2021-07-01", "2022", "--taxon", "human"), "tagged 2022"),
        "no server": (("genes", "pull", "--taxon", "human", "--base-url", "ftp://there", "--keep", folder), "http"),
        "hostile pickle": (
            ("embed", "--taxon", "human", "--encoder", f"file:{folder / 'bad.pickle'}"),
            "none of it was run",
        ),
        "no model": (("embed", "--taxon", "human", "--encoder", f"bert:{folder}"), "cannot be loaded"),
        "no key": (("embed", "--taxon", "human", "--encoder", "text-embedding-ada-002"), "export OPENAI_API_KEY"),
        "no such label": (("evaluate", query, "--atlas", "toy", "--label-key", "type"), "cell_type"),
        "bad map": (
            ("evaluate", query, "--atlas", "toy", "--label-key", "cell_type", "--label-map", folder / "none.csv"),
            "--label-map",
        ),
        "no such atlas": (("query", query, "--atlas", "tox", "--out", folder / "calls.csv"), "one of: toy"),
        "atlas is a path": (build(reference, name="../toy"), "'../toy'"),
        "atlas is there": (build(reference, name="toy"), "--overwrite"),
        "other recipe": (ask(query, "--recipe", "expression"), "built with recipe refined"),
        "other encoder": (ask(query, "--encoder", "minilm"), "hash"),
        "no such recipe": (build(reference, "--recipe", "magic"), "expression"),
        "no such encoder": (("embed", "--taxon", "human", "--encoder", "ada"), "minilm"),
        "no vectors": (build(reference, "--encoder", "minilm"), "scvec embed"),
        "bad index": (build(reference, "--index", "FLAT"), "HNSW32"),
        "no recall": (build(reference, "--recall", "1.5"), "index recall = 1.5"),
        "no size": (build(reference, "--memory", "much"), "--memory 2GB"),
        "bad out": (("query", query, "--atlas", "toy", "--out", folder / "calls.xlsx"), ".parquet"),
        "out is the query": (("query", query, "--atlas", "toy", "--out", query), "never changed"),
        "one label": (build(folder / "alike.h5ad"), "--recipe genept-w"),
        "one label to refine": (refine(folder / "alike.h5ad"), "two labels or more"),
        "no temperature": (
            refine(reference, "--temperature", "0"),
            "refine.temperature = 0.0: expected a number",
        ),
        "a temperature of triplets": (refine(reference, "--loss", "triplet", "--temperature", "1"), "'triplet'"),
        "no share of genes": (refine(reference, "--gene-dropout", "1"), "refine.gene_dropout"),
        "too few folds": (refine(reference, "--folds", "1"), "refine.folds = 1"),
        "refined atlas is there": (("refine", "toy", *refine(reference)[2:]), "--overwrite"),
        "no error": (ask(query, "--max-error", "1"), "--max-error"),
        "no support": (ask(query, "--roll-up", "1.5"), "--roll-up"),
        "no ontology": (ask(query, "--roll-up", "0.8"), "scvec ontology"),
        "no k": (ask(query, "--k", "0"), "above 0"),
        "no taxon": (("embed", "--taxon", "martian", "--encoder", "hash"), "human, mouse"),
        "no genes": (
            ("genes", "import", "--taxon", "human", "--gene-info", query, "--gene-summary", query),
            "gene_info",
        ),
        "no texts": (("embed", "--taxon", "mouse", "--encoder", "hash"), "scvec genes pull"),
    }


def test_bad_input_is_one_line_and_exit_code_2(
    run: Run, store: sv.Store, files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable in ("OPENAI_API_KEY", "OPENAI_BASE_URL"):
        monkeypatch.delenv(variable, raising=False)

    def tree() -> set[tuple[Path, int]]:
        return {(path, path.stat().st_size) for path in Path(store.uri).rglob("*") if path.is_file()}

    before = tree()
    for name, (arguments, word) in cases(tmp_path, files).items():
        code, out, err = run(*arguments, "--store", store.uri)
        assert (name, code, out) == (name, 2, "")
        assert word in one_line(err), name
        assert tree() == before, name
        assert not (tmp_path / "calls.csv").exists(), name


@pytest.mark.parametrize(("number", "cure"), [(99, "pip install -U scvec"), (1, "in a new --store")])
def test_a_store_of_another_format(run: Run, store: sv.Store, number: int, cure: str) -> None:
    Path(store.uri, MARKER).write_text(f'{{"format": {number}}}')
    code, _, err = run("atlas", "list", "--store", store.uri)
    assert code == 2
    assert cure in one_line(err)


def test_models_lists_every_encoder(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-not-to-be-seen")
    code, out, _ = run("models", "--json")
    by_name = {one["encoder"]: one for one in json.loads(out)}
    assert code == 0
    assert by_name["minilm"] == {
        "encoder": "minilm",
        "dimension": 384,
        "max_tokens": 256,
        "weights": "a package, scvec[text]",
        "here": True,
    }
    assert by_name["text-embedding-ada-002"]["dimension"] == 1536
    assert by_name["text-embedding-ada-002"]["here"]
    assert {"biobert", "scibert", "bert:MODEL", "st:MODEL", "openai:MODEL", "file:PATH"} <= by_name.keys()
    plain = run("models")[1]
    assert all(name in plain for name in by_name)
    assert "sk-not" not in out + plain


def test_dry_run_says_texts_tokens_and_cost(run: Run, store: sv.Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    embed = ("embed", "--taxon", "human", "--dry-run", "--store", store.uri)
    code, out, _ = run(*embed, "--encoder", "text-embedding-3-large", "--json")
    bill = json.loads(out)
    letters = sum(map(len, sv.ingest.open_texts(store, "human").frame["text"]))
    assert code == 0
    assert (bill["n_left"], bill["n_texts"]) == (240, 240)
    assert letters / 4 <= bill["tokens"] <= letters / 4 + 240
    assert bill["usd"] == pytest.approx(bill["tokens"] * 0.13e-6)
    assert "cost: about $0.00" in run(*embed, "--encoder", "text-embedding-3-large")[1]
    assert "cost: unknown" in run(*embed, "--encoder", "openai:theirs")[1]
    assert "0 of 240 texts to encode" in run(*embed, "--encoder", "hash")[1]
    assert store.children("gene_vectors") == ["hash"]


def test_long_work_says_how_far_it_is_where_there_is_no_terminal(
    run: Run, store: sv.Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    embed = ("embed", "--taxon", "human", "--store", store.uri)
    assert run(*embed, "--encoder", "tfidf")[2] == ""
    monkeypatch.setattr(app, "SECONDS_A_LINE", -1.0)
    assert run(*embed, "--encoder", "random")[2] == "random: 240 of 240 texts to encode: 240 of 240\n"
    assert run(*embed, "--encoder", "random", "--quiet")[2] == ""


def test_check_says_what_a_file_s_genes_are(run: Run, store: sv.Store, files: Path) -> None:
    code, out, _ = run("genes", "check", files / "query.h5ad", "--store", store.uri)
    assert code == 0
    assert "240 of 240 genes matched, 100.0% of the expression: 240 by symbol (100.0%)" in out
    assert "NCBI Gene summary    160" in out
    assert "0 names left out" in out
    code, out, _ = run("genes", "check", files / "query.h5ad", "--store", store.uri, "--json")
    assert json.loads(out)["routes"]["symbol"]["n_genes"] == 240


def test_a_full_disk(run: Run, store: sv.Store, small_disk: Path, ncbi: tuple[Path, Path], files: Path) -> None:
    (small_disk / "filler").write_bytes(b"x" * 1_020_000)
    importing = ("genes", "import", "--taxon", "human", "--gene-info", ncbi[0], "--gene-summary", ncbi[1])
    code, _, err = run(*importing, "--store", small_disk / "store")
    assert code == 2
    assert "no space left" in one_line(err)
    code, _, err = run("genes", "list", "--store", small_disk / "store", "--json")
    assert code == 0
    query = ("query", files / "query.h5ad", "--atlas", "toy", "--store", store.uri)
    code, _, err = run(*query, "--out", small_disk / "calls.h5ad")
    assert code == 2
    assert "no space left" in err
    assert [one.name for one in small_disk.iterdir() if one.name.endswith("h5ad")] == []


def test_wrong_options_are_usage_errors(run: Run) -> None:
    for arguments in (("query",), ("atlas", "build", "x", "y", "--scale", "raw"), ("fly",)):
        code, _, err = run(*arguments)
        assert code == 2
        assert "Usage" in err


def test_python_m_scvec() -> None:
    done = subprocess.run([sys.executable, "-m", "scvec", "genes", "list"], capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert "no gene texts yet" in done.stderr


def test_a_read_only_store(run: Run, store: sv.Store) -> None:
    if os.geteuid() == 0:
        pytest.skip("root may write anywhere")
    Path(store.uri).chmod(0o500)
    code, _, err = run("embed", "--taxon", "human", "--encoder", "tfidf", "--store", store.uri)
    assert code == 2
    assert len(err.splitlines()) == 1
