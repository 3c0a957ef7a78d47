"""``scvec name --rerank``: a language model orders the names that texts gave, and can add none."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

import scvec as sv
from scvec.cli import main
from scvec.ontology.tables import write_ontology
from tests import toy, toy_ontology
from tests.chat_server import ChatServer, labels_of

Run = Callable[..., tuple[int, str, str]]
pytest.importorskip("openai")

N = 4
NAME = ("name", "query.h5ad", "--cluster-key", "cell_type", "--encoder", "hash", "-n", N)


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], tmp_path: Path, store: sv.Store, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SCVEC_STORE", store.uri)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    for variable in ("OPENAI_API_KEY", "OPENAI_BASE_URL", "OPENAI_CUSTOM_HEADERS"):
        monkeypatch.delenv(variable, raising=False)
    write_ontology(store, toy_ontology.TOY, {})
    toy.cells(41, seed=1).write_h5ad("query.h5ad")

    def run(*arguments: object) -> tuple[int, str, str]:
        code = main([str(one) for one in arguments])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


def test_an_order_stands_beside_that_of_texts(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run(*NAME, "--tissue", "islet", "--out", "before.csv")[0] == 0
    with ChatServer() as server:  # which turns the order around
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        code, out, err = run(*NAME, "--rerank", "openai:toy", "--tissue", "islet", "--out", "after.csv")
        assert code == 0, err
        asked = len(server.bodies)
        again, said, _ = run(*NAME, "--rerank", "openai:toy", "--tissue", "islet", "--json")
        assert (again, len(server.bodies)) == (0, asked)  # the answers are kept
        shown = labels_of(server.bodies[0])
        words = json.dumps(server.bodies[0])
    before, after = pl.read_csv("before.csv"), pl.read_csv("after.csv")
    assert after["llm_rank"].to_list() == [*range(N, 0, -1)] * len(toy.LABELS)
    assert after.drop("llm_rank").equals(before)
    assert sorted(shown) in [sorted(one["name"].to_list()) for _, one in before.group_by("cluster")]
    assert "the type of cells of islet that express more" in words
    assert "LLM's rank" in out
    assert f"openai:toy ordered the names of {len(toy.LABELS)} of {len(toy.LABELS)} clusters" in err
    clusters = json.loads(said)["clusters"]
    assert [one["llm_rank"] for one in clusters[0]["names"]] == [4, 3, 2, 1]


@pytest.mark.parametrize("how", ["abstains", "invents"])
def test_what_is_no_order_leaves_that_of_texts(run: Run, monkeypatch: pytest.MonkeyPatch, how: str) -> None:
    server = ChatServer(abstain=True) if how == "abstains" else ChatServer(lie="invented")
    with server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        code, _, err = run(*NAME, "--rerank", "openai:toy", "--out", "a.parquet")
    assert code == 0, err
    frame = pl.read_parquet("a.parquet")
    assert frame["llm_rank"].null_count() == len(frame)
    assert "unicorn cell" not in frame["name"].to_list()
    assert f"ordered the names of 0 of {len(toy.LABELS)} clusters" in err


def test_what_cannot_be_is_one_line(run: Run) -> None:
    for more, said in (
        (("--max-cost", "1"), "--max-cost without --rerank has no effect"),
        (("--rerank", "openai:toy", "-n", "21"), "--n must be from 2 to 20 with --rerank"),
        (("--rerank", "martian:toy"), "--rerank must be openai:MODEL or hf:MODEL"),
    ):
        code, out, err = run(*NAME, *more)
        assert (code, out) == (2, "")
        assert said in err
        assert len(err.strip().splitlines()) == 1
