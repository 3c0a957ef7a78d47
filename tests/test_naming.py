"""Names of clusters: the terms and their texts, the vectors that are kept, the ranked names, the verb."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest

import scvec as sv
from scvec.cli import main
from scvec.core.progress import shown
from scvec.embed.encoders.simple import Hash
from scvec.errors import InputError, KeyNotFoundError, LabelError, NotInStoreError
from scvec.naming.evidence import sentences_of
from scvec.naming.result import NO_NAME
from scvec.naming.term_texts import term_texts, text_of
from scvec.naming.text_reader import TextReader, encode_terms
from scvec.ontology import Ontology, Term
from scvec.ontology.tables import write_ontology
from tests import toy, toy_ontology
from tests.api_server import ApiServer
from tests.toy_ontology import ALPHA, BETA, CELL, EUKARYOTIC, TOY

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.chdir(tmp_path)

    def run(*arguments: object) -> tuple[int, str, str]:
        code = main([str(one) for one in arguments])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


@pytest.fixture
def known(store: sv.Store, tmp_path: Path) -> sv.Store:
    """The toy store, with the toy ontology."""
    sv.ontology.import_ontology(store, toy_ontology.write(tmp_path))
    return store


def n_vectors(store: sv.Store, kind: str = "term_vectors", encoder: str = "hash") -> int:
    folder = f"{kind}/{encoder}"
    return sum(len(store.table(f"{folder}/{one}").latest()) for one in store.children(folder))


def test_a_term_s_text_is_made_of_the_parts_asked_for() -> None:
    term = Term("CL:0000084", "T cell", "Matures in the thymus.", ("T lymphocyte", "T-cell"))
    assert text_of(term) == "T cell. Also called T lymphocyte; T-cell. Matures in the thymus."
    assert text_of(term, ("definition", "name")) == "T cell. Matures in the thymus."
    assert text_of(Term("CL:0000084", "T cell"), ("definition",)) == ""


def test_terms_that_say_nothing_of_a_tissue_name_nothing() -> None:
    more = (
        Term("CL:0000521", "fungal cell", parents=(CELL,)),
        Term("CL:0002369", "fungal spore", parents=("CL:0000521",)),
        Term("CL:0017507", "reniform nucleus"),
    )
    found = term_texts(Ontology("1", {**TOY.terms, **{one.id: one for one in more}}, TOY.obsolete))
    assert set(found.ids) == TOY.terms.keys() - {CELL, EUKARYOTIC}
    assert found.names[found.positions[BETA]] == "type B pancreatic cell"
    assert found.texts(("name",))[found.positions[ALPHA]] == "pancreatic A cell."


def test_clusters_get_the_terms_whose_texts_fit_their_genes(known: sv.Store, files: Path) -> None:
    found = sv.name(files / "query.h5ad", known, cluster_key="cell_type", tissue="pancreas", encoder="hash", n=3)
    assert found.clusters.tolist() == list(toy.LABELS)
    first = {cluster: names[0].term_id for cluster, names in zip(found.clusters, found.suggestions, strict=True)}
    assert (first["alpha"], first["beta"]) == (ALPHA, BETA)
    markers = {toy.SYMBOLS[i] for i in range(toy.N_GENES) if toy.theme_of(i) == "beta"}
    assert set(found.suggestions[1][0].genes) <= markers
    assert all(len(names) == 3 and 0 <= one.score <= 1 for names in found.suggestions for one in names)
    frame = found.to_polars()
    assert frame["rank"].to_list() == [1, 2, 3] * 4
    assert frame["cells"].to_list()[::3] == found.n_cells.tolist()
    assert found.provenance["ontology"] == TOY.release
    assert found.provenance["encoder"] == "hash"


def test_names_are_the_same_from_memory_and_on_a_second_run(known: sv.Store, files: Path) -> None:
    import anndata as ad

    adata = ad.read_h5ad(files / "query.h5ad")
    before = adata.copy()
    first = sv.name(files / "query.h5ad", known, cluster_key="cell_type", encoder="hash")
    again = sv.name(adata, known.uri, cluster_key="cell_type", encoder="hash")
    assert first.to_polars().equals(again.to_polars())
    assert adata.obs.equals(before.obs)
    assert list(adata.uns) == list(before.uns)


def test_only_terms_that_changed_are_encoded_again(known: sv.Store) -> None:
    genes = sv.embed.open_genes(known, sv.ingest.open_texts(known, "human"), encoder="hash")
    n_terms = len(term_texts(TOY))
    assert [encode_terms(known, sv.ontology.open_ontology(known), genes) for _ in range(2)] == [n_terms, 0]
    changed = replace(TOY.terms[BETA], description="Secretes insulin.")
    write_ontology(known, Ontology("2026-09-01", {**TOY.terms, BETA: changed}, TOY.obsolete), {"origin": "test"})
    newest = sv.ontology.open_ontology(known)
    assert newest.release == "2026-09-01"
    assert encode_terms(known, newest, genes) == 1
    assert n_vectors(known) == n_terms + 1
    reader = TextReader(known, term_texts(newest), genes, shown(None))
    np.testing.assert_array_equal(reader.of_terms(), Hash().encode(reader.terms.texts()))


def test_what_the_texts_say_of_a_gene_is_a_sentence_of_its_text(known: sv.Store, files: Path) -> None:
    found = sv.name(files / "query.h5ad", known, cluster_key="cell_type", encoder="hash", evidence=True)
    texts = dict(sv.ingest.open_texts(known, "human").frame.select("symbol", "text").iter_rows())
    shown = [one for names in found.suggestions for one in names]
    assert all(len(one.evidence) == len(one.genes) for one in shown)
    pairs = [pair for one in shown for pair in zip(one.genes, one.evidence, strict=True)]
    assert all(said in texts[gene] for gene, said in pairs)
    beta = found.suggestions[1][0]
    told = [said for gene, said in zip(beta.genes, beta.evidence, strict=True) if "insulin" in texts[gene]]
    assert told
    assert all("insulin secretion" in said for said in told)
    n = n_vectors(known, "sentence_vectors")
    sv.name(files / "query.h5ad", known, cluster_key="cell_type", encoder="hash", evidence=True)
    assert n_vectors(known, "sentence_vectors") == n
    without = sv.name(files / "query.h5ad", known, cluster_key="cell_type", encoder="hash")
    assert without.suggestions[0][0].evidence == ()


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("INS: insulin. It lowers glucose. See IGF2.", ["INS: insulin.", "It lowers glucose.", "See IGF2."]),
        ("A protein, e.g. of 1.5 kDa, in E. coli.", ["A protein, e.g. of 1.5 kDa, in E. coli."]),
        ('It is "so." (Not all.) 3 of them.', ['It is "so."', "(Not all.)", "3 of them."]),
        ("", []),
    ],
)
def test_texts_are_split_into_sentences(text: str, sentences: list[str]) -> None:
    assert sentences_of(text) == sentences


def test_the_encoder_is_a_model_that_is_there_or_tfidf(known: sv.Store, files: Path) -> None:
    """The toy store has vectors by hash, which is no model."""
    told = "scvec embed --taxon human --encoder minilm"
    texts = sv.ingest.open_texts(known, "human")
    for some in (0, 9):
        if some:
            sv.embed.genes(known, texts, encoder="minilm", gene_ids=texts.frame["gene_id"].to_numpy()[:some])
        found = sv.name(files / "query.h5ad", known, cluster_key="cell_type")
        assert found.provenance["encoder"] == "tfidf"
        assert any(told in note for note in found.notes)
    sv.embed.genes(known, texts, encoder="minilm")
    found = sv.name(files / "query.h5ad", known, cluster_key="cell_type")
    assert found.provenance["encoder"] == "minilm"
    assert not any(told in note for note in found.notes)


def test_an_encoder_that_costs_money_is_only_asked_on_request(
    known: sv.Store, files: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ApiServer() as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        monkeypatch.setenv("OPENAI_API_KEY", "sk-none")
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        embed = ("embed", "--taxon", "human", "--encoder", "openai:toy", "--store", known.uri)
        ask = ("name", files / "query.h5ad", "--cluster-key", "cell_type", "--store", known.uri)
        assert run(*embed)[0] == 0
        assert json.loads(run(*ask, "--json")[1])["encoder"] == "tfidf"
        n_asked = len(server.inputs)
        code, _, err = run(*ask, "--encoder", "openai:toy")
        assert (code, len(server.inputs)) == (2, n_asked)
        assert "scvec embed --taxon human --encoder openai:toy --terms" in err
        code, out, _ = run(*embed, "--terms", "--json")
        assert json.loads(out)["n_terms_encoded"] == len(term_texts(TOY))
        n_asked = len(server.inputs)
        assert json.loads(run(*ask, "--encoder", "openai:toy", "--json")[1])["encoder"] == "openai:toy"
        assert len(server.inputs) == n_asked


def test_what_is_missing_is_said_with_the_command_that_brings_it(store: sv.Store, files: Path, tmp_path: Path) -> None:
    query = files / "query.h5ad"
    with pytest.raises(NotInStoreError, match="scvec ontology pull"):
        sv.name(query, store, cluster_key="cell_type")
    sv.ontology.import_ontology(store, toy_ontology.write(tmp_path))
    with pytest.raises(NotInStoreError, match="scvec embed --taxon human --encoder minilm"):
        sv.name(query, store, cluster_key="cell_type", encoder="minilm")
    bare = sv.Store(tmp_path / "bare")
    write_ontology(bare, TOY, {"origin": "test"})
    with pytest.raises(NotInStoreError, match="scvec genes pull --taxon human"):
        sv.name(query, bare, cluster_key="cell_type")


def test_what_is_invalid_is_found_before_the_cells_are_read(known: sv.Store, tmp_path: Path) -> None:
    gone = tmp_path / "gone.h5ad"
    for wrong, said in (
        ({"n": 0}, "`n` must be at least 1"),
        ({"tissue": " "}, "`tissue` must be words"),
        ({"cluster_key": "a", "cluster": "leiden"}, "exclude"),
        ({"use_rep": "X_pca", "cluster_key": "a"}, "`use_rep` has no effect"),
        ({"cluster": "louvain"}, "`cluster` must be leiden"),
    ):
        with pytest.raises(InputError, match=said):
            sv.name(gone, known, **wrong)
    with pytest.raises(KeyNotFoundError, match="no encoder"):
        sv.name(gone, known, encoder="minlm")
    with pytest.raises(InputError, match="no `store`"):
        sv.name(gone)
    with pytest.raises(InputError, match="cannot read the texts of terms"):
        sv.name(gone, known, encoder="file:vectors.npz")


@pytest.mark.parametrize(("score", "shown"), [(0.3999, "0.39"), (0.4, "0.40"), (0.29, "0.29"), (1.0, "1.00")])
def test_a_score_below_that_of_a_name_that_stands_out_is_not_shown_as_that(score: float, shown: str) -> None:
    assert sv.naming.Suggestion("CL:1", "a", score, ()).shown_score == shown


def test_a_model_whose_vectors_are_there_is_not_loaded(known: sv.Store) -> None:
    genes = sv.embed.open_genes(known, sv.ingest.open_texts(known, "human"), encoder="hash")
    encode_terms(known, sv.ontology.open_ontology(known), genes)
    again = sv.embed.open_genes(known, sv.ingest.open_texts(known, "human"), encoder="hash")
    reader = TextReader(known, term_texts(TOY), again, shown(None))
    assert len(reader.of_terms()) == len(reader.terms)
    assert "model" not in vars(again)
    reader.of_sentences(["A sentence."])
    assert "model" in vars(again)


def test_a_tissue_whose_words_no_term_has_changes_nothing_and_a_note_says_so(known: sv.Store, files: Path) -> None:
    def named(tissue: str | None) -> sv.naming.Names:
        return sv.name(files / "query.h5ad", known, cluster_key="cell_type", encoder="hash", tissue=tissue)

    plain, misspelt, told = named(None), named("pancraes"), named("pancreas")
    assert misspelt.to_polars().equals(plain.to_polars())
    assert any("'pancraes': it has no effect" in one for one in misspelt.notes)
    assert not told.to_polars().equals(plain.to_polars())
    assert not any("has no effect" in one for one in told.notes)


def test_the_verb(known: sv.Store, files: Path, run: Run) -> None:
    ask = ("name", files / "query.h5ad", "--cluster-key", "cell_type", "--encoder", "hash", "--store", known.uri)
    code, out, err = run(*ask, "-n", "2", "--out", "names.csv")
    assert code == 0
    lines = out.splitlines()
    assert lines[0].split() == ["cluster", "cells", "name", "term", "score", "because"]
    assert any(line.startswith("beta") and ("type B pancreatic cell" in line or NO_NAME in line) for line in lines)
    assert lines[-1] == "written to names.csv"
    assert "human" in err
    frame = pl.read_csv("names.csv")
    assert frame.columns == ["cluster", "rank", "term_id", "name", "score", "stands_out", "genes", "cells"]
    assert len(frame) == 8
    made = json.loads(run(*ask, "-n", "2", "--evidence", "--json", "--quiet")[1])
    assert [one["cluster"] for one in made["clusters"]] == list(toy.LABELS)
    best = made["clusters"][1]["names"][0]
    assert (best["rank"], best["term_id"]) == (1, BETA)
    assert len(best["evidence"]) == len(best["genes"])
    assert run(*ask, "--out", "names.parquet")[0] == 0
    assert pl.read_parquet("names.parquet")["term_id"][5] == BETA


@pytest.fixture
def few(known: sv.Store, files: Path) -> sv.Store:
    """The store, with an atlas that lacks the immune cells."""
    sv.atlas.build(known, "few", files / "reference.h5ad", label_key="cell_type", only="cell_type != 'immune'")
    return known


def test_what_an_atlas_leaves_unknown_is_named(few: sv.Store, files: Path) -> None:
    query = files / "query.h5ad"
    calls = sv.annotate(query, sv.atlas.open(few, "few"), max_error=0.05, cluster_key="cell_type")
    immune = calls.cluster == "immune"
    assert calls.rejected[immune].mean() > 0.8
    found = sv.name(calls, encoder="hash")
    assert "immune" in found.clusters.tolist()
    ids, _, scores = found.of_cells()
    assert len(ids) == len(calls)
    assert not ids[~calls.rejected].any()
    assert np.isnan(scores[~calls.rejected]).all()
    with pytest.raises(InputError, match="`cluster_key` has no effect on calls"):
        sv.name(calls, cluster_key="cell_type")
    with pytest.raises(InputError, match="`layer` has no effect on calls"):
        sv.name(calls, layer="raw")
    with pytest.raises(InputError, match="leave out `store`"):
        sv.name(calls, "another")
    with pytest.raises(InputError, match="no `store`"):
        sv.name(query)


def test_calls_without_an_unknown_cell_have_nothing_to_name(known: sv.Store, files: Path) -> None:
    calls = sv.annotate(files / "query.h5ad", sv.atlas.open(known, "toy"))
    found = sv.name(calls, encoder="hash")
    assert (len(found), len(found.to_polars()), found.suggestions) == (0, 0, ())
    assert any("nothing to name" in note for note in found.notes)


def test_the_verb_names_what_an_atlas_leaves_unknown(few: sv.Store, files: Path, run: Run) -> None:
    ask = ("name", files / "query.h5ad", "--atlas", "few", "--encoder", "hash", "--store", few.uri)
    code, out, _ = run(*ask, "--cluster-key", "cell_type", "--json")
    made = json.loads(out)
    assert code == 0
    assert "immune" in [one["cluster"] for one in made["clusters"]]
    assert sum(one["cells"] for one in made["clusters"]) < 41
    code, _, _ = run("name", files / "query.h5ad", "--atlas", "toy", "--store", few.uri, "--max-error", "0.9")
    assert code == 0


def test_profiles_of_other_types_are_compared_with_too(known: sv.Store, files: Path, tmp_path: Path, run: Run) -> None:
    """Of beta cells alone there is nothing to compare with, but a background."""
    query, folder = files / "query.h5ad", tmp_path / "tissues"
    folder.mkdir()
    with pytest.raises(LabelError, match="one cluster only"):
        sv.name(query, known, cluster_key="cell_type", encoder="hash", only="cell_type = 'beta'")
    whole = sv.naming.Background.of_groups(sv.naming.groups_of(query, known, cluster_key="cell_type"))
    others = whole.only(whole.names != "beta")
    sv.naming.write_background(others, folder / "pancreas.parquet")
    ask = sv.naming.NamingOptions(cluster_key="cell_type", encoder="hash", only="cell_type = 'beta'")
    found = sv.name(query, known, ask, background=folder)
    assert found.suggestions[0][0].term_id == BETA
    assert found.provenance["background"] == "tissues"
    assert any("3 types" in note for note in found.notes)
    in_memory = sv.name(query, known, ask, background=others)
    assert in_memory.suggestions[0][0].term_id == BETA
    verb = ("name", query, "--store", known.uri, "--cluster-key", "cell_type", "--encoder", "hash")
    code, out, _ = run(*verb, "--only", "cell_type = 'beta'", "--background", folder, "--json")
    assert code == 0
    assert json.loads(out)["clusters"][0]["names"][0]["term_id"] == BETA
    code, _, err = run(*verb, "--background", tmp_path / "none.parquet")
    assert code == 2
    assert "--background" in err
    assert "does not exist" in err


def test_bad_input_of_the_verb_is_one_line_and_exit_code_2(known: sv.Store, run: Run, tmp_path: Path) -> None:
    adata = toy.cells(40)
    adata.obs["same"] = "x"
    adata.obs["own"] = [f"c{i}" for i in range(40)]
    adata.obs["share"] = np.linspace(0, 1, 40)
    adata.write_h5ad(tmp_path / "cells.h5ad")
    toy.cells(1).write_h5ad(tmp_path / "one.h5ad")
    many = toy.cells(600)
    many.obs["own"] = [f"c{i}" for i in range(600)]
    many.write_h5ad(tmp_path / "many.h5ad")

    def ask(name: str, *more: object) -> tuple[object, ...]:
        return ("name", tmp_path / name, "--encoder", "hash", "--out", "names.csv", *more)

    cases = {
        "a missing key": (ask("cells.h5ad", "--cluster-key", "cel_type"), "cell_type"),
        "a constant key": (ask("cells.h5ad", "--cluster-key", "same"), "one cluster only"),
        "values": (ask("cells.h5ad", "--cluster-key", "share"), "share"),
        "names of cells": (ask("many.h5ad", "--cluster-key", "own"), "600"),
        "a single cell": (ask("one.h5ad"), "1 cell"),
        "no such atlas": (ask("cells.h5ad", "--atlas", "tox"), "one of: toy"),
        "no error": (ask("cells.h5ad", "--atlas", "toy", "--max-error", "2"), "--max-error"),
        "no such method": (ask("cells.h5ad", "--cluster", "louvain"), "--cluster must be leiden"),
        "no such file": (ask("none.h5ad", "--cluster-key", "cell_type"), "does not exist"),
        "in a file": (
            ask("cells.h5ad", "--cluster-key", "cell_type", "--out", tmp_path / "one.h5ad" / "a.csv"),
            "is a file",
        ),
        "no vectors": (ask("cells.h5ad", "--cluster-key", "cell_type", "--encoder", "minilm"), "scvec embed"),
    }
    for name, (arguments, word) in cases.items():
        code, out, err = run(*arguments, "--store", known.uri, "--quiet")
        assert (name, code, out) == (name, 2, "")
        assert len(err.splitlines()) == 1, err
        assert word in err, (name, err)
        assert not (tmp_path / "names.csv").exists(), name
