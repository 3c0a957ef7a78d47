"""What is measured of each cluster and term, before it is weighed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TypeAlias

import numpy as np
import scipy.sparse as sp

from scvec.core.types import Bools, Doubles, Floats
from scvec.naming.marker_sets import MarkerSets
from scvec.naming.term_texts import TermTexts
from scvec.naming.term_words import TermWords, weighed
from scvec.naming.tissue import TissueOf

Nearness: TypeAlias = Callable[[], Iterator[tuple[slice, Floats]]]

WORDS = ("mention", "definition", "name", "gene_in_name", "gene_in_definition")
"""Sums over genes of how specific each is to the cluster: over genes whose texts mention the term; over all, by how
similar their texts are to the term's definition or its names; over genes that its names, or its definition, name."""

KIN = ("mention_above", "mention_below", "definition_above", "definition_below")
"""Means of these over a term's parents, and over its children."""

FORM = ("n_words", "in_brackets", "n_children", "is_leaf", "n_synonyms")
"""What is known of a term before any cell is seen: a term with many kinds and synonyms is what people talk about."""

TISSUE = ("tissue_in_name", "tissue_in_definition", "tissue_above", "other_organ")

MEANING = "meaning"
"""As *definition*, by how near the texts of the genes are to that of the term as an encoder reads them."""

MARKER = "marker"
"""How over-represented the term's marker sets are, where there are any: see `scvec.naming.marker_sets`."""

FEATURES = (*WORDS, *KIN, *FORM, *TISSUE, MEANING, MARKER)

SHARPNESS = 5
"""A gene's weight by meaning is its nearness to this power, as in `scvec.search.labels`."""

LOGS = ("mention", "definition", "name", MEANING, MARKER)
"""Features whose logarithm is taken, of what is above the mean term: what is below it is mostly noise."""

FEW_GENES = {"mention": 3.0, "gene_in_name": 0.5, "gene_in_definition": 1.0}
"""A sum over n genes is divided by the root of n and this: what a single gene says counts less."""


def specific(means: Doubles, contrast: Doubles, has_text: Bools) -> Doubles:
    """Return (C, g) how far each cluster expresses each gene above all of them and `contrast`; 0 without a text.

    In units of the gene's spread plus the median gene's, so that genes with hardly any expression count little.

    Parameters
    ----------
    means, contrast
        (C, g) and (K, g) mean log-normalised expression; NaN in `contrast` for what is not known.
    has_text
        (g,) whether the gene has a text.
    """
    return above(means, np.concatenate([means, contrast]), has_text)


def above(values: Doubles, every: Doubles, has_text: Bools) -> Doubles:
    """Return (n, g) how far values of genes are above the mean of `every` (C, g) cluster: see `specific`."""
    mean, spread = np.nanmean(every, axis=0), np.nanstd(every, axis=0)
    median = np.median(spread[spread > 0]) if (spread > 0).any() else 1.0
    return np.asarray(np.where(has_text, (values - mean) / (spread + median), 0.0))


def standardised(values: Doubles, among: Bools | None = None) -> Doubles:
    """Return values minus their row's mean over its deviation; of (C, g), over the genes `among`, and 0 elsewhere."""
    found = np.zeros_like(values)
    kept = np.ones(values.shape[1], bool) if among is None else among
    own = values[:, kept]
    found[:, kept] = (own - own.mean(axis=1, keepdims=True)) / np.maximum(own.std(axis=1, keepdims=True), 1e-9)
    return found


def sharpened(near: Floats | Doubles, has_text: Bools) -> Doubles:
    """Return (m, g) what genes weigh in *meaning*, by the cosines of terms' texts with theirs; 0 without a text."""
    return np.asarray(np.maximum(standardised(near.astype(np.float64), has_text), 0) ** SHARPNESS)


@dataclass(frozen=True)
class Features:
    """Measures C clusters against T terms.

    Attributes
    ----------
    terms, words
        The terms, and what their words say of the genes.
    """

    terms: TermTexts
    words: TermWords

    def of(
        self,
        profile: Doubles,
        has_text: Bools,
        tissue: str | None = None,
        nearness: Nearness | None = None,
        markers: MarkerSets | None = None,
    ) -> Doubles:
        """Return (C, T, F) the features, in the order of `FEATURES`.

        Parameters
        ----------
        profile
            (C, g) how specific each gene is: see `specific`.
        has_text
            (g,) whether the gene has a text.
        tissue
            The tissue, in words.
        nearness
            Yields some terms, and (m, g) the cosines of their texts with the genes', by an encoder. None: no meaning.
        markers
            Marker sets. None: there are none.
        """
        raw = self._of_words(profile, has_text)
        raw |= {
            "mention_above": self._mean(self._up, raw["mention"]),
            "mention_below": self._mean(sp.csr_matrix(self._up.T), raw["mention"]),
            "definition_above": self._mean(self._up, raw["definition"]),
            "definition_below": self._mean(sp.csr_matrix(self._up.T), raw["definition"]),
        }
        nothing = np.zeros_like(raw["mention"])
        raw[MEANING] = nothing if nearness is None else self._by_meaning(profile, has_text, nearness)
        raw[MARKER] = nothing if markers is None else markers.over_represented(profile, len(self.terms))
        found = {name: standardised(values) for name, values in raw.items()}
        found |= {name: np.log1p(np.maximum(found[name], 0)) for name in LOGS}
        shape = (len(profile), len(self.terms))
        found |= {name: np.broadcast_to(values, shape) for name, values in self._form.items()}
        places = self._tissue.of(tissue)
        found |= {name: np.broadcast_to(places[:, i], shape) for i, name in enumerate(TISSUE)}
        return np.stack([found[name] for name in FEATURES], axis=-1)

    def _of_words(self, profile: Doubles, has_text: Bools) -> dict[str, Doubles]:
        linear = standardised(profile, has_text)
        peaked = standardised(np.maximum(profile, 0) ** 2, has_text)
        found = {
            "mention": _summed(self.words.mentions, linear, FEW_GENES["mention"]),
            "gene_in_name": _summed(self.words.in_names, linear, FEW_GENES["gene_in_name"]),
            "gene_in_definition": _summed(self.words.in_definitions, linear, FEW_GENES["gene_in_definition"]),
        }
        ways: dict[str, tuple[str, Callable[[Floats], Floats]]] = {
            "definition": ("definitions", lambda near: near),
            "name": ("names", lambda near: near**2),
        }
        for name, (what, power) in ways.items():
            made = np.zeros((len(profile), len(self.terms)))
            for part, near in self.words.similarities(what):
                made[:, part] = weighed(power(near), peaked)
            found[name] = made
        return found

    def _by_meaning(self, profile: Doubles, has_text: Bools, nearness: Nearness) -> Doubles:
        peaked = standardised(np.maximum(profile, 0) ** 2, has_text)[:, has_text]
        made = np.zeros((len(profile), len(self.terms)))
        for part, near in nearness():
            made[:, part] = weighed(sharpened(near, has_text)[:, has_text], peaked)
        return made

    @cached_property
    def _up(self) -> sp.csr_matrix[np.float32]:
        """(T, T) 1 from each term to its parents."""
        positions = self.terms.positions
        pairs = [(i, positions[up]) for i, one in enumerate(self.terms.terms) for up in one.parents if up in positions]
        rows, columns = zip(*pairs, strict=True) if pairs else ((), ())
        size = len(self.terms)
        return sp.csr_matrix((np.ones(len(pairs), np.float32), (rows, columns)), (size, size))

    @cached_property
    def kin(self) -> sp.csr_matrix[np.float32]:
        """(T, T) 1 for terms within two steps of each other, up or down, and for each term itself."""
        near = self._up + self._up.T + sp.identity(len(self.terms), np.float32, "csr")
        twice = sp.csr_matrix(near @ near)
        twice.data[:] = 1
        return twice

    @staticmethod
    def _mean(relation: sp.csr_matrix[np.float32], values: Doubles) -> Doubles:
        counts = np.asarray(relation.sum(axis=1), np.float64).ravel()
        return np.asarray((relation @ values.T).T / np.maximum(counts, 1))

    @cached_property
    def _form(self) -> Mapping[str, Doubles]:
        n_children = np.asarray(self._up.sum(axis=0), np.float64).ravel()
        terms = self.terms.terms
        plain = {
            "n_words": np.array([len(one.name.split()) for one in terms], float),
            "in_brackets": np.array(["(" in one.name for one in terms], float),
            "n_children": np.log1p(n_children),
            "is_leaf": (n_children == 0).astype(float),
            "n_synonyms": np.log1p([len(one.synonyms) for one in terms]),
        }
        return {name: standardised(values[None])[0] for name, values in plain.items()}

    @cached_property
    def _tissue(self) -> TissueOf:
        return TissueOf(self.terms)


def _summed(relation: sp.csr_matrix[np.float32], profile: Doubles, few: float) -> Doubles:
    n_genes = np.asarray(abs(relation).sum(axis=1), np.float64).ravel()
    return np.asarray((relation @ profile.T).T / np.sqrt(n_genes + few))
