"""How well each term's text fits what each cluster expresses."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from scvec.core.types import Bools, Doubles, Floats, Ints
from scvec.naming.background import Background
from scvec.naming.groups import Groups
from scvec.naming.text_reader import TextReader

CONTRIBUTIONS = 4_000_000
"""Products of genes and terms that are held at a time."""


@dataclass(frozen=True)
class Ranking:
    """The scores of T terms for C clusters, and the genes behind them.

    Attributes
    ----------
    scores
        (C, T) the chance that the term, its parent or its child is right.
    stands_out
        (C,) whether the best term does.
    profile
        (C, g) how specific each gene is to each cluster.
    terms, genes
        (T, d) and (g, d) vectors of texts.
    """

    scores: Floats
    stands_out: Bools
    profile: Doubles = field(repr=False)
    terms: Floats = field(repr=False)
    genes: Floats = field(repr=False)

    def genes_behind(self, cluster: int, term: int, n: int) -> Ints:
        """Return the positions of the n genes that speak most for a term, the strongest first; only those that do."""
        shares = self.profile[cluster] * _nearness(self.genes @ self.terms[term])
        order = np.argsort(-shares, kind="stable")[:n]
        return np.asarray(order[shares[order] > 0])


def rank_terms(
    groups: Groups, texts: TextReader, *, tissue: str | None = None, background: Background | None = None
) -> Ranking:
    """Score every term for every cluster.

    A placeholder: the specificity of genes (z over clusters) times the nearness of their texts to the term's.

    Parameters
    ----------
    groups
        The clusters.
    texts
        Reads the terms' texts and the genes'.
    tissue
        The tissue of the cells, in words.
    background
        Profiles of other types, as further contrast.
    """
    del tissue
    others = groups.contrast
    if background is not None:
        others = np.concatenate([others, np.nan_to_num(background.on(groups.gene_ids))])
    profile = _specific(np.concatenate([groups.means, others]))[: len(groups)]
    profile = profile * texts.has_text(groups.gene_ids)
    genes = _centred(texts.of_genes(groups.gene_ids), texts.has_text(groups.gene_ids))
    terms = _centred(texts.of_terms())
    raw = np.zeros((len(groups), len(terms)))
    step = max(1, CONTRIBUTIONS // max(1, len(genes)))
    for first in range(0, len(terms), step):
        near = _nearness(genes @ terms[first : first + step].T)
        raw[:, first : first + step] = profile @ near / np.maximum(np.linalg.norm(near, axis=0), 1e-9)
    z = (raw - raw.mean(axis=1, keepdims=True)) / np.maximum(raw.std(axis=1, keepdims=True), 1e-9)
    scores = 1 / (1 + np.exp(4 - z))
    return Ranking(scores.astype(np.float32), z.max(axis=1) > 4, profile, terms, genes)


def _specific(means: Doubles) -> Doubles:
    """Return (C, g) the excess over the other clusters in standard deviations, nothing below one."""
    spread = means.std(axis=0) + 0.1
    return np.asarray(np.maximum((means - means.mean(axis=0)) / spread, 0) * (means > 0))


def _centred(vectors: Floats, there: Bools | None = None) -> Floats:
    """Return unit vectors about the mean of those that are there."""
    rows = np.asarray(vectors.any(axis=1)) if there is None else there
    moved = np.where(rows[:, None], vectors - vectors[rows].mean(axis=0), 0)
    return np.asarray(moved / np.maximum(np.linalg.norm(moved, axis=1, keepdims=True), 1e-9), np.float32)


def _nearness(cosines: Floats) -> Floats:
    """Return the fifth power of cosines above 0: only texts that are near say something."""
    return np.asarray(np.maximum(cosines, 0) ** 5)
