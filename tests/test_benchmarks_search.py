"""The benchmarks of search and of a query, on toy sizes: that they measure what they say."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import pytest

import scvec as sv
from benchmarks import query, search, ways
from benchmarks.peers import scale
from benchmarks.ways import EF, Judge, K, Way
from scvec import index as indexes
from scvec.index import Stored
from scvec.index.base import LISTS, OVERFETCH

FACTORY = "IVF8,RaBitQ"


@pytest.fixture(scope="module")
def judge() -> Judge:
    rng = np.random.default_rng(0)
    centres = rng.standard_normal((12, 64))
    vectors = (centres[rng.integers(0, 12, 900)] + rng.standard_normal((900, 64))).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    ids = np.arange(800) * 3 + 5
    return Judge(Stored.of(ids, vectors[:800]), vectors[800:])


def test_lists_are_made_once_and_judged_by_distance(judge: Judge, tmp_path: Path) -> None:
    index, n_bytes, seconds = ways.of_faiss(FACTORY, judge.stored, tmp_path)
    assert n_bytes > 800 * 64 / 8
    assert ways.of_faiss(FACTORY, judge.stored, tmp_path)[1:] == (n_bytes, seconds)
    every = {LISTS: 8, OVERFETCH: 785}
    assert judge.recall(ways.scvec(index), every) == 1
    coarse = judge.recall(ways.bare(index, over=False), every)
    assert coarse == judge.recall(ways.bare(index, over=True), every) < 0.9
    assert ways.bare(index, over=True)(judge.queries, every).shape == (100, 800)
    assert judge.recall(ways.scvec(index), {LISTS: 1, OVERFETCH: 785}) < 1


def test_refining_is_what_scvec_does(judge: Judge, tmp_path: Path) -> None:
    index, _, _ = ways.of_faiss(FACTORY, judge.stored, tmp_path)
    both = ways.refined(index, ways.flat(judge.stored))
    few = {LISTS: 3, OVERFETCH: 30}
    np.testing.assert_array_equal(both(judge.queries, few), ways.scvec(index)(judge.queries, few))


def test_tuning_reaches_the_target_with_little(judge: Judge, tmp_path: Path) -> None:
    index, _, _ = ways.of_faiss(FACTORY, judge.stored, tmp_path)
    parameters = ways.tuned(index, judge, 0.95)
    assert judge.recall(ways.scvec(index), parameters) >= 0.95

    def nearly(queries: Any, asked: ways.Parameters) -> Any:
        found = judge.stored.positions(indexes.search(indexes.Exact(judge.stored), queries, K).ids)
        return found if asked[EF] >= 100 else np.full_like(found, -1)

    assert 100 <= judge.least(nearly, EF, 500, 0.95)[EF] <= 113
    assert judge.least(lambda queries, _: nearly(queries, {EF: 1}), EF, 40, 0.95) == {EF: 40}


@pytest.mark.parametrize("name", list(ways.GRAPHS))
def test_graphs(judge: Judge, tmp_path: Path, name: str) -> None:
    pytest.importorskip(name)
    way = ways.GRAPHS[name](judge.stored, tmp_path)
    assert judge.recall(way.search, {EF: 400}) > 0.98
    assert way.n_bytes > 800 * 64 * 4
    again = ways.GRAPHS[name](judge.stored, tmp_path)
    assert again.build_s == way.build_s
    np.testing.assert_array_equal(way.search(judge.queries, {EF: 60}), again.search(judge.queries, {EF: 60}))


def test_search_in_table_and_picture(judge: Judge, tmp_path: Path) -> None:
    flat = ways.flat(judge.stored)
    entries = search.entries_of_lists(FACTORY, judge, tmp_path, flat, 0)
    search.measure(entries, judge.queries, 2)
    entries += search.exact(judge, flat, 1000)
    assert all(len(one.seconds) == 2 for one in entries[:-2])
    table = search.table(entries)
    assert len(table.splitlines()) == 2 + 8 + 2
    candidates = next(line for line in table.splitlines() if "FAISS, candidates" in line)
    assert candidates.split(" | ")[6] == "1.00"
    assert [one.recall for one in entries[-2:]] == [1, 1]
    search.picture(entries, 1000, tmp_path / "plots" / "search.png", "toy")
    assert (tmp_path / "plots" / "search.png").stat().st_size > 10_000


def test_ratios_are_within_a_turn(judge: Judge) -> None:
    way = Way("one", lambda _queries, _how: judge.stored.positions(judge.truth.ids), 0, 0)
    one, base = (search.Entry(way, {}, 1.0, None, 1.0, seconds) for seconds in ([1.0, 4.0, 9.0], [1.0, 2.0, 3.0]))
    assert search.ratio_of(one, base) == 2


def test_queries_are_embedded_as_a_query_is(atlas: sv.atlas.Atlas, files: Path) -> None:
    found = search.embedded(files / "query.h5ad", atlas, 30)
    np.testing.assert_array_equal(found, sv.annotate(files / "query.h5ad", atlas).vectors[:30])


def test_a_query_in_parts(store: sv.Store, files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(query, "WORK", tmp_path)
    (tmp_path / "query").mkdir()
    told = query.parts(str(store.uri), "toy", files / "query.h5ad")
    assert set(told["seconds"]) | {"python and imports"} == {*query.BARE, *query.REST}
    assert told["n_query"] == 41
    turns = [{"whole": 9.0, "parts": {"python and imports": 1.0, **told["seconds"]}}]
    assert query.table(turns).splitlines()[-1] == "| whole |  | 9.00 |  |"


def test_a_process_is_timed() -> None:
    seconds, megabytes, said = query.timed([sys.executable, "-c", "print(len(bytearray(10**8)))"])
    assert seconds > 0
    assert megabytes > 100
    assert said == "100000000\n"
    with pytest.raises(Exception, match="exit status 3"):
        query.timed([sys.executable, "-c", "raise SystemExit(3)"])


def test_another_tool_is_timed(files: Path, tmp_path: Path) -> None:
    asked = argparse.Namespace(
        method="logistic-regression",
        reference=files / "reference.h5ad",
        query=files / "query.h5ad",
        label_key="cell_type",
        batch_key="donor",
        beside=f"{sys.executable} -c pass",
        rounds=2,
    )
    found = scale.measure(asked)
    assert (found["n_reference"], found["n_query"]) == (120, 41)
    assert found["accuracy"] > 0.9
    assert [len(found[key]) for key in ("read_s", "annotate_s", "beside_s")] == [2, 2, 2]
    assert query.peers_table([found]).splitlines()[2].startswith("| logistic-regression |")


def test_other_tools_see_log1p_of_the_same_genes(files: Path) -> None:
    cells = ad.read_h5ad(files / "query.h5ad")
    genes = cells.var_names[::-1].tolist()
    found = scale.read_query(files / "query.h5ad", genes, None)
    x = cells[:, genes].X.toarray()
    np.testing.assert_allclose(found.X.toarray(), np.log1p(x / x.sum(1, keepdims=True) * 1e4), rtol=1e-5)
    assert list(found.obs) == ["batch"]
