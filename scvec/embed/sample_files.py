"""The sample of a reference as a file: the cells that an atlas keeps, to be fitted again on fewer genes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import scipy.sparse as sp

from scvec.core.limits import bounded_json, check_parquet
from scvec.embed.sample import Sample
from scvec.errors import StoreError

ABOUT = b"scvec.sample"
ROW_GROUP = 4096


def save_sample(path: Path, sample: Sample) -> None:
    """Write the cells of a sample as Parquet, a row each; about 1.3 bytes for each expressed gene.

    Values are kept as float16, within a 2,000th of themselves. Of counts, only their number in each cell is kept.
    """
    logged = sp.csr_matrix(sample.logged)
    logged.sort_indices()
    starts = pa.array(logged.indptr.astype(np.int64))
    columns = {
        "row": pa.array(np.arange(len(sample)) if sample.rows is None else sample.rows),
        "code": pa.array(sample.codes),
        "batch": pa.array(sample.batches.astype(str).tolist(), pa.string()),
        "genes": pa.LargeListArray.from_arrays(starts, pa.array(logged.indices.astype(np.int32))),
        "values": pa.LargeListArray.from_arrays(starts, pa.array(logged.data.astype(np.float16))),
    }
    if sample.n_counts is not None:
        columns["n_counts"] = pa.array(sample.n_counts, pa.float32())
    about = json.dumps({"n_genes": logged.shape[1], "names": sample.names})
    table = pa.table(columns).replace_schema_metadata({ABOUT: about.encode()})
    packed = {"genes.list.element": "DELTA_BINARY_PACKED"}
    pq.write_table(table, path, ROW_GROUP, compression="zstd", use_dictionary=["batch"], column_encoding=packed)


def load_sample(path: Path) -> Sample:
    """Read what `save_sample` wrote; raise `StoreError` if it is something else."""
    with pq.ParquetFile(path) as file:
        check_parquet(file, str(path))
        about = bounded_json((file.schema_arrow.metadata or {}).get(ABOUT, b"{}").decode())
        if "n_genes" not in about:
            raise StoreError(f"{path} is not the sample of an atlas", "the file that a build wrote", "build it again")
        table = file.read()
    genes, values = (table[name].combine_chunks() for name in ("genes", "values"))
    shape = (table.num_rows, int(about["n_genes"]))
    parts = (np.asarray(values.flatten()).astype(np.float32), np.asarray(genes.flatten()), np.asarray(genes.offsets))
    return Sample(
        logged=sp.csr_matrix(parts, shape),
        counts=None,
        totals=np.ones(len(table)),
        codes=np.asarray(table["code"], np.int64),
        names=tuple(about["names"]),
        batches=np.array(table["batch"].to_pylist(), object),
        rows=np.asarray(table["row"], np.int64),
        # Files of earlier versions have none.
        n_counts=np.asarray(table["n_counts"], np.float64) if "n_counts" in table.column_names else None,
    )
