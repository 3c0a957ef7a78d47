"""Genes by the words of their texts, without an encoder."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from scvec.core.types import Floats, Ints
from scvec.ingest import GeneTexts
from scvec.search.named import named


@dataclass(frozen=True)
class Keywords:
    """Finds genes by the words of their texts, and by names: no encoder and no vectors are needed.

    Attributes
    ----------
    texts
        The gene texts of a release.
    gene_ids
        (g,) the genes to score: an atlas's, or all of `texts`.
    """

    texts: GeneTexts
    gene_ids: Ints

    def scores(self, words: str) -> Floats:
        """Return (g,) how well the text of each gene matches the words, by BM25; 0 for a text that has none of them.

        Words are compared as English stems, without common words; ``"growth hormone"`` in quotes is a phrase. See
        `scvec.store.Snapshot.matching`.
        """
        found = self.texts.snapshot.matching(words, "text", ["gene_id"])
        ids, scores = np.asarray(found["gene_id"], np.int64), np.asarray(found["score"], np.float32)
        order = np.argsort(ids)
        places = np.searchsorted(ids[order], self.gene_ids)
        places[places == len(ids)] = 0
        made = np.zeros(len(self.gene_ids), np.float32)
        if len(ids):
            there = ids[order][places] == self.gene_ids
            made[there] = scores[order][places[there]]
        return made

    def named(self, words: str) -> dict[int, str]:
        """Return those of the genes that words name, each with what it is named by: see `scvec.search.named`."""
        own = set(self.gene_ids.tolist())
        return {gene: route for gene, route in named(self.texts, words).items() if gene in own}
