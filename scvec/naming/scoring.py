"""How well each term fits what each cluster expresses."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np

from scvec.core.types import Bools, Doubles, Floats, Ints
from scvec.naming.background import Background
from scvec.naming.features import FEATURES, MEANING, Features, sharpened, specific, standardised
from scvec.naming.groups import Groups
from scvec.naming.marker_sets import MarkerSets
from scvec.naming.ranker import STANDS_OUT, WEIGHTS, WITH_MARKERS, WITH_MEANING, chances, scores_of
from scvec.naming.term_words import AT_ONCE, TermWords, term_words
from scvec.naming.text_reader import TextReader


@dataclass(frozen=True)
class Meaning:
    """Texts of T terms and g genes, as an encoder reads them. Make it with `by_meaning`; its call is a `Nearness`.

    Attributes
    ----------
    terms, genes
        (T, d) and (g, d) unit vectors, each less their mean; zeros for a gene without a text.
    has_text
        (g,) whether the gene has a text.
    """

    terms: Floats = field(repr=False)
    genes: Floats = field(repr=False)
    has_text: Bools = field(repr=False)

    def __call__(self) -> Iterator[tuple[slice, Floats]]:
        """Yield some terms, and (m, g) the cosines of their texts with the genes'."""
        for first in range(0, len(self.terms), AT_ONCE):
            part = slice(first, first + AT_ONCE)
            yield part, self.terms[part] @ self.genes.T

    def of(self, term: int) -> Doubles:
        """Return (g,) what each gene weighs in the feature of one term."""
        return np.asarray(sharpened((self.genes @ self.terms[term])[None], self.has_text)[0])


@dataclass(frozen=True)
class Ranking:
    """The scores of T terms for C clusters, and the genes behind them.

    Attributes
    ----------
    chances
        (C, T) the ranker's chance of each term, by which they are ranked.
    scores
        (C, T) the chance that the term, its parent or its child is right.
    features
        (C, T, F) what was measured: see `scvec.naming.features`.
    profile
        (C, g) how specific each gene is to each cluster.
    words
        What the terms' words say of the genes.
    weights
        Of the features.
    meaning
        What the terms' texts say of the genes, as an encoder reads them; None: not measured.
    markers
        Marker sets, if there are any.
    """

    chances: Doubles
    scores: Doubles
    features: Doubles = field(repr=False)
    profile: Doubles = field(repr=False)
    words: TermWords = field(repr=False)
    weights: Mapping[str, float] = field(repr=False)
    meaning: Meaning | None = field(repr=False)
    markers: MarkerSets | None = field(repr=False)

    def best(self, n: int) -> Ints:
        """Return (C, n) the positions of the first n terms of each cluster."""
        return np.argsort(-self.chances, axis=1, kind="stable")[:, :n]

    @property
    def stands_out(self) -> Bools:
        """(C,) whether the first term of each cluster does."""
        return np.array(
            [row[first] >= STANDS_OUT for row, first in zip(self.scores, self.best(1)[:, 0], strict=True)], bool
        )

    def genes_behind(self, cluster: int, term: int, n: int) -> Ints:
        """Return the positions of the n genes that speak most for a term, the strongest first; only those that do.

        What each feature adds to the term's score is shared among the genes in proportion to what they add to the
        feature.
        """
        words, own = self.words, np.maximum(standardised(self.profile[cluster][None])[0], 0)
        peaked = np.maximum(self.profile[cluster], 0) ** 2
        parts = {
            "mention": own * _row(words.mentions, term),
            "gene_in_name": own * _row(words.in_names, term),
            "gene_in_definition": own * _row(words.in_definitions, term),
            "definition": peaked * _near(words, "definitions", term),
            "name": peaked * _near(words, "names", term) ** 2,
            "marker": peaked * (0.0 if self.markers is None else self.markers.of_term(term)),
        }
        if self.meaning is not None:
            parts[MEANING] = peaked * self.meaning.of(term)
        shares = np.zeros(len(own))
        for name, part in parts.items():
            added = self.weights[name] * float(self.features[cluster, term, FEATURES.index(name)])
            total = np.maximum(part, 0).sum()
            if added > 0 and total > 0:
                shares += added * np.maximum(part, 0) / total
        order = np.argsort(-shares, kind="stable")[:n]
        return np.asarray(order[shares[order] > 0])


def rank_terms(
    groups: Groups,
    texts: TextReader,
    *,
    tissue: str | None = None,
    background: Background | None = None,
    markers: MarkerSets | None = None,
) -> Ranking:
    """Score every term for every cluster.

    Genes that a cluster expresses more than the others are looked up in both directions: which terms their texts
    mention or resemble, and which genes the terms' texts name. These features, means of them over a term's parents and
    children, the term's form, and the tissue are weighed by a ranker that learned from labels of other studies
    (`scvec.naming.ranker`). Variants and baselines were compared in ``benchmarks/results/naming.md``.

    Parameters
    ----------
    groups
        The clusters.
    texts
        Reads the terms' texts and the genes'.
    tissue
        The tissue of the cells, in words.
    background
        Profiles of other types, to compare with too.
    markers
        Marker sets, which speak for terms beside the texts; an encoder is then not asked.
    """
    has_text = texts.has_text(groups.gene_ids)
    others = groups.contrast
    if background is not None:
        others = np.concatenate([others, background.on(groups.gene_ids)])
    profile = specific(groups.means, others, has_text)
    words = term_words(texts.terms, texts.genes.texts, texts.gene_texts(groups.gene_ids), groups.gene_ids.tolist())
    nearness = by_meaning(texts, groups.gene_ids) if texts.reads_meaning and markers is None else None
    weights = WITH_MARKERS if markers is not None else WEIGHTS if nearness is None else WITH_MEANING
    features = Features(texts.terms, words)
    measured = features.of(profile, has_text, tissue, nearness, markers)
    chance = chances(measured, weights)
    return Ranking(chance, scores_of(chance, features.kin), measured, profile, words, weights, nearness, markers)


def by_meaning(texts: TextReader, gene_ids: Ints) -> Meaning:
    """Return terms' texts and the genes', as the encoder reads them, both less their mean.

    Parameters
    ----------
    texts
        Reads the terms' texts and the genes'.
    gene_ids
        (g,) the genes.
    """
    there = texts.has_text(gene_ids)
    return Meaning(_centred(texts.of_terms()), _centred(texts.of_genes(gene_ids), there), there)


def _centred(vectors: Floats, there: Bools | None = None) -> Floats:
    """Return unit vectors about the mean of those that are there; zeros for the others."""
    rows = np.asarray(vectors.any(axis=1)) if there is None else there
    moved = np.where(rows[:, None], vectors - vectors[rows].mean(axis=0), 0)
    return np.asarray(moved / np.maximum(np.linalg.norm(moved, axis=1, keepdims=True), 1e-9), np.float32)


def _row(relation: object, term: int) -> Doubles:
    """Return (g,) one row of a (T, g) relation."""
    return np.asarray(relation[term].toarray(), np.float64).ravel()  # type: ignore[index]


def _near(words: TermWords, what: str, term: int) -> Doubles:
    """Return (g,) the cosines of a term's names or definition with the genes' texts."""
    return np.asarray((getattr(words, what)[term] @ words.by_word).toarray(), np.float64).ravel()
