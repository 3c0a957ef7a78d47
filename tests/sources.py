"""The same cells in every format that is read, written by their own writers where there is one."""

from __future__ import annotations

import gzip
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anndata as ad
import h5py
import numpy as np
import scipy.io
import scipy.sparse as sp

ANNDATA = ("csr", "csc", "dense", "zarr2", "zarr3", "zarr_csc", "zarr_dense", "zip")
TENX = ("tenx", "tenx2", "mtx", "mtx.gz", "mtx2", "mtx_shuffled")
"""Formats that keep no annotations."""

FORMATS = (*ANNDATA, *TENX)


def write(cells: ad.AnnData, folder: Path, kind: str) -> Path:
    """Write cells in a format; those of 10x take ``var_names`` as ids, and ``gene_symbols`` or the ids as symbols."""
    folder.mkdir(parents=True, exist_ok=True)
    if kind in ("csr", "csc", "dense"):
        path = folder / f"{kind}.h5ad"
        in_form(cells, kind).write_h5ad(path)
        return path
    if kind in ANNDATA:
        return write_zarr(cells, folder, kind)
    if kind in ("tenx", "tenx2"):
        return write_tenx(cells, folder / f"{kind}.h5", version=2 if kind == "tenx2" else 3)
    return write_market(cells, folder / kind, kind)


def in_form(cells: ad.AnnData, form: str) -> ad.AnnData:
    copy: Any = cells.copy()
    dense = sp.csr_matrix(copy.X).toarray()
    make: dict[str, Callable[[Any], Any]] = {"csr": sp.csr_matrix, "csc": sp.csc_matrix, "dense": np.asarray}
    copy.X = make[form](dense)
    return copy


def write_zarr(cells: ad.AnnData, folder: Path, kind: str) -> Path:
    path = folder / f"{kind}.zarr"
    form = {"zarr_csc": "csc", "zarr_dense": "dense"}.get(kind, "csr")
    with ad.settings.override(zarr_write_format=2 if kind == "zarr2" else 3), warnings.catch_warnings():
        # zarr says that strings and consolidated metadata are not in its third format's specification yet.
        warnings.simplefilter("ignore")
        in_form(cells, form).write_zarr(path)
    return Path(shutil.make_archive(str(folder / kind), "zip", path)) if kind == "zip" else path


def write_tenx(cells: ad.AnnData, path: Path, version: int = 3, types: list[str] | None = None) -> Path:
    x = in_form(cells, "csr").X
    arrays: dict[str, Any] = {
        "barcodes": np.array(cells.obs_names, "S"),
        "data": x.data.astype(np.int32) if (x.data == x.data.astype(np.int32)).all() else x.data,
        "indices": x.indices.astype(np.int64),
        "indptr": x.indptr.astype(np.int64),
        "shape": np.array(x.shape[::-1], np.int32),
    }
    ids, names = np.array(cells.var_names, "S"), np.array(symbols(cells), "S")
    if version == 2:
        where, more = "GRCh38", {"genes": ids, "gene_names": names}
    else:
        where = "matrix"
        kinds = np.array(types or ["Gene Expression"] * len(ids), "S")
        more = {"features/id": ids, "features/name": names, "features/feature_type": kinds}
        more["features/genome"] = np.array(["GRCh38"] * len(ids), "S")
    with h5py.File(path, "w") as file:
        for key, values in {**arrays, **more}.items():
            file[f"{where}/{key}"] = values
    return path


def symbols(cells: ad.AnnData) -> list[str]:
    return list(cells.var.get("gene_symbols", cells.var_names))


def write_market(cells: ad.AnnData, folder: Path, kind: str = "mtx", types: list[str] | None = None) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    x = sp.coo_matrix(in_form(cells, "csr").X.T)
    order = np.random.default_rng(0).permutation(x.nnz) if kind == "mtx_shuffled" else np.argsort(x.col, kind="stable")
    x = sp.coo_matrix((x.data[order], (x.row[order], x.col[order])), shape=x.shape)
    whole = bool((x.data == np.rint(x.data)).all())
    scipy.io.mmwrite(folder / "matrix.mtx", x.astype(np.int64) if whole else x, symmetry="general")
    kinds = types or ["Gene Expression"] * cells.n_vars
    rows = list(zip(cells.var_names, symbols(cells), kinds, strict=True))
    old = kind == "mtx2"
    texts = {
        "barcodes.tsv": list(cells.obs_names),
        "genes.tsv" if old else "features.tsv": ["\t".join(row[:2] if old else row) for row in rows],
    }
    for name, lines in texts.items():
        (folder / name).write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    if kind == "mtx.gz":
        for file in list(folder.iterdir()):
            (folder / f"{file.name}.gz").write_bytes(gzip.compress(file.read_bytes()))
            file.unlink()
    return folder
