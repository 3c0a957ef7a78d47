"""Names, annotations and values are those that anndata and scanpy read, for every layout that they read."""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import anndata as ad
import h5py
import numpy as np
import pandas as pd
import pytest
import scanpy as sc
import scipy.sparse as sp
import zarr
from anndata.io import write_elem
from hypothesis import given, settings
from hypothesis import strategies as st

import scvec as sv
from scvec.annotation import writing
from scvec.atlas import Atlas
from scvec.errors import FileError, InputError, LabelError, MatrixError, ScvecError
from scvec.ingest import open_cells
from tests import other_sources, sources, toy

GENES = [f"G{i}" for i in range(5)]

Make = Callable[[int], Any]
COLUMNS: dict[str, Make] = {
    "strings": lambda n: np.array([f"v{i % 3}" for i in range(n)], object),
    "categorical": lambda n: pd.Categorical([f"v{i % 3}" for i in range(n)]),
    "categorical_missing": lambda n: pd.Categorical([None if i % 2 else "a b" for i in range(n)]),
    "categorical_numbers": lambda n: pd.Categorical([i % 4 for i in range(n)]),
    "categorical_unused": lambda n: pd.Categorical(["b"] * n, categories=["a", "b", "c"]),
    "ordered": lambda n: pd.Categorical(["z"] * n, categories=["z", "y"], ordered=True),
    "integers": lambda n: np.arange(n),
    "small": lambda n: np.arange(n).astype(np.uint8),
    "floats": lambda n: np.array([0.5 * i for i in range(n)], np.float32),
    "nan": lambda n: np.array([np.nan if i % 2 else float(i) for i in range(n)]),
    "bools": lambda n: np.arange(n) % 2 == 0,
    "nullable_integers": lambda n: pd.array([None if i % 2 else i for i in range(n)], dtype="Int64"),
    "nullable_bools": lambda n: pd.array([None if i % 2 else True for i in range(n)], dtype="boolean"),
    "nullable_strings": lambda n: pd.array([None if i % 2 else "x" for i in range(n)], dtype="string"),
    "full_strings": lambda n: pd.array(["é x"] * n, dtype="string"),
}
INDEXES: dict[str, Callable[[list[str]], Any]] = {
    "plain": lambda names: pd.Index(names),
    "string": lambda names: pd.Index(names, dtype="string"),
    "named": lambda names: pd.Index(names, name="barcode"),
}


def expected_labels(values: Any) -> tuple[list[str], list[bool]]:
    """Return the values of a column that anndata has read as strings, and which of them are missing."""
    series = pd.Series(values, dtype=object) if not isinstance(values, pd.Series) else values.astype(object)
    absent = [bool(pd.isna(one)) or not str(one).strip() for one in series]
    return ["" if gone else str(one) for one, gone in zip(series, absent, strict=True)], absent


def compare(path: Path, same: ad.AnnData, layers: tuple[str, ...] = ()) -> None:
    """Compare what is read of a file with what anndata or scanpy has read of it."""
    with open_cells(path) as file:
        assert file.obs_names.tolist() == [str(one) for one in same.obs_names]
        assert set(file.obs_keys) == {str(key) for key in same.obs.columns}
        for key in same.obs.columns:
            labels, absent = file.column(key).labels()
            wanted, gone = expected_labels(same.obs[key])
            assert absent.tolist() == gone
            assert [one for one, off in zip(labels, gone, strict=True) if not off] == [one for one in wanted if one]
        for layer in ("X", *layers):
            with file.matrix(layer) as matrix:
                assert matrix.gene_names().tolist() == [str(one) for one in same.var_names]
                found = [np.zeros((0, matrix.n_genes), np.float32)]
                found += [batch.toarray() for _, batch in matrix.batches("reading")]
            x: Any = same.X if layer == "X" else same.raw.X if layer == "raw" else same.layers[layer]
            whole = np.asarray(x.toarray() if hasattr(x, "toarray") else x, np.float32)
            np.testing.assert_array_equal(np.concatenate(found), whole)


def quiet(read: Callable[..., Any], *args: Any, **options: Any) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return read(*args, **options)


def made(data: st.DataObject, n: int) -> ad.AnnData:
    draw = data.draw
    dense = np.array(draw(st.lists(st.lists(st.integers(0, 3), min_size=5, max_size=5), min_size=n, max_size=n)))
    dtype = draw(st.sampled_from(["f4", "f8", "i4", "i8", "u2", "u1", "f2"]))
    form = draw(st.sampled_from(["csr", "csc", "dense"] if dtype != "f2" else ["dense"]))

    def matrix(values: Any) -> Any:
        make: dict[str, Any] = {"csr": sp.csr_matrix, "csc": sp.csc_matrix, "dense": np.asarray}
        whole = make[form](values.astype(dtype))
        if form != "dense" and draw(st.booleans()):
            whole.indices, whole.indptr = whole.indices.astype(np.int64), whole.indptr.astype(np.int64)
        return whole

    kinds = draw(st.lists(st.sampled_from(sorted(COLUMNS)), unique=True, max_size=5))
    obs = pd.DataFrame({kind: COLUMNS[kind](n) for kind in kinds})
    obs.index = INDEXES[draw(st.sampled_from(sorted(INDEXES)))]([f"c{i}-1" for i in range(n)])
    var = pd.DataFrame(
        {"kind": pd.Categorical(["a"] * 5)}, index=INDEXES[draw(st.sampled_from(sorted(INDEXES)))](GENES)
    )
    cells = ad.AnnData(matrix(dense), obs=obs, var=var)
    cells.layers["more"] = matrix(2 * dense)
    return cells


@settings(max_examples=60, deadline=None)
@given(data=st.data(), n=st.integers(1, 9), store=st.sampled_from(["h5ad", "gzip", "lzf", "zarr2", "zarr3", "legacy"]))
def test_every_layout_is_read_as_anndata_reads_it(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject, n: int, store: str
) -> None:
    cells, folder = made(data, n), tmp_path_factory.mktemp("layout")
    cells.raw = cells
    path = folder / ("x.zarr" if store.startswith("zarr") else "x.h5ad")
    with ad.settings.override(allow_write_nullable_strings=True):
        if store.startswith("zarr"):
            with ad.settings.override(zarr_write_format=int(store[-1])):
                quiet(cells.write_zarr, path)
        elif store == "legacy":
            quiet(other_sources.legacy, cells, path, ("obs", "var", "raw/var"))
        else:
            quiet(cells.write_h5ad, path, compression=None if store == "h5ad" else store)
    same = quiet(ad.read_zarr if path.suffix == ".zarr" else ad.read_h5ad, path)
    compare(path, same, ("more", "raw"))
    shutil.rmtree(folder)


@settings(max_examples=40, deadline=None)
@given(
    data=st.data(),
    n=st.integers(1, 9),
    kind=st.sampled_from(["tenx", "tenx2", "mtx", "mtx.gz", "mtx_shuffled"]),
)
def test_every_layout_of_10x_is_read_as_scanpy_reads_it(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject, n: int, kind: str
) -> None:
    dense = np.array(data.draw(st.lists(st.lists(st.integers(0, 9), min_size=5, max_size=5), min_size=n, max_size=n)))
    cells = ad.AnnData(dense.astype(np.float32), obs=pd.DataFrame(index=[f"c{i}-1" for i in range(n)]))
    cells.var_names = [f"ENSG{i:011d}" for i in range(5)]
    folder = tmp_path_factory.mktemp("layout")
    path = sources.write(cells, folder, kind)
    if kind.startswith("mtx") and kind != "mtx.gz" and data.draw(st.booleans()):
        text = (path / "barcodes.tsv").read_text().splitlines()
        (path / "barcodes.tsv").write_text("".join(f"{one}\tsample1\n" for one in text))
    if kind.startswith("tenx"):
        same = quiet(sc.read_10x_h5, path, gex_only=True)
        same.var_names = same.var["gene_ids"]
    else:
        if kind != "mtx.gz":  # scanpy looks for compressed files of version 3
            packed = sources.write(cells, folder / "same", "mtx.gz")
            same = quiet(sc.read_10x_mtx, packed, var_names="gene_ids", cache=False)
        else:
            same = quiet(sc.read_10x_mtx, path, var_names="gene_ids", cache=False)
    compare(path, same)
    shutil.rmtree(folder)


# anndata 0.7


@pytest.mark.parametrize("ending", ["h5ad", "zarr"])
def test_categories_of_anndata_0_7(tmp_path: Path, ending: str) -> None:
    """Labels are codes that refer to categories; -1 is missing; the group of categories is no column."""
    cells = toy.cells(30)
    cells.obs["cell_type"] = pd.Categorical(cells.obs["cell_type"])
    cells.obs["holes"] = pd.Categorical([None if i == 4 else "a" for i in range(30)])
    cells.var["gene_name"] = pd.Categorical([f"N{i}" for i in range(cells.n_vars)])
    cells.raw = cells
    n = len(cells.obs["cell_type"].cat.categories)
    cells.uns["cell_type_colors"] = np.array([f"#00000{i}" for i in range(n)], object)
    path = tmp_path / f"x.{ending}"
    quiet(other_sources.legacy, cells, path, ("obs", "var", "raw/var"))
    compare(path, quiet(ad.read_h5ad if ending == "h5ad" else ad.read_zarr, path))
    with open_cells(path) as file:
        assert file.obs_keys == list(cells.obs.columns)
        assert file.labels("cell_type", "label_key").tolist() == list(cells.obs["cell_type"])
        assert file.colors("cell_type") == dict(
            zip(cells.obs["cell_type"].cat.categories, cells.uns["cell_type_colors"], strict=True)
        )
        with pytest.raises(LabelError, match="lacks 1 of 30 values"):
            file.labels("holes", "label_key")
        for layer in ("X", "raw"):
            with file.matrix(layer) as matrix:
                assert matrix.gene_names("gene_name").tolist() == [f"N{i}" for i in range(cells.n_vars)]


def test_codes_without_a_category_are_refused(tmp_path: Path) -> None:
    for code in (-2, 5, 100):
        path = other_sources.legacy(toy.cells(20), tmp_path / f"{code}.h5ad")
        with h5py.File(path, "r+") as file:
            file["obs/cell_type"][3] = code
        with open_cells(path) as opened, pytest.raises(FileError, match="'cell_type'"):
            opened.labels("cell_type", "label_key")


@pytest.mark.parametrize("kind", ["fixed", "bytes", "integers", "categorical"])
def test_names_in_any_form(tmp_path: Path, kind: str) -> None:
    toy.cells(20).write_h5ad(tmp_path / "x.h5ad")
    names = [f"{i}" for i in range(20)] if kind == "integers" else [f"cell é{i}" for i in range(20)]
    values: dict[str, Any] = {
        "fixed": np.array([one.encode() for one in names], "S12"),
        "bytes": np.array([one.encode() for one in names], object),
        "integers": np.arange(20),
        "categorical": pd.Categorical(names),
    }
    with h5py.File(tmp_path / "x.h5ad", "r+") as file:
        obs = file["obs"]
        index, n = obs.attrs["_index"], 20
        for name in (index, "donor"):
            del obs[name]
        if kind == "categorical":
            write_elem(obs, index, values[kind])
        else:
            obs.create_dataset(index, data=values[kind])
            obs[index].attrs["encoding-type"], obs[index].attrs["encoding-version"] = "array", "0.2.0"
        obs.create_dataset("donor", data=np.array([b"d1"] * n, "S4"))
        obs["donor"].attrs["encoding-type"], obs["donor"].attrs["encoding-version"] = "array", "0.2.0"
        obs.attrs["_index"] = np.bytes_(index.encode())
    with open_cells(tmp_path / "x.h5ad") as opened:
        assert opened.obs_names.tolist() == names
        assert set(opened.labels("donor", "batch_key")) == {"d1"}


# What scvec writes


@pytest.mark.parametrize("index", sorted(INDEXES))
@pytest.mark.parametrize("kind", ["h5ad", "zarr2", "zarr3", "legacy"])
def test_what_is_written_is_read_by_anndata(atlas: Atlas, tmp_path: Path, index: str, kind: str) -> None:
    cells = toy.cells(12, seed=1)
    for column, make in COLUMNS.items():
        cells.obs[column] = make(12)
    cells.obs.index = INDEXES[index](list(cells.obs_names))
    query, out = tmp_path / "q.x", tmp_path / f"calls.{'zarr' if kind.startswith('zarr') else 'h5ad'}"
    query = query.with_suffix(out.suffix)
    with ad.settings.override(allow_write_nullable_strings=True):
        if kind.startswith("zarr"):
            with ad.settings.override(zarr_write_format=int(kind[-1])):
                quiet(cells.write_zarr, query)
        elif kind == "legacy":
            quiet(other_sources.legacy, cells, query)
        else:
            quiet(cells.write_h5ad, query)
    calls = sv.annotate(query, atlas)
    for _ in range(2):  # calls are written over calls
        writing.write(calls, out, query)
        found = quiet(ad.read_zarr if out.suffix == ".zarr" else ad.read_h5ad, out)
        assert list(found.obs["scvec"]) == list(calls.label)
        assert list(found.obs_names) == list(calls.obs_names)
        assert found.obsm["scvec_neighbors"].shape == calls.neighbor_names.shape
        before = quiet(ad.read_zarr if out.suffix == ".zarr" else ad.read_h5ad, query)
        for column in COLUMNS:
            assert expected_labels(found.obs[column]) == expected_labels(before.obs[column])
        shutil.rmtree(query) if query.is_dir() else query.unlink()
        shutil.move(out, query)
        calls = sv.annotate(query, atlas)


# What is no AnnData of its own data


def altered(tmp_path: Path, change: Callable[[h5py.File], object], name: str = "x.h5ad") -> Path:
    path = tmp_path / name
    toy.cells(20).write_h5ad(path)
    with h5py.File(path, "r+") as file:
        change(file)
    return path


def read(path: Path) -> None:
    """Read everything that any verb reads of a file."""
    with open_cells(path) as file:
        _ = file.obs_names
        for key in file.obs_keys:
            file.labels(key, "label_key")
            file.colors(key)
        for layer in file.layers:
            with file.matrix(layer) as matrix:
                matrix.gene_names()
                for key in matrix.var.keys:
                    matrix.gene_names(key)
                list(matrix.batches("reading"))
        for key in file._source.obsm_keys:
            file.given(key)


def with_colors(folder: Path) -> Path:
    cells = toy.cells(20)
    cells.strings_to_categoricals()
    cells.uns["cell_type_colors"] = np.array(["#000000"] * cells.obs["cell_type"].nunique(), object)
    cells.write_h5ad(folder / "x.h5ad")
    return folder / "x.h5ad"


@pytest.mark.parametrize("way", ["link", "soft", "external", "virtual"])
@pytest.mark.parametrize(
    "name", ["obs", "obs/cell_type/categories", "obs/_index", "var/_index", "X/data", "uns/cell_type_colors"]
)
def test_data_outside_of_the_file_are_refused(
    tmp_path: Path, atlas: Atlas, way: Literal["link", "soft", "external", "virtual"], name: str
) -> None:
    """Bytes of another file of this machine must not come out among names, labels or values."""
    path, other = with_colors(tmp_path), tmp_path / "other.h5ad"
    shutil.copy(path, other)
    before = other.read_bytes()
    with h5py.File(path, "r+") as file:
        shape, dtype = getattr(file[name], "shape", None), getattr(file[name], "dtype", None)
        attributes = dict(file[name].attrs)
        del file[name]
        if way == "link":
            file[name] = h5py.ExternalLink(str(other), name)
        elif way == "soft":
            file["away"] = h5py.ExternalLink(str(other), "/")
            file[name] = h5py.SoftLink(f"/away/{name}")
        elif shape is None:
            return
        else:
            fixed = "S10" if dtype is not None and dtype.kind == "O" else dtype
            if way == "external":
                file.create_dataset(name, shape, fixed, external=[(str(other), 0, h5py.h5f.UNLIMITED)])
            else:
                layout = h5py.VirtualLayout(shape, fixed)
                layout[:] = h5py.VirtualSource(str(other), name, shape, fixed)
                file.create_virtual_dataset(name, layout)
            for key, value in attributes.items():
                file[name].attrs[key] = value
    with pytest.raises(FileError, match=r"other\.h5ad|another file|other files"):
        read(path)
    with pytest.raises(InputError):
        calls = sv.annotate(path, atlas)  # what it does not read, it does not refuse
        writing.write(calls, tmp_path / "out.h5ad", path)
    assert not (tmp_path / "out.h5ad").exists()
    assert other.read_bytes() == before


def test_links_inside_of_a_file_are_followed(tmp_path: Path) -> None:
    def change(file: h5py.File) -> None:
        file.move("obs", "uns/kept")
        file["obs"] = h5py.SoftLink("/uns/kept")
        file.move("X/data", "uns/values")
        file["X/data"] = h5py.SoftLink("/uns/values")

    path = altered(tmp_path, change)
    compare(path, quiet(ad.read_h5ad, path))
    with h5py.File(path, "r+") as file:
        del file["obs"]
        file["obs"] = h5py.SoftLink("/obs")
    with pytest.raises(FileError, match="obs"):
        read(path)


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning")
def test_a_zarr_store_does_not_lead_out_of_itself(tmp_path: Path) -> None:
    path = sources.write_zarr(toy.cells(20), tmp_path, "zarr2")
    shutil.move(path / "obs" / "donor", tmp_path / "elsewhere")
    (path / "obs" / "donor").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(FileError, match=r"donor is a link to .*elsewhere.*cp -rL"):
        read(path)
    (path / "obs" / "donor").unlink()
    shutil.move(tmp_path / "elsewhere", path / "obs" / "donor")
    (tmp_path / "link.zarr").symlink_to(path)
    read(tmp_path / "link.zarr")
    metadata = path / "obs" / "donor" / "codes" / ".zarray"
    if not metadata.exists():
        metadata = path / "obs" / "donor" / ".zarray"
    text = metadata.read_text()
    metadata.write_text(
        text.replace('"vlen-utf8"', '"pickle"')
        if "vlen" in text
        else text.replace('"filters": null', '"filters": [{"id": "pickle"}]')
    )
    (path / ".zmetadata").unlink(missing_ok=True)
    with pytest.raises(FileError, match="donor"):
        read(path)


# Sizes that are declared, values that are no counts


def replaced(name: str, values: Any, **attributes: Any) -> Callable[[h5py.File], None]:
    def change(file: h5py.File) -> None:
        before = dict(file[name].attrs)
        del file[name]
        file.create_dataset(name, data=values) if not callable(values) else values(file, name)
        for key, value in {**before, **attributes}.items():
            file[name].attrs[key] = value

    return change


def declared(n: int, dtype: Any = "i8") -> Callable[[h5py.File, str], object]:
    return lambda file, name: file.create_dataset(name, (n,), dtype, chunks=(1024,))


def huge(file: h5py.File) -> None:
    for name in ("obs/_index", "X/indptr"):
        before = dict(file[name].attrs)
        del file[name]
        file.create_dataset(name, (10**12,), h5py.string_dtype() if "obs" in name else "i8", chunks=(1024,))
        file[name].attrs.update(before)
    file["X"].attrs["shape"] = (10**12, 240)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (huge, "declared as"),
        (replaced("X/indptr", declared(10**12)), "does not fit its shape"),
        (replaced("obs/_index", declared(10**12, "S10")), "declared as"),
        (replaced("obs/donor", declared(10**12, "S10")), "1,000,000,000,000 values for 20 rows"),
        (lambda file: file["X"].attrs.__setitem__("shape", (10**12, 10**6)), r"has the shape \(1000000000000"),
        (lambda file: file["X"].attrs.__setitem__("shape", "text"), "cannot be read"),
        (lambda file: file["obs"].attrs.__setitem__("_index", 3), "cannot be read"),
        (lambda file: file["obs"].attrs.__setitem__("_index", [1, 2]), "cannot be read"),
        (lambda file: file["obs"].attrs.__setitem__("_index", "nothing"), "cannot be read"),
        (lambda file: file["obs"].attrs.__setitem__("column-order", [1, 2]), "cannot be read"),
        (replaced("obs/_index", np.ones((20, 2))), "cannot be read"),
        (replaced("obs/donor", np.ones((20, 2))), "donor"),
        (replaced("obs/donor", np.ones(19)), "19 values for 20 rows"),
        (replaced("obs/donor", np.zeros(20), **{"encoding-type": "nothing known"}), "donor"),
        (
            lambda file: (
                file.__setitem__("layers", 3)
                if "layers" not in file
                else (file.pop("layers"), file.__setitem__("layers", 3))
            ),
            "layers",
        ),
        (lambda file: (file.pop("X"), file.__setitem__("X", h5py.Empty("f4"))), "not a matrix"),
        (lambda file: (file.pop("X"), file.__setitem__("X", np.array([["a"] * 240] * 20, "S2"))), "holds text"),
        (lambda file: (file.pop("X"), file.__setitem__("X", np.ones((20, 240), complex))), "complex"),
        (lambda file: (file.pop("X"), file.__setitem__("X", np.ones((20, 240), [("a", "f4")]))), "type"),
        (lambda file: (file.pop("X"), file.__setitem__("X", np.full((20, 240), 3e38, "f4"))), "no count reaches"),
        (lambda file: (file.pop("X"), file.__setitem__("X", np.full((20, 240), 1e200))), "infinite"),
    ],
)
def test_a_broken_file_is_one_line(tmp_path: Path, change: Callable[[h5py.File], object], message: str) -> None:
    path = altered(tmp_path, change)
    with pytest.raises(ScvecError, match=message) as caught:
        read(path)
    assert isinstance(caught.value, FileError | MatrixError), caught.value
    assert len(str(caught.value).splitlines()) == 1
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("form", ["csr", "csc"])
@pytest.mark.parametrize("bad", [0.5, -1, 10**6, np.nan])
def test_positions_are_whole_and_inside(tmp_path: Path, form: str, bad: float) -> None:
    path = sources.write(toy.cells(20), tmp_path, form)
    with h5py.File(path, "r+") as file:
        indices = file["X/indices"][:].astype("f8" if bad != 10**6 else "u8")
        attributes = dict(file["X/indices"].attrs)
        del file["X/indices"]
        file["X/indices"] = indices
        file["X/indices"].attrs.update(attributes)
    read(path)
    with h5py.File(path, "r+") as file:
        file["X/indices"][7] = bad
    with pytest.raises(FileError, match=r"whole numbers|outside"):
        read(path)


def test_every_group_in_place_of_an_array_is_one_line(tmp_path: Path) -> None:
    """Whatever of a file is something else than it should be, the answer is one error that names the part."""
    whole = tmp_path / "whole.h5ad"
    cells = toy.cells(20)
    cells.layers["more"], cells.raw, cells.obsm["X_a"] = cells.X, cells, np.ones((20, 2))
    cells.strings_to_categoricals()
    cells.write_h5ad(whole)
    names: list[str] = []
    with h5py.File(whole) as file:
        file.visit(names.append)
    others: dict[str, Callable[[h5py.File, str], object]] = {
        "group": lambda file, name: file.create_group(name),
        "scalar": lambda file, name: file.__setitem__(name, 3),
        "texts": lambda file, name: file.__setitem__(name, np.array(["a", "b"], "S1")),
        "nothing": lambda _file, _name: None,
        "compound": lambda file, name: file.__setitem__(name, np.ones(20, [("a", "i4"), ("b", "f4")])),
        "type": lambda file, name: file.__setitem__(name, np.dtype("f4")),
    }
    for name in names:
        for kind, put in others.items():
            path = tmp_path / "x.h5ad"
            shutil.copy(whole, path)
            with h5py.File(path, "r+") as file:
                attributes = dict(file[name].attrs)
                del file[name]
                put(file, name)
                if name in file and kind != "type":
                    file[name].attrs.update(attributes)
            try:
                quiet(read, path)
            except ScvecError as error:
                assert len(str(error).splitlines()) == 1
            except Exception as error:  # names what was broken
                raise AssertionError(f"{name} as {kind}") from error


def test_zarr_members_that_are_something_else(tmp_path: Path) -> None:
    whole = quiet(sources.write_zarr, toy.cells(20), tmp_path, "zarr3")
    for name in ("obs/donor", "obs/_index", "X/indptr", "X/data", "X", "var/_index", "obs"):
        path = tmp_path / "x.zarr"
        shutil.copytree(whole, path)
        root = zarr.open_group(path, mode="r+", use_consolidated=False)
        del root[name]
        root.create_array(name, shape=(3,), dtype="f4")
        with pytest.raises(ScvecError) as caught:
            quiet(read, path)
        assert len(str(caught.value).splitlines()) == 1
        shutil.rmtree(path)
