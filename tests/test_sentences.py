"""Cells that are texts: their genes' symbols ranked by expression, read by an encoder."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp

import scvec as sv
from scvec.bench import Suite
from scvec.bench.methods import methods
from scvec.cli import app, main
from scvec.core.types import silent
from scvec.embed.encoders.simple import Hash
from scvec.embed.recipe import PROMPT, RECIPES, Recipe, Sentence
from scvec.embed.recipe import recipe as named
from scvec.embed.sentences import KIND, Sentences, encoder_of
from scvec.errors import FileError, InputError, MismatchError
from tests import toy
from tests.api_server import ApiServer

GENEPT_S = RECIPES["genept-s"].with_encoder("hash")
SYMBOLS = np.array(["INS", "GCG", "", "KRT19", "VIM"], object)
CELLS = sp.csr_matrix(
    np.array([[1, 3, 2, 0, 0.5], [2, 2, 0, 2, 2], [0, 0, 0, 0, 0], [0, 0, 0, 0, 1], [0, 0, 9, 0, 0]], np.float32)
)
TEXTS = ["GCG INS VIM", "INS GCG KRT19 VIM", "", "VIM", ""]
EVERY = np.ones(5, bool)


def sentences(recipe: Recipe, store: sv.Store, d: int = Hash.dimension) -> Sentences:
    return Sentences(recipe, np.arange(5), SYMBOLS, np.zeros(d, np.float32), store.address)


@pytest.fixture
def empty_store(tmp_path: Path) -> sv.Store:
    return sv.Store(tmp_path / "store")


def n_stored(store: sv.Store, encoder: str = "hash") -> int:
    folders = [f"{KIND}/{encoder}/{one}" for one in store.children(f"{KIND}/{encoder}")]
    return sum(len(store.table(one).latest()) for one in folders)


def test_a_text_names_genes_by_expression(empty_store: sv.Store) -> None:
    """The highest first, equal ones in the atlas's order; none without a symbol or expression."""
    assert sentences(GENEPT_S, empty_store).texts(CELLS) == [PROMPT + one for one in TEXTS]
    own = replace(GENEPT_S, top_n=2, sentence=Sentence(prompt=""))
    assert sentences(own, empty_store).texts(CELLS) == ["GCG", "INS GCG", "", "VIM", ""]
    assert sentences(replace(own, top_n=None), empty_store).texts(CELLS) == TEXTS
    assert sentences(own, empty_store).texts(CELLS[:0]) == []


def test_a_zero_that_is_stored_names_no_gene(empty_store: sv.Store) -> None:
    stored = CELLS[[2, 0]].copy()
    stored = sp.csr_matrix((np.r_[0, stored.data], np.r_[1, stored.indices], [0, 1, 5]), stored.shape)
    assert sentences(GENEPT_S, empty_store).texts(stored) == [PROMPT, PROMPT + TEXTS[0]]
    assert sentences(GENEPT_S, empty_store).vectors(stored, EVERY)[1].tolist() == [True, False]
    assert stored.nnz == 5


def test_a_vector_is_the_encoder_s(empty_store: sv.Store) -> None:
    found, empty = sentences(GENEPT_S, empty_store).vectors(CELLS, EVERY)
    expected = Hash().encode([PROMPT + one for one in TEXTS])
    expected[2] = 0  # no expression: no vector, whatever the prompt says
    np.testing.assert_allclose(found, expected, atol=1e-6)
    assert empty.tolist() == [False, False, True, False, False]
    assert n_stored(empty_store) == 4
    again, _ = sentences(GENEPT_S, empty_store).vectors(CELLS, EVERY)
    assert (again.tobytes(), n_stored(empty_store)) == (found.tobytes(), 4)


def test_centred_vectors_are_measured_from_the_reference_s_mean(empty_store: sv.Store) -> None:
    filled = sp.csr_matrix(CELLS[[0, 1, 3]])
    raw = Hash().encode([PROMPT + TEXTS[i] for i in (0, 1, 3)])
    made = sentences(replace(GENEPT_S, centre=True), empty_store, 0).fitted(filled, 3, silent)
    centred = raw - raw.mean(axis=0)
    expected = centred / np.linalg.norm(centred, axis=1, keepdims=True)
    np.testing.assert_allclose(made.vectors(filled, EVERY)[0], expected, atol=1e-6)


def test_it_comes_back_from_its_file(empty_store: sv.Store, tmp_path: Path) -> None:
    made = sentences(GENEPT_S, empty_store)
    made.save(tmp_path / "projection.safetensors")
    read = Sentences.load(tmp_path / "projection.safetensors", GENEPT_S, empty_store.address)
    assert read.texts(CELLS) == made.texts(CELLS)
    assert (read.gene_ids.tolist(), read.dimension) == (made.gene_ids.tolist(), made.dimension)
    with pytest.raises(MismatchError, match="another recipe"):
        Sentences.load(tmp_path / "projection.safetensors", replace(GENEPT_S, top_n=9), empty_store.address)


def test_a_store_that_takes_no_vectors_costs_only_time(tmp_path: Path) -> None:
    store = sv.Store(tmp_path / "store")
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / KIND).write_text("a file where the folder would be")
    found, _ = sentences(GENEPT_S, store).vectors(CELLS, EVERY)
    np.testing.assert_allclose(found[0], Hash().encode([PROMPT + TEXTS[0]])[0], atol=1e-6)


def build(store: sv.Store, files: Path, name: str = "told", **options: Any) -> sv.Atlas:
    options = {"recipe": "genept-s", "encoder": "hash", "label_key": "cell_type", "batch_key": "donor", **options}
    return sv.atlas.build(store, name, files / "reference.h5ad", **options)


def test_an_atlas_of_texts(store: sv.Store, files: Path) -> None:
    atlas = build(store, files)
    assert (atlas.recipe.weights, atlas.recipe.encoder_revision) == ("sentence", "1")
    encoded = n_stored(store)
    calls = sv.annotate(files / "query.h5ad", atlas)
    truth = toy.cells(41, seed=1).obs["cell_type"].to_numpy()
    assert np.mean(calls.label == truth) > 0.7  # of four labels
    assert np.isfinite(calls.confidence).all()
    opened = sv.atlas.open_atlas(store, "told")
    kept = n_stored(store)
    again = sv.annotate(files / "query.h5ad", opened)
    assert (again.label.tolist(), n_stored(store)) == (calls.label.tolist(), kept)
    assert kept == encoded + 41
    assert sv.overview.overview(again).genes is None
    opened.expect("genept-s", "hash")


def test_text_is_what_calls(store: sv.Store, files: Path) -> None:
    """By random vectors of the same texts, calls are chance."""
    calls = sv.annotate(files / "query.h5ad", build(store, files, encoder="random"))
    assert np.mean(calls.label == toy.cells(41, seed=1).obs["cell_type"].to_numpy()) < 0.5


def test_a_query_says_how_far_it_is(store: sv.Store, files: Path) -> None:
    atlas, seen = build(store, files), []

    @contextmanager
    def progress(title: str, total: int) -> Iterator[Callable[[int], None]]:
        seen.append((title, total))
        yield lambda step: seen.append((title, step))

    sv.annotate(toy.cells(300, seed=2), atlas, progress=progress)
    assert [one for one in seen if one[0] == "searching"] == [("searching", n) for n in (300, 128, 128, 44)]


def test_cells_are_added_as_texts(store: sv.Store, files: Path) -> None:
    atlas = build(store, files)
    extended = sv.atlas.extend(atlas, toy.cells(12, seed=5), dataset="more")
    assert len(extended.rows) == len(atlas.rows) + 12


@pytest.mark.slow
def test_by_a_real_model(store: sv.Store) -> None:
    recipe = replace(RECIPES["genept-s"], top_n=20)
    atlas = sv.atlas.build(store, "real", toy.cells(24, seed=0), recipe=recipe, label_key="cell_type")
    assert atlas.recipe.encoder == "minilm"
    assert sv.annotate(toy.cells(8, seed=1), atlas).vectors.shape == (8, 384)


def test_a_model_by_its_path_is_found_again(store: sv.Store, files: Path, tmp_path: Path) -> None:
    words = tmp_path / "words.txt"
    rows = np.random.default_rng(0).normal(size=(toy.N_GENES, 60))
    words.write_text(
        "".join(f"{name} {' '.join(map(str, row))}\n" for name, row in zip(toy.SYMBOLS, rows, strict=True))
    )
    recipe = replace(RECIPES["genept-s"], top_n=20)
    atlas = build(store, files, recipe=recipe, encoder=f"static:{words}")
    opened = sv.atlas.open_atlas(store, "told")
    opened.expect(None, "static:words.txt")
    truth = toy.cells(41, seed=1).obs["cell_type"].to_numpy()
    assert np.mean(sv.annotate(files / "query.h5ad", opened).label == truth) > 0.7
    words.write_text(words.read_text() + f"another {'1 ' * 60}\n")
    encoder_of.__globals__["_loaded"].cache_clear()
    with pytest.raises(MismatchError, match=f"{atlas.recipe.encoder_revision}, which made the vectors"):
        sv.annotate(files / "query.h5ad", sv.atlas.open_atlas(store, "told"))
    words.unlink()
    encoder_of.__globals__["_loaded"].cache_clear()
    with pytest.raises(FileError, match="does not exist"):
        sv.annotate(files / "query.h5ad", sv.atlas.open_atlas(store, "told"))


@pytest.mark.parametrize("encoder", ["tfidf", "file:vectors.npz"])
def test_an_encoder_of_gene_texts_alone_is_refused(store: sv.Store, files: Path, encoder: str) -> None:
    with pytest.raises(InputError, match="encodes texts of cells: expected an encoder of any text"):
        build(store, files, encoder=encoder)
    assert "told" not in store.children("atlases")


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"refine": {}}, "cannot be combined"),
        ({"dimension": 5}, "dimension"),
        ({"encoder": None}, "encoder"),
        ({"sentence": {"prompt": 5}}, "prompt"),
        ({"sentence": {"max_cells": 0}}, "max_cells"),
        ({"sentence": {"max_usd": -1}}, "max_usd"),
        ({"sentence": {"words": "x"}}, "words"),
        ({"sentence": 5}, "sentence"),
        ({"weights": "text", "sentence": {"prompt": ""}}, "sentence"),
    ],
)
def test_a_wrong_recipe_is_one_line(values: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said) as caught:
        Recipe.from_dict({"name": "own", "weights": "sentence", "encoder": "hash", **values})
    assert "\n" not in str(caught.value)


def test_a_recipe_file(tmp_path: Path) -> None:
    (tmp_path / "own.toml").write_text(
        'name = "own"\nweights = "sentence"\nencoder = "hash"\ntop_n = 50\n[sentence]\nprompt = "A cell: "\n'
    )
    made = named(str(tmp_path / "own.toml"))
    assert (made.top_n, made.sentence) == (50, Sentence(prompt="A cell: "))
    assert Recipe.from_dict(made.to_dict()) == made


def test_the_recipes_of_before_keep_their_identity() -> None:
    assert RECIPES["genept-w"].sha256().startswith("ce4144f5613f06a7")
    assert RECIPES["refined"].sha256().startswith("1ca31b8dd7a64f72")
    assert len({one.sha256() for one in (GENEPT_S, replace(GENEPT_S, sentence=Sentence(prompt="")))}) == 2


def test_a_reference_of_too_many_cells_is_refused(store: sv.Store, files: Path) -> None:
    few = replace(GENEPT_S, sentence=Sentence(max_cells=100))
    with pytest.raises(InputError, match="text for each of 120 cells: expected at most 100"):
        build(store, files, recipe=few, encoder=None)


def test_a_model_that_costs_money_is_not_asked_unless_told(
    store: sv.Store, files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-none")
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    with pytest.raises(InputError, match=r"about [\d,]+ tokens, \$0\.\d\d at list price: expected at most \$0\.00"):
        build(store, files, encoder="text-embedding-3-small")


def test_texts_are_read_by_a_server(store: sv.Store, files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with ApiServer() as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        build(store, files, encoder="openai:toy")
        asked = [text for texts in server.inputs for text in texts if text.startswith(PROMPT)]
    assert len(set(asked)) == 120
    assert len(asked) - 120 <= 9  # to estimate how long it takes


def test_the_command_line(
    store: sv.Store,
    files: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    where = ["--store", store.uri]
    told = ["atlas", "build", "told", str(files / "reference.h5ad"), "--label-key", "cell_type", *where]
    monkeypatch.setattr(app, "SECONDS_A_LINE", -1.0)
    assert main([*told, "--recipe", "genept-s", "--encoder", "hash"]) == 0
    shown = capsys.readouterr().err
    assert "hash: 120 of 120 texts to encode; all 120 cells of the reference take about 0.0 min" in shown
    monkeypatch.undo()
    query = ["query", str(files / "query.h5ad"), "--atlas", "told", *where]
    assert main([*query, "--out", str(tmp_path / "calls.csv"), "--report", str(tmp_path / "page.html")]) == 0
    capsys.readouterr()
    assert main(["explain", str(files / "query.h5ad"), "--atlas", "told", *where]) == 2
    said = capsys.readouterr()
    assert "makes one text of each cell: no gene has a share of its own" in said.err
    assert said.err.count("\n") == 1


def test_a_suite_runs_it_by_encoders_of_any_text(tmp_path: Path, run_suite: Callable[..., Any]) -> None:
    found = run_suite(tmp_path, recipes=["genept-w", "genept-s"], encoders=["hash", "tfidf"])
    assert {"genept-w, hash", "genept-w, tfidf", "genept-s, hash"} <= found.keys()
    assert "genept-s, tfidf" not in found
    assert found["genept-s, hash"] > 0.7
    suite = Suite.read(tmp_path / "suite.toml")
    assert not next(one for one in methods(suite, suite.tasks[0]) if one.name == "genept-s, hash").seeded


@pytest.fixture
def run_suite(store: sv.Store) -> Callable[..., dict[str, float]]:
    """Return the function that runs a suite of one task, and returns each method's accuracy."""

    def run(folder: Path, **lists: list[str]) -> dict[str, float]:
        toy.cells(120, seed=0).write_h5ad(folder / "cells.h5ad")
        rows = "".join(f"{key} = {value}\n" for key, value in lists.items())
        task = '[[tasks]]\nname = "donor"\nreference = "cells.h5ad"\nlabel_key = "cell_type"\n'
        hold_out = 'hold_out = { key = "donor", values = ["d2"] }\n'
        (folder / "suite.toml").write_text(f'name = "texts"\n{rows}{task}{hold_out}')
        sv.bench.run(Suite.read(folder / "suite.toml"), folder / "out", store)
        made = sv.bench.records.read(folder / "out")
        return {one["method"]: one["accuracy"] for one in made.values()}

    return run
