"""The command line: its contract, its one line for bad input, its exit codes."""

from __future__ import annotations

import inspect
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import typer.main

import scvec as sv
from scvec.cli import app, main
from scvec.cli.app import ORDER
from scvec.cli.atlas import ExtendFlags
from scvec.cli.interpret import ReadoutFlags, TrainFlags
from scvec.cli.name import NameFlags
from scvec.cli.options.build import BuildFlags, IndexFlags
from scvec.cli.options.cells import ReadFlags
from scvec.cli.options.query import QueryFlags
from scvec.cli.options.rerank import RerankFlags
from scvec.cli.refine import MovedFlags, TrainingFlags
from scvec.embed.recipe import Refinement
from scvec.index import IndexSpec
from scvec.ingest.cells.options import ReadOptions
from scvec.knn.options import Voting
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
    ("atlas", "extend"),
    ("atlas", "remove"),
    ("atlas", "refit"),
    ("atlas", "rebuild"),
    ("atlas", "compact"),
    ("atlas", "checkout"),
    ("atlas", "verify"),
    ("refine",),
    ("interpret",),
    ("interpret", "train"),
    ("interpret", "predict"),
    ("store", "info"),
    ("store", "register"),
    ("store", "optimize"),
    ("ontology",),
    ("ontology", "pull"),
    ("ontology", "import"),
    ("ontology", "list"),
    ("ontology", "match"),
    ("query",),
    ("name",),
    ("report",),
    ("explain",),
    ("search",),
    ("evaluate",),
    ("bench",),
    ("bench", "cells"),
    ("bench", "genes"),
]


@pytest.mark.parametrize("verb", VERBS, ids=" ".join)
def test_help_of_every_verb(run: Run, verb: tuple[str, ...]) -> None:
    code, out, _ = run(*verb, "--help")
    assert code == 0
    if verb not in (("genes",), ("atlas",), ("ontology",), ("interpret",), ("bench",)):
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


TRIPLET = 'name = "mine"\nweights = "auto"\n[refine]\nloss = "triplet"\nmargin = 0.4\nsteps = 9\n'


def test_refine_is_a_build_with_the_parameters_of_the_training(
    run: Run, store: sv.Store, files: Path, tmp_path: Path
) -> None:
    """Those of a recipe, unless an option says otherwise."""
    (tmp_path / "mine.toml").write_text(TRIPLET)
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
        ("other", ("refine",), ("--recipe", "mine.toml", "--steps", "16", "--folds", "2")),
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
    training, moved = (
        {f"--{one.name.replace('_', '-')}" for one in fields(kind)} for kind in (TrainingFlags, MovedFlags)
    )
    assert shown["refine",] - shown["atlas", "build"] == training
    assert shown["atlas", "build"] <= shown["refine",]
    assert not moved & shown["refine",]
    keys = [one.name for kind in (TrainingFlags, MovedFlags) for one in fields(kind)]
    assert sorted(keys) == sorted(one.name for one in fields(Refinement))


def one_line(err: str) -> str:
    lines = err.splitlines()
    assert len(lines) == 1, err
    assert lines[0].startswith("scvec: ")
    assert lines[0].endswith(".")
    assert "`" not in lines[0], "a parameter stands where its option should"
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
        "missing file": (ask(folder / "none.h5ad"), "does not exist"),
        "truncated": (ask(folder / "cut.h5ad"), "truncated"),
        "no h5ad": (build(folder / "words.h5ad"), "is text, but not a table"),
        "a folder": (ask(folder), "a folder without matrix.mtx"),
        "no address": (
            ("query", "nowhere://there/x.h5ad", "--atlas", "toy", "--out", folder / "calls.csv"),
            "protocol 'nowhere'",
        ),
        "no table": (ask(query, "--obs", folder / "none.csv"), "none.csv does not exist"),
        "cells not in the table": (ask(query, "--obs", folder / "one.csv", "--cluster-key", "a"), "lacks 40 of the 41"),
        "zarr of another format": (
            ("query", sources.write_tenx(toy.cells(20), folder / "x.h5"), "--atlas", "toy", "--out", folder / "x.zarr"),
            "is not a zarr store",
        ),
        "scaled": (ask(made("scaled.h5ad", scale="scaled", form="dense")), "scaled"),
        "declared counts": (ask(made("log.h5ad", scale="log1p"), "--scale", "counts"), "fractions"),
        "declared log1p": (build(reference, "--scale", "log1p"), "whole numbers"),
        "no such layer": (ask(query, "--layer", "counts"), "'counts'"),
        "other genes": (ask(folder / "others.h5ad"), "look like mouse genes"),
        "a gene twice": (ask(folder / "twins.h5ad"), "--gene-key"),
        "no such gene key": (ask(query, "--gene-key", "symbols"), "var_names"),
        "no texts of the species": (ask(query, "--taxon", "rat"), "scvec genes pull --taxon rat"),
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
        "no vectors": (build(reference, "--encoder", "text-embedding-3-small"), "scvec embed"),
        "bad index": (build(reference, "--index", "FLAT"), "HNSW32"),
        "no recall": (build(reference, "--recall", "1.5"), "--recall must be a share above 0"),
        "no size": (build(reference, "--memory", "much"), "--memory must be a size"),
        "bad out": (("query", query, "--atlas", "toy", "--out", folder / "calls.xlsx"), ".parquet"),
        "out is the query": (("query", query, "--atlas", "toy", "--out", query), "never changed"),
        "one label": (build(folder / "alike.h5ad"), "genept-w"),
        "one label to refine": (refine(folder / "alike.h5ad"), "two labels"),
        "a loss": (refine(reference, "--loss", "triplet"), "--loss is a key of recipes, no longer an option"),
        "a temperature": (refine(reference, "--temperature", "0"), "write temperature under [refine]"),
        "no head": (refine(reference, "--recipe", "expression"), "'expression' has no head to train"),
        "no share of genes": (refine(reference, "--gene-dropout", "1"), "--gene-dropout must be"),
        "too few folds": (refine(reference, "--folds", "1"), "--folds must be"),
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
        "no ontology to name by": (("name", query, "--cluster-key", "cell_type"), "scvec ontology pull"),
        "no names": (("name", query, "--n", "0"), "--n"),
        "clusters twice": (("name", query, "--cluster-key", "cell_type", "--cluster", "leiden"), "exclude"),
        "an error of no atlas": (("name", query, "--max-error", "0.1"), "--atlas"),
        "no words for a tissue": (("name", query, "--tissue", " "), "--tissue must be words"),
        "bad names file": (("name", query, "--out", folder / "names.xlsx"), ".parquet"),
        "no texts": (("embed", "--taxon", "mouse", "--encoder", "hash"), "scvec genes pull"),
    }


def test_bad_input_is_one_line_and_exit_code_2(
    run: Run, store: sv.Store, files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable in ("OPENAI_API_KEY", "OPENAI_BASE_URL"):
        monkeypatch.delenv(variable, raising=False)

    def tree() -> set[tuple[Path, int]]:
        return {(path, path.stat().st_size) for path in Path(store.uri).rglob("*") if path.is_file()}

    before, unclear = tree(), {}
    for name, (arguments, word) in cases(tmp_path, files).items():
        code, out, err = run(*arguments, "--store", store.uri)
        assert (name, code, out) == (name, 2, "")
        if word not in one_line(err):
            unclear[name] = f"{word!r} is not in {err}"
        assert tree() == before, name
        assert not (tmp_path / "calls.csv").exists(), name
    assert not unclear


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


@pytest.mark.parametrize(
    ("arguments", "seen", "verb"),
    [
        (("query",), "QUERY", "query"),
        (("query", "q.h5ad", "--atlas", "toy"), "--out", "query"),
        (("atlas", "build", "x", "y", "--label-key", "z", "--scale", "raw"), "'raw'", "atlas build"),
        (("atlas", "build", "x", "y", "--label-key", "z", "--shard-cells", "0"), "--shard-cells", "atlas build"),
        (("explain", "q.h5ad", "--atlas", "toy", "--contrast", "alpha"), "--contrast", "explain"),
        (("query", "q.h5ad", "--speed", "9"), "--speed", "query"),
        (("atlas", "fly"), "fly", "atlas"),
        (("fly",), "fly", ""),
        (("bench", "suite.toml", "--speed", "9"), "--speed", "bench cells"),
        (("bench", "genes", "--speed", "9"), "--speed", "bench genes"),
    ],
)
def test_words_that_make_no_command_are_one_line(run: Run, arguments: tuple[str, ...], seen: str, verb: str) -> None:
    code, out, err = run(*arguments)
    assert (code, out) == (2, "")
    assert seen in one_line(err)
    assert err.endswith(f"Fix: {f'scvec {verb}'.strip()} --help.\n")


def test_a_group_of_verbs_alone_shows_them(run: Run) -> None:
    code, out, err = run("atlas")
    assert (code, err) == (2, "")
    assert "verify" in out


def test_scvec_alone_says_what_to_type_first(run: Run) -> None:
    code, out, err = run()
    assert (code, err) == (0, "")
    typed = re.findall(r"^  scvec (.*?)  ", out, flags=re.MULTILINE)
    assert typed == ["demo", "atlas build --help", "query --help", "--help"]
    assert all(run(*one.split())[0] == 0 for one in typed[1:])


def test_version(run: Run) -> None:
    assert run("--version") == (0, f"scvec {sv.__version__}\n", "")


def test_verbs_are_completed(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("_SCVEC_COMPLETE", "complete_bash")
    for typed, found in (("scvec e", "embed explain evaluate"), ("scvec atlas re", "refit remove rebuild")):
        monkeypatch.setenv("COMP_WORDS", typed)
        monkeypatch.setenv("COMP_CWORD", str(len(typed.split()) - 1))
        code, out, _ = run()
        assert (code, out.split()) == (0, found.split())
    monkeypatch.delenv("_SCVEC_COMPLETE")
    assert {"--install-completion", "--show-completion"} <= set(run("--help")[1].split())


def verbs(command: Any = None, name: str = "") -> Iterator[tuple[str, Any]]:
    command = command or typer.main.get_command(app.app)
    for word, below in getattr(command, "commands", {}).items():
        yield from verbs(below, f"{name} {word}".strip())
    if not hasattr(command, "commands"):
        yield name, command


def test_all_that_compute_choose_the_device_themselves() -> None:
    defaults = {name: one.default for name, verb in verbs() for one in verb.params if one.name == "device"}
    assert {"query", "evaluate", "report", "explain", "refine", "atlas build", "interpret train"} <= defaults.keys()
    assert set(defaults.values()) == {"auto"}


def test_every_verb_s_output_is_chosen_in_the_same_way() -> None:
    for name, verb in verbs():
        shown = {one.opts[0]: one.rich_help_panel for one in verb.params}
        assert shown["--json"] == shown["--quiet"] == "General", name


@pytest.mark.parametrize("verb", ["query", "report", "evaluate"])
def test_options_of_a_query_are_listed_by_what_they_are_about(run: Run, verb: str) -> None:
    panels = re.findall(r"╭─ (.*?) ─", run(verb, "--help")[1])
    about = ["Input", "Reference cells", "Vote", "Rejection and roll-up", "Clusters"]
    opinions = ["Second opinion: readout", "Second opinion: LLM"]
    assert [one for one in panels if one in {*about, *opinions, "General"}] == [*about, *opinions, "General"]
    assert "Output" in panels[:4]


@pytest.mark.parametrize(
    ("flags", "takers", "elsewhere"),
    [
        (QueryFlags, (sv.annotate, Voting), {"recipe", "encoder", "readout", "readout_model"}),
        (ReadFlags, (ReadOptions,), set()),
        (NameFlags, (sv.name,), {"atlas", "max_error", "report"}),
        (BuildFlags, (sv.atlas.build,), {"match_labels", "random_state"}),
        (ExtendFlags, (sv.atlas.extend,), {"match_labels"}),
        (IndexFlags, (IndexSpec,), set()),
        (RerankFlags, (sv.interpret.RerankOptions,), {"rerank"}),
        (TrainFlags, (sv.interpret.train,), set()),
        (ReadoutFlags, (sv.interpret.ReadoutSpec,), set()),
        (TrainingFlags, (Refinement,), set()),
    ],
)
def test_options_bear_the_names_of_the_library_s_parameters(
    flags: Any, takers: tuple[Callable[..., Any], ...], elsewhere: set[str]
) -> None:
    """What is passed on by name arrives: a misspelt option would be dropped without a word."""
    taken = {name for taker in takers for name in inspect.signature(taker).parameters}
    assert {one.name for one in fields(flags)} - taken == elsewhere


@pytest.mark.parametrize(
    ("verb", "parameters", "shown"),
    [
        ("query", "`max_error` `k` `roll_up`", "--max-error --k --roll-up"),
        ("query", "`error` `by`", "--rerank-error --rerank-by"),
        ("query", "`query` `label_key` `genes`", "`query` `label_key` `genes`"),
        ("evaluate", "`label_key` `out`", "--label-key --out"),
        ("atlas build", "`obs_keys` `random_state` `reference`", "--obs-key --seed `reference`"),
        ("atlas rebuild", "`factory` `index` `label_key`", "--index --index `label_key`"),
        ("explain", "`group_key` `cells` `n_top`", "--group --cell --top"),
        ("search", "`k` `temperature`", "--k `temperature`"),
        ("ontology match", "`map` `label_key`", "--map --label-key"),
        ("", "`k`", "`k`"),
    ],
)
def test_errors_and_notes_name_the_options_of_the_verb(run: Run, verb: str, parameters: str, shown: str) -> None:
    run(*verb.split(), "--help")
    assert app.with_options(f"{parameters} are wrong.") == f"{shown} are wrong."


def test_a_table_is_text_as_wide_as_it_needs_to_be() -> None:
    wide = "[bold]T cells[/bold] :smile: " + "x" * 300
    drawn = app.table(("label", "cells", "share"), [("β", 1234, 0.5), (wide, 1, 0.25)])
    header, rule, first, second = drawn.splitlines()
    assert set(rule) == {"-", " "}
    assert header.split() == ["label", "cells", "share"]
    assert first.split() == ["β", "1,234", "0.500"]
    assert second.startswith(wide)
    assert second.split()[-2:] == ["1", "0.250"]
    assert len({len(line) for line in (header, rule, first, second)}) == 1
    assert app.table(("a", "b"), []).splitlines()[0].split() == ["a", "b"]


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
