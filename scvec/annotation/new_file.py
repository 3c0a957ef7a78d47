"""A new h5ad of the cells of a query, for queries whose own file cannot keep calls, as those of 10x."""

from __future__ import annotations

from typing import Any

import h5py
import numpy as np

from scvec.ingest.cells import CellFile, Matrix

CHUNK = 2**16
"""Values of the matrix in a chunk of the file."""

EMPTY = ("layers", "obsm", "obsp", "uns", "varm", "varp")


def write_cells(file: CellFile, matrix: Matrix, root: h5py.File) -> None:
    """Write cells to an empty h5ad: their names and annotations, the genes, and the matrix, batch by batch.

    ``X`` is the matrix that was called, as CSR in float32; what else the query's file has is not copied.
    """
    import pandas as pd
    from anndata.io import write_elem

    root.attrs.update({"encoding-type": "anndata", "encoding-version": "0.1.0"})
    names = pd.Index(file.obs_names.astype(str), dtype=object)
    obs = pd.DataFrame({key: _values(file, key) for key in file.obs_keys}, index=names)
    write_elem(root, "obs", obs)
    genes = {key: matrix.var.column(key).labels()[0] for key in matrix.var.keys}
    write_elem(root, "var", pd.DataFrame(genes, index=pd.Index(matrix.var.names().astype(str), dtype=object)))
    for name in EMPTY:
        write_elem(root, name, {})
    _write_rows(matrix, root.create_group("X"))


def _values(file: CellFile, key: str) -> Any:
    """Return an annotation of the cells as AnnData has it: numbers and booleans, or a categorical of strings."""
    import pandas as pd

    column = file.column(key)
    values = [*column.values, None]  # noqa: PD011 - not of pandas
    found = np.array(values, object)[np.asarray(column.codes, np.int64)]
    plain = pd.Series(found, index=pd.Index(file.obs_names.astype(str), dtype=object)).infer_objects()
    if plain.dtype.kind in "biuf":
        return plain
    labels, absent = column.labels()
    labels[absent] = None
    return pd.Categorical(labels)


def _write_rows(matrix: Matrix, group: h5py.Group) -> None:
    group.attrs.update({"encoding-type": "csr_matrix", "encoding-version": "0.1.0", "shape": matrix.rows.shape})
    parts = {
        name: group.create_dataset(name, (0,), kind, maxshape=(None,), chunks=(CHUNK,), compression="gzip")
        for name, kind in (("data", np.float32), ("indices", np.int32))
    }
    ends = [np.zeros(1, np.int64)]
    for _, batch in matrix.batches("writing the cells"):
        first = int(ends[-1][-1])
        for name, part in parts.items():
            part.resize((first + batch.nnz,))
            part[first:] = getattr(batch, name)
        ends.append(first + batch.indptr[1:].astype(np.int64))
    group["indptr"] = np.concatenate(ends)
