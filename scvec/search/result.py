"""What search in words finds: ranked labels, what ties them to the words, exemplar cells."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from scvec.core.types import Floats, Ints, Strings, freeze

if TYPE_CHECKING:
    import polars as pl

N_TIES = 8
"""Genes that a table names of each label."""


@dataclass(frozen=True, slots=True)
class Found:
    """Labels of an atlas by how well some words describe what their cells express, the best first.

    Attributes
    ----------
    words, encoder
        What was asked, and who read it.
    labels, label_ids
        (L,) those that were ranked; "" for a label without id.
    n_cells
        (L,) their cells that may be found.
    scores
        (L,) how far the genes that the words mean are above other genes in the label, in standard deviations of what as
        many genes drawn at random would be.
    gene_ids, symbols
        (g,) the atlas's genes.
    gene_scores
        (g,) how near each gene's text is to the words: see `scvec.search.Reader.scores`.
    ties
        (L, g) what each gene adds to a label's score; they add up to it.
    genes
        The genes nearest to the words, whether or not a label expresses them: as `scvec.search.genes` returns them.
    cells
        Exemplars of the best labels, as `scvec.search.like` returns cells: those of each label that are nearest to a
        cell that would express just the genes meant.
    notes
        What a reader should know, a line each.
    """

    words: str
    encoder: str
    labels: Strings
    label_ids: Strings
    n_cells: Ints
    scores: Floats
    gene_ids: Ints
    symbols: Strings
    gene_scores: Floats
    ties: Floats
    genes: pl.DataFrame
    cells: pl.DataFrame
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name in ("labels", "label_ids", "n_cells", "scores", "gene_ids", "symbols", "gene_scores", "ties"):
            object.__setattr__(self, name, freeze(getattr(self, name)))

    def __len__(self) -> int:
        return len(self.labels)

    def to_frame(self, n_genes: int = N_TIES) -> pl.DataFrame:
        """Return one row a label: label, id, cells, score, the genes that add most to it, and its exemplars' ids."""
        import polars as pl

        tied = [self.symbols[self._strongest(i, n_genes)].tolist() for i in range(len(self))]
        cells = [self.cells.filter(label=label)["cell_id"].to_list() for label in self.labels.tolist()]
        return pl.DataFrame(
            {
                "label": self.labels.tolist(),
                "label_id": self.label_ids.tolist(),
                "n_cells": self.n_cells,
                "score": self.scores,
                "genes": pl.Series(tied, dtype=pl.List(pl.String)),
                "cells": pl.Series(cells, dtype=pl.List(pl.String)),
            }
        )

    def ties_frame(self, n_genes: int = N_TIES) -> pl.DataFrame:
        """Return the genes that add most to each label's score, a row each: with their own score and what they add."""
        import polars as pl

        chosen = [self._strongest(i, n_genes) for i in range(len(self))]
        genes = np.concatenate(chosen)
        labels = np.repeat(np.arange(len(self)), [len(one) for one in chosen])
        return pl.DataFrame(
            {
                "label": self.labels[labels].tolist(),
                "gene_id": self.gene_ids[genes],
                "symbol": self.symbols[genes].tolist(),
                "gene_score": self.gene_scores[genes],
                "adds": self.ties[labels, genes],
            }
        )

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON types, the strongest ties of each label only."""
        return {
            "words": self.words,
            "encoder": self.encoder,
            "labels": self.to_frame().to_dicts(),
            "ties": self.ties_frame().to_dicts(),
            "genes": self.genes.to_dicts(),
            "cells": self.cells.to_dicts(),
            "notes": list(self.notes),
        }

    def _strongest(self, label: int, n: int) -> Ints:
        """Return positions of the n genes that add most to a label's score; of those only that add to it."""
        order = np.argsort(-self.ties[label], kind="stable")[:n]
        strongest: Ints = order[self.ties[label, order] > 0]
        return strongest
