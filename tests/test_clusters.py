from __future__ import annotations

import builtins
import random
import sys
from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import polars as pl
import pytest

import scvec as sv
from scvec.annotation import writing
from scvec.annotation.clusters import Leiden, call_clusters, leiden
from scvec.annotation.result import Annotation
from scvec.atlas import Atlas
from scvec.core.types import Floats, Neighbors
from scvec.errors import InputError, KeyNotFoundError, MissingDependencyError
from tests import toy


def calls_of(scores: list[list[float]], rejected: list[bool] | None = None) -> Annotation:
    n = len(scores)
    strings = np.full(n, "", object)
    return Annotation(
        obs_names=strings,
        label=strings,
        label_id=strings,
        label_before_rejection=strings,
        reason=strings,
        confidence=np.ones(n, np.float32),
        novelty=np.zeros(n, np.float32),
        unexpected_genes=strings,
        score=np.zeros(n, np.float32),
        distance=np.zeros(n, np.float32),
        rejected=np.array(rejected or [False] * n),
        labels=("a", "b", "c"),
        scores=np.array(scores, np.float32),
        neighbors=Neighbors(np.zeros((n, 1), np.int64), np.zeros((n, 1), np.float32)),
        neighbor_names=np.full((n, 1), "", object),
        vectors=np.ones((n, 2), np.float32),
        provenance={},
    )


def blobs(n: int = 90, seed: int = 0) -> tuple[Floats, list[int]]:
    """Three groups of cells, of sizes in proportion 1 to 2 to 3, mixed."""
    rng = np.random.default_rng(seed)
    group = rng.permutation(np.repeat([0, 1, 2], [n // 6, n // 3, n // 2]))
    vectors = (np.eye(3, 8)[group] * 4 + rng.standard_normal((n, 8)) * 0.3).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True), group.tolist()


def test_a_cluster_is_called_by_the_sum_of_its_scores_not_by_heads() -> None:
    calls = calls_of([[0.6, 0.4, 0], [0.6, 0.4, 0], [0, 1, 0], [0, 0, 1]])
    result = call_clusters(calls, np.array(["x", "x", "x", "y"], object))
    assert result.cluster_label is not None
    assert result.cluster_label.tolist() == ["b", "b", "b", "c"]
    np.testing.assert_allclose(np.asarray(result.cluster_share), [0.6, 0.6, 0.6, 1.0], rtol=1e-6)
    assert result.label is calls.label
    assert call_clusters(calls, None) is calls


def test_rejected_cells_and_those_in_no_cluster_do_not_vote() -> None:
    calls = calls_of([[1, 0, 0], [0, 1, 0], [0, 1, 0], [0, 0, 1], [0, 0, 1]], [False, True, True, True, False])
    result = call_clusters(calls, np.array(["x", "x", "x", "y", ""], object))
    assert result.cluster_label is not None
    assert result.cluster_label.tolist() == ["a", "a", "a", sv.UNKNOWN, sv.UNKNOWN]
    assert np.asarray(result.cluster_share).tolist() == [1, 1, 1, 0, 0]
    assert result.to_frame(0)["cluster"].to_list() == ["x", "x", "x", "y", None]


@pytest.mark.parametrize("text", ["leiden", "leiden:0.5"])
def test_leiden_finds_groups_and_numbers_them_by_size(text: str) -> None:
    vectors, group = blobs()
    found = leiden(vectors, Leiden.parse(text))
    # A group may come in several clusters; no cluster has cells of two groups.
    assert all(len({group[i] for i in np.flatnonzero(found == one)}) == 1 for one in set(found.tolist()))
    sizes = np.bincount(found)
    assert (np.diff(sizes) <= 0).all()
    assert sizes.min() > 0


def test_the_resolution_makes_more_clusters() -> None:
    vectors, _ = blobs(300)
    assert leiden(vectors, Leiden(0.05)).max() < leiden(vectors, Leiden(3.0)).max()


def test_the_same_clusters_whatever_was_drawn_before_and_nothing_is_drawn() -> None:
    vectors = toy_vectors()
    first = leiden(vectors, Leiden(2.0))
    for seed in (1, 2, 3):
        random.seed(seed)
        state = random.getstate()
        np.testing.assert_array_equal(leiden(vectors, Leiden(2.0)), first)
        assert random.getstate() == state
    assert any((leiden(vectors, Leiden(2.0, seed)) != first).any() for seed in range(1, 9))


def toy_vectors() -> Floats:
    vectors = np.random.default_rng(0).standard_normal((200, 6)).astype(np.float32)
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), np.float32)


@pytest.mark.parametrize("n", [1, 2, 5])
def test_a_handful_of_cells(n: int) -> None:
    assert leiden(toy_vectors()[:n], Leiden()).min() == 0


@pytest.mark.parametrize(
    "text", ["louvain", "leiden:", "leiden:x", "leiden:0", "leiden:-1", "leiden:nan", "leiden:inf", ""]
)
def test_what_is_no_clustering(text: str) -> None:
    with pytest.raises(InputError, match="leiden:RESOLUTION"):
        Leiden.parse(text)


def test_without_igraph(monkeypatch: pytest.MonkeyPatch, atlas: Atlas, files: Path) -> None:
    real = builtins.__import__

    def refusing(name: str, *rest: Any) -> Any:
        if name == "igraph":
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.delitem(sys.modules, "igraph", raising=False)
    monkeypatch.setattr(builtins, "__import__", refusing)
    with pytest.raises(MissingDependencyError, match=r"pip install 'scvec\[cluster\]'"):
        sv.annotate(files / "query.h5ad", atlas, cluster="leiden")
    assert sv.annotate(files / "query.h5ad", atlas, cluster_key="donor").cluster is not None


def test_clusters_of_the_file(atlas: Atlas, files: Path) -> None:
    plain = sv.annotate(files / "query.h5ad", atlas)
    calls = sv.annotate(files / "query.h5ad", atlas, cluster_key="cell_type")
    assert plain.cluster is None
    assert "cluster" not in plain.to_frame().columns
    assert "scvec_cluster" not in plain.entries().obs
    truth = toy.cells(41, seed=1).obs["cell_type"].tolist()
    frame = calls.to_frame()
    assert frame["cluster"].to_list() == frame["cluster_label"].to_list() == truth
    assert frame.drop("cluster", "cluster_label", "cluster_share").equals(plain.to_frame())
    for label in toy.LABELS:
        cells = np.array(truth) == label
        own = calls.scores[cells, calls.labels.index(label)]
        np.testing.assert_allclose(np.asarray(calls.cluster_share)[cells], own.mean(), rtol=1e-5)
    assert calls.provenance["clusters"] == "cell_type"


def test_a_wrong_call_beside_the_right_one_of_its_cluster(atlas: Atlas, tmp_path: Path) -> None:
    """One cell of a cluster of beta cells is an alpha cell: its own call stays, the cluster's is beside it."""
    cells = toy.cells(40, seed=1)
    cells.obs["mine"] = ["odd" if i in (0, 1, 5, 9) else f"c{i}" for i in range(40)]
    cells.write_h5ad(tmp_path / "q.h5ad")
    calls = sv.annotate(tmp_path / "q.h5ad", atlas, cluster_key="mine")
    assert calls.label[[0, 1, 5, 9]].tolist() == ["alpha", "beta", "beta", "beta"]
    assert calls.cluster_label is not None
    assert calls.cluster_label[[0, 1, 5, 9]].tolist() == ["beta"] * 4


def test_leiden_clusters_of_a_query_with_an_empty_cell(atlas: Atlas, tmp_path: Path) -> None:
    cells = toy.cells(80, seed=1, form="dense")
    cells.X[2] = 0
    cells.write_h5ad(tmp_path / "q.h5ad")
    calls = sv.annotate(tmp_path / "q.h5ad", atlas, cluster="leiden")
    assert calls.cluster is not None
    assert calls.cluster_label is not None
    assert (calls.cluster[2], calls.cluster_label[2]) == ("", sv.UNKNOWN)
    assert "0" in calls.cluster
    kept = np.arange(80) != 2
    assert calls.cluster_label[kept].tolist() == cells.obs["cell_type"][kept].tolist()
    for name in ("c.parquet", "c.csv", "c.h5ad"):
        writing.write(calls, tmp_path / name, tmp_path / "q.h5ad")
    assert pl.read_parquet(tmp_path / "c.parquet").equals(calls.to_frame())
    assert pl.read_csv(tmp_path / "c.csv")["cluster_label"].to_list() == calls.cluster_label.tolist()
    read = ad.read_h5ad(tmp_path / "c.h5ad").obs
    assert read["scvec_cluster_label"].tolist() == calls.cluster_label.tolist()
    assert read["scvec_cluster"].isna().tolist() == (calls.cluster == "").tolist()
    np.testing.assert_array_equal(read["scvec_cluster_share"], np.asarray(calls.cluster_share))


def test_clusters_asked_for_wrongly(atlas: Atlas, files: Path) -> None:
    with pytest.raises(InputError, match="`cluster_key` and `cluster`"):
        sv.annotate(files / "query.h5ad", atlas, cluster="leiden", cluster_key="donor")
    with pytest.raises(KeyNotFoundError, match="`cluster_key` 'leiden'"):
        sv.annotate(files / "query.h5ad", atlas, cluster_key="leiden")
