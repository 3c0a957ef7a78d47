"""The result of a search by description: ranked labels, the genes behind each match, exemplar cells."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from scvec.core.html import table
from scvec.core.tabular import Tabular
from scvec.core.text import counted
from scvec.core.types import Floats, Ints, Strings, freeze

if TYPE_CHECKING:
    import polars as pl

N_TIES = 8
"""Genes that a table names for each label."""

SHOWN = 60
"""Letters of the description that the line about a result shows."""


@dataclass(frozen=True, slots=True)
class Found(Tabular):
    """Labels of an atlas, ranked by how well a description fits what their cells express.

    Attributes
    ----------
    words, encoder
        The description, and the encoder that read it; "" if only keywords were compared.
    labels, label_ids
        (L,) the ranked labels, those that the words name first, then the best, and their ids; "" for a label without
        one.
    n_cells
        (L,) number of their cells that may be found.
    scores
        (L,) how far the label expresses the matching genes above other genes, in standard deviations of the score of
        randomly permuted genes.
    gene_ids, symbols
        (g,) the atlas's genes.
    gene_scores
        (g,) how well each gene matches the words: see the column `score` of `scvec.search.genes`.
    ties
        (L, g) what each gene adds to a label's score; these add up to the score.
    genes
        The genes nearest to the words, whether or not a label expresses them, as `scvec.search.genes` returns them.
    cells
        Exemplars of the best labels, as `scvec.search.like` returns cells: the cells of each label nearest to a cell
        that would express the matching genes alone.
    notes
        What a reader should know, one line each.
    by
        How texts were compared with the words: ``"both"``, ``"meaning"`` or ``"keywords"``.
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
    by: str = "both"

    def __post_init__(self) -> None:
        for name in ("labels", "label_ids", "n_cells", "scores", "gene_ids", "symbols", "gene_scores", "ties"):
            object.__setattr__(self, name, freeze(getattr(self, name)))

    def __len__(self) -> int:
        return len(self.labels)

    def __repr__(self) -> str:
        best = f", first {self.labels[0]} ({self.scores[0]:.2f})" if len(self) else ""
        words = self.words if len(self.words) <= SHOWN else f"{self.words[:SHOWN]}..."
        return f"Found: {counted(len(self), 'label')} for {words!r}{best}"

    def _repr_html_(self) -> str:
        frame = self.to_polars(5).select("label", "n_cells", "score", "genes")
        rows = [(label, n, score, ", ".join(genes)) for label, n, score, genes in frame.iter_rows()]
        return table(repr(self), ("label", "cells", "score", "genes"), rows)

    def to_polars(self, n_genes: int = N_TIES) -> pl.DataFrame:
        """Return one row for each label: label, id, cells, score, the genes that add most to it, its exemplars' ids."""
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
        """Return the genes that add most to each label's score, one row each, with their score and what they add."""
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
        """Return the result as JSON types, with the strongest ties of each label only."""
        return {
            "words": self.words,
            "encoder": self.encoder,
            "by": self.by,
            "labels": self.to_polars().to_dicts(),
            "ties": self.ties_frame().to_dicts(),
            "genes": self.genes.to_dicts(),
            "cells": self.cells.to_dicts(),
            "notes": list(self.notes),
        }

    def _strongest(self, label: int, n: int) -> Ints:
        """Return positions of the n genes that add most to a label's score, only of genes that add to it."""
        order = np.argsort(-self.ties[label], kind="stable")[:n]
        strongest: Ints = order[self.ties[label, order] > 0]
        return strongest
