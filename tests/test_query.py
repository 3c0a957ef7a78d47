from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import anndata as ad
import h5py
import numpy as np
import polars as pl
import pytest
import scipy.sparse as sp
from anndata import AnnData

import scvec as sv
from scvec.annotation import writing
from scvec.atlas import Atlas
from scvec.cli import main
from scvec.errors import DiskFullError, InputError
from scvec.ingest.cells import matrix as matrix_module
from scvec.knn.options import Voting
from tests import toy


@pytest.fixture
def calls(atlas: Atlas, files: Path) -> sv.Annotation:
    return sv.annotate(files / "query.h5ad", atlas)


def test_calls_are_right_and_complete(calls: sv.Annotation) -> None:
    truth = toy.cells(41, seed=1).obs
    assert calls.label.tolist() == truth["cell_type"].tolist()
    assert calls.label_id.tolist() == truth["cl_id"].tolist()
    assert calls.obs_names.tolist() == truth.index.tolist()
    assert calls.labels == tuple(sorted(toy.LABELS))
    np.testing.assert_allclose(calls.scores.sum(axis=1), 1, rtol=1e-5)
    np.testing.assert_allclose(calls.score, calls.scores.max(axis=1))
    np.testing.assert_array_equal(calls.distance, calls.neighbors.distances[:, 0])
    assert calls.neighbor_names.shape == (41, 15)
    assert calls.neighbor_names[0, 0] == f"s0c{calls.neighbors.ids[0, 0]}"
    assert calls.notes[0] == "X taken as counts"
    assert calls.provenance["atlas"]["name"] == "toy"
    assert calls.provenance["query"]["coverage"]["share"] == 1
    with pytest.raises(ValueError, match="read-only"):
        calls.neighbors.ids[0, 0] = 3


def test_the_distance_is_the_cosine_distance(atlas: Atlas, calls: sv.Annotation) -> None:
    reference = atlas.vectors(np.arange(120)).astype(np.float64)
    distances = 1 - calls.vectors.astype(np.float64) @ reference.T
    order = np.argsort(distances, axis=1, kind="stable")[:, :15]
    np.testing.assert_array_equal(calls.neighbors.ids, order)
    np.testing.assert_allclose(calls.neighbors.distances, np.take_along_axis(distances, order, 1), atol=1e-6)


ALL_ASKED: dict[str, Any] = {"max_error": 0.05, "sets": True, "cluster_key": "donor"}


def mixed(n_empty: int = 2) -> AnnData:
    """Return 41 cells of the toy world, of which some are empty, and some half of one type and half of another."""
    cells = toy.cells(41, seed=1, form="dense")
    cells.X[5:15, ::2] = cells.X[6:16, ::2]
    cells.X[[3, 20][:n_empty]] = 0
    return cells


def same(found: sv.Annotation, expected: sv.Annotation, order: Any = slice(None)) -> None:
    """Assert that calls are the same to the bit, those of `expected` taken in an order."""
    assert expected.sets is not None
    assert found.to_frame(3).equals(expected.to_frame(3)[order])
    for name in ("scores", "vectors", "novelty", "confidence", "cluster_share"):
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name)[order])
    np.testing.assert_array_equal(found.neighbors.ids, expected.neighbors.ids[order])
    np.testing.assert_array_equal(found.neighbors.distances, expected.neighbors.distances[order])


@pytest.mark.parametrize("size", [1, 7, 41])
def test_the_same_answer_whatever_the_batch_size(
    atlas: Atlas, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    mixed().write_h5ad(tmp_path / "q.h5ad")
    expected = sv.annotate(tmp_path / "q.h5ad", atlas, **ALL_ASKED)
    assert set(expected.reason) == {"", "no_expression", "novel"}
    monkeypatch.setattr(matrix_module, "MAX_BATCH_CELLS", size)
    same(sv.annotate(tmp_path / "q.h5ad", atlas, **ALL_ASKED), expected)


def test_a_permuted_query_gives_permuted_calls(atlas: Atlas, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In batches of ten, so that cells meet others than before."""
    monkeypatch.setattr(matrix_module, "MAX_BATCH_CELLS", 10)
    cells, order = mixed(), np.random.default_rng(0).permutation(41)
    cells.write_h5ad(tmp_path / "q.h5ad")
    cells[order].write_h5ad(tmp_path / "permuted.h5ad")
    expected = sv.annotate(tmp_path / "q.h5ad", atlas, **ALL_ASKED)
    same(sv.annotate(tmp_path / "permuted.h5ad", atlas, **ALL_ASKED), expected, order)


def test_a_cell_alone_is_called_as_among_others(atlas: Atlas, tmp_path: Path) -> None:
    cells = mixed()
    cells.write_h5ad(tmp_path / "q.h5ad")
    expected = sv.annotate(tmp_path / "q.h5ad", atlas, max_error=0.05, sets=True, adapt="off")
    for i in (0, 7, 30):
        cells[[i]].write_h5ad(tmp_path / "one.h5ad")
        alone = sv.annotate(tmp_path / "one.h5ad", atlas, max_error=0.05, sets=True, scale="counts")
        assert alone.to_frame(3).equals(expected.to_frame(3)[[i]])


@pytest.mark.parametrize("form", ["csr", "csc", "dense"])
def test_log1p_values_get_the_same_calls(atlas: Atlas, calls: sv.Annotation, tmp_path: Path, form: str) -> None:
    toy.cells(41, seed=1, form=form, scale="log1p").write_h5ad(tmp_path / "q.h5ad")
    logged = sv.annotate(tmp_path / "q.h5ad", atlas)
    assert logged.label.tolist() == calls.label.tolist()
    np.testing.assert_allclose(logged.score, calls.score, atol=1e-3)
    assert "log1p" in logged.notes[0]


def test_empty_cells_are_kept_and_marked(atlas: Atlas, tmp_path: Path) -> None:
    cells = toy.cells(6, seed=1, form="dense")
    cells.X[2] = 0
    cells.write_h5ad(tmp_path / "q.h5ad")
    calls = sv.annotate(tmp_path / "q.h5ad", atlas)
    assert calls.rejected.tolist() == [False, False, True, False, False, False]
    assert calls.label[2] == sv.UNKNOWN
    assert calls.score[2] == 0
    assert np.isnan(calls.distance[2])
    assert np.abs(calls.vectors[2]).max() == 0
    assert set(calls.neighbor_names[2]) == {""}
    row = calls.to_frame().row(2, named=True)
    assert row["distance"] is None
    assert row["label_id"] is None
    assert row["neighbors"] == []
    assert "1 cell expresses none of the atlas's genes" in calls.notes[-1]


def test_fewer_genes_other_order(atlas: Atlas, calls: sv.Annotation, tmp_path: Path) -> None:
    order = np.random.default_rng(0).permutation(240)[:200]
    cells = toy.cells(41, seed=1)[:, order].copy()
    cells.var_names = [f"mystery{i}" if i < 5 else name for i, name in enumerate(cells.var_names)]
    cells.write_h5ad(tmp_path / "q.h5ad")
    few = sv.annotate(tmp_path / "q.h5ad", atlas)
    assert few.label.tolist() == calls.label.tolist()
    assert "195 of 200 genes matched" in few.notes[2]


@pytest.mark.parametrize("k", [1, 3, 200])
def test_any_k(atlas: Atlas, files: Path, k: int) -> None:
    calls = sv.annotate(files / "query.h5ad", atlas, k=k)
    assert (calls.neighbors.ids >= 0).sum(axis=1).tolist() == [min(k, 120)] * 41
    assert calls.to_frame()["neighbors"].list.len().to_list() == [min(k, 120)] * 41


def test_k_is_that_of_the_voting_unless_it_is_given(atlas: Atlas, files: Path) -> None:
    four = sv.annotate(files / "query.h5ad", atlas, voting=Voting(k=4, frequency=0.5))
    assert four.neighbors.ids.shape == (41, 4)
    three = sv.annotate(files / "query.h5ad", atlas, k=3, voting=Voting(k=4, frequency=0.5))
    assert three.provenance["vote"] == {"k": 3, "weights": "softmax", "temperature": 0.02, "frequency": 0.5}
    assert three.neighbors.ids.shape == (41, 3)


def test_softmax_of_the_distances_that_are_given(atlas: Atlas, files: Path) -> None:
    calls = sv.annotate(files / "query.h5ad", atlas, voting=Voting(weights="softmax", temperature=0.05))
    weights = np.exp(-calls.neighbors.distances.astype(np.float64) / 0.05)
    voted = atlas.labels[calls.neighbors.ids]
    for code, label in enumerate(calls.labels):
        expected = (weights * (voted == label)).sum(axis=1) / weights.sum(axis=1)
        np.testing.assert_allclose(calls.scores[:, code], expected, rtol=1e-4, atol=1e-6)


def test_rare_labels_are_heard_by_frequency(store: sv.Store, files: Path, tmp_path: Path) -> None:
    """Of the cells of one kind all but four bear one name: the other name is heard as well, if asked."""
    cells = toy.cells(200)
    kind = cells.obs["cell_type"].to_numpy(str)
    rare = np.flatnonzero(kind == "beta")[:4]
    cells.obs["cell_type"] = [f"rare {one}" if i in rare else one for i, one in enumerate(kind)]
    cells.write_h5ad(tmp_path / "r.h5ad")
    hashed = sv.RECIPES["genept-w"].with_encoder("hash")
    made = sv.atlas.build(store, "r", tmp_path / "r.h5ad", label_key="cell_type", recipe=hashed)
    plain = sv.annotate(files / "query.h5ad", made, k=50, voting=Voting(weights="inverse", frequency=0))
    fair = sv.annotate(files / "query.h5ad", made, k=50, voting=Voting(weights="inverse", frequency=1))
    at = plain.labels.index("rare beta"), plain.labels.index("beta")
    beta = plain.label == "beta"
    ratio = [one.scores[beta][:, at[0]] / one.scores[beta][:, at[1]] for one in (plain, fair)]
    np.testing.assert_allclose(ratio[1], ratio[0] * 46 / 4, rtol=1e-4)
    # Counted among the cells that are searched, not among all: of row 0 to 39, ten are beta cells, four of them rare.
    few, fair_few = (
        sv.annotate(files / "query.h5ad", made, k=40, voting=one, where="row < 40")
        for one in (Voting(weights="inverse", frequency=0), Voting(weights="inverse", frequency=1))
    )
    ratio = [one.scores[:, at[0]] / one.scores[:, at[1]] for one in (few, fair_few)]
    np.testing.assert_allclose(ratio[1], ratio[0] * 6 / 4, rtol=1e-4)


@pytest.mark.parametrize("k", [1, 15])
def test_blocked_labels_are_not_searched(atlas: Atlas, files: Path, calls: sv.Annotation, k: int) -> None:
    asked: tuple[dict[str, Any], ...] = (
        {"block": ["beta", "immune"]},
        {"allow": ["alpha", "ductal"]},
        {"allow": ["alpha", "ductal", "beta"], "block": ["beta"]},
    )
    for options in asked:
        few = sv.annotate(files / "query.h5ad", atlas, k=k, **options)
        assert set(few.label) == {"alpha", "ductal"}
        assert (few.neighbors.ids >= 0).all()
        assert set(atlas.labels[few.neighbors.ids.ravel()]) <= {"alpha", "ductal"}
        assert few.labels == calls.labels
        assert (few.scores[:, [1, 3]] == 0).all()
        same = np.isin(calls.label, ["alpha", "ductal"])
        np.testing.assert_array_equal(few.label[same], calls.label[same])
        near = atlas.search(few.vectors, 120)
        allowed = np.isin(atlas.labels[near.ids], ["alpha", "ductal"])
        np.testing.assert_array_equal(few.neighbors.ids, near.ids[allowed].reshape(41, -1)[:, :k])
        assert "60 of 120 cells searched: " in few.notes[-1]
        assert few.provenance["n_searched"] == 60


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"allow": ["betta"]}, "label for `allow` 'betta': expected one of: beta. Fix"),
        ({"block": ["ALPHA"]}, "label for `block` 'ALPHA': expected one of: alpha. Fix"),
        ({"block": ["qqqqq"]}, "one of: alpha, beta, ductal, immune"),
        ({"allow": ["beta"], "block": ["beta"]}, r"no cell of atlas 'toy' is left \(allow beta; block beta\)"),
        ({"where": "tissue = 'x'"}, "no column tissue.*row, cell_id, dataset, batch, label, label_id, empty"),
        ({"where": "batch ="}, "Expected: an expression"),
        ({"where": "batch = 'd9'"}, "where batch = 'd9'.*row, cell_id"),
        ({"where": "batch = 'd1' label = 'beta'"}, "found: label"),
        ({"cluster_key": "nope"}, "`cluster_key` 'nope'"),
    ],
)
def test_voters_that_are_not_there(atlas: Atlas, files: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        sv.annotate(files / "query.h5ad", atlas, **options)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("size", [7, 1000])
def test_a_condition_leaves_the_cells_it_holds_for(
    atlas: Atlas, files: Path, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(matrix_module, "MAX_BATCH_CELLS", size)
    calls = sv.annotate(files / "query.h5ad", atlas, where="batch = 'd1' AND NOT label = 'immune'", block=["beta"])
    batch = np.array(atlas.obs["batch"].to_pylist())
    rows = np.flatnonzero((batch == "d1") & np.isin(atlas.labels, ["alpha", "ductal"]))
    assert set(calls.neighbors.ids.ravel()) <= set(rows.tolist())
    distances = 1 - calls.vectors.astype(np.float64) @ atlas.vectors(rows).astype(np.float64).T
    np.testing.assert_array_equal(calls.neighbors.ids, rows[np.argsort(distances, axis=1, kind="stable")[:, :15]])
    assert (
        calls.notes[-1] == f"{len(rows)} of 120 cells searched: where batch = 'd1' AND NOT label = 'immune'; block beta"
    )


def test_more_neighbours_asked_for_than_were_searched(atlas: Atlas, files: Path) -> None:
    calls = sv.annotate(files / "query.h5ad", atlas, k=15, where="row < 9")
    assert (calls.neighbors.ids >= 0).sum(axis=1).tolist() == [9] * 41
    assert calls.notes[-1].startswith("k is 15, but only 9 cells can vote")
    np.testing.assert_allclose(calls.scores.sum(axis=1), 1, rtol=1e-5)
    assert not any("can vote" in note for note in sv.annotate(files / "query.h5ad", atlas).notes)


def test_an_index_that_cannot_leave_cells_out_says_so(store: sv.Store, files: Path) -> None:
    refined = sv.RECIPES["refined"].with_encoder("hash")
    spec = sv.IndexSpec(factory="NSG16")
    made = sv.atlas.build(
        store, "graph", files / "reference.h5ad", label_key="cell_type", batch_key="donor", recipe=refined, index=spec
    )
    calls = sv.annotate(files / "query.h5ad", made, where="batch != 'd1'")
    exact = sv.annotate(files / "query.h5ad", sv.atlas.open_atlas(store, "toy"), where="batch != 'd1'")
    assert "80 of 120 cells searched, exactly, because an index NSG16 cannot leave cells out: where" in calls.notes[-1]
    assert calls.to_frame().equals(exact.to_frame().with_columns(label_id=pl.lit(None, pl.String)))


def test_the_options_of_both_verbs(
    store: sv.Store, files: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    candidates = ["--where", "batch != 'd0'", "--block", "beta", "--block", "immune", "--k", "7"]
    voting = ["--weights", "softmax", "--temperature", "0.3", "--frequency", "0.5", "--cluster-key", "donor"]
    asked = [str(files / "query.h5ad"), "--atlas", "toy", "--store", store.uri, *candidates, *voting, "--json"]
    out = tmp_path / "calls.parquet"
    for verb in (["query", "--out", str(out)], ["evaluate", "--label-key", "cell_type"]):
        assert main([*verb, *asked]) == 0
        captured = capsys.readouterr()
        said = json.loads(captured.out)
        assert said["vote"] == {"k": 7, "weights": "softmax", "temperature": 0.3, "frequency": 0.5}
        assert (said["where"], said["block"], said["clusters"]) == ("batch != 'd0'", ["beta", "immune"], "donor")
        assert "40 of 120 cells searched" in captured.err
    assert set(pl.read_parquet(out)["label"]) == {"alpha", "ductal"}
    assert set(pl.read_parquet(out)["cluster"]) == {"d0", "d1", "d2"}
    assert main(["query", "--out", str(out), *asked, "--allow", "betta"]) == 2
    assert capsys.readouterr().err.startswith("scvec: no label for --allow 'betta'")


@pytest.mark.parametrize("k", [0, -3])
def test_no_k(atlas: Atlas, files: Path, k: int) -> None:
    with pytest.raises(InputError, match="above 0"):
        sv.annotate(files / "query.h5ad", atlas, k=k)


def test_the_frame_has_the_runners_up(calls: sv.Annotation) -> None:
    frame = calls.to_frame(4)
    trust = ["rejected", "reason", "label_before_rejection", "confidence", "novelty", "unexpected_genes"]
    assert frame.columns[:11] == ["obs_name", "label", "label_id", "score", "distance", *trust]
    assert frame["label_5"].null_count() == 41
    for i, row in enumerate(frame.iter_rows(named=True)):
        ranked = sorted(((s, name) for s, name in zip(calls.scores[i], calls.labels, strict=True)), reverse=True)
        named = [(row[f"score_{j}"], row[f"label_{j}"]) for j in (2, 3, 4)]
        expected = [(s, n) if s > 0 else (None, None) for s, n in ranked if n != row["label"]]
        assert [s for s, _ in named] == [s for s, _ in expected]
        assert {n for _, n in named} == {n for _, n in expected}


@pytest.mark.parametrize("form", ["csr", "dense"])
def test_h5ad_out(atlas: Atlas, tmp_path: Path, form: str) -> None:
    cells = toy.cells(12, seed=1, form=form)
    cells.layers["more"] = sp.csr_matrix(cells.X)
    cells.uns["mine"] = "kept"
    query, out = tmp_path / "q.h5ad", tmp_path / "deep" / "calls.h5ad"
    cells.write_h5ad(query)
    before = query.read_bytes()
    calls = sv.annotate(query, atlas)
    writing.write(calls, out, query)
    writing.write(calls, out, query)  # again, over the first
    writing.write(sv.annotate(out, atlas), tmp_path / "again.h5ad", out)  # the annotated file is a query too
    assert query.read_bytes() == before
    for path in (out, tmp_path / "again.h5ad"):
        read = ad.read_h5ad(path)
        direct = calls.to_adata(cells)
        assert read.obs.columns.tolist() == direct.obs.columns.tolist()
        assert read.obs["scvec"].tolist() == calls.label.tolist()
        assert read.obs["scvec"].cat.categories.tolist() == sorted(toy.LABELS)
        assert read.uns["mine"] == "kept"
        assert read.uns["scvec"]["labels"].tolist() == list(calls.labels)
        np.testing.assert_array_equal(read.obsm["scvec_scores"], calls.scores)
        np.testing.assert_array_equal(read.obsm["X_scvec"], calls.vectors)
        assert read.obsm["scvec_neighbors"].tolist() == calls.neighbor_names.tolist()
        np.testing.assert_array_equal(sp.csr_matrix(read.X).toarray(), sp.csr_matrix(cells.X).toarray())
    assert sorted(one.name for one in out.parent.iterdir()) == ["calls.h5ad"]


def test_parquet_and_csv_out(calls: sv.Annotation, files: Path, tmp_path: Path) -> None:
    for name in ("c.parquet", "c.csv"):
        writing.write(calls, tmp_path / name, files / "query.h5ad")
    assert pl.read_parquet(tmp_path / "c.parquet").equals(calls.to_frame())
    table = pl.read_csv(tmp_path / "c.csv")
    assert table["label"].to_list() == calls.label.tolist()
    assert table["neighbors"][0].split(";") == calls.neighbor_names[0].tolist()


def test_targets_that_cannot_be(calls: sv.Annotation, files: Path, tmp_path: Path) -> None:
    query = files / "query.h5ad"
    (tmp_path / "folder.csv").mkdir()
    for out, message in (
        (tmp_path / "calls.xlsx", r"\.h5ad, \.zarr, \.parquet, \.csv"),
        (tmp_path / "folder.csv", "is a folder"),
        (query, "inputs are never changed"),
    ):
        with pytest.raises(InputError, match=message):
            writing.write(calls, out, query)


def test_a_full_disk_leaves_the_old_file(calls: sv.Annotation, files: Path, small_disk: Path) -> None:
    (small_disk / "calls.h5ad").write_text("old")
    (small_disk / "filler").write_bytes(b"x" * 900_000)
    with pytest.raises(DiskFullError, match="no space left"):
        writing.write(calls, small_disk / "calls.h5ad", files / "query.h5ad")
    assert (small_disk / "calls.h5ad").read_text() == "old"
    assert sorted(one.name for one in small_disk.iterdir()) == ["calls.h5ad", "filler"]


def test_memory_does_not_hold_the_matrix(atlas: Atlas, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only one batch is asked of the file at a time."""
    toy.cells(300, seed=1).write_h5ad(tmp_path / "q.h5ad")
    monkeypatch.setattr(matrix_module, "MAX_BATCH_CELLS", 50)
    asked: list[int] = []
    read = h5py.Dataset.__getitem__

    def noting(self: h5py.Dataset, key: object) -> object:
        if self.name == "/X/data" and isinstance(key, slice):
            asked.append((key.stop or 0) - (key.start or 0))
        return read(self, key)

    monkeypatch.setattr(h5py.Dataset, "__getitem__", noting)
    sv.annotate(tmp_path / "q.h5ad", atlas)
    with h5py.File(tmp_path / "q.h5ad") as file:
        assert 0 < max(asked) < len(file["X/data"]) / 2
