"""How well a source's vectors do on a task: a figure for each set or gene, the mean over the seeds."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from scvec.bench.genes.probes import probe
from scvec.bench.genes.retrieval import paired, same_set
from scvec.bench.genes.sources import Source
from scvec.bench.genes.suite import Kind
from scvec.bench.genes.tasks import Prepared, Variant
from scvec.core.types import Doubles, Floats

MEASURES: dict[Kind, tuple[str, ...]] = {
    "same set": ("recall@10", "mrr"),
    "probe": ("auroc",),
    "orthologs": ("mrr", "recall@1"),
}
"""The measures of each kind of task; the first is that of the tables."""


def measure(task: Prepared, source: Source, texts: Variant, seeds: Sequence[int]) -> dict[str, Doubles]:
    """Return for each measure (u,) figures of the task's units, which are sets or genes; NaN where there is none.

    Parameters
    ----------
    task, source, texts
        What is measured, by whose vectors of which texts.
    seeds
        Of what is drawn: folds and negatives of probes, and the vectors of some controls.
    """
    drawn = seeds if source.seeded or task.task.kind == "probe" else seeds[:1]
    vectors: list[Floats] = []
    found: list[dict[str, Doubles]] = []
    for seed in drawn:
        if source.seeded or not vectors:
            vectors = [source.vectors(side, texts, seed) for side in task.sides]
        found.append(_once(task, vectors, seed))
    return {name: np.mean([one[name] for one in found], axis=0) for name in MEASURES[task.task.kind]}


def _once(task: Prepared, vectors: Sequence[Floats], seed: int) -> dict[str, Doubles]:
    if task.task.kind == "orthologs":
        return paired(*vectors)
    if task.task.kind == "probe":
        return probe(vectors[0], task.members, task.kin, seed)
    return same_set(vectors[0], task.members, task.kin, across_families=task.task.across_families)
