"""Vectors of texts in the store: each text once, in any order, whatever it is a text of."""

from __future__ import annotations

import numpy as np

import scvec as sv
from scvec.embed.encoders.simple import Hash
from scvec.embed.text_vectors import TextTable, encoded, hash_of


def test_each_text_is_stored_once_and_found_in_any_order(store: sv.Store) -> None:
    model = Hash()
    texts = ["a cell", "a longer text of a cell", "a cell", ""]
    np.testing.assert_array_equal(encoded(store, "things", texts, model), model.encode(texts))
    table = TextTable.of(store, "things", model.name, model.revision)
    assert len(table.table.latest()) == 3
    more = ["another", *reversed(texts)]
    np.testing.assert_array_equal(encoded(store, "things", more, model), model.encode(more))
    assert len(table.table.latest()) == 4
    assert table.table.latest().manifest["kind"] == "things"
    assert TextTable.of(store, "things", model.name, model.revision).positions.keys() == set(map(hash_of, more))


def test_no_texts_are_no_vectors(store: sv.Store) -> None:
    assert encoded(store, "things", [], Hash()).shape == (0, 384)
    assert not store.children("things")


def test_an_encoder_of_a_package_that_is_gone_is_left_out(store: sv.Store) -> None:
    texts = sv.ingest.open_texts(store, "human")
    genes = texts.frame["gene_id"].to_numpy()
    before = sv.embed.encoders_there(store, texts, genes)
    assert before == ["hash"]

    class Gone(Hash):
        name = "gone"

    encoded(store, "gene_vectors", texts.frame["text"].to_list(), Gone())
    assert sv.embed.encoders_there(store, texts, genes) == before
    assert sv.embed.encoder_for(store, texts, genes) == "tfidf"
