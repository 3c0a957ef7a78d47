"""The sentence of a gene's text that is nearest to a term."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from scvec.core.types import Floats
from scvec.naming.text_reader import SCORED_PARTS, TextReader

_END = re.compile(r"""(?:(?<=[.!?])|(?<=[.!?]["')\]]))\s+(?=[A-Z0-9"'(\[])""")


def sentences_of(text: str) -> list[str]:
    """Split a text into sentences: where a full stop is followed by a space and a capital, a digit or a quote."""
    return [one for one in _END.split(text.strip()) if one]


def nearest_sentences(texts: TextReader, wanted: Sequence[tuple[int, int]]) -> list[str]:
    """Return for each pair of a gene and a term the sentence of the gene's text that is nearest to the term's text.

    Parameters
    ----------
    texts
        Reads both; each sentence is encoded once.
    wanted
        Entrez ids of genes, and positions of terms.

    Returns
    -------
    list[str]
        In the order of `wanted`; "" for a gene without a text.
    """
    if not wanted:
        return []
    genes = np.unique([gene for gene, _ in wanted])
    split = {int(gene): sentences_of(text) for gene, text in zip(genes, texts.gene_texts(genes), strict=True)}
    every = sorted({one for own in split.values() for one in own})
    vectors, terms = _unit(texts.of_sentences(every)), _unit(texts.of_terms(SCORED_PARTS[0]))
    rows = {one: i for i, one in enumerate(every)}
    found = []
    for gene, term in wanted:
        own = split[gene]
        near = vectors[[rows[one] for one in own]] @ terms[term]
        found.append(own[int(near.argmax())] if own else "")
    return found


def _unit(vectors: Floats) -> Floats:
    return np.asarray(vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9), np.float32)
