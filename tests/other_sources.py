"""The same cells as other programs than scanpy and Cell Ranger write them, and as people pass them on."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anndata as ad
import h5py
import numpy as np
import pandas as pd
import scipy.io
import scipy.sparse as sp
import zarr
from anndata.io import write_elem

from tests.sources import in_form, write_market, write_tenx

CATEGORIES = "__categories"


def legacy(cells: ad.AnnData, path: Path, frames: tuple[str, ...] = ("obs",)) -> Path:
    """Write an h5ad, or a zarr store of format 2, as anndata 0.7 did: columns are codes that refer to categories."""
    if path.suffix == ".zarr":
        with ad.settings.override(zarr_write_format=2):
            cells.write_zarr(path)
        root: Any = zarr.open_group(path, mode="r+", use_consolidated=False)
        (path / ".zmetadata").unlink(missing_ok=True)
    else:
        cells.write_h5ad(path)
        root = h5py.File(path, "r+")
    for name in frames:
        columns: Any
        group, columns = (
            root[name],
            {"obs": cells.obs, "var": cells.var}.get(name, cells.raw.var if cells.raw else None),
        )
        group.attrs["encoding-version"] = "0.1.0"
        for key in columns:
            _as_codes(group, key, columns[key].astype("category").cat)
    if path.suffix != ".zarr":
        root.close()
    return path


def _as_codes(group: Any, key: str, column: Any) -> None:
    del group[key]
    kept = group.require_group(CATEGORIES)
    values = column.categories.to_numpy()
    write_elem(kept, key, values.astype(object) if values.dtype.kind in "OT" else values)
    kept[key].attrs["ordered"] = False
    write_elem(group, key, column.codes.to_numpy())
    for attribute in ("encoding-type", "encoding-version"):
        del group[key].attrs[attribute]
    group[key].attrs["categories"] = kept[key].ref if isinstance(group, h5py.Group) else f"{CATEGORIES}/{key}"


def counted(cells: ad.AnnData) -> Any:
    return sp.coo_matrix(in_form(cells, "csr").X)


def lines(path: Path, values: Any) -> None:
    path.write_text("".join(f"{one}\n" for one in values))


def parse(cells: ad.AnnData, folder: Path, matrix: str = "count_matrix") -> Path:
    folder.mkdir(parents=True)
    scipy.io.mmwrite(folder / f"{matrix}.mtx", counted(cells).astype(int), symmetry="general")
    genes = pd.DataFrame({"gene_id": cells.var_names, "gene_name": cells.var["gene_symbols"], "genome": "hg38"})
    genes.to_csv(folder / "all_genes.csv", index=False)
    meta = cells.obs.rename_axis("bc_wells").reset_index()
    meta.to_csv(folder / "cell_metadata.csv", index=False)
    return folder


def bustools(cells: ad.AnnData, folder: Path) -> Path:
    folder.mkdir(parents=True)
    scipy.io.mmwrite(folder / "cells_x_genes.mtx", counted(cells).astype(int), symmetry="general")
    lines(folder / "cells_x_genes.barcodes.txt", cells.obs_names)
    lines(folder / "cells_x_genes.genes.txt", cells.var_names)
    lines(folder / "cells_x_genes.genes.names.txt", cells.var["gene_symbols"])
    return folder


def alevin(cells: ad.AnnData, folder: Path) -> Path:
    where = folder / "alevin"
    where.mkdir(parents=True)
    scipy.io.mmwrite(where / "quants_mat.mtx", counted(cells).astype(float), symmetry="general")
    (where / "quants_mat.mtx.gz").write_bytes(gzip.compress((where / "quants_mat.mtx").read_bytes()))
    (where / "quants_mat.mtx").unlink()
    lines(where / "quants_mat_rows.txt", cells.obs_names)
    lines(where / "quants_mat_cols.txt", cells.var_names)
    return folder


def prefixed(cells: ad.AnnData, folder: Path, prefix: str = "GSM1_s1_", suffix: str = "", gz: bool = True) -> Path:
    inner = write_market(cells, folder / "inner")
    for one in inner.iterdir():
        stem, ending = one.stem, one.suffix
        data = gzip.compress(one.read_bytes()) if gz else one.read_bytes()
        (folder / f"{prefix}{stem}{suffix}{ending}{'.gz' if gz else ''}").write_bytes(data)
        one.unlink()
    inner.rmdir()
    return folder


def geo(cells: ad.AnnData, folder: Path) -> Path:
    folder.mkdir(parents=True)
    return prefixed(cells, folder)


def geo_suffix(cells: ad.AnnData, folder: Path) -> Path:
    folder.mkdir(parents=True)
    return prefixed(cells, folder, "GSM7_", "_tumour")


def geo_words(cells: ad.AnnData, folder: Path) -> Path:
    """Write a matrix with tables of R: a head, quotes, row numbers; nothing has the usual name."""
    folder.mkdir(parents=True)
    scipy.io.mmwrite(folder / "GSE9_raw_counts.mtx", counted(cells).T.astype(int), symmetry="general")
    pd.DataFrame({"x": list(cells.obs_names)}, index=range(1, cells.n_obs + 1)).to_csv(
        folder / "GSE9_cellnames.csv", quoting=1
    )
    names = pd.DataFrame({"gene_id": cells.var_names, "gene_name": list(cells.var["gene_symbols"])})
    names.to_csv(folder / "GSE9_genes.tsv.gz", sep="\t", index=False)
    return folder


def outs(cells: ad.AnnData, folder: Path) -> Path:
    """Write Cell Ranger's run: filtered and raw, as text and HDF5, and what else is there."""
    whole = folder / "outs"
    write_market(cells, whole / "filtered_feature_bc_matrix", "mtx.gz")
    write_tenx(cells, whole / "filtered_feature_bc_matrix.h5")
    write_market(cells[:5].copy(), whole / "raw_feature_bc_matrix", "mtx.gz")
    write_tenx(cells[:5].copy(), whole / "raw_feature_bc_matrix.h5")
    (whole / "web_summary.html").write_text("<html></html>")
    write_market(cells[:3].copy(), folder / "SC_RNA_COUNTER_CS" / "files" / "filtered_feature_bc_matrix")
    return folder


def starsolo(cells: ad.AnnData, folder: Path) -> Path:
    write_market(cells, folder / "Solo.out" / "Gene" / "filtered")
    raw = write_market(cells[:5].copy(), folder / "Solo.out" / "Gene" / "raw")
    (raw / "UniqueAndMult-EM.mtx").write_bytes((raw / "matrix.mtx").read_bytes())
    return folder


def mudata(cells: ad.AnnData, path: Path, names: tuple[str, ...] = ("prot", "rna")) -> Path:
    """Write MuData, as mudata does: the observations of the whole are those of all modalities, in another order."""
    path.parent.mkdir(parents=True, exist_ok=True)
    whole = pd.DataFrame({"sample": [f"p{i % 2}" for i in range(cells.n_obs + 1)]}, index=["more", *cells.obs_names])
    whole["rna:cell_type"] = ["", *cells.obs["cell_type"]]
    with h5py.File(path, "w") as file:
        file.attrs["encoding-type"] = "MuData"
        write_elem(file, "obs", whole)
        write_elem(file, "var", pd.DataFrame(index=cells.var_names))
        for name in names:
            tags = ad.AnnData(np.ones((2, 3), np.float32))
            write_elem(file, f"mod/{name}", cells if name in ("rna", "RNA") else tags)
    return path


def mudata_file(cells: ad.AnnData, folder: Path) -> Path:
    return mudata(cells, folder / "cells.h5mu")


def spatialdata(cells: ad.AnnData, folder: Path, names: tuple[str, ...] = ("table",)) -> Path:
    path = folder / "sample.zarr"
    with ad.settings.override(zarr_write_format=2):
        root = zarr.open_group(path, mode="w", zarr_format=2)
        root.create_group("images")
        for name in names:
            write_elem(root, f"tables/{name}", cells)
    return path


def loom(cells: ad.AnnData, folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "cells.loom"
    with h5py.File(path, "w") as file:
        file["matrix"] = sp.csr_matrix(cells.X).toarray().T
        file.create_group("layers")["spliced"] = sp.csr_matrix(cells.X).toarray().T * 2
        for key in cells.obs:
            file[f"col_attrs/{key}"] = np.array(cells.obs[key], "S")
        file["col_attrs/CellID"] = np.array(cells.obs_names, object)
        file["col_attrs/many"] = np.zeros((cells.n_obs, 2))
        file["row_attrs/Gene"] = np.array(cells.var["gene_symbols"], object)
        file["row_attrs/Accession"] = np.array(cells.var_names, object)
        file.create_group("col_graphs")
        file.attrs["LOOM_SPEC_VERSION"] = "3.0.0"
    return path


def gzipped(cells: ad.AnnData, folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    cells.write_h5ad(folder / "x.h5ad")
    packed = folder / "cells.h5ad.gz"
    packed.write_bytes(gzip.compress((folder / "x.h5ad").read_bytes()))
    return packed


def gzipped_plain(cells: ad.AnnData, folder: Path) -> Path:
    """Write a gzipped 10x file whose name does not say so."""
    folder.mkdir(parents=True, exist_ok=True)
    packed = folder / "cells.h5"
    packed.write_bytes(gzip.compress(write_tenx(cells, folder / "x.h5").read_bytes()))
    return packed


WRITERS: dict[str, Callable[[ad.AnnData, Path], Path]] = {
    "parse": parse,
    "bustools": bustools,
    "alevin": alevin,
    "geo": geo,
    "geo_suffix": geo_suffix,
    "geo_words": geo_words,
    "outs": outs,
    "starsolo": starsolo,
    "mudata": mudata_file,
    "spatialdata": spatialdata,
    "loom": loom,
    "gzipped": gzipped,
    "gzipped_plain": gzipped_plain,
}
