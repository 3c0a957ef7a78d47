"""Writes calls to a file (h5ad, Parquet or CSV), completely or not at all."""

from __future__ import annotations

import errno
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import h5py
import numpy as np

from scvec.annotation.result import Annotation
from scvec.core.files import placing
from scvec.errors import InputError, must_be
from scvec.ingest.cells import copy_local, is_h5ad, place

if TYPE_CHECKING:
    import polars as pl

HDF5_OVERHEAD, NAME_BYTES = 2, 64
"""Upper bounds of what calls take in a file: this many times their arrays, and this many bytes a name."""

SUFFIXES = (".h5ad", ".parquet", ".csv")
TABLES = SUFFIXES[1:]


def check_target(out: str | Path, query: str | Path, endings: Sequence[str] = SUFFIXES) -> None:
    """Raise `InputError` if calls cannot be written to `out`; called before any work is done.

    Raises
    ------
    FileError
        If `out` ends in ``.h5ad`` and the query cannot be opened.
    """
    check_name(out, endings)
    out, where = Path(out), place(query)
    if isinstance(where, Path) and out.resolve() == where.resolve():
        raise InputError(
            f"`out` {out} is the query itself", "another file, as inputs are never changed", "choose another name"
        )
    if out.suffix == ".h5ad" and not is_h5ad(query):
        raise InputError(
            f"`out` cannot be {out}, because the query {query} is not an h5ad file",
            "a name that ends in .parquet or .csv, which suits any query",
            f"`out` {out.with_suffix('.parquet')}, or save the query as h5ad first",
        )


def check_name(out: str | Path, endings: Sequence[str] = TABLES) -> None:
    """Raise `InputError` if `out` has none of these endings, or is a folder."""
    out = Path(out)
    if out.suffix not in endings:
        raise must_be("out", f"a file name that ends in {', '.join(endings)}", str(out))
    if out.is_dir():
        raise InputError(f"`out` {out} is a folder", "a file", f"`out` {out}/calls{out.suffix}")


def write(calls: Annotation, out: str | Path, query: str | Path) -> None:
    """Write calls in the format that the ending of `out` names.

    ``.h5ad`` is a copy of the query, which must be an h5ad file, with the calls in ``obs``, ``obsm`` and ``uns``; its
    matrices are copied without being read. ``.parquet`` and ``.csv`` have one row a cell; in CSV, lists are joined by
    ``;``.

    Raises
    ------
    InputError
        If `out` has another ending, is a folder, is the query, or ends in ``.h5ad`` and the query is not an h5ad file.
    DiskFullError
        If the disk is full; `out` is then as before.
    """
    check_target(out, query)
    if Path(out).suffix in TABLES:
        write_frame(calls.to_frame(), out)
        return
    with placing(Path(out)) as part:
        copy_local(query, part)
        _check_room(calls, part)
        _add_to_h5ad(calls, part)


def write_frame(frame: pl.DataFrame, out: str | Path) -> None:
    """Write a frame as Parquet or CSV, as the ending of `out` says; in CSV, lists are joined by ``;``."""
    import polars as pl

    with placing(Path(out)) as part:
        if Path(out).suffix == ".parquet":
            frame.write_parquet(part)
        else:
            lists = [name for name, kind in frame.schema.items() if isinstance(kind, pl.List)]
            frame.with_columns(pl.col(lists).cast(pl.List(pl.String)).list.join(";")).write_csv(part)


def _check_room(calls: Annotation, path: Path) -> None:
    """Fail before HDF5 does: it cannot close a file on a full disk, and then crashes the process."""
    names = calls.neighbor_names.size + 3 * len(calls)
    needed = HDF5_OVERHEAD * (calls.vectors.nbytes + calls.scores.nbytes + NAME_BYTES * names)
    if shutil.disk_usage(path.parent).free < needed:
        raise OSError(errno.ENOSPC, "No space left on device", str(path))


def _add_to_h5ad(calls: Annotation, path: Path) -> None:
    import pandas as pd
    from anndata.io import write_elem

    with h5py.File(path, "r+") as file:
        obs = file["obs"]
        columns = calls.obs_columns()
        for stale in [key for key in obs if key.startswith("scvec_") and key not in columns]:
            del obs[stale]
        for key, values in columns.items():
            write_elem(obs, key, values)
        known = [name for name in obs.attrs["column-order"] if name not in columns and name in obs]
        obs.attrs["column-order"] = np.array([*known, *columns], dtype=h5py.string_dtype())
        for group, items in (
            ("obsm", calls.obsm_arrays(pd.Index(calls.obs_names))),
            ("uns", {"scvec": calls.uns()}),
        ):
            if group not in file:
                write_elem(file, group, {})
            for key, values in items.items():
                write_elem(file[group], key, values)
