"""Training a head: held-out donors choose the number of steps, then it is trained on all donors."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from threading import Lock
from typing import Any

import numpy as np

from scvec.core.jit import side_by_side
from scvec.core.types import Floats, Ints, Progress
from scvec.embed.moments import Moments
from scvec.embed.recipe import Recipe, Refinement
from scvec.embed.refine.head import Head
from scvec.embed.refine.probe import cosines_of, in_span, probe
from scvec.embed.refine.train import text_parts, train
from scvec.embed.sample import Sample
from scvec.errors import LabelError
from scvec.knn.folds import Fold, folds, retrieve
from scvec.knn.options import DEFAULT


@dataclass(frozen=True, slots=True)
class Trained:
    """A head, and how it was chosen.

    Attributes
    ----------
    head
        Trained on all cells of the sample.
    folds
        The held-out cells of each fold, with a head that was trained on the other cells only.
    steps
        Number of steps after which training stopped.
    curve
        Macro-F1 of the held-out cells, as the mean over the folds, by the number of steps.
    """

    head: Head
    folds: tuple[tuple[Fold, Head], ...]
    steps: int
    curve: Mapping[int, float]

    def to_dict(self) -> dict[str, Any]:
        """Return how it was trained, as JSON types."""
        curve = {str(step): round(score, 4) for step, score in self.curve.items()}
        return {"steps": self.steps, "folds": len(self.folds), "held_out_macro_f1": curve}


def fit_head(recipe: Recipe, gene_ids: Ints, gene_vectors: Floats, sample: Sample, progress: Progress) -> Trained:
    """Train a head on a sample of a reference.

    Parameters
    ----------
    recipe
        With its refinement.
    gene_ids, gene_vectors
        (g,) the reference's genes, and (g, d) the vectors of their texts.
    sample
        The cells.
    progress
        Shows progress in steps.

    Raises
    ------
    LabelError
        If all cells have one label.
    """
    refine = recipe.refine
    assert refine is not None  # noqa: S101 - for mypy: only such recipes come here
    if len(np.unique(sample.codes)) < 2:
        raise LabelError(
            f"all cells of the reference are labelled {sample.names[sample.codes[0]]!r}",
            f"at least two labels for recipe {recipe.name!r}",
            "use the recipe genept-w",
        )
    texts, cosines = _shared(sample, gene_vectors, refine)
    parted = [
        fold
        for fold in folds(sample.codes, sample.batches, refine.folds, recipe.random_state)
        if len(np.unique(sample.codes[fold.seen])) > 1
    ]
    with progress("training", (len(parted) + 1) * refine.steps) as tell:
        advance = _one_at_a_time(tell)
        tried = side_by_side([partial(_tried, recipe, gene_ids, texts, sample, fold, advance) for fold in parted])
        curve = _curve([scores for _, scores in tried])
        steps = max(curve, key=lambda step: (round(curve[step], 4), -step)) if curve else refine.steps

        def of_all() -> Head:
            weights = train(recipe, texts, sample, steps, advance)[steps]
            return _head(recipe, gene_ids, sample, weights, cosines)

        def of_fold(fold: Fold, weights: Floats) -> Head:
            among = None if cosines is None else cosines[np.ix_(fold.seen, fold.seen)]
            return _head(recipe, gene_ids, sample.at(fold.seen), weights, among)

        jobs: list[Callable[[], Head]] = [of_all]
        jobs += [partial(of_fold, fold, one[steps]) for fold, (one, _) in zip(parted, tried, strict=True)]
        head, *heads = side_by_side(jobs)
        advance(refine.steps - steps)
    return Trained(head, tuple(zip(parted, heads, strict=True)), steps, curve)


def _shared(sample: Sample, gene_vectors: Floats, refine: Refinement) -> tuple[Floats, Floats | None]:
    """Return what all folds share: the parts of texts, and the cosines of all cells if the probe is fitted on these."""
    jobs = [partial(text_parts, gene_vectors, refine.text_weight)]
    if refine.probe and in_span(sample):
        jobs.append(partial(cosines_of, sample))
    texts, *cosines = side_by_side(jobs)
    return texts, cosines[0] if cosines else None


def _one_at_a_time(tell: Callable[[int], None]) -> Callable[[int], None]:
    """Return `tell` for several threads: whoever shows the progress need not expect them."""
    lock = Lock()

    def advance(steps: int) -> None:
        with lock:
            tell(steps)

    return advance


def _head(recipe: Recipe, gene_ids: Ints, sample: Sample, weights: Floats, cosines: Floats | None) -> Head:
    """Join the contrastive part and that of the probe."""
    contrastive = _contrastive(recipe, gene_ids, Moments.of(sample), weights)
    weight = recipe.refine.probe if recipe.refine else 0.0
    if not weight:
        return contrastive
    slopes, intercept = probe(sample, recipe.random_state, cosines)
    start, stop = weights.shape[1], weights.shape[1] + sample.n_labels
    return replace(
        contrastive,
        weights=np.concatenate([weights, slopes], axis=1),
        bias=np.concatenate([contrastive.bias, intercept + contrastive.mean @ slopes]),
        parts=(*contrastive.parts, (start, stop, weight)),
    )


def _contrastive(recipe: Recipe, gene_ids: Ints, moments: Moments, weights: Floats) -> Head:
    d = weights.shape[1]
    return Head(recipe, gene_ids, weights, moments.mean, moments.power, np.zeros(d, np.float32), ((0, d, 1.0),))


def _tried(
    recipe: Recipe, gene_ids: Ints, texts: Floats, sample: Sample, fold: Fold, advance: Callable[[int], None]
) -> tuple[Mapping[int, Floats], Mapping[int, float]]:
    """Return weights by the number of steps, and the macro-F1 of the held-out cells for the contrastive part alone."""
    seen, codes, measured = sample.at(fold.seen), sample.codes, np.ones(len(gene_ids), bool)
    by_step, moments, scores = train(recipe, texts, seen, None, advance), Moments.of(seen), {}
    for step, weights in by_step.items():
        vectors, _ = _contrastive(recipe, gene_ids, moments, weights).vectors(sample.logged, measured)
        _, votes = retrieve(vectors[fold.seen], seen.codes, sample.n_labels, vectors[fold.held], DEFAULT)
        scores[step] = _macro_f1(codes[fold.held], votes.winner, seen.codes)
    return by_step, scores


def _curve(scores: Sequence[Mapping[int, float]]) -> dict[int, float]:
    """Return the mean over the folds, by the number of steps."""
    return {step: float(np.mean([fold[step] for fold in scores])) for step in (scores[0] if scores else ())}


def _macro_f1(truth: Ints, called: Ints, seen: Ints) -> float:
    """Return macro-F1 over the labels that are both held out and seen: no others can be called correctly."""
    from sklearn.metrics import f1_score

    both = np.intersect1d(truth, seen)
    return float(f1_score(truth, called, labels=both, average="macro", zero_division=0)) if len(both) else 0.0
