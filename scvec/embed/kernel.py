"""The arithmetic between a matrix's values and cell vectors: normalising, projecting, comparing with labels.

The functions here take and return SciPy matrices. Their loops are in `scvec.embed.compiled`, which is imported, with
Numba, on the first call.
"""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np
import scipy.sparse as sp

from scvec.core.jit import over_rows
from scvec.core.types import Doubles, Floats, Ints, freeze
from scvec.errors import MatrixError
from scvec.ingest.cells.scale import Values

if TYPE_CHECKING:
    import torch

By: TypeAlias = Literal["sum", "length"]
Parts: TypeAlias = tuple[Floats, np.ndarray[tuple[int], np.dtype[np.int32]], Ints]

TILE = 64
"""Columns of the weights that are summed at once: four registers, or 5 MB for 20,000 genes."""

ROWS = 1024
"""Rows that are multiplied with one tile before the next tile."""

_packed: dict[int, tuple[weakref.ref[Floats], Floats]] = {}


def normalise(
    batch: sp.csr_matrix[np.float32],
    values: Values,
    target_sum: float,
    columns: sp.csr_matrix[np.float32] | None,
    share: float | None,
) -> sp.csr_matrix[np.float32]:
    """Return log1p of `batch` scaled to `target_sum` per cell; see `scvec.embed.projection.normalise`.

    Sums and logarithms are float64, with a relative error of 1e-10, then rounded to float32.

    Raises
    ------
    MatrixError
        If a column index of the batch is out of range.
    """
    from scvec.embed import compiled

    if values.uncut is not None:  # which tells more of a cell than the mean share of the genes that are left
        scaling, share = compiled.FIXED, None
    else:
        scaling = compiled.OF_ALL if share is None else compiled.OF_KNOWN
    how = (scaling, float(values.uncut or 0), float(target_sum * (1.0 if share is None else share)))
    if columns is not None and _is_shared(columns):
        return _normalised_shares(batch, columns, *how)
    data, indices, indptr = parts(batch)
    n, n_vars = batch.shape
    gene_of = np.arange(n_vars, dtype=np.int32) if columns is None else _gene_of(columns)
    n_genes = n_vars if columns is None else columns.shape[1]
    merges = columns is not None and bool((np.bincount(gene_of[gene_of >= 0], minlength=1) > 1).any())
    kept, plain = np.zeros(n, np.int64), np.zeros(n, np.bool_)

    def count(lo: int, hi: int) -> None:
        if not compiled.count(data, indices, indptr, freeze(gene_of), n_genes, merges, kept, plain, lo, hi):
            raise _out_of_range(n_vars)

    over_rows(count, n, ROWS)
    starts = np.zeros(n + 1, np.int64)
    np.cumsum(kept, out=starts[1:])
    normed, genes = np.empty(starts[-1], np.float32), np.empty(starts[-1], np.int32)

    def fill(lo: int, hi: int) -> None:
        out = normed[starts[lo] : starts[hi]], genes[starts[lo] : starts[hi]]
        compiled.fill(data, indices, indptr, freeze(gene_of), n_genes, plain, starts, *how, *out, lo, hi)

    over_rows(fill, n, ROWS)
    return _as_matrix(normed, genes, starts, n_genes)


def _normalised_shares(
    batch: sp.csr_matrix[np.float32], columns: sp.csr_matrix[np.float32], scaling: int, total: float, target: float
) -> sp.csr_matrix[np.float32]:
    """Return what `normalise` does where genes have shares of columns."""
    from scvec.embed import compiled

    data, indices, indptr = parts(batch)
    shares, own, first = parts(columns)
    n, n_genes = batch.shape[0], columns.shape[1]
    kept = np.zeros(n, np.int64)

    def count(lo: int, hi: int) -> None:
        if not compiled.count_shared(data, indices, indptr, first, own, n_genes, kept, lo, hi):
            raise _out_of_range(batch.shape[1])

    over_rows(count, n, ROWS)
    starts = np.zeros(n + 1, np.int64)
    np.cumsum(kept, out=starts[1:])
    normed, genes = np.empty(starts[-1], np.float32), np.empty(starts[-1], np.int32)

    def fill(lo: int, hi: int) -> None:
        out = normed[starts[lo] : starts[hi]], genes[starts[lo] : starts[hi]]
        shared = first, own, shares, n_genes
        compiled.fill_shared(data, indices, indptr, *shared, starts, scaling, total, target, *out, lo, hi)

    over_rows(fill, n, ROWS)
    return _as_matrix(normed, genes, starts, n_genes)


def _as_matrix(
    values: Floats, genes: np.ndarray[Any, np.dtype[np.int32]], starts: Ints, n_genes: int
) -> sp.csr_matrix[np.float32]:
    # SciPy prefers the smaller integers, and copies if the two types differ.
    pointers = starts.astype(np.int32) if starts[-1] <= np.iinfo(np.int32).max else starts
    return sp.csr_matrix((values, genes, pointers), shape=(len(starts) - 1, n_genes))


def _out_of_range(n_vars: int) -> MatrixError:
    return MatrixError(
        "a batch of cells has a column index out of range",
        f"indices from 0 to {n_vars - 1:,}",
        "write the matrix again",
    )


def project(known: sp.csr_matrix[np.float32], weights: Floats, by: By | None = None, device: str = "cpu") -> Floats:
    """Return (n, d) `known` @ `weights`, with each row of `known` divided by the sum or the length of its values.

    On the CPU a row's vector has the same bits in any batch and with any number of threads. Read-only weights are
    cached, in the order in which the loops read them, as long as they live.

    Parameters
    ----------
    known
        (n, g) cells.
    weights
        (g, d) genes.
    by
        What to divide rows by; None: nothing. An empty row stays zero.
    device
        ``"cpu"``: the compiled loops; else a PyTorch device such as ``"cuda"``.
    """
    from scvec.embed import compiled

    if known.shape[1] != len(weights):
        raise ValueError(f"the cells have {known.shape[1]} genes, the weights {len(weights)}")
    data, genes, indptr = parts(known)
    n, d = known.shape[0], weights.shape[1]
    scales = _scales(data, indptr, by)
    if device != "cpu":
        return by_torch(known, weights, device) * scales.astype(np.float32)[:, None]
    packed, out = _kept(weights), np.zeros((n, d), np.float32)

    def rows(lo: int, hi: int) -> None:
        compiled.project_rows(data, genes, indptr, packed, len(weights), TILE, scales, out, lo, hi)

    over_rows(rows, n, ROWS)
    return out


def by_torch(known: sp.csr_matrix[np.float32], weights: Floats, device: str | torch.device) -> Floats:
    """Return (n, d) `known` @ `weights`, multiplied on a PyTorch device."""
    import warnings

    import torch

    data, genes, indptr = (torch.from_numpy(np.array(one)) for one in parts(known))
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Sparse CSR tensor support", UserWarning)
        cells = torch.sparse_csr_tensor(
            indptr, genes.long(), data, size=known.shape, device=device, check_invariants=False
        )
    dense = torch.from_numpy(np.array(weights, np.float32)).to(device)
    return np.asarray((cells @ dense).cpu().numpy(), np.float32)


def products(cells: sp.csr_matrix[np.float32], weights: Floats, vectors: Floats) -> sp.csr_matrix[np.float32]:
    """Return (n, g) cells, each value times the scalar product of its gene's weights and the cell's (n, d) vector."""
    from scvec.embed import compiled

    data, genes, indptr = parts(cells)
    packed, found = _kept(weights), np.empty(len(data), np.float32)
    towards = freeze(np.ascontiguousarray(vectors, np.float32))

    def rows(lo: int, hi: int) -> None:
        compiled.products(genes, indptr, packed, len(weights), TILE, towards, found, lo, hi)

    over_rows(rows, cells.shape[0], ROWS)
    return sp.csr_matrix((data * found, cells.indices, cells.indptr), shape=cells.shape)


def add_rows(cells: sp.csr_matrix[np.float32], scales: Doubles, codes: Ints, n_groups: int) -> Doubles:
    """Return (n_groups, g) sums over each group's cells, times (n,) scales; `codes` is (n,), -1 for no group."""
    from scvec.embed import compiled

    sums = np.zeros((n_groups, cells.shape[1]))
    compiled.add_rows(*parts(cells), freeze(scales), freeze(np.asarray(codes, np.int64)), sums)
    return sums


def scaled(cells: sp.csr_matrix[np.float32], by: By, length: float = 1.0) -> sp.csr_matrix[np.float32]:
    """Return cells divided by the sum or the length of their values, times `length`; empty cells stay empty."""
    data, _, indptr = parts(cells)
    scales = _scales(data, indptr, by) * length
    values = (data * np.repeat(scales, np.diff(indptr))).astype(np.float32)
    return sp.csr_matrix((values, cells.indices, cells.indptr), shape=cells.shape)


def farthest(
    known: sp.csr_matrix[np.float32], labels: Floats, codes: Ints, seen: np.float32, n: int
) -> tuple[Floats, Ints]:
    """Return the n genes that a cell expresses farthest above its label, and by how much; see `Profiles.odd`.

    Parameters
    ----------
    known
        (m, g) cells, which are scaled to length `seen`.
    labels
        (L, g) mean cells.
    codes
        (m,) the label of each cell; -1 for none.
    seen
        Length of a cell.
    n
        Number of genes; ties: those that come first in the matrix.
    """
    from scvec.embed import compiled

    if len(codes) and codes.max() >= len(labels):
        raise ValueError(f"code {codes.max()} for {len(labels)} labels")
    data, genes, indptr = parts(known)
    scales = _scales(data, indptr, "length")
    excess, top = np.zeros(len(codes), np.float32), np.full((len(codes), n), -1, np.int64)
    means, called = freeze(np.ascontiguousarray(labels, np.float32)), freeze(np.asarray(codes, np.int64))

    def rows(lo: int, hi: int) -> None:
        compiled.farthest(data, genes, indptr, scales, np.float32(seen), means, called, excess, top, lo, hi)

    over_rows(rows, len(codes), ROWS)
    return excess, top


def factors(cells: sp.csr_matrix[np.float32], by: By) -> Doubles:
    """Return (n,) one over the sum or the length of each cell's values; 1 for an empty cell."""
    data, _, indptr = parts(cells)
    return _scales(data, indptr, by)


def _scales(data: Floats, indptr: Ints, by: By | None) -> Doubles:
    """Return (n,) the factors of rows."""
    from scvec.embed import compiled

    n = len(indptr) - 1
    scales = np.ones(n)
    if by is not None:
        kind = compiled.BY_SUM if by == "sum" else compiled.BY_LENGTH
        over_rows(lambda lo, hi: compiled.scale_rows(data, indptr, kind, scales, lo, hi), n, ROWS)
    return scales


def parts(cells: sp.csr_matrix[Any]) -> Parts:
    """Return data, indices and indptr, read-only and always of the same types, so that loops are compiled once."""
    return (
        freeze(np.ascontiguousarray(cells.data, np.float32)),
        freeze(np.ascontiguousarray(cells.indices, np.int32)),
        freeze(np.ascontiguousarray(cells.indptr, np.int64)),
    )


def _is_shared(columns: sp.csr_matrix[np.float32]) -> bool:
    """Whether a column is of several genes, or counts in part."""
    return bool(len(columns.data)) and bool(np.diff(columns.indptr).max() > 1 or (columns.data != 1).any())


def _gene_of(columns: sp.csr_matrix[np.float32]) -> np.ndarray[tuple[int], np.dtype[np.int32]]:
    """Return (n_vars,) the gene of each column of a matrix, from an aligner's matrix; -1 for none."""
    genes = np.diff(columns.indptr)
    gene_of = np.full(columns.shape[0], -1, np.int32)
    gene_of[genes > 0] = columns.indices
    return gene_of


def _kept(weights: Floats) -> Floats:
    """Return packed weights; read-only weights are packed once, and one tile of whole registers is packed already."""
    from scvec.embed.compiled import LANES

    if weights.flags.writeable:
        whole = weights.shape[1] <= TILE and weights.shape[1] % LANES == 0
        return freeze(np.ascontiguousarray(weights, np.float32).reshape(-1)) if whole else _pack(weights)
    key = id(weights)
    held = _packed.get(key)
    if held is None or held[0]() is not weights:
        held = weakref.ref(weights, lambda _: _packed.pop(key, None)), _pack(weights)
        _packed[key] = held
    return held[1]


def _pack(weights: Floats) -> Floats:
    """Return the weights tile by tile, in whole registers: values that are read together are stored together."""
    from scvec.embed.compiled import LANES

    g, d = weights.shape
    padded = -(-d // LANES) * LANES
    packed = np.zeros(g * padded, np.float32)
    for first in range(0, padded, TILE):
        wide = min(TILE, padded - first)
        tile = packed[g * first : g * (first + wide)].reshape(g, wide)
        tile[:, : min(wide, d - first)] = weights[:, first : first + wide]
    return freeze(packed)
