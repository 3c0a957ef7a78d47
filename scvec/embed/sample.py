"""The cells of a reference that statistics are fitted on: all of a small one, a fair draw from a large one."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import scipy.sparse as sp

from scvec.embed.projection import Batches, aligner, normalise
from scvec.ingest.cells.scale import Values
from scvec.ingest.matching import GeneMatch
from scvec.spec import Recipe
from scvec.types import Ints, Strings


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


def draw(
    recipe: Recipe, match: GeneMatch, batches: Batches, values: Values, labels: Strings, batch_of: Strings
) -> Sample:
    """Return at most `Recipe.fit_cells` cells, in the reference's order, those without expression left out.

    Of a larger reference, every label gives the same number of cells, or all it has.

    Parameters
    ----------
    recipe
        Gives target sum, size and seed.
    match
        The reference's genes.
    batches
        Goes through the reference once.
    values
        What its matrix holds.
    labels, batch_of
        (N,) label and batch of all its cells.
    """
    names, codes = np.unique(labels.astype(str), return_inverse=True)
    chosen = _fair(codes, recipe.fit_cells, np.random.default_rng(recipe.random_state))
    columns = aligner(match, match.genes)
    thins = recipe.refine is not None and recipe.refine.thinning > 0 and values.scale == "counts"
    logged, counts, totals = [], [], []
    for start, batch in batches("fitting"):
        cells = batch[chosen[start : start + batch.shape[0]]]
        logged.append(normalise(cells, values, recipe.target_sum, columns))
        if thins:
            counts.append(sp.csr_matrix(cells @ columns))
            totals.append(np.asarray(cells.sum(axis=1, dtype=np.float64)).ravel())
    everything = Sample(
        logged=sp.csr_matrix(sp.vstack(logged, format="csr")),
        counts=sp.csr_matrix(sp.vstack(counts, format="csr")) if thins else None,
        totals=np.concatenate(totals) if thins else np.ones(int(chosen.sum())),
        codes=codes[chosen].astype(np.int64),
        names=tuple(names.tolist()),
        batches=batch_of[chosen],
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
