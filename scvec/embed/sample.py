"""The cells of a reference on which a recipe is fitted: all of a small one, a balanced sample of a large one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import scipy.sparse as sp

from scvec.core.arrow import coded
from scvec.core.types import Doubles, Floats, Ints, Progress, Strings, silent
from scvec.embed.projection import Mask, aligner, normalise
from scvec.embed.recipe import Recipe
from scvec.ingest.cells.scale import Values
from scvec.ingest.matching import GeneMatch

CHUNK_CELLS = 4096

PROFILE_GENES, PROFILE_ROWS = 0.5, 20
"""Mean profiles express at least this share of the genes, and are at most so many a label; both by the median."""


@dataclass(frozen=True, slots=True)
class Sample:
    """Cells of a reference, with their labels.

    Attributes
    ----------
    logged
        (n, g) log-normalised expression on the genes of the atlas.
    counts
        (n, g) their counts, if the reference holds counts and the recipe thins them; else None.
    totals
        (n,) their total counts over all genes; ones if `counts` is None.
    codes
        (n,) the label of each cell, as a position in `names`.
    names
        (L,) all labels of the reference, sorted.
    batches
        (n,) the batch of each.
    given
        (n, d) vectors that come with the cells, if the recipe takes these; else None.
    rows
        (n,) positions of the cells in the reference, ascending; None for cells that are of none.
    n_counts
        (n,) their counts on these genes, NaN for cells of files that hold no counts; None if it is not known.
    profiles
        Whether they are mean profiles, as found on all genes of the atlas; None: by the genes that are here.
    """

    logged: sp.csr_matrix[np.float32]
    counts: sp.csr_matrix[np.float32] | None
    totals: np.ndarray[tuple[int], np.dtype[np.float64]]
    codes: Ints
    names: tuple[str, ...]
    batches: Strings
    given: Floats | None = None
    rows: Ints | None = None
    n_counts: Doubles | None = None
    profiles: bool | None = None

    def __len__(self) -> int:
        return len(self.codes)

    @property
    def n_labels(self) -> int:
        """Number of labels of the reference; a sample may lack some."""
        return len(self.names)

    @property
    def is_of_profiles(self) -> bool:
        """Whether its rows are mean profiles, or samples of tissue, by the genes they express; not single cells."""
        if self.profiles is not None:
            return self.profiles
        n_genes = np.diff(self.logged.indptr)
        few = np.median(np.unique(self.codes, return_counts=True)[1]) <= PROFILE_ROWS
        return bool(few and np.median(n_genes) >= PROFILE_GENES * self.logged.shape[1])

    def at(self, cells: Ints) -> Sample:
        """Return the cells at these positions."""
        return replace(
            self,
            logged=sp.csr_matrix(self.logged[cells]),
            counts=None if self.counts is None else sp.csr_matrix(self.counts[cells]),
            totals=self.totals[cells],
            codes=self.codes[cells],
            batches=self.batches[cells],
            given=None if self.given is None else self.given[cells],
            rows=None if self.rows is None else self.rows[cells],
            n_counts=None if self.n_counts is None else self.n_counts[cells],
        )

    def at_most(self, n: int, random_state: int) -> Sample:
        """Return at most `n` cells of each label, drawn by `random_state`, in their order."""
        order = np.random.default_rng(random_state).permutation(len(self))
        _, counts = np.unique(self.codes, return_counts=True)
        by_label = order[np.argsort(self.codes[order], kind="stable")]
        starts = np.cumsum(counts) - counts
        rank = np.arange(len(self)) - np.repeat(starts, counts)
        return self.at(np.sort(by_label[rank < n]))

    def on(self, genes: Mask) -> Sample:
        """Return the cells on some of the genes, given as (g,) True, without those that express none of them.

        Each cell is scaled again, so that its total on these genes is the mean one of all cells: as a query's cells
        are that measure no others, see `scvec.embed.projection.normalise`.
        """
        kept = sp.csr_matrix(self.logged[:, genes])
        values = kept.expm1()
        totals = np.asarray(values.sum(axis=1, dtype=np.float64)).ravel()
        filled = np.flatnonzero(totals > 0)
        scale = totals[filled].mean() / totals[filled] if len(filled) else totals[filled]
        values = sp.csr_matrix(values[filled])
        values.data *= np.repeat(scale, np.diff(values.indptr)).astype(np.float32)
        return replace(
            self.at(filled),
            logged=values.log1p(),
            counts=None,
            totals=np.ones(len(filled)),
            n_counts=None if self.n_counts is None else (self.n_counts * self.share(genes))[filled],
            profiles=self.is_of_profiles,  # a cell may express most genes of a panel
        )

    def share(self, genes: Mask) -> Doubles:
        """Return (n,) the share of each cell's expression that is on some of its genes, given as (g,) True."""
        values = self.logged.expm1()
        some, whole = (np.asarray(values @ one, np.float64) for one in (genes.astype(np.float64), np.ones(len(genes))))
        return np.divide(some, whole, out=np.zeros_like(whole), where=whole > 0)


@dataclass(frozen=True, slots=True)
class SampledFile:
    """A file of the reference, from which cells are sampled.

    Attributes
    ----------
    match
        The genes of its columns.
    values
        The scale of its matrix.
    labels, batches
        (N,) label and batch of its cells.
    take
        Given (m,) ascending positions, returns these cells as (m, n_vars) values of the matrix.
    given
        (N, d) vectors that come with its cells; None if they are not used.
    """

    match: GeneMatch
    values: Values
    labels: Strings
    batches: Strings
    take: Callable[[Ints], sp.csr_matrix[np.float32]]
    given: Floats | None = None


def draw(recipe: Recipe, gene_ids: Ints, files: Sequence[SampledFile], progress: Progress = silent) -> Sample:
    """Return at most `Recipe.fit_cells` cells, in the reference's order, without those that have no expression.

    From a larger reference, the same number of cells is sampled for each label, or all that it has.

    Parameters
    ----------
    recipe
        Determines target sum, size and seed.
    gene_ids
        (g,) the genes of the atlas.
    files
        The reference's files.
    progress
        Shows progress in cells.
    """
    names, codes = coded(np.concatenate([file.labels for file in files]))
    chosen = np.flatnonzero(_balanced(codes, recipe.fit_cells, np.random.default_rng(recipe.random_state)))
    thins = recipe.refine is not None and recipe.refine.thinning > 0
    thins = thins and all(file.values.is_counts for file in files)
    logged, counts, totals, batches, given, depths = [], [], [], [], [], []
    first = 0
    with progress("reading a sample", len(chosen)) as advance:
        for file in files:
            columns = aligner(file.match, gene_ids)
            own = chosen[(chosen >= first) & (chosen < first + len(file.labels))] - first
            first += len(file.labels)
            batches.append(file.batches[own])
            given += [] if file.given is None else [file.given[own]]
            for i in range(0, len(own), CHUNK_CELLS):
                cells = file.take(own[i : i + CHUNK_CELLS])
                logged.append(normalise(cells, file.values, recipe.target_sum, columns))
                depths.append(counts_on(cells, file.values, columns))
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
        given=np.concatenate(given) if given else None,
        rows=chosen,
        n_counts=np.concatenate(depths) if depths else None,
    )
    filled = np.flatnonzero(np.diff(everything.logged.indptr) > 0)
    return everything if len(filled) == len(everything) else everything.at(filled)


def counts_on(
    cells: sp.csr_matrix[np.float32], values: Values, columns: sp.csr_matrix[np.float32]
) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Return (n,) the counts of cells on the genes to which `columns` maps them; NaN if `values` are not counts."""
    if not values.is_counts:
        return np.full(cells.shape[0], np.nan)
    return np.asarray(cells @ np.asarray(columns.sum(axis=1), np.float64).ravel(), np.float64)


def _balanced(codes: Ints, n: int, rng: np.random.Generator) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """Choose `n` cells, as evenly over the labels as their numbers of cells allow."""
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
