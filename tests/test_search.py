"""Search in words and by a cell: genes, labels, exemplars, filters, and the verb."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import scvec as sv
from scvec.atlas import Atlas
from scvec.embed.profiles import Profiles
from scvec.errors import InputError, KeyNotFoundError, MismatchError
from scvec.search.labels import _in_chance, _powers, _standardised
from tests import toy
from tests.test_cli import Run, one_line, run

__all__ = ["run"]


@pytest.mark.parametrize("encoder", ["hash", "tfidf"])
def test_the_words_of_a_gene_s_own_text_find_it_first(atlas: Atlas, encoder: str) -> None:
    reader = sv.search.reader_of(atlas, encoder)
    texts = dict(atlas.texts.frame.select("gene_id", "text").iter_rows())
    for gene in atlas.profiles.gene_ids.tolist()[::7]:
        found = sv.search.genes(reader, texts[gene], n=len(texts), by="meaning")
        # Of tfidf, texts that differ in words that occur only once are the same text.
        twins = found.filter(pl.col("score") > found["score"][0] - 1e-4)["gene_id"]
        assert gene in twins
        assert encoder == "tfidf" or len(twins) == 1
    columns = ["gene_id", "symbol", "name", "score", "found_by", "keyword_rank", "meaning_rank"]
    assert found.columns == columns
    assert found["meaning_rank"].is_sorted()
    assert found["keyword_rank"].null_count() == len(found)
    assert found["score"].is_sorted(descending=True)
    assert found["name"][0].startswith("toy gene number")


def test_scores_of_genes_are_standardised_cosines(atlas: Atlas) -> None:
    from scvec.embed.encoders import make

    reader = sv.search.reader_of(atlas)
    asked = make("hash", atlas.texts.frame).encode(["insulin and keratin"])[0]
    texts = reader.vectors.of(reader.gene_ids)
    mean = texts.mean(axis=0)
    cosines = np.array([np.dot(a - mean, asked - mean) / np.linalg.norm(a - mean) for a in texts])
    wanted = (cosines - cosines.mean()) / cosines.std()
    np.testing.assert_allclose(reader.scores("insulin and keratin"), wanted, atol=1e-4)


@pytest.mark.parametrize("label", toy.LABELS)
def test_the_label_whose_genes_the_words_describe_is_first(atlas: Atlas, label: str) -> None:
    found = sv.search.words(atlas, toy.THEMES[label])
    assert found.labels[0] == label
    assert len(found) == 4
    assert found.label_ids[0] == toy.LABEL_IDS[label]
    assert found.n_cells.tolist() == [30] * 4
    assert found.scores[0] > 3 > found.scores[1]  # standard deviations of what chance gives
    np.testing.assert_allclose(found.ties.sum(axis=1), found.scores, rtol=1e-4, atol=1e-4)
    themes = {f"TOY{gene}" for gene in range(toy.N_GENES) if toy.theme_of(gene) == label}
    assert set(found.to_frame()["genes"][0]) <= themes
    exemplars = found.cells.filter(label=label)
    assert len(exemplars) == 3
    best = found.cells.sort("similarity", descending=True)
    assert best["label"][0] == label
    assert found.to_frame()["cells"][0].to_list() == exemplars["cell_id"].to_list()
    ties = found.ties_frame(4).filter(label=label)
    assert len(ties) == 4
    assert ties["adds"].is_sorted(descending=True)


def test_the_answer_is_the_same_each_time(atlas: Atlas) -> None:
    one, two = (sv.search.words(atlas, "insulin secretion") for _ in range(2))
    assert one.to_dict() == two.to_dict()
    again = sv.search.words(atlas, "insulin secretion", encoder=sv.search.reader_of(atlas))
    assert again.to_dict() == one.to_dict()
    with pytest.raises(ValueError, match="read-only"):
        one.scores[0] = 1


@settings(max_examples=20)
@given(st.integers(0, 9999))
def test_of_genes_in_random_order_scores_are_of_mean_zero_and_spread_one(seed: int) -> None:
    rng = np.random.default_rng(seed)
    labels = rng.gamma(0.5, 1.0, (5, 60)).astype(np.float32)
    weights = _powers(rng.standard_normal(60))
    excess = _standardised(Profiles(np.arange(60), labels, labels[0], labels[0]).excess())
    drawn = np.array([excess @ _in_chance(rng.permutation(weights)) for _ in range(3000)])
    # Four standard errors of heavy-tailed draws, and more.
    assert np.abs(drawn.mean(axis=0)).max() < 0.12
    assert np.abs(drawn.std(axis=0) - 1).max() < 0.15


def nearest(atlas: Atlas, cell_id: str, allowed: np.ndarray, k: int) -> list[str]:
    """Return the k nearest cells by plain arithmetic."""
    vectors, ids = atlas.vectors(atlas.rows).astype(np.float64), np.array(atlas.obs["cell_id"].to_pylist())
    own = ids.tolist().index(cell_id)
    similarity = vectors @ vectors[own]
    order = np.lexsort((np.arange(len(ids)), -similarity.astype(np.float32)))
    return [str(ids[i]) for i in order if i != own and allowed[i]][:k]


@pytest.mark.parametrize("cell", [0, 5, 119])
def test_like_is_exact_search_without_the_cell(atlas: Atlas, cell: int) -> None:
    batch = np.array(atlas.obs["batch"].to_pylist())
    for where, allowed in ((None, batch != ""), ("batch = 'd1'", batch == "d1"), ("label = 'beta'", None)):
        if allowed is None:
            allowed = atlas.labels == "beta"
        found = sv.search.like(atlas, f"s0c{cell}", k=12, where=where)
        assert found["cell_id"].to_list() == nearest(atlas, f"s0c{cell}", allowed, 12)
        assert found["similarity"].is_sorted(descending=True)
    assert set(found["label"]) == {"beta"}
    assert len(sv.search.like(atlas, f"s0c{cell}", k=500)) == 119


def test_a_filter_leaves_labels_and_exemplars(atlas: Atlas) -> None:
    found = sv.search.words(atlas, toy.THEMES["beta"], where="batch = 'd2' AND label != 'beta'", n_exemplars=5)
    assert set(found.labels) == {"alpha", "ductal", "immune"}
    assert set(found.cells["batch"]) == {"d2"}
    assert "cells searched" in found.notes[0]
    whole = sv.search.words(atlas, toy.THEMES["beta"])
    by_label = dict(zip(whole.labels.tolist(), whole.scores.tolist(), strict=True))
    assert [by_label[label] for label in found.labels] == pytest.approx(found.scores.tolist())
    assert "no label stands out" in found.notes[-1]
    assert whole.notes == ()
    with pytest.raises(InputError, match="no cell of atlas"):
        sv.search.words(atlas, "insulin", where="batch = 'd9'")


def test_an_atlas_without_text_asks_for_an_encoder(store: sv.Store, files: Path) -> None:
    reference = files / "reference.h5ad"
    atlas = sv.atlas.build(store, "plain", reference, label_key="cell_type", recipe=sv.RECIPES["expression"])
    with pytest.raises(
        InputError, match=r"has no encoder that reads words.* in the store \(hash\)\. Fix: `encoder` hash"
    ):
        sv.search.words(atlas, "insulin")
    for encoder in ("hash", "tfidf"):
        found = sv.search.words(atlas, toy.THEMES["immune"], encoder=encoder)
        assert (found.labels[0], found.encoder) == ("immune", encoder)
        assert found.cells.sort("similarity", descending=True)["label"][0] == "immune"


def test_what_came_after_the_fit_is_found_but_not_ranked(store: sv.Store, atlas: Atlas, tmp_path: Path) -> None:
    cells = toy.cells(120, seed=0)[:41].copy()  # cells that are there
    cells.obs["cell_type"] = ["new" if one == "beta" else one for one in cells.obs["cell_type"]]
    cells.X = cells.X.toarray() * (np.arange(41) < 40)[:, None]
    cells.write_h5ad(tmp_path / "more.h5ad")
    atlas = sv.atlas.extend(atlas, tmp_path / "more.h5ad")
    found = sv.search.words(atlas, toy.THEMES["beta"])
    assert "new" not in found.labels
    assert any("after the atlas was fitted: new" in note for note in found.notes)
    with pytest.raises(InputError, match=r"2 cells of atlas 'toy' have the id 's0c3'.*`dataset` reference"):
        sv.search.like(atlas, "s0c3")
    one = sv.search.like(atlas, "s0c3", dataset="reference", k=1)
    assert (one["cell_id"][0], one["dataset"][0]) == ("s0c3", "more")  # its twin
    assert one["similarity"][0] == pytest.approx(1)
    with pytest.raises(InputError, match="expresses no gene"):
        sv.search.like(atlas, "s0c40", dataset="more")


def test_what_cannot_be_read_is_refused(store: sv.Store, atlas: Atlas, tmp_path: Path) -> None:
    reader = sv.search.reader_of(atlas)
    for words, said in (("  ", "no words"), ("!!!", "knows none of the words")):
        with pytest.raises(InputError, match=said):
            sv.search.words(atlas, words, encoder=reader)
    with pytest.raises(MismatchError, match="is at revision 1 here: expected 0"):
        sv.search.genes(replace(reader, vectors=replace(reader.vectors, revision="0")), "insulin")
    with pytest.raises(MismatchError, match="the reader has other genes"):
        sv.search.words(atlas, "insulin", encoder=replace(reader, gene_ids=reader.gene_ids[:-1]))
    with pytest.raises(KeyNotFoundError, match="no cell 'nobody'"):
        sv.search.like(atlas, "nobody")
    with pytest.raises(InputError, match="`k` must be at least 1"):
        sv.search.like(atlas, "s0c0", k=0)
    vectors = tmp_path / "given.npz"
    np.savez(vectors, names=np.array(toy.SYMBOLS), vectors=np.random.default_rng(0).random((toy.N_GENES, 4)))
    given = sv.embed.genes(store, atlas.texts, encoder=f"file:{vectors}")
    with pytest.raises(InputError, match="cannot read words"):
        sv.search.genes(sv.search.Reader(given, given.gene_ids), "insulin")


def test_the_verb(run: Run, store: sv.Store, tmp_path: Path) -> None:
    ask = ("search", toy.THEMES["ductal"], "--atlas", "toy", "--store", store.uri)
    code, out, err = run(*ask)
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert lines[0].split() == ["label", "n_cells", "score", "genes"]
    assert lines[2].startswith("ductal")
    assert any(line.startswith("genes nearest to the words: TOY") for line in lines)
    made = json.loads(run(*ask, "--json", "-n", "2", "--exemplars", "1")[1])
    assert made["labels"][0]["label"] == "ductal"
    assert len(made["cells"]) == 2
    code, out, err = run(*ask, "--where", "batch = 'd0'", "--out", tmp_path / "found.csv")
    assert "cells searched: where batch = 'd0'" in err
    assert pl.read_csv(tmp_path / "found.csv")["label"][0] == "ductal"
    assert run(*ask, "--where", "batch = 'd0'", "--quiet")[2] == ""
    like = ("search", "--like", "s0c2", "--atlas", "toy", "--store", store.uri, "--where", "batch = 'd1'")
    rows = json.loads(run(*like, "--json", "--k", "3")[1])
    assert [row["batch"] for row in rows] == ["d1"] * 3
    assert {row["label"] for row in rows} == {"ductal"}
    assert run(*like, "--out", tmp_path / "cells.parquet")[1].splitlines()[-1].startswith("written to")
    assert len(pl.read_parquet(tmp_path / "cells.parquet")) == 15
    genes = ("search", toy.THEMES["ductal"], "--genes", "--store", store.uri)
    of_atlas = json.loads(run(*genes, "--atlas", "toy", "-n", "7", "--json")[1])
    of_release = json.loads(run(*genes, "--taxon", "human", "--encoder", "hash", "-n", "7", "--json")[1])
    assert of_atlas == of_release  # whose genes are the same here
    assert {toy.theme_of(row["gene_id"] - toy.FIRST_ID[toy.HUMAN]) for row in of_atlas} == {"ductal"}


def test_bad_input_of_the_verb_is_one_line_and_exit_code_2(run: Run, store: sv.Store, tmp_path: Path) -> None:
    cases = (
        ((), "neither words nor --like"),
        (("insulin",), "no --atlas"),
        (("insulin", "--like", "s0c0", "--atlas", "toy"), "words and --like"),
        (("--like", "s0c0", "--genes", "--atlas", "toy"), "--genes and --like"),
        (("--like", "s0c0"), "no --atlas"),
        (("--like", "s9c0", "--atlas", "toy"), "no cell 's9c0'"),
        (("--like", "s0c0", "--atlas", "toy", "--where", "colour = 'red'"), "colour"),
        (("--like", "s0c0", "--atlas", "toy", "--encoder", "hash"), "--encoder with --like"),
        (("insulin", "--atlas", "toy", "--taxon", "human"), "--taxon with words"),
        (("insulin", "--atlas", "tox"), "one of: toy"),
        (("insulin", "--atlas", "toy", "--encoder", "minilm"), "scvec embed"),
        (("insulin", "--atlas", "toy", "--encoder", "ada"), "no encoder 'ada'"),
        (("insulin", "--atlas", "toy", "--out", "found.txt"), ".parquet, .csv"),
        ((" ", "--atlas", "toy"), "no words"),
        (("?", "--atlas", "toy"), "knows none"),
        (("insulin", "--genes"), "--taxon human"),
        (("insulin", "--genes", "--taxon", "human", "--by", "both"), "--encoder minilm"),
        (("insulin", "--genes", "--atlas", "toy", "--by", "keywords", "--encoder", "hash"), "--by keywords: no effect"),
        (("--like", "s0c0", "--atlas", "toy", "--by", "both"), "--by with --like"),
        (("zebrafish", "--atlas", "toy", "--by", "keywords"), "has one of these words"),
        (("insulin", "--genes", "--atlas", "toy", "--taxon", "human"), "--taxon with --genes and --atlas"),
        (("insulin", "--genes", "--taxon", "mouse", "--encoder", "hash"), "scvec genes pull"),
    )
    for arguments, word in cases:
        code, out, err = run("search", *arguments, "--store", store.uri)
        assert (arguments, code, out) == (arguments, 2, "")
        assert word in one_line(err), arguments
