"""Training batches: cells sampled evenly over labels and donors, each seen twice with genes and counts dropped."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp

from scvec.core.types import Doubles, Ints, freeze
from scvec.embed.kernel import parts
from scvec.embed.recipe import Recipe
from scvec.embed.sample import Sample

DROPPED_VIEWS = 0.5
"""Share of the views from which genes are dropped; the others are whole."""


def chances(codes: Ints, batches: Ints) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Return (n,) the probability of each cell to be drawn: equal for all labels, and for all batches of a label."""
    pairs, pair_of, sizes = np.unique(np.stack([codes, batches]), axis=1, return_inverse=True, return_counts=True)
    pair_of = pair_of.ravel()
    n_batches = np.bincount(pairs[0], minlength=int(codes.max()) + 1)
    chance = 1.0 / (sizes[pair_of] * n_batches[codes])
    return np.asarray(chance / chance.sum())


@dataclass(frozen=True, slots=True)
class Views:
    """One training batch.

    Attributes
    ----------
    cells
        (2 b, g) scaled to unit length: b cells, then the same again, each view with other genes dropped.
    kept
        (2 b, 1) the share of genes that each view keeps.
    codes
        (2 b,) their labels.
    """

    cells: sp.csr_matrix[np.float32]
    kept: np.ndarray[tuple[int, int], np.dtype[np.float32]]
    codes: Ints


def views(
    sample: Sample,
    chance: np.ndarray[tuple[int], np.dtype[np.float64]],
    recipe: Recipe,
    rng: np.random.Generator,
) -> Views:
    """Draw a batch with two views of each of `Refinement.batch_cells` cells."""
    refine = recipe.refine
    assert refine is not None  # noqa: S101 - for mypy: whoever trains has one
    drawn = rng.choice(len(sample), refine.batch_cells, p=chance)
    twice = np.concatenate([drawn, drawn])
    if sample.counts is None:
        cells, rows = sample.logged, twice
    else:
        cells = _thinned(sample.totals[twice], sample.counts[twice], refine.thinning, recipe.target_sum, rng)
        rows = np.arange(len(twice))
    dropped = rng.uniform(0, refine.gene_dropout, len(twice)) * (rng.random(len(twice)) < DROPPED_VIEWS)
    return Views(_without(cells, rows, dropped, rng), (1.0 - dropped).astype(np.float32)[:, None], sample.codes[twice])


def _without(
    cells: sp.csr_matrix[np.float32], rows: Ints, dropped: Doubles, rng: np.random.Generator
) -> sp.csr_matrix[np.float32]:
    """Return rows of a matrix, each without that share of its genes, scaled to unit length."""
    from scvec.embed.refine import compiled

    data, genes, indptr = parts(cells)
    drawn = rng.random(int((indptr[rows + 1] - indptr[rows]).sum()), dtype=np.float32)
    # One more: a dropped value is written after the last that is kept.
    values, own = np.empty(len(drawn) + 1, np.float32), np.empty(len(drawn) + 1, np.int32)
    starts = np.zeros(len(rows) + 1, np.int64)
    compiled.drop(data, genes, indptr, freeze(rows), freeze(dropped), freeze(drawn), values, own, starts)
    n = starts[-1]
    return sp.csr_matrix((values[:n], own[:n], starts), shape=(len(rows), cells.shape[1]))


def _thinned(
    totals: np.ndarray[Any, np.dtype[np.float64]], counts: Any, most: float, target_sum: float, rng: np.random.Generator
) -> sp.csr_matrix[np.float32]:
    """Return log-normalised cells, each without a share of its counts, up to `most`."""
    kept = 1.0 - rng.uniform(0, most, counts.shape[0])
    values = np.diff(counts.indptr)
    thinned = rng.binomial(counts.data.astype(np.int64), np.repeat(kept, values))
    logged = np.log1p(thinned * np.repeat(target_sum / np.maximum(totals * kept, 1.0), values))
    return sp.csr_matrix((logged.astype(np.float32), counts.indices, counts.indptr), shape=counts.shape)
