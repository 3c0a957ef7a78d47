"""Indexes of columns: words of texts, values and members of lists, of every release."""

from __future__ import annotations

import pickle
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest

import scvec as sv
from scvec.errors import ConflictError
from scvec.ingest.genes.template import TEXT_INDEXES, with_texts
from scvec.ontology.tables import INDEXES, TABLE, write_ontology
from scvec.store import ColumnIndex, Store, Table
from scvec.store.column_index import create
from tests import toy
from tests.toy_ontology import TOY

TEXTS = (
    "Ghrelin is secreted by cells of the stomach.",
    "The growth hormone receptor.",
    "A hormone that slows growth.",
    "Kinases of the pituitary; growth hormone.",
)
WORDS = ColumnIndex("text", "text")


@pytest.fixture
def table(tmp_path: Path) -> Table:
    made = Store(tmp_path / "s").table("t")
    rows = pa.table({"n": range(4), "text": TEXTS, "names": [["a", "b"], ["b"], [], ["c d"]]})
    made.write(rows.to_batches(), rows.schema, {})
    return made


def found(table: Table, words: str) -> list[int]:
    return list(table.latest().matching(words, "text", ["n"])["n"].to_pylist())


def test_missing_indexes_are_made_once(table: Table) -> None:
    wanted = (WORDS, ColumnIndex("n", "value"), ColumnIndex("names", "members"), ColumnIndex("names", "text"))
    assert table.latest().without(wanted) == list(wanted)
    version = table.index_columns(1, wanted)
    assert table.latest().version == version == 5
    assert table.latest().without(wanted) == []
    assert table.index_columns(version, wanted) == version
    assert table.at(1).without(wanted) == list(wanted)  # as it was
    assert table.latest().matching("C", "names", ["n"])["n"].to_pylist() == [3]
    assert table.latest().read().equals(table.at(1).read())


@pytest.mark.parametrize("indexed", [False, True])
def test_words_are_found_by_stems_and_phrases_as_they_are(table: Table, indexed: bool) -> None:
    if indexed:
        table.index_columns(1, [WORDS])
    assert table.latest().without([WORDS]) == ([] if indexed else [WORDS])
    assert found(table, "growth hormone") == found(table, "GROWTH HORMONES")
    assert sorted(found(table, "growth hormone")) == [1, 2, 3]
    assert sorted(found(table, '"growth hormone"')) == [1, 3]
    assert found(table, '"growth hormone" kinase') == [3, 1]
    assert found(table, "secreting") == [0]
    assert found(table, "the of") == []
    again = table.latest()
    for words in ("growth hormone kinase", "ghrelin"):
        scores = again.matching(words, "text", ["n"])["score"].to_pylist()
        assert scores == sorted(scores, reverse=True)
        assert scores[-1] > 0


def test_an_index_and_a_copy_in_memory_agree(table: Table) -> None:
    words = "growth hormone pituitary"
    there = table.latest()
    before = there.matching(words, "text", ["n", "names"])
    again = pickle.loads(pickle.dumps(there))
    assert again.matching(words, "text", ["n", "names"]).equals(before)
    table.index_columns(1, [WORDS])
    assert table.latest().matching(words, "text", ["n", "names"]).equals(before)


def test_ties_are_in_the_order_of_the_table(tmp_path: Path) -> None:
    table = Store(tmp_path / "s").table("t")
    rows = pa.table({"n": range(50), "text": ["ghrelin"] * 50})
    for version in (table.write(rows.to_batches(), rows.schema, {}), table.index_columns(1, [WORDS])):
        assert table.at(version).matching("ghrelin", "text", ["n"])["n"].to_pylist() == list(range(50))


@pytest.mark.parametrize("words", ["", "  ", "?!", '"', '""', "zebrafish", "* : ( [ ^", "AND NOT"])
def test_words_of_no_text_find_nothing(table: Table, words: str) -> None:
    assert found(table, words) == []
    table.index_columns(1, [WORDS])
    assert found(table, words) == []
    assert table.latest().matching(words, "text", ["n"]).column_names == ["n", "score"]


def test_an_older_version_gets_its_indexes_as_a_new_one(table: Table) -> None:
    table.tag("a", 1)
    rows = pa.table({"n": [9], "text": ["ghrelin"], "names": [["x"]]})
    table.tag("b", table.write(rows.to_batches(), rows.schema, {}))
    version = table.index_columns(1, [WORDS])
    assert table.tags() == {"a": 1, "b": 2}  # whoever asks moves the tag
    assert table.at(version).read().equals(table.at(1).read())
    assert table.at(version).matching("secretion", "text", ["n"])["n"].to_pylist() == [0]


def test_two_writers_do_not_mix(table: Table) -> None:
    opened = table._open(1)
    rows = pa.table({"n": [9], "text": ["ghrelin"], "names": [["x"]]})
    table.write(rows.to_batches(), rows.schema, {})
    with pytest.raises(Exception, match="ncompatible"):
        create(opened, [WORDS])
    assert table.latest().read()["n"].to_pylist() == [9]


def test_another_writer_is_named(table: Table, monkeypatch: pytest.MonkeyPatch) -> None:
    there = table._open

    def later(version: int | str | None = None) -> object:
        opened = there(version)
        if version is not None and table.latest().version == 1:
            rows = pa.table({"n": [9], "text": ["ghrelin"], "names": [["x"]]})
            table.write(rows.to_batches(), rows.schema, {})
        return opened

    before = table.at(1)
    monkeypatch.setattr(table, "_open", later)
    monkeypatch.setattr(table, "at", lambda _: before)
    with pytest.raises(ConflictError, match="another process has written to it: expected version 1"):
        table.index_columns(1, [WORDS])


def test_every_release_of_gene_texts_is_indexed(store: Store) -> None:
    texts = sv.ingest.open_texts(store, "human")
    assert texts.snapshot.without(TEXT_INDEXES) == []
    marker = toy.FIRST_ID[toy.HUMAN] + 1
    assert marker in texts.snapshot.matching("insulin", "text", ["gene_id"])["gene_id"].to_pylist()
    genes = texts.frame.drop("text", "text_sha256", "source")
    second = genes.with_columns(summary=genes["summary"].str.replace("insulin", "amylin"))
    from scvec.ingest.genes.gene_texts import write_texts

    later = write_texts(store, toy.HUMAN, with_texts(second), "later", {})
    assert later.snapshot.without(TEXT_INDEXES) == []
    assert later.snapshot.matching("insulin", "text", ["gene_id"]).num_rows == 0
    assert marker in later.snapshot.matching("amylin", "text", ["gene_id"])["gene_id"].to_pylist()
    first = sv.ingest.open_texts(store, "human", texts.release).snapshot
    assert first.matching("insulin", "text", ["gene_id"]).num_rows
    assert first.matching("amylin", "text", ["gene_id"]).num_rows == 0
    assert list(store.table(f"gene_texts/{toy.HUMAN}").tags()) == [texts.release, "later"]


def test_every_release_of_the_ontology_is_indexed(tmp_path: Path) -> None:
    store = Store(tmp_path / "s")
    for release in ("1", "2"):
        write_ontology(store, replace(TOY, release=release), {})
    for release in ("1", "2"):
        there = store.table(TABLE).at(release)
        assert there.without(INDEXES) == []
        term = next(term for term in TOY.terms.values() if term.synonyms)
        assert term.id in there.matching(term.synonyms[0], "synonyms", ["id"])["id"].to_pylist()
        assert term.id in there.matching(term.name, "name", ["id"])["id"].to_pylist()
