"""Gene vectors in the store: what is encoded, when, and what a kill costs."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

import scvec as sv
from scvec.core.types import Floats
from scvec.embed import gene_vectors
from scvec.embed.encoders import make
from scvec.embed.encoders.simple import Hash
from scvec.errors import NotInStoreError


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


@pytest.mark.slow
def test_a_killed_run_goes_on_where_it_was(store: sv.Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """A real model in a real process, killed while it encodes; what was committed is not encoded again."""
    code = (
        "import sys; from scvec.embed import gene_vectors as g, text_vectors as t; t.COMMIT_TEXTS = 8; "
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
    np.testing.assert_allclose(
        genes.of(ids), make("minilm", texts.frame).encode(texts.frame["text"].to_list()), atol=2e-6
    )
