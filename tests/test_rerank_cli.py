"""``--rerank`` on the command line: what it says, what it costs, and one line for invalid options."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

import scvec as sv
from scvec.cli import main
from tests import unsure
from tests.chat_server import ChatServer

Run = Callable[..., tuple[int, str, str]]
pytest.importorskip("openai")


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], tmp_path: Path, store: sv.Store, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SCVEC_STORE", store.uri)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    for variable in ("OPENAI_API_KEY", "OPENAI_BASE_URL", "OPENAI_CUSTOM_HEADERS"):
        monkeypatch.delenv(variable, raising=False)
    unsure.write(tmp_path)

    def run(*arguments: object) -> tuple[int, str, str]:
        code = main([str(one) for one in arguments])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


QUERY = ("query", "unsure.h5ad", "--atlas", "toy")
ASKED = ("--rerank", "openai:toy", "--rerank-error", "0.001")


def test_query_reranks_and_says_how_many(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    with ChatServer() as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        code, out, err = run(*QUERY, *ASKED, "--cluster-key", "cluster", "--tissue", "pancreas", "--out", "a.parquet")
        assert code == 0, err
        assert f"{unsure.N_CLUSTERS} of 6 uncertain clusters were reordered by openai:toy" in out
        assert "was asked about 6 of 6 clusters: 6 reordered; 6 calls" in err
        frame = pl.read_parquet("a.parquet")
        assert (frame["reranked_label"] != frame["cluster_label"]).all()
        assert set(frame["rerank_status"]) == {"reordered"}
        n = len(server.bodies)
        again = run(*QUERY, *ASKED, "--cluster-key", "cluster", "--tissue", "pancreas", "--out", "b.h5ad", "--json")
        assert len(server.bodies) == n
        made = json.loads(again[1])["rerank"]
        assert (made["calls"], len(made["cases"]), made["tissue"]) == (0, 6, "pancreas")
        code, out, err = run(
            *QUERY, *ASKED, "--rerank-by", "cell", "--max-cost", "0.012", "--price", "1,4", "--out", "c.csv"
        )
        assert code == 0
        assert "cells were not asked: the limit of $0.012 was reached" in err
        assert "unasked" in pl.read_csv("c.csv")["rerank_status"].to_list()
        assert "cluster" not in pl.read_csv("c.csv").columns


def test_clusters_are_made_where_none_are_asked_for(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("igraph")
    with ChatServer() as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        code, _, err = run(*QUERY, *ASKED, "--out", "calls.csv")
    assert code == 0, err
    assert pl.read_csv("calls.csv")["cluster"].n_unique() > 1


def test_a_dry_run_asks_and_writes_nothing(run: Run, store: sv.Store, monkeypatch: pytest.MonkeyPatch) -> None:
    dry = (*QUERY, *ASKED, "--cluster-key", "cluster", "--out", "calls.csv", "--dry-run")
    with ChatServer() as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        code, out, _ = run(*dry)
        assert code == 0
        assert "openai:toy: 6 cases to ask, 0 answered before; about " in out
        assert "cost: unknown: no list price, give --price" in out
        bill = json.loads(run(*dry, "--price", "1,4", "--json")[1])
        assert 0 < bill["usd"] < bill["usd_at_most"]
        assert not server.bodies
    assert not Path("calls.csv").exists()
    assert not Path(store.uri, "answers").exists()
    # OpenAI's list price, and no key for it.
    monkeypatch.delenv("OPENAI_BASE_URL")
    listed = json.loads(run(*dry, "--rerank", "openai:gpt-4o-mini", "--json")[1])
    assert listed["usd"] == pytest.approx((listed["tokens_in"] * 0.15 + listed["tokens_out"] * 0.60) / 1e6)


def test_evaluate_reranks_too_and_judges_the_retrieval(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    evaluate = ("evaluate", "unsure.h5ad", "--atlas", "toy", "--label-key", "cell_type", "--json")
    plain = json.loads(run(*evaluate)[1])
    with ChatServer() as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        code, out, err = run(*evaluate, *ASKED, "--cluster-key", "cluster")
    assert code == 0, err
    assert json.loads(out)["accuracy"] == plain["accuracy"]
    assert len(json.loads(out)["rerank"]["cases"]) == 6
    assert run(*evaluate, *ASKED, "--dry-run")[0] == 2


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--max-cost", "1"), "--max-cost without --rerank"),
        (("--tissue", "blood", "--rerank-by", "cell"), "--rerank-by, --tissue without --rerank"),
        (("--dry-run",), "--dry-run without --rerank"),
        (("--rerank", "gpt-4o"), "--rerank must be openai:MODEL or hf:MODEL (got 'gpt-4o')"),
        (("--rerank", "openai:toy?format=yaml"), "schema or object or text"),
        (("--rerank", "hf:/nowhere"), "do not exist"),
        (("--rerank", "openai:toy", "--max-cost", "1"), "give --price"),
        (("--rerank", "openai:gpt-4o", "--price", "1"), "--price"),
        (("--rerank", "openai:gpt-4o", "--price", "a,b"), "--price"),
        (("--rerank", "openai:gpt-4o", "--price=-1,1"), "--price must be"),
        (("--rerank", "openai:gpt-4o", "--max-cost", "nan"), "--max-cost must be"),
        (("--rerank", "openai:gpt-4o", "--rerank-error", "1"), "--rerank-error must be between 0 and 1 (got 1.0)"),
        (("--rerank", "openai:gpt-4o", "--concurrency", "0"), "--concurrency must be at least 1 (got 0)"),
        (("--rerank", "openai:gpt-4o", "--tissue", "a\udcff"), "--tissue must be"),
        (("--rerank", "openai:gpt-4o", "--rerank-error", "0.001"), "export OPENAI_API_KEY"),
    ],
)
def test_an_invalid_option_is_one_line(run: Run, options: tuple[str, ...], said: str) -> None:
    code, out, err = run(*QUERY, "--cluster-key", "cluster", "--out", "calls.csv", "--quiet", *options)
    assert (code, out) == (2, "")
    assert len(err.splitlines()) == 1
    assert said in err
    assert not Path("calls.csv").exists()
