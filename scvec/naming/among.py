"""How well each of some given types fits clusters and single cells, by what texts say of genes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import scipy.sparse as sp

from scvec.core.types import Bools, Doubles, Floats, Ints
from scvec.naming.features import FEATURES, FORM, Features, Nearness, above
from scvec.naming.scoring import Ranking
from scvec.naming.term_texts import TermTexts
from scvec.naming.term_words import Sparse, TermWords

OWN = 0.25
"""The weight of what a cell itself expresses, beside its cluster's."""

SAMPLE = 100
"""Further terms, at random: features of cells are standardised over these, as features of clusters are over all."""

CELLS_AT_ONCE = 512

STEPS, STEP = 200, 0.5


def among(features: Doubles, weights: Mapping[str, float]) -> Doubles:
    """Return (C, K) how well each of K types fits: the ranker's weights, but for those of a term's form.

    That a term has many kinds and synonyms says what people talk about, but nothing about which of the given types a
    cluster is.

    Parameters
    ----------
    features
        (C, K, F), as `Features.of` returns them.
    weights
        Of the features.
    """
    return np.asarray(features @ np.array([0.0 if name in FORM else weights[name] for name in FEATURES]))


def logs_of(scores: Doubles) -> Doubles:
    """Return the logarithms of the softmax of each row."""
    moved = scores - scores.max(axis=1, keepdims=True)
    return np.asarray(moved - np.log(np.exp(moved).sum(axis=1, keepdims=True)))


def balanced(scores: Doubles) -> Doubles:
    """Return (C, K) logarithms of chances, of which the types that fit many clusters are held back.

    Who gives types expects each of them, so one that draws all clusters is one with much or general text. A type's
    score is lowered by the logarithm of its share of all chances over the equal share, as they are after this: half of
    what would make the shares equal. A type that no cluster has is so not forced on one.

    Source: entropic optimal transport with a relaxed marginal (Chizat et al. 2018, 10.1090/mcom/3303).

    Parameters
    ----------
    scores
        (C, K) of `among`.
    """
    if not len(scores):
        return scores
    lowered = np.zeros(scores.shape[1])
    for _ in range(STEPS):
        shares = np.exp(logs_of(scores - lowered)).mean(axis=0) * scores.shape[1]
        lowered += STEP * (np.log(np.maximum(shares, 1e-300)) - lowered)
    return logs_of(scores - lowered)


@dataclass(frozen=True)
class HeldWords(TermWords):
    """Words of few terms, whose similarities with the genes' texts are computed once and held."""

    held: Mapping[str, Floats] = field(default_factory=dict)

    @classmethod
    def of(cls, words: TermWords, rows: Ints) -> HeldWords:
        """Return the words of some of the terms, by their positions."""
        near = {
            name: np.asarray((getattr(words, name)[rows] @ words.by_word).toarray(), np.float32)
            for name in ("names", "definitions")
        }
        return cls(
            mentions=sp.csr_matrix(words.mentions[rows]),
            in_names=sp.csr_matrix(words.in_names[rows]),
            in_definitions=sp.csr_matrix(words.in_definitions[rows]),
            names=sp.csr_matrix(words.names[rows]),
            definitions=sp.csr_matrix(words.definitions[rows]),
            genes=words.genes,
            held=near,
        )

    def similarities(self, what: str) -> Iterator[tuple[slice, Floats]]:
        """Yield all of the terms at once."""
        yield slice(0, len(self.held[what])), self.held[what]


@dataclass(frozen=True)
class CellScorer:
    """Scores single cells for K types. Make it with `cell_scorer`.

    Attributes
    ----------
    features
        Measures the types, their kin, and a sample of other terms.
    columns
        (K,) the positions of the types among these.
    every
        (C, g) means of clusters: what a cell is compared with.
    has_text
        (g,) whether the gene has a text.
    tissue
        The tissue, in words.
    nearness
        By meaning; None: not measured.
    weights
        Of the features.
    """

    features: Features
    columns: Ints
    every: Doubles
    has_text: Bools
    tissue: str | None
    nearness: Nearness | None
    weights: Mapping[str, float]

    def of(self, values: Sparse[np.float32]) -> Doubles:
        """Return (n, K) logarithms of the chances by (n, g) log1p(counts per 10,000) of single cells."""
        made = np.zeros((values.shape[0], len(self.columns)))
        for first in range(0, len(made), CELLS_AT_ONCE):
            part = slice(first, first + CELLS_AT_ONCE)
            profile = above(values[part].toarray().astype(np.float64), self.every, self.has_text)
            measured = self.features.of(profile, self.has_text, self.tissue, self.nearness)
            made[part] = logs_of(among(measured[:, self.columns], self.weights))
        return made


def cell_scorer(
    ranking: Ranking,
    terms: TermTexts,
    positions: Sequence[int],
    every: Doubles,
    has_text: Bools,
    tissue: str | None = None,
    nearness: Nearness | None = None,
) -> CellScorer:
    """Return what scores single cells.

    Parameters
    ----------
    ranking
        Of the clusters.
    terms, positions
        All terms, and the positions of the K types among them.
    every, has_text, tissue
        As in `CellScorer`.
    nearness
        Of all terms with the genes.
    """
    rows = _with_kin(terms, [*positions, *_sample(len(terms))])
    few = TermTexts(terms.ontology, tuple(terms.terms[i] for i in rows.tolist()))
    near = None if nearness is None else _held(nearness, rows)
    features = Features(few, HeldWords.of(ranking.words, rows))
    return CellScorer(
        features, np.searchsorted(rows, np.asarray(positions)), every, has_text, tissue, near, ranking.weights
    )


def _sample(n_terms: int) -> list[int]:
    chosen = np.random.default_rng(0).choice(n_terms, min(SAMPLE, n_terms), replace=False)
    return [int(one) for one in chosen]


def _with_kin(terms: TermTexts, chosen: Sequence[int]) -> Ints:
    """Return the positions, ascending, of some terms, their parents and their children."""
    own = {terms.ids[one] for one in chosen}
    kept = own | {up for one in chosen for up in terms.terms[one].parents}
    return np.array(
        [i for i, one in enumerate(terms.terms) if one.id in kept or not own.isdisjoint(one.parents)], np.int64
    )


def _held(nearness: Nearness, rows: Ints) -> Nearness:
    """Return the same for some of the terms, computed once."""
    parts = []
    for part, near in nearness():
        inside = rows[(rows >= part.start) & (rows < part.start + len(near))] - part.start
        parts.append(near[inside])
    held = np.concatenate(parts)

    def few() -> Iterator[tuple[slice, Floats]]:
        yield slice(0, len(held)), held

    return few
