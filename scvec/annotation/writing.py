"""Writes calls to a file (h5ad, zarr, Parquet or CSV), completely or not at all."""

from __future__ import annotations

import errno
import shutil
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import h5py
import numpy as np

from scvec.annotation.entries import DEFAULT_KEY, PARTS, Entries, check_key, obsm_names
from scvec.annotation.new_file import write_cells
from scvec.annotation.result import Annotation
from scvec.core.files import placing, placing_folder, require_folder
from scvec.core.spreadsheets import guarded
from scvec.errors import InputError, must_be
from scvec.ingest.cells import (
    Cells,
    Matrix,
    Place,
    copy_local,
    copy_local_folder,
    in_memory,
    is_anndata_zarr,
    is_h5ad,
    is_zarr,
    open_cells,
    place,
    require_inside,
)

if TYPE_CHECKING:
    import polars as pl

HDF5_OVERHEAD, NAME_BYTES = 2, 64
"""Upper bounds of what calls take in a file: this many times their arrays, and this many bytes a name."""

VALUE_BYTES, SAMPLE_CELLS = 8, 256
"""Bytes of a value of the matrix in a new file, and the cells of which the number of values is estimated."""

TABLES = (".parquet", ".csv")
ANNDATA = (".h5ad", ".zarr")
SUFFIXES = (*ANNDATA, *TABLES)


def check_target(
    out: str | Path, query: Cells, endings: Sequence[str] = SUFFIXES, key_added: str = DEFAULT_KEY
) -> None:
    """Raise `InputError` if calls cannot be written to `out`; called before any work is done.

    Raises
    ------
    FileError
        If `out` ends in ``.h5ad`` or ``.zarr`` and the query cannot be opened.
    """
    check_key(key_added)
    out = Path(out)
    check_name(out, endings)
    given = in_memory(query)
    if given is None and _overlap(out, place(query)):
        raise InputError(
            f"`out` {out} is the query itself", "another file, as inputs are never changed", "choose another name"
        )
    if out.suffix in TABLES:
        return
    if given is not None:
        fix = f"calls.write(adata), then adata.write_{out.suffix[1:]}({str(out)!r})"
        raise InputError(f"`out` cannot be {out}, because the query is in memory", "a query that is a file", fix)
    if out.suffix == ".h5ad" and _makes_new(query):
        return
    kind, is_kind = ("an h5ad file", is_h5ad) if out.suffix == ".h5ad" else ("a zarr store", is_anndata_zarr)
    if not is_kind(query):
        other = out.with_suffix(".zarr" if out.suffix == ".h5ad" else ".h5ad")
        raise InputError(
            f"`out` cannot be {out}, because the query {query} is not {kind}",
            f"{other.name}, or a name that ends in .parquet or .csv, which suits any query",
            f"`out` {other}, or save the query as {kind.split()[1]} first",
        )
    if out.suffix == ".zarr" and out.exists() and not is_zarr(out):
        raise InputError(f"`out` {out} is not a zarr store", "one to replace, or a new name", "choose another name")
    _check_free(place(cast("str | Path", query)), key_added)


def check_name(out: str | Path, endings: Sequence[str] = TABLES) -> None:
    """Raise `InputError` if `out` has none of these endings, is a folder, or is to be in a file."""
    out = Path(out)
    if out.suffix not in endings:
        raise must_be("out", f"a file name that ends in {', '.join(endings)}", str(out))
    if out.is_dir() and out.suffix != ".zarr":
        raise InputError(f"`out` {out} is a folder", "a file", f"`out` {out}/calls{out.suffix}")
    require_folder(out, "`out`")


def write(calls: Annotation, out: str | Path, query: Cells | None = None, *, key_added: str = DEFAULT_KEY) -> None:
    """Write calls in the format that the ending of `out` names.

    ``.h5ad`` and ``.zarr`` are a copy of the query, if it is such a file, with the entries of `Annotation.write`; its
    matrices are copied without being read. All of its cells are there: where only some were called, the values of the
    others are missing. Of a query in another format, such as 10x, ``.h5ad`` is a new file of the cells that were
    called: their annotations, the genes, the matrix that was called, and the calls. ``.parquet`` and ``.csv`` have one
    row a cell; in CSV, lists are joined by ``;``.

    Parameters
    ----------
    calls
        The calls.
    out
        The file to write; an older one is replaced, once the new one is complete.
    query
        The cells that were called; None: the calls know them.
    key_added
        The column of labels in an AnnData, and the beginning of the names of all entries.

    Raises
    ------
    InputError
        If `out` has another ending, is a folder, or is the query; or ends in ``.h5ad`` or ``.zarr`` and the query is
        not such a file, has other cells than the calls, or has entries of these names that scvec did not write.
    DiskFullError
        If the disk is full; `out` is then as before.
    """
    query = calls.query.cells if query is None else query
    check_target(out, query, key_added=key_added)
    out = Path(out)
    if out.suffix in TABLES:
        write_frame(calls.to_polars(), out)
        return
    if out.suffix == ".h5ad" and _makes_new(query):
        _write_new(calls, out, key_added)
        return
    with open_cells(cast("str | Path", query)) as file:
        entries = calls.entries_for(file.obs_names.tolist(), query, key_added)
        n_cells = len(file.obs_names)
    if out.suffix == ".zarr":
        with placing_folder(out) as part:
            copy_local_folder(cast("str | Path", query), part)
            _add_to_zarr(entries, part)
        return
    with placing(out) as part:
        copy_local(cast("str | Path", query), part)
        _check_room(calls, part, n_cells)
        with h5py.File(part, "r+") as root:
            require_inside(root, str(query))
            _add(entries, root)


def write_frame(frame: pl.DataFrame, out: str | Path) -> None:
    """Write a frame as Parquet or CSV, as the ending of `out` says.

    In CSV, lists are joined by ``;``, and text that a spreadsheet would run is `guarded`.
    """
    import polars as pl

    with placing(Path(out)) as part:
        if Path(out).suffix == ".parquet":
            frame.write_parquet(part)
        else:
            lists = [name for name, kind in frame.schema.items() if isinstance(kind, pl.List)]
            guarded(frame.with_columns(pl.col(lists).cast(pl.List(pl.String)).list.join(";"))).write_csv(part)


def _makes_new(query: Cells) -> bool:
    """Whether an h5ad of the query is a new file: for those of formats that keep no calls."""
    return not is_h5ad(query) and not is_anndata_zarr(query)


def _write_new(calls: Annotation, out: Path, key_added: str) -> None:
    """Write the cells that were called, and the calls, to a new h5ad."""
    with calls.query.opened() as opened, placing(out) as part:
        calls.check_cells(opened.file.obs_names.tolist(), calls.query.name)
        _check_room(calls, part, len(calls), VALUE_BYTES * opened.matrix.rows.shape[0] * _per_cell(opened.matrix))
        with h5py.File(part, "w") as root:
            write_cells(opened.file, opened.matrix, root)
            _add(calls.entries(key_added), root)


def _per_cell(matrix: Matrix) -> int:
    """Return about how many values a cell has."""
    n = min(SAMPLE_CELLS, matrix.rows.shape[0])
    return -(-int(matrix.rows.read(0, n).nnz) // max(1, n))


def _check_room(calls: Annotation, path: Path, n_cells: int, further: int = 0) -> None:
    """Fail before HDF5 does: it cannot close a file on a full disk, and then crashes the process."""
    names = calls.neighbor_names.size + 3 * len(calls)
    of_calls = HDF5_OVERHEAD * (calls.vectors.nbytes + calls.scores.nbytes + NAME_BYTES * names)
    needed = of_calls * max(1, n_cells) // max(1, len(calls)) + further
    if shutil.disk_usage(path.parent).free < needed:
        raise OSError(errno.ENOSPC, "No space left on device", str(path))


def _add_to_zarr(entries: Entries, path: Path) -> None:
    import zarr

    # What a store says of all its members in one place would hide the new ones.
    consolidated = zarr.open_group(path, mode="r").metadata.consolidated_metadata is not None
    with warnings.catch_warnings():
        # They say that strings, and that one place, are not in zarr's third specification; the query is in it already.
        warnings.simplefilter("ignore", UserWarning)
        warnings.simplefilter("ignore", FutureWarning)
        root = zarr.open_group(path, mode="r+", use_consolidated=False)
        _add(entries, root)
        if consolidated:
            zarr.consolidate_metadata(root.store)


def _add(entries: Entries, root: Any) -> None:
    """Write entries to an open AnnData file, of HDF5 or zarr, as `Entries.put` does to an AnnData."""
    from anndata.io import write_elem

    obs, (there, uns) = root["obs"], _present(root)
    stale, new = entries.stale(there, uns), {"obs": entries.obs, "obsm": entries.obsm, "uns": entries.uns()}
    for part in PARTS:
        if part not in root:
            write_elem(root, part, {})
        for name in stale[part] - set(new[part]):
            del root[part][name]
        for name, value in new[part].items():
            write_elem(root[part], name, value)
    order = [name for name in there["obs"] if name in entries.obs or name not in stale["obs"]]
    names = list(dict.fromkeys([*order, *entries.obs]))
    obs.attrs["column-order"] = np.array(names, dtype=h5py.string_dtype()) if isinstance(obs, h5py.Group) else names


def _present(root: Any) -> tuple[dict[str, list[str]], dict[str, Any]]:
    """Return the names of the entries in an open AnnData file, and the entries of ``uns`` that calls may have made."""
    from anndata.io import read_elem

    uns = root.get("uns", {})
    made = {key: read_elem(uns[key]) for key in uns if "provenance" in getattr(uns[key], "keys", tuple)()}
    there = {"obs": list(root["obs"].attrs["column-order"]), "uns": list(uns)}
    return there | {"obsm": list(root.get("obsm", ()))}, made


def _check_free(query: Place, key_added: str) -> None:
    """Raise `InputError` if the entries that all calls have would replace what scvec did not write."""
    if not isinstance(query, Path) or query.suffix == ".zip":  # found out when it is copied
        return
    obsm = {name: np.empty(0) for name in obsm_names(key_added)}
    with _opened(query) as root:
        Entries(key_added, {key_added: None}, obsm, {}, {}).stale(*_present(root))


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    import zarr

    if path.is_dir():
        yield zarr.open_group(path, mode="r")
        return
    with h5py.File(path, "r") as root:
        require_inside(root, str(path))
        yield root


def _overlap(out: Path, where: Place) -> bool:
    """Whether one of two places is the other, or in it."""
    if not isinstance(where, Path):
        return False
    one, other = out.resolve(), where.resolve()
    return one == other or one in other.parents or (other in one.parents and is_zarr(other))
