"""Calls of clusters and single cells among types that are given by name."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields

import numpy as np

from scvec.core.types import Bools, Doubles, Floats, Ints
from scvec.naming.among import OWN, CellScorer, among, balanced, cell_scorer, logs_of
from scvec.naming.candidates import Candidates
from scvec.naming.cell_batches import Batch
from scvec.naming.groups import Groups
from scvec.naming.result import CellCalls
from scvec.naming.scoring import Ranking
from scvec.naming.term_texts import TermTexts
from scvec.naming.text_reader import TextReader

CLUSTER_STANDS_OUT, CELL_STANDS_OUT = 0.6, 0.7
"""The lowest share of a cluster's first type, and of a cell's, that is called: 9 % of the calls of either are wrong
(``python -m benchmarks.zero_shot``)."""


@dataclass(frozen=True)
class Among(Ranking):
    """A ranking of the types that were given alone.

    Attributes
    ----------
    candidates
        The K types.
    positions
        (K,) their positions among all terms.
    logs
        (C, K) logarithms of their chances for each cluster, which add up to one among the types.
    """

    candidates: Candidates
    positions: Ints
    logs: Doubles

    @classmethod
    def of(cls, ranking: Ranking, candidates: Candidates, terms: TermTexts, expressing: Bools) -> Among:
        """Return the types' ranking for the clusters, of which those that are `expressing` count."""
        positions = np.array([terms.positions[one] for one in candidates.ids])
        logs = np.full((len(expressing), len(positions)), -np.log(len(positions)))
        logs[expressing] = balanced(among(ranking.features[expressing][:, positions], ranking.weights))
        chances = np.zeros(ranking.scores.shape)
        chances[:, positions] = np.exp(logs)
        kept = {one.name: getattr(ranking, one.name) for one in fields(Ranking)}
        return cls(
            **kept | {"chances": chances, "scores": chances}, candidates=candidates, positions=positions, logs=logs
        )

    def best(self, n: int) -> Ints:
        """Return (C, n) the positions of the first n types of each cluster; of all, if there are fewer."""
        return Ranking.best(self, min(n, len(self.candidates)))

    @property
    def stands_out(self) -> Bools:
        """(C,) whether the first type of each cluster does."""
        return np.asarray(np.exp(self.logs.max(axis=1)) >= CLUSTER_STANDS_OUT)


def call_cells(
    ranking: Among,
    groups: Groups,
    texts: TextReader,
    others: Doubles,
    batches: Iterable[Batch],
    tissue: str | None = None,
) -> CellCalls:
    """Call single cells among the types.

    A cell's scores are its cluster's, moved by what it expresses itself more than the mean cluster: a single cell's few
    counts say little, and a cluster may be of several types.

    Parameters
    ----------
    ranking
        Of the clusters, among the types.
    groups, others
        The clusters; and (m, g) means of others, with which they are compared too.
    texts
        Reads the texts.
    batches
        Of all cells.
    tissue
        The tissue, in words.
    """
    has_text = texts.has_text(groups.gene_ids)
    every = np.concatenate([groups.means, others])
    scorer = cell_scorer(ranking, texts.terms, ranking.positions.tolist(), every, has_text, tissue, ranking.meaning)
    best, score = best_of_cells(ranking.logs, groups.member, scorer, batches)
    called = np.where(score >= CELL_STANDS_OUT, best, -1)
    return CellCalls(
        np.array([*ranking.candidates.labels, ""], object)[called],
        np.array([*ranking.candidates.ids, ""], object)[called],
        score,
    )


def best_of_cells(
    logs: Doubles, member: Ints, scorer: CellScorer, batches: Iterable[Batch], own: float = OWN
) -> tuple[Ints, Floats]:
    """Return (n,) each cell's best type, -1 for a cell in no cluster or without expression, and its share, or NaN.

    Parameters
    ----------
    logs
        (C, K) logarithms of the clusters' chances.
    member
        (n,) the cluster of each cell.
    scorer, batches
        What scores single cells, and the cells.
    own
        The weight of a cell's own scores.
    """
    best, score = np.full(len(member), -1), np.full(len(member), np.nan, np.float32)
    for first, values in batches:
        of_batch = member[first : first + values.shape[0]]
        there = np.flatnonzero((of_batch >= 0) & (np.diff(values.indptr) > 0))
        if len(there):
            chances = np.exp(logs_of(logs[of_batch[there]] + own * scorer.of(values[there])))
            best[first + there], score[first + there] = chances.argmax(axis=1), chances.max(axis=1)
    return best, score
