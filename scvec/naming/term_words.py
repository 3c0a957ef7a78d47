"""What the words of terms say of genes: mentions, genes that are named, similarities by words."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import scipy.sparse as sp

from scvec.core.types import Doubles, Floats
from scvec.ingest import GeneTexts
from scvec.naming.phrases import GeneNames, mentions
from scvec.naming.term_texts import TermTexts, text_of

AT_ONCE = 256
"""Terms whose similarities with all genes are held at a time."""

Sparse = sp.csr_matrix


@dataclass(frozen=True)
class TermWords:
    """The words of T terms and of g genes' texts. Make it with `term_words`.

    Attributes
    ----------
    mentions
        (T, g) 1 where a gene's text has a name or exact synonym of the term.
    in_names, in_definitions
        (T, g) 1 for a gene that the term's names, or its definition, name; -1 for one that they say is lacking.
    names, definitions
        (T, w) weights of the words of the term's names and of its definition, rows of unit length.
    genes
        (g, w) the same of the genes' texts.
    """

    mentions: Sparse[np.float32]
    in_names: Sparse[np.float32]
    in_definitions: Sparse[np.float32]
    names: Sparse[np.float32]
    definitions: Sparse[np.float32]
    genes: Sparse[np.float32]

    def similarities(self, what: str) -> Iterator[tuple[slice, Floats]]:
        """Yield some terms, and (m, g) the cosines of their names or definitions (`what`) with the genes' texts."""
        rows: Sparse[np.float32] = getattr(self, what)
        for first in range(0, rows.shape[0], AT_ONCE):
            part = slice(first, first + AT_ONCE)
            yield part, np.asarray((rows[part] @ self.by_word).toarray(), np.float32)

    @cached_property
    def by_word(self) -> Sparse[np.float32]:
        """(w, g) the weights of the genes' words, by word: a product with few terms then reads their words only."""
        return sp.csr_matrix(self.genes.T)


def term_words(terms: TermTexts, genes: GeneTexts, texts: Sequence[str], gene_ids: Sequence[int]) -> TermWords:
    """Return what terms and genes say.

    Parameters
    ----------
    terms
        The terms.
    genes
        The release with the genes' names.
    texts
        (g,) the genes' texts; "" for one without.
    gene_ids
        (g,) the genes.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer

    names = ["; ".join((one.name, *one.synonyms)) for one in terms.terms]
    definitions = [text_of(one, ("definition",)) for one in terms.terms]
    corpus = [*texts, *names, *definitions]
    # Pairs of words too, as "mast cell"; a pair or word of one text only tells nothing about another.
    reader = TfidfVectorizer(
        sublinear_tf=True,
        stop_words="english",
        min_df=min(2, len(corpus)),
        dtype=np.float32,
        ngram_range=(1, 2),
        token_pattern=r"(?u)\b\w+\b",  # noqa: S106 - of words
    )
    weights = sp.csr_matrix(reader.fit_transform(corpus))
    first, last = len(texts), len(texts) + len(names)
    about = {row[0]: row[1:] for row in genes.genes.select("gene_id", "symbol", "aliases").iter_rows()}
    known = [about.get(int(one), ("", ())) for one in gene_ids]
    named = GeneNames([str(one[0]) for one in known], [one[1] or () for one in known], texts)
    return TermWords(
        mentions=mentions(terms.terms, texts),
        in_names=named.matrix(names, len(texts)),
        in_definitions=named.matrix(definitions, len(texts)),
        names=weights[first:last],
        definitions=weights[last:],
        genes=weights[:first],
    )


def weighed(weights: Floats | Doubles, profile: Doubles) -> Doubles:
    """Return (C, m) the sums of each cluster's profile, weighted by each term's positive similarities.

    In units of the standard deviation of that sum over permutations of the genes.
    """
    positive = np.maximum(weights, 0).astype(np.float64)
    n_genes, total = max(1, positive.shape[1]), positive.sum(axis=1)
    divisor = np.maximum(total, 1e-9)
    # What each share of the sum is above an equal one is never held: its products follow from those of the shares.
    sums = (profile @ positive.T) / divisor - profile.sum(axis=1, keepdims=True) / n_genes
    squares = np.einsum("mg,mg->m", positive, positive) / divisor**2 - (2 * total / divisor - 1) / n_genes
    return np.asarray(sums / np.maximum(np.sqrt(np.maximum(squares, 0)), 1e-9))
