"""h5ad files to checked batches."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import anndata as ad
import h5py
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from scvec.errors import DuplicateNameError, FileError, InputError, KeyNotFoundError, LabelError, MatrixError
from scvec.ingest import open_cells
from scvec.ingest.cells import matrix as matrix_module
from scvec.ingest.cells.deciding import decide
from scvec.ingest.cells.scale import Values
from tests import toy


def read_all(path: Path, **options: Any) -> tuple[np.ndarray[Any, Any], str]:
    with open_cells(path) as file, file.matrix(**options) as matrix:
        parts = [batch.toarray() for _, batch in matrix.batches("reading")]
        return np.concatenate(parts), str(matrix.values)


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    dense=hnp.arrays(
        np.float32, st.tuples(st.integers(1, 20), st.integers(1, 9)), elements=st.integers(0, 3).map(float)
    ),
    form=st.sampled_from(["csr", "csc", "dense"]),
    batch_bytes=st.sampled_from([16, 64, 2**26]),
)
def test_every_form_reads_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dense: np.ndarray[Any, Any], form: str, batch_bytes: int
) -> None:
    monkeypatch.setattr(matrix_module, "BATCH_BYTES", batch_bytes)
    path = tmp_path / "x.h5ad"
    ad.AnnData(
        toy.as_form(dense, form),
        obs=pd.DataFrame(index=[f"c{i}" for i in range(dense.shape[0])]),
        var=pd.DataFrame(index=[f"g{i}" for i in range(dense.shape[1])]),
    ).write_h5ad(path)
    found, values = read_all(path)
    np.testing.assert_array_equal(found, dense)
    assert values == "counts"


def test_batches_stay_small(files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(matrix_module, "MAX_BATCH_CELLS", 7)
    with open_cells(files / "query.h5ad") as file, file.matrix() as matrix:
        found = [(start, batch.shape[0]) for start, batch in matrix.batches("reading")]
    assert found == [(0, 7), (7, 7), (14, 7), (21, 7), (28, 7), (35, 6)]


def test_which_matrix(tmp_path: Path) -> None:
    counts, logged = toy.cells(30), toy.cells(30, scale="log1p")
    both = toy.cells(30, scale="scaled", form="dense")
    both.layers["counts"] = counts.X
    both.raw = logged
    path = tmp_path / "both.h5ad"
    both.write_h5ad(path)
    np.testing.assert_array_equal(read_all(path, layer="counts")[0], counts.X.toarray())
    found, values = read_all(path, layer="raw")
    np.testing.assert_allclose(found, np.expm1(logged.X.toarray()), rtol=1e-6)
    assert values == "log1p values scaled to 10,000 per cell"
    with pytest.raises(MatrixError, match=r"scaled.*`layer` to counts or raw"):
        read_all(path)
    with pytest.raises(KeyNotFoundError, match="X, counts, raw"):
        read_all(path, layer="spliced")


def test_log1p_of_unequal_totals_is_said(tmp_path: Path) -> None:
    cut = toy.cells(30, scale="log1p")[:, :100].copy()
    cut.write_h5ad(tmp_path / "cut.h5ad")
    assert read_all(tmp_path / "cut.h5ad")[1] == "log1p values with unequal totals"


def altered(tmp_path: Path, value: float, where: int = -1, scale: str = "counts") -> Path:
    """Write toy cells with one value put in place of a stored one; they are more than one sample looks at."""
    cells = toy.cells(3000, scale=scale)
    cells.X.data[where] = value
    path = tmp_path / "altered.h5ad"
    cells.write_h5ad(path)
    return path


@pytest.mark.parametrize("where", [0, 200_000])
@pytest.mark.parametrize(
    ("value", "scale", "message"),
    [
        (np.nan, "counts", "NaN or infinite"),
        (np.inf, "log1p", "NaN or infinite"),
        (-1.0, "counts", "negative"),
        (-0.5, "log1p", "negative"),
        (900.5, "log1p", "900.5: neither counts nor log1p"),
    ],
)
def test_one_bad_value_is_found_wherever_it_is(
    tmp_path: Path, value: float, scale: str, message: str, where: int
) -> None:
    with pytest.raises(MatrixError, match=message):
        read_all(altered(tmp_path, value, where, scale))


def test_counts_with_a_fraction_far_in_are_refused(tmp_path: Path) -> None:
    # Row 200 lies between the blocks that are sampled.
    with pytest.raises(MatrixError, match="counts and numbers with fractions"):
        read_all(altered(tmp_path, 1.5, 200 * 120))


def test_what_is_declared_is_checked(tmp_path: Path) -> None:
    toy.cells(30).write_h5ad(tmp_path / "counts.h5ad")
    toy.cells(30, scale="log1p").write_h5ad(tmp_path / "log1p.h5ad")
    assert read_all(tmp_path / "counts.h5ad", scale="counts")[1] == "counts"
    with pytest.raises(MatrixError, match="declared log1p and holds whole numbers"):
        read_all(tmp_path / "counts.h5ad", scale="log1p")
    with pytest.raises(MatrixError, match="declared counts and holds numbers with fractions"):
        read_all(tmp_path / "log1p.h5ad", scale="counts")


def test_an_empty_matrix_is_counts() -> None:
    empty = sp.csr_matrix(np.zeros((3, 4), np.float32))
    assert decide(empty, "auto", "x") == Values("counts")
    assert decide(empty, "log1p", "x") == Values("log1p")


def test_files_that_are_none(tmp_path: Path, files: Path) -> None:
    def refuse(path: Path, message: str) -> None:
        with pytest.raises(FileError, match=message), open_cells(path) as file, file.matrix() as matrix:
            list(matrix.batches("reading"))

    refuse(tmp_path / "none.h5ad", "does not exist")
    refuse(tmp_path, "a folder")
    (tmp_path / "words.h5ad").write_text("no HDF5")
    refuse(tmp_path / "words.h5ad", "text, but not a table")
    whole = (files / "query.h5ad").read_bytes()
    (tmp_path / "cut.h5ad").write_bytes(whole[: len(whole) // 2])
    refuse(tmp_path / "cut.h5ad", "truncated")
    with h5py.File(tmp_path / "other.h5ad", "w") as file:
        file["x"] = 1
    refuse(tmp_path / "other.h5ad", "without obs and var")
    with h5py.File(tmp_path / "old.h5ad", "w") as file:
        file["obs"] = file["var"] = np.zeros(3, [("index", "S3")])
    refuse(tmp_path / "old.h5ad", "before 0.7")


def test_a_matrix_that_does_not_fit_is_refused(tmp_path: Path, files: Path) -> None:
    path = tmp_path / "q.h5ad"
    path.write_bytes((files / "query.h5ad").read_bytes())
    with h5py.File(path, "r+") as file:
        file["X"].attrs["shape"] = (41, 239)
    with pytest.raises(FileError, match=r"\(41, 239\)"):
        read_all(path)
    with h5py.File(path, "r+") as file:
        del file["X/indptr"]
    with pytest.raises(FileError, match="not a matrix"):
        read_all(path)


def test_labels(tmp_path: Path) -> None:
    cells = toy.cells(20)
    cells.obs["cluster"] = range(20)
    cells.obs["holes"] = pd.Categorical(["a"] * 19 + [None])
    cells.obs["blank"] = ["a"] * 19 + [" "]
    cells.write_h5ad(tmp_path / "x.h5ad")
    with open_cells(tmp_path / "x.h5ad") as file:
        assert file.labels("cell_type", "--label-key")[:3].tolist() == ["alpha", "beta", "ductal"]
        assert file.labels("cluster", "--label-key")[-1] == "19"
        with pytest.raises(LabelError, match=r"'holes'.*1 of 20"):
            file.labels("holes", "--label-key")
        with pytest.raises(LabelError, match="'blank'"):
            file.labels("blank", "--label-key")
        with pytest.raises(KeyNotFoundError, match=r"(?s)--label-key.*'celltype'.*cell_type"):
            file.labels("celltype", "--label-key")


def test_names_are_there_once(tmp_path: Path) -> None:
    cells = toy.cells(20)
    cells.obs_names = ["twin"] * 2 + list(cells.obs_names[2:])
    cells.write_h5ad(tmp_path / "cells.h5ad")
    with pytest.raises(DuplicateNameError, match="cell name 'twin' occurs 2 times"):
        read_all(tmp_path / "cells.h5ad")
    genes = toy.cells(20)
    genes.var_names = ["twin"] * 3 + list(genes.var_names[3:])
    genes.write_h5ad(tmp_path / "genes.h5ad")
    with (
        open_cells(tmp_path / "genes.h5ad") as file,
        file.matrix() as matrix,
        pytest.raises(DuplicateNameError, match="gene name 'twin' occurs 3 times"),
    ):
        matrix.gene_names()


def test_names_kept_as_nullable_strings(tmp_path: Path, files: Path) -> None:
    """As anndata 0.13 writes them."""
    path = tmp_path / "q.h5ad"
    path.write_bytes((files / "query.h5ad").read_bytes())
    with h5py.File(path, "r+") as file, ad.settings.override(allow_write_nullable_strings=True):
        for axis in ("obs", "var"):
            names = pd.array(ad.io.read_elem(file[axis]).index.tolist(), dtype="string")
            del file[axis][file[axis].attrs["_index"]]
            ad.io.write_elem(file[axis], file[axis].attrs["_index"], names)
    with h5py.File(path) as file:
        assert isinstance(file["obs"][file["obs"].attrs["_index"]], h5py.Group)
    with open_cells(path) as file, file.matrix() as matrix:
        assert file.obs_names[:2].tolist() == ["s1c0", "s1c1"]
        assert matrix.gene_names().tolist() == list(toy.SYMBOLS)


def test_no_cells(tmp_path: Path) -> None:
    toy.cells(4)[:0].copy().write_h5ad(tmp_path / "none.h5ad")
    with pytest.raises(InputError, match="no cells"):
        read_all(tmp_path / "none.h5ad")
