"""Stochastic gradient descent on a head's contrastive part."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import numpy as np

from scvec.core.types import Floats, Ints, freeze
from scvec.core.vectors import unit_vectors
from scvec.embed.kernel import parts, project
from scvec.embed.moments import Moments
from scvec.embed.recipe import Recipe, Refinement
from scvec.embed.refine.losses import Array, proxy, supcon, through_unit, triplet, unit
from scvec.embed.refine.views import Views, chances, views
from scvec.embed.sample import Sample

SCALE = 10.0
"""Scale of the logits of a cell of unit length, so that cross-entropy can become certain of a label."""

START = 10.0
"""Scale of the initial weights, the labels' mean cells: the head starts as a nearest-centroid classifier."""

MOMENTUM = 0.9
TEXT_DIMENSION = 64
SNAPSHOTS = 8
"""How many times during training the weights are evaluated, to choose the number of steps."""

Advance: TypeAlias = Callable[[int], None]


def text_parts(gene_vectors: Floats, weight: float) -> Floats:
    """Return (g, t) centred gene vectors: at most `TEXT_DIMENSION` principal components, of mean square `weight`^2.

    They are centred because what all texts share does not distinguish genes.
    """
    centred = gene_vectors - gene_vectors.mean(axis=0, dtype=np.float64).astype(np.float32)
    _, directions = np.linalg.eigh((centred.T @ centred).astype(np.float64))
    parts = centred @ directions[:, ::-1][:, :TEXT_DIMENSION].astype(np.float32)
    length = float(np.sqrt((parts**2).sum(axis=1).mean()))
    return np.asarray(parts * (weight / length if length else 0.0), np.float32)


def train(
    recipe: Recipe,
    texts: Floats,
    sample: Sample,
    stop: int | None,
    advance: Advance,
) -> dict[int, Floats]:
    """Train, and return (g, d) weights by the number of steps.

    Parameters
    ----------
    recipe
        With its refinement; `random_state` is the random seed.
    texts
        (g, t) from `text_parts`.
    sample
        The cells to train on.
    stop
        Number of steps; None: all steps of the recipe, and snapshots in between are returned too.
    advance
        Called after each step.
    """
    refine = _refinement(recipe)
    rng = np.random.default_rng(recipe.random_state)
    moments = Moments.of(sample)
    axes = _axes(sample.n_labels, refine.dimension, rng)
    descent = _Descent(refine, texts, moments, axes)
    chance = chances(sample.codes, np.unique(sample.batches.astype(str), return_inverse=True)[1])
    every = max(1, refine.steps // SNAPSHOTS)
    found: dict[int, Floats] = {}
    for step in range(1, (stop or refine.steps) + 1):
        # The rate falls to zero along a cosine (Loshchilov and Hutter 2016, arXiv 1608.03983), wherever training stops.
        rate = refine.learning_rate * 0.5 * (1 + np.cos(np.pi * (step - 1) / refine.steps))
        descent.step(views(sample, chance, recipe, rng), float(rate))
        advance(1)
        if step == stop or (stop is None and (step % every == 0 or step == refine.steps)):
            found[step] = descent.weights()
    return found


def _refinement(recipe: Recipe) -> Refinement:
    assert recipe.refine is not None  # noqa: S101 - for mypy: whoever trains has one
    return recipe.refine


def _axes(n_labels: int, dimension: int, rng: np.random.Generator) -> Array:
    """Return (L, d) an axis for each label: orthogonal if the dimension allows, else random."""
    if n_labels <= dimension:
        return np.asarray(np.linalg.qr(rng.standard_normal((dimension, n_labels)))[0].T, np.float32)
    drawn = rng.standard_normal((n_labels, dimension))
    return unit_vectors(drawn, np.linalg.norm(drawn, axis=1))[0]


class _Descent:
    """The weights in training: a text part, shared by genes with similar texts, and a free part for each gene."""

    def __init__(self, refine: Refinement, texts: Floats, moments: Moments, axes: Array) -> None:
        self._refine, self._texts, self._axes, self._mean = refine, texts, axes, moments.mean
        start = (START * (moments.labels - moments.mean).T @ axes).astype(np.float32)
        self._free = _Momentum(start, refine.decay)
        self._shared = _Momentum(np.zeros((texts.shape[1], axes.shape[1]), np.float32), refine.decay)

    def weights(self) -> Floats:
        """Return (g, d) the sum of both parts."""
        weights = self._texts @ self._shared.value
        weights += self._free.value
        return np.asarray(weights, np.float32)

    def step(self, batch: Views, rate: float) -> None:
        """Take one step against the gradient of the losses on a batch."""
        from scvec.embed.refine import compiled

        weights, lost = self.weights(), np.sqrt(batch.kept)
        # For a cell with a share of its genes, scaled to unit length, the mean is scaled by the root of that share.
        mapped = project(batch.cells, weights) - lost * (self._mean @ weights)
        gradient = SCALE * self._gradient(np.asarray(mapped * SCALE, np.float32), batch.codes)
        by_weights = np.outer(-self._mean, (lost * gradient).sum(axis=0))
        compiled.add_outer(*parts(batch.cells), freeze(gradient), by_weights)
        self._free.step(by_weights, rate)
        self._shared.step(self._texts.T @ by_weights, rate)

    def _gradient(self, mapped: Array, codes: Ints) -> Array:
        refine = self._refine
        units, lengths = unit(mapped)
        if refine.loss == "supcon":
            _, by_units = supcon(units, codes, refine.temperature or 0.0)
        else:
            _, by_units = triplet(units, codes, refine.margin or 0.0)
        gradient = through_unit(by_units, units, lengths)
        if refine.proxy:
            gradient = gradient + refine.proxy * proxy(mapped, codes, self._axes)[1]
        return np.asarray(gradient, np.float32)


class _Momentum:
    """One array of weights, updated in place with Nesterov momentum and weight decay."""

    def __init__(self, value: Floats, decay: float) -> None:
        self.value: Floats = np.ascontiguousarray(value)
        self._decay, self._speed = np.float32(decay), np.zeros_like(self.value)

    def step(self, gradient: Floats, rate: float) -> None:
        """Take one step against the gradient."""
        from scvec.embed.refine import compiled

        compiled.descend(self.value, self._speed, freeze(gradient), self._decay, np.float32(MOMENTUM), np.float32(rate))
