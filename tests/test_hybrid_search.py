"""Search by keywords and names, and with meaning: genes, and labels."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest

import scvec as sv
from scvec.atlas import Atlas
from scvec.errors import InputError
from scvec.ingest.genes.gene_texts import write_texts
from scvec.ingest.genes.template import TEXT_COLUMNS, with_texts
from scvec.search import Keywords, Reader
from scvec.search.fusion import fused, ranks
from scvec.search.labels import _in_chance, _standardised, _weights
from scvec.search.named import named
from scvec.search.ranked_genes import RankedGenes
from tests import toy
from tests.test_cli import Run, run

__all__ = ["run"]

# id, symbol, aliases, full name, summary
GENES: tuple[tuple[int, str, list[str], str, str], ...] = (
    (1, "INS", ["IDDM2"], "insulin", "A hormone that lowers glucose in blood."),
    (2, "GCG", ["GLP1"], "glucagon", "A hormone that raises glucose; works against insulin."),
    (3, "CAT", ["catalase"], "catalase", "An enzyme that breaks hydrogen peroxide down."),
    (4, "REST", ["NRSF", "OLD"], "RE1 silencing transcription factor", "It represses neuronal genes at rest."),
    (5, "GHRL", ["OLD"], "ghrelin and obestatin prepropeptide", "Secreted by cells of the stomach."),
    (6, "A2M", [], "alpha-2-macroglobulin", "A protease inhibitor."),
    (7, "INSR", [], "insulin receptor", "The receptor of insulin; a kinase."),
    (9, "CEL", ["CELL", "MAST"], "carboxyl ester lipase", "An enzyme of the pancreas."),
    (8, "B", [], "letter of the alphabet", "A gene with a short symbol."),
)


@pytest.fixture
def reader(tmp_path: Path) -> Reader:
    columns = {
        "taxon_id": [toy.HUMAN] * len(GENES),
        "gene_id": [one[0] for one in GENES],
        "symbol": [one[1] for one in GENES],
        "aliases": [one[2] for one in GENES],
        "ensembl_ids": [[f"ENSG{one[0]:011d}"] for one in GENES],
        "gene_type": ["protein-coding"] * len(GENES),
        "full_name": [one[3] for one in GENES],
        "summary": [one[4] for one in GENES],
    }
    frame = pl.DataFrame(columns, schema_overrides={name: TEXT_COLUMNS[name] for name in columns})
    store = sv.Store(tmp_path / "s")
    texts = write_texts(store, toy.HUMAN, with_texts(frame), "one", {})
    vectors = sv.embed.genes(store, texts, encoder="hash")
    return Reader(vectors, vectors.gene_ids)


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ("INS", {1: "symbol"}),
        ("ins", {1: "spelling"}),
        ("cat", {3: "spelling"}),
        ("Insulin", {1: "name"}),
        ("insulin receptor", {7: "name"}),
        ("glp1", {2: "alias"}),
        ("OLD", {4: "alias", 5: "alias"}),  # an alias of two genes
        ("3", {3: "entrez"}),
        ("ENSG00000000005.2", {5: "ensembl"}),
        ("gcg, ins; OLD", {2: "spelling", 1: "spelling", 4: "alias", 5: "alias"}),
        ("B", {8: "symbol"}),
        # In a sentence, words stay words.
        ("INS insulin", {1: "symbol"}),
        ("cells at rest with a cat", {}),
        ("Rest of the B cells", {}),
        ("type 2 diabetes", {}),
        ("what does REST do?", {4: "symbol"}),
        ("expression of (A2M) and ENSG00000000002", {6: "symbol", 2: "ensembl"}),
        ("OLD people", {}),
        ("a GLP1-secreting cell", {2: "alias"}),  # an alias with a digit is no word
        ("a GLP2-secreting cell", {}),
        ("A2M-positive cells that are INS-low", {6: "symbol"}),
        ("a2m in cells", {6: "spelling"}),
        ("A2M+GLP1+ cells", {6: "symbol", 2: "alias"}),
        ("INS/A2M cells", {1: "symbol", 6: "symbol"}),
        ("A2M- cells, GLP1-negative or INS negative", {}),
        ("mast", {9: "alias"}),
        ("mast cell", {}),
        ("B cell", {}),
        ("B cells", {}),
        ("", {}),
        ("?!", {}),
    ],
)
def test_names_of_genes_are_told_from_words(reader: Reader, words: str, found: dict[int, str]) -> None:
    assert named(reader.texts, words) == found
    assert list(named(reader.texts, words)) == list(found)


def test_genes_that_words_name_come_first(reader: Reader) -> None:
    for by in ("both", "keywords"):
        for words, first in (
            ("INS", ["INS"]),
            ("rest", ["REST"]),
            ("old", ["REST", "GHRL"]),
            ("gcg ins", ["GCG", "INS"]),
        ):
            found = sv.search.genes(reader, words, by=by)
            assert found["symbol"].to_list()[: len(first)] == first
            assert set(found["found_by"][: len(first)]) <= {"symbol", "spelling", "alias"}
    found = sv.search.genes(reader, "secreting cells of the stomach")
    assert found.row(0, named=True)["symbol"] == "GHRL"
    assert found["found_by"][0] == "both"
    assert found["keyword_rank"][0] == 1


def test_both_is_the_sum_of_reciprocal_ranks(reader: Reader) -> None:
    words = "a hormone that lowers glucose"
    meaning, keywords = (sv.search.genes(reader, words, by=by) for by in ("meaning", "keywords"))
    assert meaning["found_by"].unique().to_list() == ["meaning"]
    assert keywords["found_by"].unique().to_list() == ["keywords"]
    assert len(keywords) < len(meaning) == len(GENES)  # only genes that have one of the words
    assert keywords["score"].is_sorted(descending=True)
    place = {gene: i + 1 for i, gene in enumerate(meaning["gene_id"].to_list())}
    match = {gene: i + 1 for i, gene in enumerate(keywords["gene_id"].to_list())}
    both = sv.search.genes(reader, words)
    wanted = {gene: 1 / (60 + place[gene]) + (1 / (60 + match[gene]) if gene in match else 0) for gene in place}
    assert dict(both.select("gene_id", "score").iter_rows()) == pytest.approx(wanted)
    assert both["score"].is_sorted(descending=True)
    assert dict(both.select("gene_id", "meaning_rank").iter_rows()) == place
    assert {gene: rank for gene, rank in both.select("gene_id", "keyword_rank").iter_rows() if rank} == match
    said = {gene: "both" if gene in match else "meaning" for gene in place}
    assert dict(both.select("gene_id", "found_by").iter_rows()) == said


def test_ranks_share_the_best_of_equal_scores() -> None:
    scores = np.array([3, 5, 3, 1], np.float32)
    assert ranks(scores).tolist() == [2, 1, 2, 4]
    assert ranks(scores, scores > 1).tolist() == [2, 1, 2, np.inf]
    assert fused(ranks(scores), ranks(-scores, scores < 3)).tolist() == [1 / 62, 1 / 61, 1 / 62, 1 / 64 + 1 / 61]
    assert ranks(np.zeros(0, np.float32)).tolist() == []


def test_keywords_need_no_encoder(reader: Reader) -> None:
    keywords = Keywords(reader.texts, reader.gene_ids[1:])
    found = sv.search.genes(keywords, "glucose in blood")
    assert found["symbol"].to_list() == ["GCG"]  # INS is left out
    assert sv.search.genes(keywords, "zebrafish").columns == found.columns
    assert len(sv.search.genes(keywords, "zebrafish")) == 0
    assert len(sv.search.genes(keywords, "INS")) == 0
    for by in ("both", "meaning"):
        with pytest.raises(InputError, match=f"`by` {by} needs an encoder"):
            sv.search.genes(keywords, "glucose", by=by)
    with pytest.raises(InputError, match="`by` must be 'both' or 'meaning' or 'keywords'"):
        sv.search.genes(reader, "glucose", by="fuzzy")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="no words"):
        sv.search.genes(keywords, "  ")


def test_an_encoder_without_the_words_leaves_them_to_keywords(reader: Reader) -> None:
    texts = reader.texts
    store = sv.Store(Path(reader.vectors.table._folder.uri))
    tfidf = Reader(sv.embed.genes(store, texts, encoder="tfidf"), reader.gene_ids)
    found = sv.search.genes(tfidf, "GLP1")
    assert found["symbol"][0] == "GCG"
    assert found["meaning_rank"].null_count() == len(found)
    with pytest.raises(InputError, match="knows none of the words"):
        sv.search.genes(tfidf, "GLP1", by="meaning")
    with pytest.raises(InputError, match="knows none of the words"):
        sv.search.genes(tfidf, "zebrafish")


@pytest.mark.parametrize("by", ["both", "meaning", "keywords"])
@pytest.mark.parametrize("label", toy.LABELS)
def test_each_way_finds_the_label_that_the_words_describe(atlas: Atlas, label: str, by: sv.search.By) -> None:
    found = sv.search.words(atlas, toy.THEMES[label], by=by)
    assert (found.labels[0], found.by) == (label, by)
    assert found.encoder == ("" if by == "keywords" else "hash")
    np.testing.assert_allclose(found.ties.sum(axis=1), found.scores, rtol=1e-4, atol=1e-4)
    assert found.cells.sort("similarity", descending=True)["label"][0] == label
    assert set(found.genes["found_by"]) <= {by, "meaning"}


def test_an_atlas_without_an_encoder_is_searched_by_keywords(store: sv.Store, files: Path) -> None:
    atlas = sv.atlas.build(
        store, "plain", files / "reference.h5ad", label_key="cell_type", recipe=sv.RECIPES["expression"]
    )
    store.remove("gene_vectors")
    with pytest.raises(InputError, match="has no encoder that reads words"):
        sv.search.words(atlas, toy.THEMES["immune"])
    assert sv.search.words(atlas, toy.THEMES["immune"], by="keywords").labels[0] == "immune"
    with pytest.raises(InputError, match="no gene of atlas 'plain' is named 'zebrafish'"):
        sv.search.words(atlas, "zebrafish", by="keywords")


@pytest.mark.parametrize("words", ["TOY1 TOY9 TOY17", "OLD1 ANCIENT9", "expression of TOY1 and TOY9"])
def test_named_genes_lead_to_their_label(atlas: Atlas, words: str) -> None:
    found = sv.search.words(atlas, words, by="both")
    assert found.labels[0] == "beta"
    assert set(found.to_polars(2)["genes"][0]) & {"TOY1", "TOY9", "TOY17"}


def test_ways_count_by_the_spread_of_their_scores() -> None:
    # Two genes are named; the texts of 35 others have words of the description.
    rng = np.random.default_rng(0)
    profiles = rng.standard_normal((4, 200))
    profiles[:2, :2] += [[9], [-9]]  # labels that differ by the named genes more than by all others
    excess = _standardised(profiles)
    names, texts = np.zeros(200), np.zeros(200)
    names[:2], texts[5:40] = 1, rng.gamma(2, 5, 35)
    ranked = RankedGenes(np.arange(200), texts, None, texts, {0: "symbol", 1: "symbol"})
    alone = [replace(ranked, named={}), replace(ranked, keywords=names * 0)]
    parts = [excess @ _in_chance(_weights(one, excess)) for one in alone]
    assert parts[1].std() > 3 * parts[0].std()
    both = excess @ _in_chance(_weights(ranked, excess))
    wanted = sum(one / max(1, one.std()) for one in parts)
    assert np.corrcoef(both, wanted)[0, 1] == pytest.approx(1, abs=1e-5)
    assert _weights(ranked, excess).sum() == pytest.approx(1, abs=1e-5)


def test_a_label_that_the_words_name_is_first(atlas_with_terms: Atlas) -> None:
    for words, label in (
        ("Beta cells", "beta"),
        ("insulin secreting cell", "beta"),
        ("pancreatic A cell", "alpha"),
        ("ductal", "ductal"),
    ):
        found = sv.search.words(atlas_with_terms, words)
        assert (words, found.labels[0]) == (words, label)
        assert f"first, as the words are its name: {label}" in found.notes
    found = sv.search.words(atlas_with_terms, "pancreatic A cell", by="meaning")
    assert not any("its name" in note for note in found.notes)


def test_a_store_of_an_earlier_version_is_searched_by_keywords(store: sv.Store, atlas: Atlas) -> None:
    texts = atlas.texts
    rows = texts.snapshot.read()
    table = store.table("gene_texts/9606")
    table.tag(texts.release, table.write(rows.to_batches(), rows.schema, texts.manifest))  # without indexes
    old = sv.ingest.open_texts(store, "human")
    ids = atlas.profiles.gene_ids
    for words in ("insulin secretion", '"glucose sensing"', "TOY5", "macrophage"):
        one, two = (sv.search.genes(Keywords(of, ids), words, n=999) for of in (texts, old))
        assert one.equals(two)
        assert len(one)


def test_the_verb_searches_by_keywords(run: Run, store: sv.Store) -> None:
    ask = ("search", toy.THEMES["ductal"], "--store", store.uri, "--by", "keywords", "--json")
    of_atlas = json.loads(run(*ask, "--genes", "--atlas", "toy", "-n", "7")[1])
    of_release = json.loads(run(*ask, "--genes", "--taxon", "human", "-n", "7")[1])
    assert of_atlas == of_release
    assert {row["found_by"] for row in of_atlas} == {"keywords"}
    code, out, err = run(*ask[:-3], "--json", "--genes", "--taxon", "human", "-n", "7")  # which no encoder can read
    assert (code, json.loads(out)) == (0, of_release)
    assert "--encoder NAME adds" in err
    code, out, err = run("search", "zebrafish", "--store", store.uri, "--genes", "--taxon", "human", "--json")
    assert (code, json.loads(out)) == (0, [])
    assert "no gene is called so" in err
    found = json.loads(run(*ask, "--atlas", "toy")[1])
    assert (found["by"], found["encoder"], found["labels"][0]["label"]) == ("keywords", "", "ductal")
    code, out, _ = run("search", "TOY3", "--genes", "--atlas", "toy", "--store", store.uri)
    assert code == 0
    assert out.splitlines()[0].split() == ["gene_id", "symbol", "name", "score", "found_by"]
    assert out.splitlines()[2].split()[1] == "TOY3"
