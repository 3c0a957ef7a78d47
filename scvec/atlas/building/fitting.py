"""Fitting on a reference: the recipe, the labels' profiles, and the calibration of calls."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from scvec.atlas.fitted import Fitted
from scvec.core.types import Floats, Ints, Progress
from scvec.embed.given import cell_vectors, fit_given
from scvec.embed.profiles import Profiles
from scvec.embed.projection import Embedding, fit
from scvec.embed.recipe import Recipe
from scvec.embed.refine import fit_head
from scvec.embed.sample import Sample
from scvec.knn.calibration import Calibration, HeldOut, calibrate, signals
from scvec.knn.folds import Fold, folds, retrieve
from scvec.knn.options import DEFAULT

FOLDS = 5
"""Number of folds for a recipe without training."""


def fit_reference(
    recipe: Recipe, gene_ids: Ints, gene_vectors: Floats | None, sample: Sample, progress: Progress
) -> Fitted:
    """Fit a recipe, and its head if it has one, on a sample of a reference, and calibrate it.

    Parameters
    ----------
    recipe
        Bound to its release.
    gene_ids, gene_vectors
        (g,) the reference's genes, and (g, d) their vectors; None for SVD weights.
    sample
        Cells of the reference.
    progress
        Shows progress in steps.

    Raises
    ------
    InputError
        If the reference is too small, or has a single label but the recipe has a head.
    """
    profiles = Profiles.of(gene_ids, sample, recipe.target_sum)
    if recipe.refine is not None and gene_vectors is not None:
        trained = fit_head(recipe, gene_ids, gene_vectors, sample, progress)
        return Fitted(trained.head, profiles, _calibrated(sample, trained.folds), trained.to_dict(), sample.names)
    if sample.given is not None:
        embedding: Embedding = fit_given(recipe, gene_ids, sample.given)
    else:
        embedding = fit(recipe, gene_ids, gene_vectors, sample.logged)
    parted = folds(sample.codes, sample.batches, FOLDS, recipe.random_state)
    return Fitted(embedding, profiles, _calibrated(sample, [(fold, embedding) for fold in parted]), None, sample.names)


def _calibrated(sample: Sample, held: Iterable[tuple[Fold, Embedding]]) -> Calibration | None:
    """Call the cells of each fold from the other cells, with what was fitted on those."""
    parts = [_called(sample, fold, embedding) for fold, embedding in held]
    return calibrate(HeldOut.joined(parts)) if parts else None


def _called(sample: Sample, fold: Fold, embedding: Embedding) -> HeldOut:
    measured = np.ones(len(embedding.gene_ids), bool)
    vectors, _ = cell_vectors(embedding, sample.logged, measured, sample.given)
    seen, truth = sample.codes[fold.seen], sample.codes[fold.held]
    found, votes = retrieve(vectors[fold.seen], seen, sample.n_labels, vectors[fold.held], DEFAULT)
    profiles = Profiles.of(embedding.gene_ids, sample.at(fold.seen), embedding.recipe.target_sum)
    odd, _ = profiles.odd(sample.at(fold.held).logged, measured, votes.winner)
    truth = np.where(np.isin(truth, seen), truth, -1)
    return HeldOut.of(votes, signals(found, seen[found.ids], votes, odd), truth)
