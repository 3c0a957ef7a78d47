"""A store as LanceDB's users see it: encoders in its registry."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from lancedb.embeddings import get_registry

import scvec as sv
from scvec.core.types import Floats
from scvec.embed import gene_vectors
from scvec.embed.encoders import make
from scvec.embed.encoders.simple import Hash
from scvec.embed.searchable import NAME, STORE, functions_of
from scvec.errors import InputError, MismatchError
from scvec.lancedb import GeneTextEncoder
from scvec.store import FUNCTIONS

WORDS = "insulin secretion by beta cells"


def opened(store: sv.Store, path: str) -> Any:
    """Return a table as LanceDB opens it, at its newest version."""
    import lancedb

    folder, _, name = path.rpartition("/")
    return lancedb.connect(f"{store.uri}/{folder}").open_table(name)


@pytest.fixture
def named() -> Iterator[None]:
    """Forget the store that a test names."""
    yield
    get_registry()._variables.pop(STORE, None)


def by_hand(store: sv.Store, encoder: str, revision: str) -> list[str]:
    """Return the hashes of all texts, the nearest to the words first."""
    texts = sv.ingest.open_texts(store, "human")
    asked = np.asarray(make(encoder, texts.frame).encode([WORDS]), np.float64)[0]
    rows = pl.DataFrame(store.table(f"gene_vectors/{encoder}/{revision}").latest().read())
    vectors = rows["vector"].to_numpy().astype(np.float64)
    lengths = np.linalg.norm(vectors, axis=1) * np.linalg.norm(asked)
    return rows["text_sha256"].gather(np.argsort(-(vectors @ asked) / lengths, kind="stable")).to_list()


@pytest.mark.parametrize("encoder", ["hash", "tfidf"])
def test_words_are_encoded_by_the_encoder_of_the_table(store: sv.Store, encoder: str, named: None) -> None:
    texts = sv.ingest.open_texts(store, "human")
    vectors = sv.embed.genes(store, texts, encoder=encoder)
    get_registry().set_var(STORE, store.uri)
    found = opened(store, vectors.table.path).search(WORDS).distance_type("cosine").limit(len(texts)).to_polars()
    distances = dict(found.select("text_sha256", "_distance").iter_rows())
    expected = by_hand(store, encoder, vectors.revision)
    assert distances.keys() == set(expected)
    in_order = np.array([distances[one] for one in expected])
    assert np.all(np.diff(in_order) > -1e-6)
    assert in_order[0] < in_order[-1]
    genes = opened(store, "gene_texts/9606").to_polars().select("text_sha256", "symbol").collect()
    best = found.head(1).join(genes, on="text_sha256")["symbol"][0]
    assert best in texts.frame.filter(pl.col("text_sha256") == expected[0])["symbol"].to_list()


def test_an_encoder_that_is_fitted_on_texts_asks_for_their_store(store: sv.Store, named: None) -> None:
    texts = sv.ingest.open_texts(store, "human")
    path = sv.embed.genes(store, texts, encoder="tfidf").table.path
    with pytest.raises(MismatchError, match=r'at revision 1-e3b0c44298fc1c14 here.*set_var\("scvec_store"'):
        opened(store, path).search(WORDS)
    get_registry().set_var(STORE, store.uri)
    table = opened(store, path)
    assert len(table.search(WORDS).limit(3).to_polars()) == 3
    with pytest.raises(InputError, match="knows none of the words"):
        table.search("xyzzy")


def test_other_weights_are_one_clear_error(store: sv.Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """An error comes at once: LanceDB would try again for minutes."""

    class Other(Hash):
        revision = "0"

        def encode(self, texts: Sequence[str]) -> Floats:
            return super().encode(texts)

    monkeypatch.setattr(gene_vectors, "make", lambda *_args, **_options: Other())
    vectors = sv.embed.genes(store, sv.ingest.open_texts(store, "human"), encoder="hash")
    table = opened(store, vectors.table.path)
    with pytest.raises(MismatchError, match="encoder 'hash' is at revision 1 here: expected 0, which made the vectors"):
        table.search(WORDS)
    with pytest.raises(InputError, match="no words"):
        opened(store, "gene_vectors/hash/1").search(" ")


def test_the_metadata_is_what_lancedb_itself_would_write(store: sv.Store) -> None:
    from lancedb.embeddings import EmbeddingFunctionConfig

    function = get_registry().get(NAME).create(encoder="hash", revision="1", dimension=384, store=f"$var:{STORE}:")
    conf = EmbeddingFunctionConfig(vector_column="vector", source_column="text", function=function)
    theirs = get_registry().get_table_metadata([conf])["embedding_functions"]
    ours = functions_of(Hash())[FUNCTIONS]
    assert json.loads(ours) == json.loads(theirs)
    read = get_registry().parse_functions(dict(functions_of(Hash())))["vector"]
    assert isinstance(read.function, GeneTextEncoder)
    assert (read.function.ndims(), read.function.store) == (384, "")
    assert get_registry().get(NAME) is GeneTextEncoder


def test_vectors_without_words_or_metadata(store: sv.Store, tmp_path: Path) -> None:
    """Vectors of a file read no words; a table of an earlier version has no metadata, and grows as before."""
    texts = sv.ingest.open_texts(store, "human")
    np.savez(tmp_path / "given.npz", names=np.array(["TOY1", "TOY2"]), vectors=np.eye(2, dtype=np.float32))
    given = sv.embed.genes(store, texts, encoder=f"file:{tmp_path / 'given.npz'}")
    assert given.table.latest().schema.metadata.keys() == {b"scvec"}
    with pytest.raises(ValueError, match="INVERTED index"):
        opened(store, given.table.path).search(WORDS).to_arrow()

    table = store.table("gene_vectors/hash/1")
    old = table.latest()
    rows, older = old.read(), old.schema.with_metadata({b"scvec": old.schema.metadata[b"scvec"]})
    table.commit(table.stage(rows.slice(0, 200).cast(older)), older, old.manifest)
    again = sv.embed.genes(store, texts, encoder="hash")
    assert (again.n_encoded, len(table.latest())) == (40, 240)
    assert FUNCTIONS not in table.latest().schema.metadata


def test_vectors_that_grow_keep_the_metadata(store: sv.Store) -> None:
    texts = sv.ingest.open_texts(store, "human")
    some = texts.frame["gene_id"].to_numpy()[:20]
    table = sv.embed.genes(store, texts, encoder="random", gene_ids=some).table
    first = table.latest().schema.metadata
    sv.embed.genes(store, texts, encoder="random")
    assert len(table.latest()) == 240
    assert table.latest().schema.metadata == first
    assert FUNCTIONS in first


def test_without_scvec_a_table_is_searched_by_vectors(store: sv.Store) -> None:
    code = (
        "import sys, lancedb\n"
        "table = lancedb.connect(sys.argv[1]).open_table('1')\n"
        "print(len(table.search([1.0] * 384).limit(3).to_polars()), 'scvec' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, f"{store.uri}/gene_vectors/hash"], capture_output=True, text=True, check=False
    )
    assert done.stdout.split() == ["3", "False"], done.stderr


def test_lancedb_is_imported_where_it_is_asked_for() -> None:
    code = "import sys, scvec; print('lancedb' in sys.modules); scvec.lancedb; print('lancedb' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.split() == ["False", "True"], done.stderr
