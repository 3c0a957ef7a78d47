"""The cells of a reference that statistics are fitted on: all of a small one, a fair draw from a large one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import scipy.sparse as sp

from scvec.core.arrow import coded
from scvec.core.types import Ints, Progress, Strings, silent
from scvec.embed.projection import aligner, normalise
from scvec.embed.recipe import Recipe
from scvec.ingest.cells.scale import Values
from scvec.ingest.matching import GeneMatch

CHUNK_CELLS = 4096


@dataclass(frozen=True, slots=True)
class Sample:
    """Cells of a reference, with their labels.

    Attributes
    ----------
    logged
        (n, g) log-normalised expression on the genes of the atlas.
    counts
        (n, g) their counts, where the reference holds counts and the recipe thins them; else None.
    totals
        (n,) their counts over all genes; ones where `counts` is None.
    codes
        (n,) which of `names` each is labelled.
    names
        (L,) all labels of the reference, sorted.
    batches
        (n,) the batch of each.
    """

    logged: sp.csr_matrix[np.float32]
    counts: sp.csr_matrix[np.float32] | None
    totals: np.ndarray[tuple[int], np.dtype[np.float64]]
    codes: Ints
    names: tuple[str, ...]
    batches: Strings

    def __len__(self) -> int:
        return len(self.codes)

    @property
    def n_labels(self) -> int:
        """How many labels the reference has; a part of it may lack some."""
        return len(self.names)

    def at(self, cells: Ints) -> Sample:
        """Return the cells at these positions."""
        return replace(
            self,
            logged=sp.csr_matrix(self.logged[cells]),
            counts=None if self.counts is None else sp.csr_matrix(self.counts[cells]),
            totals=self.totals[cells],
            codes=self.codes[cells],
            batches=self.batches[cells],
        )


@dataclass(frozen=True, slots=True)
class Part:
    """A file of the reference, as a sample is drawn from it.

    Attributes
    ----------
    match
        Which of its columns are which genes.
    values
        What its matrix holds.
    labels, batches
        (N,) label and batch of its cells.
    take
        Given (m,) ascending positions, returns these cells as (m, n_vars) values of the matrix.
    """

    match: GeneMatch
    values: Values
    labels: Strings
    batches: Strings
    take: Callable[[Ints], sp.csr_matrix[np.float32]]


def draw(recipe: Recipe, gene_ids: Ints, parts: Sequence[Part], progress: Progress = silent) -> Sample:
    """Return at most `Recipe.fit_cells` cells, in the reference's order, those without expression left out.

    Of a larger reference, every label gives the same number of cells, or all it has.

    Parameters
    ----------
    recipe
        Gives target sum, size and seed.
    gene_ids
        (g,) the genes of the atlas.
    parts
        The reference's files.
    progress
        Shows the cells read.
    """
    names, codes = coded(np.concatenate([part.labels for part in parts]))
    chosen = np.flatnonzero(_fair(codes, recipe.fit_cells, np.random.default_rng(recipe.random_state)))
    thins = recipe.refine is not None and recipe.refine.thinning > 0
    thins = thins and all(part.values.scale == "counts" for part in parts)
    logged, counts, totals, batches = [], [], [], []
    first = 0
    with progress("reading a sample", len(chosen)) as advance:
        for part in parts:
            columns = aligner(part.match, gene_ids)
            own = chosen[(chosen >= first) & (chosen < first + len(part.labels))] - first
            first += len(part.labels)
            batches.append(part.batches[own])
            for i in range(0, len(own), CHUNK_CELLS):
                cells = part.take(own[i : i + CHUNK_CELLS])
                logged.append(normalise(cells, part.values, recipe.target_sum, columns))
                if thins:
                    counts.append(sp.csr_matrix(cells @ columns))
                    totals.append(np.asarray(cells.sum(axis=1, dtype=np.float64)).ravel())
                advance(cells.shape[0])
    everything = Sample(
        logged=sp.csr_matrix(sp.vstack(logged, format="csr")),
        counts=sp.csr_matrix(sp.vstack(counts, format="csr")) if thins else None,
        totals=np.concatenate(totals) if thins else np.ones(len(chosen)),
        codes=codes[chosen],
        names=tuple(names.tolist()),
        batches=np.concatenate(batches),
    )
    filled = np.flatnonzero(np.diff(everything.logged.indptr) > 0)
    return everything if len(filled) == len(everything) else everything.at(filled)


def _fair(codes: Ints, n: int, rng: np.random.Generator) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """Choose `n` cells, as evenly over the labels as their numbers allow."""
    chosen = np.ones(len(codes), bool)
    if len(codes) <= n:
        return chosen
    chosen[:] = False
    cells_of = [np.flatnonzero(codes == code) for code in np.unique(codes)]
    left = n
    for i, cells in enumerate(sorted(cells_of, key=len)):
        share = min(len(cells), left // (len(cells_of) - i))
        chosen[rng.permutation(cells)[:share]] = True
        left -= share
    return chosen
