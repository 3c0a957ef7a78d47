"""Embedding by a server into the store: what a kill, a lie or a refusal costs, and what is never stored."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import scvec as sv
from scvec.cli import main
from scvec.embed import text_vectors
from scvec.errors import InputError
from tests.api_server import ApiServer, vectors_of

KEY = "sk-a-key-that-must-be-seen-nowhere"
BATCH = 64


@pytest.fixture
def use(monkeypatch: pytest.MonkeyPatch) -> Callable[[ApiServer], None]:
    """Point the environment at a server, and make batches of 64 texts."""

    def at(server: ApiServer) -> None:
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        monkeypatch.setenv("OPENAI_API_KEY", KEY)
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        monkeypatch.setattr(text_vectors, "COMMIT_TEXTS", BATCH)

    return at


def embed(store: sv.Store, encoder: str = "openai:toy") -> sv.embed.GeneVectors:
    return sv.embed.genes(store, sv.ingest.open_texts(store, "human"), encoder=encoder)


def stored(store: sv.Store) -> int:
    folders = [f"gene_vectors/openai-toy/{one}" for one in store.children("gene_vectors/openai-toy")]
    return sum(len(store.table(one).latest()) for one in folders if store.table(one).exists)


def asked(server: ApiServer) -> list[str]:
    return [text for texts in server.inputs for text in texts]


def test_every_text_is_asked_for_once_and_gets_its_own_vector(
    store: sv.Store, use: Callable[[ApiServer], None]
) -> None:
    with ApiServer() as server:
        use(server)
        genes = embed(store)
        assert embed(store).n_encoded == 0
    texts = sv.ingest.open_texts(store, "human").frame
    assert (genes.encoder, genes.n_encoded, genes.dimension) == ("openai:toy", 240, 8)
    assert sorted(asked(server)) == sorted(texts["text"])
    np.testing.assert_array_equal(genes.of(texts["gene_id"].to_numpy()), vectors_of(texts["text"].to_list(), 8))
    assert set(server.authorizations) == {f"Bearer {KEY}"}
    assert not any(KEY.encode() in path.read_bytes() for path in Path(store.uri).rglob("*") if path.is_file())


def test_an_atlas_is_built_on_vectors_of_a_server(
    store: sv.Store, files: Path, use: Callable[[ApiServer], None]
) -> None:
    with ApiServer() as server:
        use(server)
        embed(store, "openai:toy?dimensions=5")
    # The server is gone: neither building nor querying asks it.
    recipe = sv.RECIPES["genept-w"].with_encoder("openai:toy?dimensions=5")
    atlas = sv.atlas.build(store, "paid", files / "reference.h5ad", label_key="cell_type", recipe=recipe)
    assert atlas.manifest["dimension"] == 5
    assert (
        sv.annotate(files / "query.h5ad", atlas).provenance["atlas"]["recipe"]["encoder"] == "openai:toy?dimensions=5"
    )


def test_vectors_of_two_servers_never_mix(
    store: sv.Store, files: Path, use: Callable[[ApiServer], None], tmp_path: Path
) -> None:
    revisions = []
    for _ in range(2):
        with ApiServer() as server:
            use(server)
            revisions.append(embed(store).revision)
    assert len(set(revisions)) == 2
    build = ["atlas", "build", "two", str(files / "reference.h5ad"), "--label-key", "cell_type", "--store", store.uri]
    with pytest.raises(InputError, match="several revisions") as caught:
        sv.embed.open_genes(store, sv.ingest.open_texts(store, "human"), encoder="openai:toy")
    assert all(one in str(caught.value) for one in revisions)
    recipe = tmp_path / "second.toml"
    recipe.write_text(f'name = "second"\nencoder = "openai:toy"\nencoder_revision = "{revisions[1]}"\n')
    assert main([*build, "--recipe", str(recipe)]) == 0
    assert sv.atlas.open_atlas(store, "two").recipe.encoder_revision == revisions[1]


@pytest.mark.parametrize("lie", ["short", "reordered", "NaN", "one longer", "half", "echo"])
def test_what_a_server_gets_wrong_is_an_error_and_never_a_vector(
    store: sv.Store, use: Callable[[ApiServer], None], capsys: pytest.CaptureFixture[str], lie: str
) -> None:
    """The third batch goes wrong: the two before it are kept, and a second run asks for no more than the rest."""
    with ApiServer(lie=lie, at=6) as server:  # two requests a batch
        use(server)
        assert main(["embed", "--taxon", "human", "--encoder", "openai:toy", "--store", store.uri]) == 2
        line = capsys.readouterr().err
        assert len(line.splitlines()) == 1
        assert "nothing of this batch was stored" in line
        assert KEY not in line
        assert stored(store) == 2 * BATCH
        server.lie = None
        n_before = len(asked(server))
        assert embed(store).n_encoded == 240 - 2 * BATCH
        assert len(asked(server)) - n_before == 240 - 2 * BATCH


def test_a_limit_is_waited_for(store: sv.Store, use: Callable[[ApiServer], None]) -> None:
    with ApiServer(limited=3, retry_after="0.3") as server:
        use(server)
        start = time.monotonic()
        assert embed(store).n_encoded == 240
        assert time.monotonic() - start > 0.3
    assert stored(store) == 240


def test_a_kill_costs_at_most_one_batch(store: sv.Store, use: Callable[[ApiServer], None]) -> None:
    code = (
        "import sys; from scvec.embed import gene_vectors as g, text_vectors as t; "
        f"t.COMMIT_TEXTS = {BATCH}; import scvec as sv; s = sv.Store(sys.argv[1]); "
        "g.genes(s, sv.ingest.open_texts(s, 'human'), encoder='openai:toy')"
    )
    with ApiServer(pause=0.2) as server:
        use(server)
        process = subprocess.Popen([sys.executable, "-c", code, store.uri], env=os.environ.copy())
        deadline = time.monotonic() + 60
        # Killed while the third batch is under way.
        while len(server.bodies) < 5 and time.monotonic() < deadline:
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        process.wait()
        kept = stored(store)
        paid = len(asked(server))
        assert kept in (BATCH, 2 * BATCH)
        assert paid - kept <= BATCH
        server.pause = 0
        assert embed(store).n_encoded == 240 - kept
    # Nothing that was stored was asked for again.
    texts = asked(server)
    assert len(texts) <= 240 + BATCH
    assert set(texts) == set(sv.ingest.open_texts(store, "human").frame["text"])
