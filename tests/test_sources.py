"""Cells from every format and place, read alike."""

from __future__ import annotations

import gzip
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import fsspec
import h5py
import numpy as np
import pandas as pd
import polars as pl
import pytest
import scipy.sparse as sp
from anndata import AnnData
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import scvec as sv
from scvec.annotation import writing
from scvec.atlas import Atlas
from scvec.errors import (
    DuplicateNameError,
    FileError,
    InputError,
    KeyNotFoundError,
    LabelError,
    MatrixError,
    MissingDependencyError,
    ScvecError,
)
from scvec.ingest import expand, open_cells
from scvec.ingest.cells import locations
from scvec.ingest.cells import matrix as matrix_module
from scvec.ingest.cells.matrix import spans
from scvec.ingest.cells.scale import Values
from tests import sources, toy
from tests.server import Quirks, Server

Dense = np.ndarray[Any, np.dtype[np.float32]]


def read_all(path: str | Path, **options: Any) -> Dense:
    with open_cells(path) as file, file.matrix(**options) as matrix:
        return np.concatenate([batch.toarray() for _, batch in matrix.batches("reading")])


def dense_of(cells: AnnData) -> Dense:
    return np.asarray(sp.csr_matrix(cells.X).toarray(), np.float32)


@pytest.fixture(scope="module")
def cells() -> AnnData:
    made = toy.cells(30)
    made.var["gene_symbols"] = [f"S{i // 2}" for i in range(made.n_vars)]  # two genes of one symbol each
    return made


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, cells: AnnData) -> Path:
    """The same cells in every format. Not to be written to."""
    root = tmp_path_factory.mktemp("sources")
    for kind in sources.FORMATS:
        sources.write(cells, root, kind)
    return root


def written(folder: Path, kind: str) -> Path:
    endings = {"csr": ".h5ad", "csc": ".h5ad", "dense": ".h5ad", "zip": ".zip", "tenx": ".h5", "tenx2": ".h5"}
    return folder / f"{kind}{endings.get(kind, '.zarr' if kind.startswith('zarr') else '')}"


@pytest.mark.parametrize("kind", sources.FORMATS)
def test_every_format_reads_the_same(folder: Path, cells: AnnData, kind: str) -> None:
    with open_cells(written(folder, kind)) as file, file.matrix() as matrix:
        assert file.obs_names.tolist() == list(cells.obs_names)
        assert matrix.gene_names().tolist() == list(cells.var_names)
        assert matrix.gene_names("gene_symbols").tolist() == list(cells.var["gene_symbols"])
        assert matrix.gene_keys == ["var_names", "gene_symbols"]
        assert matrix.values == Values("counts")
        assert file.obs_keys == ([] if kind in sources.TENX else ["cell_type", "cl_id", "donor"])
        for key in file.obs_keys:
            assert file.labels(key, "--label-key").tolist() == list(cells.obs[key])
        np.testing.assert_array_equal(read_all(written(folder, kind)), dense_of(cells))


@settings(max_examples=15)
@given(
    dense=hnp.arrays(
        np.float32, st.tuples(st.integers(1, 12), st.integers(1, 7)), elements=st.integers(0, 3).map(float)
    ),
    kind=st.sampled_from(sources.FORMATS),
    batch_bytes=st.sampled_from([16, 64, 2**26]),
    chosen=st.data(),
)
def test_a_round_trip(
    tmp_path_factory: pytest.TempPathFactory, dense: Dense, kind: str, batch_bytes: int, chosen: st.DataObject
) -> None:
    obs, var = ([f"{axis}{i}" for i in range(n)] for axis, n in zip("cg", dense.shape, strict=True))
    made = AnnData(dense, obs=pd.DataFrame(index=obs), var=pd.DataFrame(index=var))
    path = sources.write(made, tmp_path_factory.mktemp("trip"), kind)
    n = len(dense)
    some = sorted(chosen.draw(st.sets(st.integers(0, n - 1))))
    start = chosen.draw(st.integers(0, n))
    stop = chosen.draw(st.integers(start, n))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(matrix_module, "BATCH_BYTES", batch_bytes)
        patch.setattr(matrix_module, "NEAR_VALUES", 2)
        with open_cells(path) as file, file.matrix() as matrix:
            assert file.obs_names.tolist() == obs
            parts = list(matrix.batches("reading"))
            taken = matrix.take(np.array(some, np.int64))
            between = list(matrix.batches("reading", start=start, stop=stop))
    np.testing.assert_array_equal(np.concatenate([part.toarray() for _, part in parts]), dense)
    np.testing.assert_array_equal(taken.toarray(), dense[some])
    assert taken.dtype == np.float32
    assert [first for first, _ in between] == [start + i * (between[0][1].shape[0]) for i in range(len(between))]
    whole = [np.zeros((0, dense.shape[1])), *(part.toarray() for _, part in between)]
    np.testing.assert_array_equal(np.concatenate(whole), dense[start:stop])


@given(lengths=st.lists(st.integers(0, 9), min_size=1, max_size=30), page=st.integers(1, 20), chosen=st.data())
def test_spans_read_no_page_between(lengths: list[int], page: int, chosen: st.DataObject) -> None:
    indptr = np.concatenate([[0], np.cumsum(lengths)])
    some = np.array(sorted(chosen.draw(st.sets(st.integers(0, len(lengths) - 1)))), np.int64)
    first, last = indptr[some], indptr[some + 1]
    found = list(spans(first, last, page, 10**6))
    assert [i for start, stop in found for i in range(start, stop)] == list(range(len(some)))
    wanted = {p for a, b in zip(first, last, strict=True) for p in range(a // page, -(-b // page))}
    for start, stop in found:
        touched = set(range(first[start] // page, -(-last[stop - 1] // page)))
        assert stop - start == 1 or touched <= wanted | {max(a - 1, 0) // page for a in last} | {*(first // page)}


def test_take_reads_little(tmp_path: Path) -> None:
    """Of a matrix of many chunks, those without a wanted cell are not read."""
    x = sp.csr_matrix(np.ones((20_000, 30), np.float32))
    AnnData(x).write_h5ad(tmp_path / "x.h5ad")
    read: list[tuple[int, int]] = []
    with open_cells(tmp_path / "x.h5ad") as file, file.matrix() as matrix:
        inner = matrix.rows.read

        def noted(start: int, stop: int) -> sp.csr_matrix[np.float32]:
            read.append((start, stop))
            return inner(start, stop)

        matrix.rows.read = noted  # type: ignore[method-assign]
        assert matrix.take(np.array([5, 6, 7, 9_999, 19_999])).nnz == 150
    assert sum(stop - start for start, stop in read) < 1_000


def test_take_refuses_what_is_not_there_and_bad_values(tmp_path: Path, folder: Path) -> None:
    with open_cells(folder / "csr.h5ad") as file, file.matrix() as matrix:
        for bad in ([3, 2], [-1, 2], [0, 30]):
            with pytest.raises(ValueError, match="ascend"):
                matrix.take(np.array(bad))
    made = toy.cells(3000)
    made.X.data[-1] = -1
    made.write_h5ad(tmp_path / "bad.h5ad")
    with open_cells(tmp_path / "bad.h5ad") as file, file.matrix(None, Values("counts")) as matrix:
        assert matrix.take(np.array([0, 1])).shape == (2, toy.N_GENES)
        with pytest.raises(MatrixError, match="negative"):
            matrix.take(np.array([2999]))


def test_values_that_were_decided_are_taken(tmp_path: Path) -> None:
    made = toy.cells(30, scale="log1p")
    made.write_h5ad(tmp_path / "x.h5ad")
    values = Values("log1p", 12_345.0)
    with open_cells(tmp_path / "x.h5ad") as file:
        with file.matrix(scale=values) as matrix:
            assert matrix.values == values
            totals = matrix.sampled_totals
        with file.matrix() as matrix:
            assert matrix.values.total == pytest.approx(10_000, rel=1e-3)
            np.testing.assert_allclose(matrix.sampled_totals, totals)
        with pytest.raises(MatrixError, match="fractions"), file.matrix(scale=Values("counts")) as matrix:
            list(matrix.batches("reading"))


@pytest.mark.parametrize("kind", sources.FORMATS)
def test_a_fingerprint_changes_with_the_file(folder: Path, tmp_path: Path, kind: str) -> None:
    path = tmp_path / written(folder, kind).name
    whole = written(folder, kind)
    shutil.copytree(whole, path) if whole.is_dir() else shutil.copyfile(whole, path)
    with open_cells(path) as file:
        before = file.fingerprint()
        assert file.fingerprint() == before
        changed = max((one for one in path.rglob("*") if one.is_file()), key=str) if path.is_dir() else path
        changed.write_bytes(changed.read_bytes() + b" ")
        assert file.fingerprint() != before
        changed.unlink()
        if kind not in sources.ANNDATA or path.is_file():
            with pytest.raises(FileError, match="does not exist"):
                file.fingerprint()


def test_a_table_of_annotations(folder: Path, cells: AnnData, tmp_path: Path) -> None:
    """Every cell must be in it, rows of others are ignored, and it stands before the file's own columns."""
    labels = [f"t{i % 3}" for i in range(30)]
    rows = pl.DataFrame({"cell": list(cells.obs_names), "cell_type": labels, "score": list(range(30))})
    rows = pl.concat([rows, pl.DataFrame({"cell": ["other"], "cell_type": ["none"], "score": [1]})]).reverse()
    rows.write_csv(tmp_path / "obs.csv")
    rows.write_csv(tmp_path / "obs.tsv", separator="\t")
    rows.with_columns(pl.col("cell_type").cast(pl.Categorical)).write_parquet(tmp_path / "obs.parquet")
    (tmp_path / "obs.csv.gz").write_bytes(gzip.compress((tmp_path / "obs.csv").read_bytes()))
    for kind in ("csr", "tenx", "mtx.gz", "zarr3"):
        for ending in ("csv", "tsv", "parquet", "csv.gz"):
            with open_cells(written(folder, kind), tmp_path / f"obs.{ending}") as file:
                assert file.labels("cell_type", "--label-key").tolist() == labels
                assert file.labels("score", "--obs-key").tolist() == [str(i) for i in range(30)]
                assert set(file.obs_keys) >= {"cell_type", "score"}
                assert ("donor" in file.obs_keys) == (kind in sources.ANNDATA)
                before = file.fingerprint()
                (tmp_path / f"obs.{ending}").touch()
                assert file.fingerprint() != before


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("cell,a\ns0c0,x\n", FileError, "lacks 29 of the 30 cells.*s0c1, s0c2, s0c3.*'cell'"),
        ("cell,a\ns0c0,x\ns0c0,y\n", DuplicateNameError, "'s0c0' occurs 2 times"),
        ("", FileError, "obs.csv cannot be read"),
    ],
)
def test_a_table_that_does_not_do(
    folder: Path, tmp_path: Path, text: str, error: type[ScvecError], message: str
) -> None:
    (tmp_path / "obs.csv").write_text(text)
    with pytest.raises(error, match=message), open_cells(folder / "tenx.h5", tmp_path / "obs.csv") as file:
        file.labels("a", "--label-key")
    with (
        pytest.raises(InputError, match=r"`obs` must be a \.csv"),
        open_cells(folder / "tenx.h5", tmp_path / "obs.xlsx"),
    ):
        pass
    with pytest.raises(FileError, match="does not exist"), open_cells(folder / "tenx.h5", tmp_path / "none.csv"):
        pass


def test_empty_annotations_are_missing(folder: Path, cells: AnnData, tmp_path: Path) -> None:
    text = "".join(f"{name},{'' if i == 7 else 'x'}\n" for i, name in enumerate(cells.obs_names))
    (tmp_path / "obs.csv").write_text(f"cell,a\n{text}")
    with (
        pytest.raises(LabelError, match="lacks 1 of 30"),
        open_cells(folder / "tenx.h5", tmp_path / "obs.csv") as file,
    ):
        file.labels("a", "--label-key")
    with pytest.raises(KeyNotFoundError, match="cell_type"), open_cells(folder / "tenx.h5") as file:
        file.labels("cell_type", "--label-key")


@pytest.mark.parametrize("write", [sources.write_tenx, sources.write_market])
def test_only_genes_are_genes(cells: AnnData, tmp_path: Path, write: Callable[..., Path]) -> None:
    types = ["Gene Expression"] * cells.n_vars
    for i in (0, 7, 239):
        types[i] = "Antibody Capture"
    types[100] = "Custom"
    path = write(cells, tmp_path / "x.h5", types=types)
    kept = np.array([one == "Gene Expression" for one in types])
    np.testing.assert_array_equal(read_all(path), dense_of(cells)[:, kept])
    with open_cells(path) as file, file.matrix() as matrix:
        found = [(one.kind, one.n) for one in matrix.left_out]
        assert found == [("Antibody Capture", 3), ("Custom", 1)]
        assert sum(one.share or 0 for one in matrix.left_out) == pytest.approx(
            dense_of(cells)[:, ~kept].sum() / dense_of(cells).sum()
        )
        assert matrix.gene_names().tolist() == list(cells.var_names[kept])
        np.testing.assert_array_equal(matrix.take(np.array([2, 5])).toarray(), dense_of(cells)[[2, 5]][:, kept])
    with (
        open_cells(write(cells, tmp_path / "y.h5", types=["CRISPR"] * cells.n_vars)) as file,
        pytest.raises(FileError, match=r"no genes \(240 CRISPR\)"),
        file.matrix(),
    ):
        pass


def test_genomes_of_one_file_are_a_column(folder: Path, tmp_path: Path) -> None:
    shutil.copyfile(folder / "tenx.h5", tmp_path / "x.h5")
    with h5py.File(tmp_path / "x.h5", "r+") as file:
        file["matrix/features/genome"][5:] = b"mm10"
    with open_cells(tmp_path / "x.h5") as file, file.matrix() as matrix:
        assert matrix.genomes is not None
        assert matrix.genomes.tolist() == ["GRCh38"] * 5 + ["mm10"] * 235


def test_cells_that_lie_apart_by_genome_are_refused(folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "x.h5"
    shutil.copyfile(folder / "tenx2.h5", path)
    with h5py.File(path, "r+") as file:
        file.copy("GRCh38", "mm10")
    with pytest.raises(FileError, match=r"genome apart: GRCh38, mm10.*scanpy\.read_10x_h5"), open_cells(path):
        pass


def test_entries_that_are_there_twice_are_added_up_once(tmp_path: Path) -> None:
    for name, text in {
        "barcodes.tsv": "a\nb\n",
        "features.tsv": "g0\tG0\ng1\tG1\n",
        "matrix.mtx": "%%MatrixMarket matrix coordinate integer general\n%\n2 2 4\n1 2 1\n2 1 2\n1 2 4\n2 2 3\n",
    }.items():
        (tmp_path / name).write_text(text)
    with open_cells(tmp_path) as file, file.matrix() as matrix:
        for _ in range(2):
            found = [batch.toarray().tolist() for _, batch in matrix.batches("reading")]
            assert found == [[[0, 2], [5, 3]]]


def test_a_matrix_with_a_prefix(folder: Path, tmp_path: Path, cells: AnnData) -> None:
    for one in (folder / "mtx.gz").iterdir():
        shutil.copyfile(one, tmp_path / f"GSM1_{one.name}")
    np.testing.assert_array_equal(read_all(tmp_path / "GSM1_matrix.mtx.gz"), dense_of(cells))


Change = Callable[[Path], object]


def cut(name: str = "", share: float = 0.5) -> Change:
    def change(path: Path) -> None:
        file = path / name if name else path
        whole = file.read_bytes()
        file.write_bytes(whole[: int(len(whole) * share)])

    return change


def put(name: str, text: str) -> Change:
    return lambda path: (path / name).write_text(text)


def within(change: Callable[[h5py.File], object]) -> Change:
    def changed(path: Path) -> None:
        with h5py.File(path, "r+") as file:
            change(file)

    return changed


def gone(name: str) -> Change:
    return lambda path: shutil.rmtree(path / name) if (path / name).is_dir() else (path / name).unlink()


def replace(key: str, change: Callable[[Any], Any]) -> Change:
    def changed(file: h5py.File) -> None:
        values = change(file[key][:])
        del file[key]
        file[key] = values

    return within(changed)


def elsewhere(values: Any) -> Any:
    values[3] = 10**6
    return values


BROKEN: list[tuple[str, Change, str]] = [
    ("csr", cut(), "truncated"),
    ("csr", within(lambda file: file["X/indices"].write_direct(np.full(len(file["X/indices"]), 999, np.int32))), "240"),
    ("csr", replace("X/indptr", lambda one: one[::-1].copy()), "does not fit its shape"),
    ("csc", replace("X/indices", elsewhere), "outside its 30 cells"),
    ("tenx", cut(), "truncated"),
    ("tenx", replace("matrix/barcodes", lambda one: one[:-1]), r"shape \(30, 240\) for 29 cells"),
    ("tenx", replace("matrix/data", lambda one: one[:-1]), "does not fit"),
    ("tenx", replace("matrix/indices", elsewhere), "outside its 240 genes"),
    ("tenx", within(lambda file: file["matrix"].pop("features/name")), "cannot be read"),
    ("tenx", within(lambda file: file.pop("matrix")), "without obs and var, and without a 10x"),
    ("tenx2", within(lambda file: file["GRCh38"].pop("genes")), "cannot be read"),
    ("mtx", cut("matrix.mtx"), "entries, its header says"),
    ("mtx", cut("barcodes.tsv"), "columns for 240 features and"),
    ("mtx", cut("features.tsv"), "rows of|features"),
    ("mtx", gone("barcodes.tsv"), "without barcodes.tsv"),
    ("mtx", gone("features.tsv"), "without features.tsv"),
    ("mtx", gone("matrix.mtx"), "a folder without matrix.mtx"),
    ("mtx", put("matrix.mtx", ""), "matrix.mtx is an empty file"),
    ("mtx", put("matrix.mtx", "%%MatrixMarket matrix array real general\n2 2\n1\n"), "not coordinate"),
    ("mtx", put("matrix.mtx", "%%MatrixMarket\n"), "does not begin"),
    ("mtx", put("matrix.mtx", "%%MatrixMarket matrix coordinate\n"), "not coordinate integer"),
    ("mtx", put("matrix.mtx", "%%MatrixMarket matrix coordinate real general\n%\n"), "no line with its size"),
    ("mtx", put("matrix.mtx", "%%MatrixMarket matrix coordinate real general\n30 239 0\n"), "30 rows and 239 columns"),
    ("mtx", put("matrix.mtx", "%%MatrixMarket matrix coordinate real general\n240 30 1\n1 31 1\n"), "30 barcodes"),
    ("mtx", put("matrix.mtx", "%%MatrixMarket matrix coordinate real general\n240 30 1\n0 1 1\n"), "240 features"),
    ("mtx", put("matrix.mtx", "%%MatrixMarket matrix coordinate real general\n240 30 1\n1 x 1\n"), "cannot be read"),
    ("mtx.gz", cut("matrix.mtx.gz"), "is cut short or damaged"),
    ("mtx.gz", cut("features.tsv.gz"), "is cut short or damaged"),
    ("mtx.gz", put("matrix.mtx.gz", "words"), "does not begin with %%MatrixMarket"),
    ("zarr2", gone("obs"), "names are empty"),
    ("zarr2", gone("X/data/0"), "1 of the 1 chunks of its data are missing"),
    ("zarr3", gone("X/data/c"), "1 of the 1 chunks of its data are missing"),
    ("zarr3", gone("X/indices/c"), "chunks of its indices are missing"),
    ("zarr3", cut("X/indptr/c/0"), "cannot be read"),
    ("zarr3", cut("X/data/c/0"), "cannot be read"),
    ("zarr3", put("zarr.json", "{"), "cannot be read"),
    ("zip", cut(), "cannot be read"),
]


@pytest.mark.parametrize(("kind", "change", "message"), BROKEN)
def test_broken_files_are_one_clear_line(folder: Path, tmp_path: Path, kind: str, change: Change, message: str) -> None:
    whole = written(folder, kind)
    path = tmp_path / whole.name
    shutil.copytree(whole, path) if whole.is_dir() else shutil.copyfile(whole, path)
    change(path)
    with pytest.raises(FileError, match=message) as caught:
        read_all(path)
    assert len(str(caught.value).splitlines()) == 1
    assert str(path) in str(caught.value)


def test_no_cells_and_no_genes(tmp_path: Path, cells: AnnData) -> None:
    for kind in ("tenx", "mtx", "zarr3"):
        with pytest.raises(InputError, match="no cells"):
            read_all(sources.write(cells[:0].copy(), tmp_path / "cells", kind))
    for kind in ("tenx", "mtx"):
        with pytest.raises(FileError, match="no genes \\(no features at all\\)"):
            read_all(sources.write(cells[:, :0].copy(), tmp_path / "genes", kind))
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileError, match=r"a folder without matrix\.mtx, not a zarr store"):
        read_all(tmp_path / "empty")
    (tmp_path / "empty.h5").write_bytes(b"")
    with pytest.raises(FileError, match="is an empty file"):
        read_all(tmp_path / "empty.h5")


def test_lists_and_patterns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("b2.h5ad", "b10.h5ad", "a.h5", "odd[1].h5ad"):
        (tmp_path / name).touch()
    monkeypatch.chdir(tmp_path)
    assert expand(["a.h5", "b*.h5ad", "b2.h5ad"]) == ["a.h5", Path("b10.h5ad"), Path("b2.h5ad")]
    assert expand([tmp_path / "b?.h5ad"]) == [tmp_path / "b2.h5ad"]
    assert expand(["odd[1].h5ad"]) == ["odd[1].h5ad"]
    assert expand(["not there.h5ad"]) == ["not there.h5ad"]
    assert expand("a.h5") == ["a.h5"]
    assert expand([]) == []
    with pytest.raises(FileError, match=r"x\*\.h5ad matches nothing"):
        expand(["a.h5", "x*.h5ad"])


@pytest.fixture
def remote(bucket: str, folder: Path) -> Iterator[str]:
    """The cells in a bucket."""
    fs = fsspec.filesystem("s3")
    fs.invalidate_cache()
    fs.put(str(folder), "bucket/cells", recursive=True)
    yield "s3://bucket/cells"
    type(fs).clear_instance_cache()


FAR = ("csr", "csc", "tenx", "mtx", "mtx.gz", "zarr2", "zarr3")


def test_cells_in_an_object_store(remote: str, folder: Path, cells: AnnData, atlas: Atlas, tmp_path: Path) -> None:
    for kind in FAR:
        path = f"{remote}/{written(folder, kind).name}"
        np.testing.assert_array_equal(read_all(path), dense_of(cells))
        with open_cells(path) as file, file.matrix() as matrix:
            assert str(file.path) == path
            np.testing.assert_array_equal(matrix.take(np.array([1, 20])).toarray(), dense_of(cells)[[1, 20]])
            before = file.fingerprint()
            assert file.fingerprint() == before
    assert expand([f"{remote}/cs*.h5ad"]) == [f"{remote}/csc.h5ad", f"{remote}/csr.h5ad"]
    with pytest.raises(FileError, match="matches nothing"):
        expand([f"{remote}/*.loom"])
    with open_cells(f"{remote}/csr.h5ad") as file:
        before = file.fingerprint()
        fsspec.filesystem("s3").put(str(folder / "csc.h5ad"), "bucket/cells/csr.h5ad")
        assert file.fingerprint() != before
    for missing in ("none.h5ad", "none", "mtx/none.h5"):
        with pytest.raises(FileError, match=f"{missing} does not exist"):
            read_all(f"{remote}/{missing}")
    out, query = tmp_path / "calls.h5ad", f"{remote}/csc.h5ad"
    writing.check_target(out, query)
    calls = sv.annotate(query, atlas)
    writing.write(calls, out, query)
    with open_cells(out) as file:
        assert file.labels("scvec_label", "--label-key").tolist() == list(calls.label)
    out, query = tmp_path / "calls.zarr", f"{remote}/{written(folder, 'zarr3').name}"
    writing.write(sv.annotate(query, atlas), out, query)
    with open_cells(out) as file:
        assert file.labels("scvec", "--label-key").tolist() == list(calls.label)


def test_no_credentials(bucket: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for key in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(key)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    fsspec.filesystem("s3").clear_instance_cache()
    with pytest.raises(FileError, match=r"credentials.*check the address, the permissions and the credentials"):
        read_all("s3://bucket/x.h5ad")
    fsspec.filesystem("s3").clear_instance_cache()


def test_cells_on_a_web_server(folder: Path, cells: AnnData, monkeypatch: pytest.MonkeyPatch) -> None:
    with Server(folder) as server:
        for kind in FAR:
            path = f"{server.url}/{written(folder, kind).name}"
            np.testing.assert_array_equal(read_all(path), dense_of(cells))
            with open_cells(path) as file:
                assert file.fingerprint() == file.fingerprint()
        with pytest.raises(FileError, match=r"none\.h5ad does not exist"):
            read_all(f"{server.url}/none.h5ad")
        server.quirks["/csr.h5ad"] = Quirks(failures=100, status=403)
        with pytest.raises(FileError, match=r"cannot be accessed.*403"):
            read_all(f"{server.url}/csr.h5ad")
        server.quirks["/csr.h5ad"] = Quirks(no_ranges=True)
        monkeypatch.setattr(locations, "BLOCK_BYTES", 5000)
        with pytest.raises(FileError, match=r"csr\.h5ad"):
            read_all(f"{server.url}/csr.h5ad")
        server.quirks["/csr.h5ad"] = Quirks(cuts=[30_000] * 50)
        with pytest.raises(FileError, match=r"csr\.h5ad"):
            read_all(f"{server.url}/csr.h5ad")
    with pytest.raises(FileError, match="cannot be accessed"):
        read_all(f"{server.url}/csr.h5ad")


def test_cells_in_memory(cells: AnnData, folder: Path) -> None:
    fs = fsspec.filesystem("memory")
    fs.put(str(folder), "/cells", recursive=True)
    for kind in FAR:
        np.testing.assert_array_equal(read_all(f"memory://cells/{written(folder, kind).name}"), dense_of(cells))
    fs.rm("/cells", recursive=True)


def test_protocols_that_are_not_there() -> None:
    with pytest.raises(InputError, match="unknown protocol 'nowhere'"):
        read_all("nowhere://x/y.h5ad")
    with pytest.raises(MissingDependencyError, match="pip install"):
        read_all("gs://x/y.h5ad")


@pytest.mark.parametrize("kind", ["tenx", "mtx.gz", "zarr3", "zip"])
def test_a_query_of_any_format_is_called_alike(
    folder: Path, atlas: Atlas, tmp_path: Path, kind: str, cells: AnnData
) -> None:
    expected = sv.annotate(folder / "csr.h5ad", atlas)
    path = written(folder, kind)
    calls = sv.annotate(path, atlas)
    assert calls.to_frame().equals(expected.to_frame())
    writing.write(calls, tmp_path / "calls.parquet", path)
    if kind in sources.TENX:
        writing.check_target(tmp_path / "calls.h5ad", path)
        writing.write(calls, tmp_path / "calls.h5ad", path)
        assert sv.annotate(tmp_path / "calls.h5ad", atlas).to_frame().equals(expected.to_frame())
    else:
        with pytest.raises(InputError, match=r"is not an h5ad file.*\.zarr.*\.parquet"):
            writing.check_target(tmp_path / "calls.h5ad", path)
        with pytest.raises(InputError, match="is not an h5ad file"):
            writing.write(calls, tmp_path / "calls.h5ad", path)
    labels = pl.DataFrame({"cell": list(cells.obs_names), "mine": list(cells.obs["cell_type"])})
    labels.write_csv(tmp_path / "obs.csv")
    result = sv.evaluate(sv.annotate(path, atlas, obs=tmp_path / "obs.csv"), "mine")
    assert result.accuracy == 1.0
