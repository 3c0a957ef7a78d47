"""The sample that an atlas keeps: what is read is what was written."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st

from scvec.embed.sample import Sample
from scvec.embed.sample_files import load_sample, save_sample
from scvec.errors import StoreError


@given(st.integers(1, 30), st.integers(1, 90_000), st.booleans(), st.integers(0, 2**32 - 1))
def test_cells_come_back_as_they_were(n_cells: int, n_genes: int, are_counts: bool, seed: int) -> None:
    rng = np.random.default_rng(seed)
    made: Any = sp.random(n_cells, n_genes, min(1, 200 / n_genes), "csr", np.float32, rng)
    values = sp.csr_matrix((made * 4).ceil() if are_counts else made * 9, dtype=np.float32)
    batches = np.array([f"donor {i}, “x”" for i in rng.integers(0, 3, n_cells)], object)
    codes = rng.integers(0, 4, n_cells)
    sample = Sample(values, None, np.ones(n_cells), codes, ("a", "b", "", "é"), batches, rows=np.arange(n_cells) * 7)
    with TemporaryDirectory() as folder:
        path = Path(folder) / "sample.parquet"
        save_sample(path, sample)
        found = load_sample(path)
    assert found.logged.shape == values.shape
    assert found.logged.dtype == np.float32
    assert found.logged.has_sorted_indices
    np.testing.assert_allclose(found.logged.toarray(), values.toarray(), rtol=2**-11, atol=1e-7)
    assert (found.codes == codes).all()
    assert found.names == sample.names
    assert (found.batches == batches).all()
    assert found.rows is not None
    assert (found.rows == sample.rows).all()


def test_counts_take_a_byte_a_value_and_others_not_much_more(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    counts = sp.csr_matrix(rng.poisson(rng.gamma(0.3, 1, 10_000), (300, 10_000)).astype(np.float32))
    lengths = np.repeat(rng.uniform(1, 3, 300), np.diff(counts.indptr)).astype(np.float32)
    fractions = rng.random(counts.nnz, np.float32)
    path = tmp_path / "sample.parquet"
    for values, most in ((counts.data, 1.1), (counts.data + fractions, 3.0)):
        logged = sp.csr_matrix((np.log1p(values * lengths), counts.indices, counts.indptr), counts.shape)
        save_sample(path, Sample(logged, None, np.ones(300), np.zeros(300, int), ("a",), np.full(300, "d", object)))
        assert path.stat().st_size < most * counts.nnz
        np.testing.assert_allclose(load_sample(path).logged.toarray(), logged.toarray(), rtol=2**-11)


def test_files_of_earlier_versions_are_read(tmp_path: Path) -> None:
    about = {b"scvec.sample": b'{"n_genes": 5, "names": ["a", "b"]}'}
    columns = {"row": [3, 8], "code": [0, 1], "batch": ["d", "e"], "genes": [[1, 4], [0]]}
    values = pa.array([[1.5, 2], [3]], pa.large_list(pa.float16()))
    table = pa.table(columns | {"values": values}).replace_schema_metadata(about)
    pq.write_table(table, tmp_path / "sample.parquet")
    found = load_sample(tmp_path / "sample.parquet")
    assert found.logged.toarray().tolist() == [[0, 1.5, 0, 0, 2], [3, 0, 0, 0, 0]]
    assert found.names == ("a", "b")


def test_counts_come_back_and_files_of_earlier_versions_have_none(tmp_path: Path) -> None:
    path, n_counts = tmp_path / "sample.parquet", np.array([3.0, np.nan, 2e6])
    sample = Sample(
        sp.csr_matrix(np.eye(3, dtype=np.float32)), None, np.ones(3), np.arange(3), ("a",) * 3, np.full(3, "d", object)
    )
    save_sample(path, replace(sample, n_counts=n_counts))
    np.testing.assert_array_equal(load_sample(path).n_counts, n_counts)
    save_sample(path, sample)
    assert "n_counts" not in pq.read_schema(path).names
    assert load_sample(path).n_counts is None


def test_counts_follow_the_cells_and_the_genes() -> None:
    logged = sp.csr_matrix(np.log1p(np.array([[1, 3, 0], [0, 0, 5], [2, 2, 4]], np.float32)))
    batches = np.full(3, "d", object)
    sample = Sample(
        logged, None, np.ones(3), np.arange(3), ("a", "b", "c"), batches, n_counts=np.array([8.0, 9.0, 80.0])
    )
    some = sample.on(np.array([True, True, False]))
    for one, wanted in (
        (sample.at(np.array([2, 0])), [80, 8]),
        (some, [8, 40]),
        (some.on(np.array([True, False])), [2, 20]),
    ):
        assert one.n_counts is not None
        np.testing.assert_allclose(one.n_counts, wanted, rtol=1e-6)


def test_another_file_is_refused(tmp_path: Path) -> None:
    pq.write_table(pa.table({"row": [1]}), tmp_path / "x.parquet")
    with pytest.raises(StoreError, match="not the sample of an atlas"):
        load_sample(tmp_path / "x.parquet")


def test_some_cells_of_each_label_are_kept() -> None:
    rng = np.random.default_rng(0)
    codes = rng.permutation(np.repeat([0, 2, 3], [50, 4, 20]))
    values = sp.csr_matrix(rng.random((74, 6)), dtype=np.float32)
    names = ("a", "b", "c", "d")
    sample = Sample(values, None, np.ones(74), codes, names, np.full(74, "d", object), rows=np.arange(74) * 2)
    kept = sample.at_most(10, 0)
    assert np.bincount(kept.codes).tolist() == [10, 0, 4, 10]
    assert kept.rows is not None
    assert (np.diff(kept.rows) > 0).all()
    assert (kept.codes == codes[kept.rows // 2]).all()
    assert len(sample.at_most(100, 0)) == 74
