"""Calls of clusters and cells among types that are given by name: how these are read, the calls, the verb."""

from __future__ import annotations

import json
from pathlib import Path

import anndata
import numpy as np
import polars as pl
import pytest

import scvec as sv
from scvec.cli import main
from scvec.errors import FileError, InputError
from scvec.naming import cell_calls
from scvec.naming.among import balanced, logs_of
from scvec.naming.candidates import candidates_of
from scvec.naming.term_texts import term_texts
from tests import toy_ontology
from tests.toy_ontology import ALPHA, B_CELL, BETA, CD4, CD8, RETINAL, T_CELL, TOY

TERMS = term_texts(TOY)
ISLETS = "pancreatic beta cell, pancreatic alpha cell, T cell"


@pytest.fixture
def known(store: sv.Store, tmp_path: Path) -> sv.Store:
    """The toy store, with the toy ontology."""
    sv.ontology.import_ontology(store, toy_ontology.write(tmp_path))
    return store


@pytest.mark.parametrize(
    ("given", "labels", "ids"),
    [
        ("B cell, T lymphocyte", ("B cell", "T lymphocyte"), (B_CELL, T_CELL)),
        (["B cell", "CL:0000084"], ("B cell", "CL:0000084"), (B_CELL, T_CELL)),
        (
            "CD4-positive, alpha-beta T cell, B cell, CD8-positive, alpha-beta T cell",
            ("CD4-positive, alpha-beta T cell", "B cell", "CD8-positive, alpha-beta T cell"),
            (CD4, B_CELL, CD8),
        ),
        ("CD4+ T cell; B-cells;; ", ("CD4+ T cell", "B-cells"), (CD4, B_CELL)),
    ],
)
def test_types_are_read_from_words(given: str | list[str], labels: tuple[str, ...], ids: tuple[str, ...]) -> None:
    found = candidates_of(given, TERMS)
    assert (found.labels, found.ids) == (labels, ids)


def test_types_are_read_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "types.txt"
    path.write_text("B cell  # of the blood\n\n# none\nCD4-positive, alpha-beta T cell\n", encoding="utf-8")
    assert candidates_of(path, TERMS).ids == (B_CELL, CD4)
    assert candidates_of(str(path), TERMS) == candidates_of(path, TERMS)


def test_the_tissue_decides_what_a_letter_means() -> None:
    with pytest.raises(InputError, match=rf"'alpha' \(near: .*{RETINAL}.*give an id, or `tissue`"):
        candidates_of("alpha, T cell", TERMS)
    assert candidates_of("alpha, beta", TERMS, "pancreas").ids == (ALPHA, BETA)
    with pytest.raises(InputError, match=r"'alpha' .*Fix: give an id\."):
        candidates_of("alpha, T cell", TERMS, "lung")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("B cell, T-cell, T lymphocyte", "'T-cell' and 'T lymphocyte' are one term, T cell"),
        (["T cell", "T cell"], "'T cell' and 'T cell' are one term"),
        ("B cell", "one type: expected at least two"),
        ([], "no type: expected at least two"),
        ("B cell, lymphocytic cell", r"'lymphocytic cell' \(near: lymphocyte \(CL:0000542\)"),
        ("cell, B cell", r"'cell' \(CL:0000000\) cannot name cells"),
        ("B cell, CL:9999999", "'CL:9999999'"),
    ],
)
def test_types_that_are_no_choice_are_refused(given: str | list[str], said: str) -> None:
    with pytest.raises(InputError, match=said):
        candidates_of(given, TERMS)


def test_a_file_of_types_that_cannot_be_read_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileError, match="does not exist"):
        candidates_of("types.txt", TERMS)
    (tmp_path / "bytes.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(FileError, match="cannot be read"):
        candidates_of(tmp_path / "bytes.txt", TERMS)
    with pytest.raises(FileError, match="cannot be read"):
        candidates_of(tmp_path, TERMS)


def test_a_type_that_draws_every_cluster_is_held_back() -> None:
    # The second type is the best of both clusters, but far better for the second one.
    scores = np.array([[1.0, 1.2], [0.0, 3.0]])
    assert scores.argmax(axis=1).tolist() == [1, 1]
    assert balanced(scores).argmax(axis=1).tolist() == [0, 1]
    assert np.allclose(np.exp(balanced(scores)).sum(axis=1), 1)
    # One that fits no cluster is not forced on one.
    nothing = np.array([[4.0, 0.0, -9.0], [0.0, 4.0, -9.0]])
    assert balanced(nothing).argmax(axis=1).tolist() == [0, 1]
    assert np.allclose(balanced(np.zeros((3, 2))), logs_of(np.zeros((3, 2))))
    assert balanced(np.zeros((0, 2))).shape == (0, 2)


def test_clusters_and_cells_are_called_among_the_types(known: sv.Store, files: Path) -> None:
    found = sv.name(files / "query.h5ad", known, cluster_key="cell_type", encoder="hash", candidates=ISLETS, n=9)
    first = {cluster: names[0] for cluster, names in zip(found.clusters, found.suggestions, strict=True)}
    assert (first["alpha"].term_id, first["beta"].term_id) == (ALPHA, BETA)
    for names in found.suggestions:
        assert sorted(one.term_id for one in names) == sorted((ALPHA, BETA, T_CELL))
        assert sum(one.score for one in names) == pytest.approx(1)
    assert found.provenance["candidates"]["T cell"] == T_CELL
    assert found.cells is not None
    assert len(found.cells) == len(found.obs_names)
    truth = anndata.read_h5ad(files / "query.h5ad").obs["cell_type"].astype(str).to_numpy()
    own = {"alpha": "pancreatic alpha cell", "beta": "pancreatic beta cell"}
    for label, name in own.items():
        called = found.cells.label[truth == label]
        assert set(called.tolist()) <= {name, ""}
        assert (called == name).mean() > 0.5
    frame = found.cells_to_polars()
    assert frame.columns == ["obs_name", "cluster", "label", "term_id", "score"]
    assert frame["obs_name"].to_list() == found.obs_names.tolist()
    assert set(frame.filter(pl.col("label") == "")["term_id"]) <= {""}


def test_a_cell_may_be_called_other_than_its_cluster(
    known: sv.Store, files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cell_calls, "CELL_STANDS_OUT", 0.5)  # of two types, one has that
    adata = anndata.read_h5ad(files / "query.h5ad")
    truth = adata.obs["cell_type"].astype(str).to_numpy()
    # Two clusters, of which one is of two types.
    adata.obs["mixed"] = np.where(np.isin(truth, ["alpha", "beta"]), "islet", "other")
    two = ["pancreatic alpha cell", "pancreatic beta cell"]
    found = sv.name(adata, known, cluster_key="mixed", encoder="hash", candidates=two)
    assert found.cells is not None
    for label, name in zip(("alpha", "beta"), two, strict=True):
        assert (found.cells.label[truth == label] == name).mean() > 0.8


def test_cells_in_no_cluster_get_no_call(known: sv.Store, files: Path) -> None:
    adata = anndata.read_h5ad(files / "query.h5ad")
    cluster = adata.obs["cell_type"].astype(object).to_numpy().copy()
    cluster[:5] = None
    adata.obs["some"] = cluster
    found = sv.name(adata, known, cluster_key="some", encoder="hash", candidates=ISLETS)
    assert found.cells is not None
    assert found.cells.label[:5].tolist() == [""] * 5
    assert np.isnan(found.cells.score[:5]).all()
    assert np.isfinite(found.cells.score[5:]).all()
    found.write(adata)
    assert adata.obs["scvec_name"].isna()[:5].all()
    assert set(adata.obs["scvec_name"].dropna()) <= {one.strip() for one in ISLETS.split(",")}


def test_unknown_cells_of_an_atlas_are_called_among_the_types(known: sv.Store, files: Path) -> None:
    calls = sv.annotate(files / "query.h5ad", sv.atlas.open(known, "toy"), max_error=0.05)
    found = sv.name(calls, encoder="hash", candidates=ISLETS)
    assert found.cells is not None
    assert not (found.cells.label[~calls.rejected] != "").any()


def test_the_verb_writes_a_row_for_each_cell(
    known: sv.Store, files: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    def run(*arguments: object) -> tuple[int, str, str]:
        code = main([str(one) for one in arguments])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    ask = ("name", files / "query.h5ad", "--cluster-key", "cell_type", "--encoder", "hash", "--store", known.uri)
    code, out, _ = run(*ask, "--candidates", "alpha, beta, T cell", "--tissue", "pancreas", "--out", "calls.csv")
    assert code == 0
    assert "cells called: " in out
    frame = pl.read_csv("calls.csv")
    assert frame.columns == ["obs_name", "cluster", "label", "term_id", "score"]
    assert len(frame) == anndata.read_h5ad(files / "query.h5ad").n_obs
    assert set(frame["label"].drop_nulls()) <= {"alpha", "beta", "T cell", ""}
    code, out, _ = run(*ask, "--candidates", ISLETS, "--json")
    assert json.loads(out)["cells_called"] > 0
    code, out, err = run(*ask, "--candidates", "beta, T cell")
    assert (code, out) == (2, "")
    assert err.count("\n") == 1
    assert "--candidates" in err
    assert BETA in err
