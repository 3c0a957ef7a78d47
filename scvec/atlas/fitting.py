"""Fitting on a reference: the recipe, the labels' profiles, further views of a cell, and the calibration of calls."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from scvec.atlas.fitted import Fitted
from scvec.atlas.likeness import COMPONENTS, Likeness, spread_of
from scvec.core.arrow import coded
from scvec.core.jit import side_by_side
from scvec.core.types import Floats, Ints, Neighbors, Progress
from scvec.embed.given import cell_vectors, fit_given
from scvec.embed.profiles import Profiles
from scvec.embed.projection import Embedding, fit
from scvec.embed.recipe import Recipe
from scvec.embed.refine import fit_head
from scvec.embed.sample import Sample
from scvec.embed.surplus import Surplus
from scvec.knn.calibration import Calibration, HeldOut, calibrate, signals
from scvec.knn.folds import Fold, folds, retrieve
from scvec.knn.options import DEFAULT
from scvec.knn.voting import Votes, by_shares
from scvec.views import NEIGHBORS, Joining, Labelled, Points, View, Views, fit_joining, fit_views

FOLDS = 5
"""Number of folds for a recipe without training."""

OF_PROFILES = Joining({NEIGHBORS: 0.0, "rank": 1.0, "corrected": 1.0})
"""How views are joined where the reference holds mean profiles: these express most genes, and so their vectors are
unlike those of cells."""


def fit_reference(
    recipe: Recipe,
    gene_ids: Ints,
    gene_vectors: Floats | None,
    sample: Sample,
    progress: Progress,
    own: Embedding | None = None,
) -> Fitted:
    """Fit a recipe, its head and its views if it has any, on a sample of a reference, and calibrate its calls.

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
    own
        What makes the cells' vectors, for a recipe that was fitted before.

    Raises
    ------
    InputError
        If the reference is too small, or has a single label but the recipe has a head.
    """
    profiles = Profiles.of(gene_ids, sample, recipe.target_sum)
    training = None
    if recipe.refine is not None and gene_vectors is not None:
        trained = fit_head(recipe, gene_ids, gene_vectors, sample, progress)
        embedding: Embedding = trained.head
        held: Sequence[tuple[Fold, Embedding]] = trained.folds
        training = trained.to_dict()
    else:
        if own is not None:
            embedding = own
        elif sample.given is not None:
            embedding = fit_given(recipe, gene_ids, sample.given)
        else:
            embedding = fit(recipe, gene_ids, gene_vectors, sample.logged)
        parted = folds(sample.codes, sample.batches, FOLDS, recipe.random_state)
        held = [(fold, embedding) for fold in parted]
    views, calibration = _calibrated(recipe, sample, held)
    (likeness,) = side_by_side([partial(likeness_of, embedding, sample, views)])  # on one thread of BLAS: the same bits
    return Fitted(embedding, profiles, calibration, views, training, sample.names, likeness)


def likeness_of(embedding: Embedding, sample: Sample, views: Views | None) -> Likeness:
    """Return how much cells are like the labels of a sample, by what was fitted on it."""
    vectors, _ = cell_vectors(embedding, sample.logged, np.ones(len(embedding.gene_ids), bool), sample.given)
    return _likeness(sample, vectors, views)


def _likeness(sample: Sample, vectors: Floats, views: Views | None) -> Likeness:
    codes, n_labels = sample.codes, sample.n_labels
    view = views.of.get(COMPONENTS) if views is not None else None
    components = None if view is None else spread_of(view.project(sample.logged), codes, n_labels)
    return Likeness(Surplus.of(sample), spread_of(vectors, codes, n_labels), components)


@dataclass(frozen=True, slots=True)
class _Part:
    """The held-out cells of one fold, as the other cells call them.

    Attributes
    ----------
    fold
        Which cells these are.
    embedding
        What was fitted on the others.
    vectors, neighbors, votes
        Their vectors, their neighbours (positions in `fold.seen`), and the votes of these.
    views, points
        The views as fitted on the other cells, and what these keep of the held-out ones.
    likeness
        What is known of the cells of each label without them.
    """

    fold: Fold
    embedding: Embedding
    vectors: Floats
    neighbors: Neighbors
    votes: Votes
    views: Views
    points: Points
    likeness: Likeness


def _calibrated(
    recipe: Recipe, sample: Sample, held: Sequence[tuple[Fold, Embedding]]
) -> tuple[Views | None, Calibration | None]:
    """Fit the views, and calibrate: the cells of each fold are called from the others, by what was fitted on those."""
    cells = _labelled(sample)

    def fitted(cells: Labelled) -> Mapping[str, View]:
        return fit_views(cells, recipe.views, recipe.random_state)

    jobs: list[Callable[[], Any]] = [partial(fitted, cells)]
    if sample.is_of_profiles:  # two of a label are not a sample of its cells: nothing is held out
        (of_all,) = side_by_side(jobs)
        return Views(of_all, OF_PROFILES) if recipe.views else None, None
    jobs += [partial(_part, sample, cells, fitted, fold, embedding) for fold, embedding in held]
    of_all, *parts = side_by_side(jobs)
    joining = _joining(sample, parts) if recipe.views else Joining()
    called = side_by_side([partial(_called, sample, joining, part) for part in parts])
    calibration = calibrate(HeldOut.joined(called)) if called else None
    return Views(of_all, joining) if recipe.views else None, calibration


def _labelled(sample: Sample) -> Labelled:
    every = np.ones(sample.logged.shape[1], bool)
    return Labelled(sample.logged, sample.codes, sample.n_labels, coded(sample.batches.astype(str))[1], every)


def _part(
    sample: Sample, cells: Labelled, fitted: Callable[[Labelled], Mapping[str, View]], fold: Fold, embedding: Embedding
) -> _Part:
    vectors, _ = cell_vectors(embedding, sample.logged, cells.measured, sample.given)
    seen = sample.codes[fold.seen]
    found, votes = retrieve(vectors[fold.seen], seen, sample.n_labels, vectors[fold.held], DEFAULT)
    views = Views(fitted(cells.at(fold.seen)), Joining())
    points = views.points(sample.at(fold.held).logged)
    likeness = _likeness(sample.at(fold.seen), vectors[fold.seen], views)
    return _Part(fold, embedding, vectors[fold.held], found, votes, views, points, likeness)


def _joining(sample: Sample, parts: Sequence[_Part]) -> Joining:
    """Return how the views' shares are joined, by held-out cells of labels that the others have."""
    truth = np.concatenate([_truth(sample, one) for one in parts]) if parts else np.zeros(0, np.int64)
    known = truth >= 0
    if not known.any():
        return Joining()
    shares = [{NEIGHBORS: one.votes.shares.astype(np.float64), **one.views.shares(one.points)} for one in parts]
    together = {name: np.concatenate([one[name] for one in shares])[known] for name in shares[0]}
    return fit_joining(together, truth[known])


def _truth(sample: Sample, part: _Part) -> Ints:
    """Return the label of each held-out cell; -1 where the other cells have none of that label."""
    seen, truth = sample.codes[part.fold.seen], sample.codes[part.fold.held]
    return np.where(np.isin(truth, seen), truth, -1)


def _called(sample: Sample, joining: Joining, part: _Part) -> HeldOut:
    fold, embedding, votes = part.fold, part.embedding, part.votes
    seen = sample.codes[fold.seen]
    if part.views.of:
        may, every_cell = np.bincount(seen, minlength=sample.n_labels) > 0, np.ones(len(fold.held), bool)
        votes = by_shares(
            replace(part.views, joining=joining).settle(votes.shares, part.points, may, every_cell).shares
        )
    profiles = Profiles.of(embedding.gene_ids, sample.at(fold.seen), embedding.recipe.target_sum)
    every = np.ones(len(embedding.gene_ids), bool)
    held = sample.at(fold.held).logged
    odd, _ = profiles.odd(held, every, votes.winner)
    further = part.likeness.signals(held, every, part.vectors, part.points, votes.winner)
    found = signals(part.neighbors, seen[part.neighbors.ids], votes, odd, further)
    return HeldOut.of(votes, found, _truth(sample, part))
