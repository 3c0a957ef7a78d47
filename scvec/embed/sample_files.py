"""The sample of a reference as a file: the cells that an atlas keeps, to be fitted again on fewer genes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import scipy.sparse as sp
from numpy.typing import NDArray

from scvec.core.limits import bounded_json, check_parquet
from scvec.core.types import Ints
from scvec.embed.sample import Sample
from scvec.errors import StoreError

ABOUT, ORDER = b"scvec.sample", b"scvec.genes"
ROW_GROUP = 4096


def save_sample(path: Path, sample: Sample) -> None:
    """Write the cells of a sample as Parquet, a row each; about one byte for each expressed gene, of counts.

    Values are kept as float16, within a 2,000th of themselves. Of counts, only their number in each cell is kept. Genes
    are numbered from the one that most cells express, and a cell has the steps from each of its genes to the next,
    which are small. Where few values occur in a cell, as of counts, it has these (`levels`) and the place among them
    of each value.
    """
    logged = sp.csr_matrix(sample.logged)
    order = np.argsort(-np.bincount(logged.indices, minlength=logged.shape[1]), kind="stable")
    numbered = sp.csr_matrix(logged[:, order])
    numbered.sort_indices()
    indptr = numbered.indptr.astype(np.int64)
    columns = {
        "row": pa.array(np.arange(len(sample)) if sample.rows is None else sample.rows),
        "code": pa.array(sample.codes),
        "batch": pa.array(sample.batches.astype(str).tolist(), pa.string()),
        "steps": pa.LargeListArray.from_arrays(pa.array(indptr), pa.array(_steps(numbered))),
        **_values(numbered.data.astype(np.float16), indptr),
    }
    if sample.n_counts is not None:
        columns["n_counts"] = pa.array(sample.n_counts, pa.float32())
    about = json.dumps({"n_genes": logged.shape[1], "names": sample.names}).encode()
    kept = {ABOUT: about, ORDER: pa.compress(order.astype("<i4").tobytes(), "zstd", asbytes=True)}
    table = pa.table(columns).replace_schema_metadata(kept)
    encoded = {f"{name}.list.element": "BYTE_STREAM_SPLIT" for name in ("steps", "places") if name in columns}
    pq.write_table(table, path, ROW_GROUP, compression="zstd", use_dictionary=["batch"], column_encoding=encoded)


def _steps(cells: sp.csr_matrix[np.float32]) -> NDArray[np.int32]:
    """Return for each value how many genes lie between its own and the one before in its cell."""
    steps = np.diff(cells.indices, prepend=-1).astype(np.int32) - 1
    first = cells.indptr[:-1][np.diff(cells.indptr) > 0]
    steps[first] = cells.indices[first]
    return steps


def _values(values: NDArray[np.float16], indptr: Ints) -> dict[str, pa.Array]:
    """Return the columns of the cells' values: those that occur in each cell and where, if these are few."""
    starts = pa.array(indptr)
    levels, places = [values[:0]], np.empty(len(values), np.int32)
    for first, last in pairwise(indptr.tolist()):
        own, places[first:last] = np.unique(values[first:last], return_inverse=True)
        levels.append(own)
    ends = np.cumsum([len(one) for one in levels])
    if ends[-1] > len(values) / 2:
        return {"values": pa.LargeListArray.from_arrays(starts, pa.array(values))}
    return {
        "levels": pa.LargeListArray.from_arrays(pa.array(ends), pa.array(np.concatenate(levels))),
        "places": pa.LargeListArray.from_arrays(starts, pa.array(places)),
    }


def load_sample(path: Path) -> Sample:
    """Read what `save_sample` wrote, of this version or an earlier one; raise `StoreError` if it is something else."""
    with pq.ParquetFile(path) as file:
        check_parquet(file, str(path))
        kept = file.schema_arrow.metadata or {}
        about = bounded_json(kept.get(ABOUT, b"{}").decode())
        if "n_genes" not in about:
            raise StoreError(f"{path} is not the sample of an atlas", "the file that a build wrote", "build it again")
        table = file.read()
    return Sample(
        logged=_read(table, int(about["n_genes"]), kept),
        counts=None,
        totals=np.ones(len(table)),
        codes=np.asarray(table["code"], np.int64),
        names=tuple(about["names"]),
        batches=np.array(table["batch"].to_pylist(), object),
        rows=np.asarray(table["row"], np.int64),
        # Files of earlier versions have none.
        n_counts=np.asarray(table["n_counts"], np.float64) if "n_counts" in table.column_names else None,
    )


def _read(table: pa.Table, n_genes: int, kept: Mapping[bytes, bytes]) -> sp.csr_matrix[np.float32]:
    """Return (n, g) the expression in a table."""
    shape = (table.num_rows, n_genes)
    if "genes" in table.column_names:  # an earlier version wrote the genes themselves
        indptr, genes = _lists(table, "genes")
        return sp.csr_matrix((_lists(table, "values")[1].astype(np.float32), genes, indptr), shape)
    indptr, steps = _lists(table, "steps")
    counts = np.diff(indptr)
    ends = np.cumsum(steps.astype(np.int64) + 1)
    before = np.concatenate([[0], ends])[indptr[:-1]]
    if "values" in table.column_names:
        values = _lists(table, "values")[1]
    else:
        starts, levels = _lists(table, "levels")
        values = levels[_lists(table, "places")[1] + np.repeat(starts[:-1], counts)]
    order = np.frombuffer(pa.decompress(kept[ORDER], 4 * n_genes, "zstd"), "<i4")
    genes = order[ends - np.repeat(before, counts) - 1]
    found = sp.csr_matrix((values.astype(np.float32), genes, indptr), shape)
    found.sort_indices()
    return found


def _lists(table: pa.Table, name: str) -> tuple[Ints, NDArray[Any]]:
    """Return where the lists of a column begin and end, and all of their values."""
    column = table[name].combine_chunks()
    return np.asarray(column.offsets), np.asarray(column.flatten())
