"""New cells from real ones: counts resampled from a cell's proportions, mixed with a little of its label's mean.

A real cell is stored as a list of its molecules, and cells are sorted by label. Drawing an entry of a cell's list draws
a gene by the cell's proportions; drawing one among all entries of the label does so by the label's mean (cells weighted
by their totals). Drawing as many entries as the total is an exact multinomial draw, and each takes one table look-up.

Draw k of cell i is a hash of (seed, i, k): SplitMix64 (Steele, Lea, Flood 2014), one stream per cell. So cell i does
not depend on which other cells are drawn.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp
from numba import njit
from numpy.typing import NDArray

from scvec.core.types import Floats, Ints, Strings
from scvec.errors import InputError, must_be
from scvec.ingest import open_cells

GAMMA, HALF, LOW = np.uint64(0x9E3779B97F4A7C15), np.uint64(32), np.uint64(0xFFFFFFFF)
FIRST, SECOND = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
S27, S30, S31 = np.uint64(27), np.uint64(30), np.uint64(31)
TWICE_GAMMA = np.uint64(2 * 0x9E3779B97F4A7C15 % 2**64)

PROBE_CELLS, MIN_DEPTH, MAX_DEPTH = 2048, 1e-6, 64.0
"""Number of cells on which the depth is fitted, and its bounds; at the lower one every cell is a single molecule."""

Words = NDArray[np.uint64]


@dataclass(frozen=True)
class RealCells:
    """Real cells, by label.

    Attributes
    ----------
    name
        Name of the data set.
    genes
        (n_genes,) symbols.
    cell_types, donors
        (n_types,), (n_donors,) names, sorted.
    cell_type, donor
        (n_cells,) codes; ``cell_type`` is ascending.
    molecules
        (n_molecules,) the gene of each molecule, cell after cell.
    bounds
        (n_cells + 1,) start and end of each cell's molecules.
    type_bounds
        (n_types + 1,) start and end of each type's cells.
    mix
        Share of the label's mean in a new cell's proportions.
    depth
        Factor for real totals.
    """

    name: str
    genes: Strings
    cell_types: Strings
    donors: Strings
    cell_type: Ints
    donor: Ints
    molecules: NDArray[np.int32]
    bounds: Ints
    type_bounds: Ints
    mix: float
    depth: float = 1.0

    def mates(self, cells: Ints) -> tuple[Ints, Ints]:
        """Return (n,) start and (n,) end of the cells that share a label with each of `cells`."""
        types = self.cell_type[cells]
        return self.type_bounds[types], self.type_bounds[types + 1]


@dataclass(frozen=True)
class Drawn:
    """New cells.

    Attributes
    ----------
    cells
        (n,) the real cell that each was drawn from.
    data, indices, indptr
        Their counts as CSR: float32, int32 and int64; columns are ascending.
    """

    cells: Ints
    data: Floats
    indices: NDArray[np.int32]
    indptr: Ints


def read(
    path: Path,
    *,
    label_key: str,
    donor_key: str,
    layer: str | None = None,
    genes: int = 20_000,
    genes_per_cell: int = 2_000,
    mix: float = 0.1,
) -> RealCells:
    """Read the real cells of an h5ad file of counts into memory, four bytes per molecule.

    Parameters
    ----------
    path
        The file.
    label_key, donor_key
        Columns of ``obs``.
    layer
        The matrix of counts, if it is not ``X``.
    genes
        How many genes are kept, those with most counts, in the file's order; all, if it has fewer.
    genes_per_cell
        How many genes a new cell expresses on average; totals are scaled to reach it.
    mix
        Share of the label's mean in a new cell's proportions, 0 to 1.

    Raises
    ------
    InputError
        If the file cannot be read, has no counts, lacks a column, or has too few genes for `genes_per_cell`.
    """
    if not 0 <= mix <= 1:
        raise must_be("mix", "between 0 and 1", mix)
    with open_cells(path) as file, file.matrix(layer, "counts") as matrix:
        names = matrix.gene_names()
        counts = sp.csr_matrix(sp.vstack([batch for _, batch in matrix.batches("reading")], format="csr"))
        types, type_codes = np.unique(file.labels(label_key, "label_key").astype(str), return_inverse=True)
        donors, donor_codes = np.unique(file.labels(donor_key, "donor_key").astype(str), return_inverse=True)
    kept = np.sort(np.argsort(-np.asarray(counts.sum(0)).ravel(), kind="stable")[:genes])
    counts = sp.csr_matrix(counts[:, kept])
    totals = np.asarray(counts.sum(1, dtype=np.int64)).ravel()
    # Sorted by label; cells without counts have no proportions and are dropped.
    order = np.argsort(type_codes, kind="stable")
    order = order[totals[order] > 0]
    counts = sp.csr_matrix(counts[order])
    source = RealCells(
        name=path.stem,
        genes=names[kept],
        cell_types=types.astype(object),
        donors=donors.astype(object),
        cell_type=type_codes[order].astype(np.int64),
        donor=donor_codes[order].astype(np.int64),
        molecules=np.repeat(counts.indices.astype(np.int32), counts.data.astype(np.int64)),
        bounds=_bounds(totals[order]),
        type_bounds=_bounds(np.bincount(type_codes[order], minlength=len(types))),
        mix=mix,
    )
    return replace(source, depth=_depth(source, genes_per_cell))


def draw(source: RealCells, seed: int, cells: range) -> Drawn:
    """Return the new cells with these numbers.

    Parameters
    ----------
    source
        The real cells.
    seed
        Random seed: which cells these numbers mean.
    cells
        Consecutive numbers, from 0.
    """
    starts = mix64(mix64(np.array([seed], np.uint64)) + np.arange(cells.start, cells.stop, dtype=np.uint64))
    n_real = np.uint64(len(source.cell_type))
    chosen = _below(mix64(starts + GAMMA), n_real).astype(np.int64)
    first, last = source.mates(chosen)
    # A total is that of any real cell of the label.
    mates = first + _below(mix64(starts + TWICE_GAMMA), (last - first).astype(np.uint64)).astype(np.int64)
    totals = np.maximum(1, np.rint(np.diff(source.bounds)[mates] * source.depth)).astype(np.int64)
    # An upper bound on the number of values; untouched memory is not allocated.
    room = int(np.minimum(totals, len(source.genes)).sum())
    data, indices = np.empty(room, np.float32), np.empty(room, np.int32)
    ends = np.empty(len(cells), np.int64)
    own = source.bounds[chosen], source.bounds[chosen + 1]
    label = source.bounds[first], source.bounds[last]
    counts = np.zeros(len(source.genes), np.int32)
    share = np.uint64(round(source.mix * 2**32))
    _fill(starts, totals, source.molecules, *own, *label, share, counts, data, indices, ends)
    indptr = np.concatenate([np.zeros(1, np.int64), ends])
    return Drawn(chosen, data[: indptr[-1]], indices[: indptr[-1]], indptr)


def mix64(words: Any) -> Any:
    """Return SplitMix64's hash of 64-bit words, (n,) or one; compiled, it is what `_fill` draws with."""
    words = (words ^ (words >> S30)) * FIRST
    words = (words ^ (words >> S27)) * SECOND
    return words ^ (words >> S31)


def _below(words: Words, n: Any) -> Words:
    """Return numbers below `n` from the upper halves of words; non-uniform by at most n in 2**32."""
    found: Words = ((words >> HALF) * n) >> HALF
    return found


_mix64: Any = njit(inline="always")(mix64)


def _fill_rows(
    starts: Words,
    totals: Ints,
    molecules: NDArray[np.int32],
    own_first: Ints,
    own_last: Ints,
    label_first: Ints,
    label_last: Ints,
    share: np.uint64,
    counts: NDArray[np.int32],
    data: Floats,
    indices: NDArray[np.int32],
    ends: Ints,
) -> None:
    """Draw each row's molecules, from its own or its label's, and write the counts of genes; `counts` must be zero."""
    at = 0
    for row in range(len(starts)):
        state = starts[row] + TWICE_GAMMA
        own, n_own = np.uint64(own_first[row]), np.uint64(own_last[row] - own_first[row])
        label, n_label = np.uint64(label_first[row]), np.uint64(label_last[row] - label_first[row])
        for _ in range(totals[row]):
            state += GAMMA
            word = _mix64(state)
            if (word & LOW) < share:
                place = label + (((word >> HALF) * n_label) >> HALF)
            else:
                place = own + (((word >> HALF) * n_own) >> HALF)
            counts[molecules[place]] += 1
        for gene in range(len(counts)):
            if counts[gene]:
                data[at] = counts[gene]
                indices[at] = gene
                counts[gene] = 0
                at += 1
        ends[row] = at


_fill: Any = njit(nogil=True)(_fill_rows)


def _bounds(sizes: NDArray[Any]) -> Ints:
    return np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)


def _depth(source: RealCells, genes_per_cell: int) -> float:
    """Return the factor for totals, by bisection: more draws never mean fewer genes."""

    def expressed(depth: float) -> float:
        return len(draw(replace(source, depth=depth), 0, range(PROBE_CELLS)).data) / PROBE_CELLS

    low, high = MIN_DEPTH, 1.0
    while expressed(high) < genes_per_cell:
        low, high = high, high * 2
        if high > MAX_DEPTH:
            raise InputError(
                f"{source.name}: cells express only {expressed(low):,.0f} genes at {low:g} times their totals",
                f"`genes_per_cell` = {genes_per_cell:,}",
                "lower `genes_per_cell`, raise `mix`, or use another `source`",
            )
    while high / low > 1.002:
        middle = (low * high) ** 0.5
        low, high = (low, middle) if expressed(middle) >= genes_per_cell else (middle, high)
    return high
