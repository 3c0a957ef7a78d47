"""Ranked names of clusters, with the genes behind them."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from scvec.annotation.entries import NAMES_KEY, Entries, check_key, rows_of
from scvec.core.html import table
from scvec.core.tabular import Tabular
from scvec.core.text import counted
from scvec.core.types import Bools, Floats, Ints, Strings, freeze

if TYPE_CHECKING:
    import polars as pl
    from anndata import AnnData

N_NAMES = 5
"""Names for each cluster."""

N_GENES = 8
"""Genes that a table shows behind each name."""

NO_NAME = "no name stands out"

SCORE_MEANS = (
    "The number after a name is the chance that it, its parent or its child in the ontology is right, as found on "
    "held-out labels."
)
HOW_RIGHT = (
    "A name stands out from a score of 0.4. In six files whose labels were named as if unknown, six in ten of such "
    "names were right (the term, its parent or its child), with the tissue seven in ten; above, scores say little more."
)
"""How often a name that stands out is right: the figures of `benchmarks.naming`, for whoever reads a page."""

SHARE_MEANS = "The number after a name is its share among the types that were given; no other type can be called."
HOW_RIGHT_AMONG = (
    "A cluster is called from a share of 0.6, a single cell from 0.7: of such calls in six files, 9 % were wrong, "
    "where all types of the file were given and no others."
)
"""The same for calls among given types: the figures of `benchmarks.zero_shot`."""


@dataclass(frozen=True, slots=True)
class Suggestion:
    """One name for a cluster.

    Attributes
    ----------
    term_id, name
        The term of the Cell Ontology.
    score
        The chance that the term, its parent or its child is right, as found on held-out labels.
    genes
        Symbols of the genes that speak most for it, the strongest first.
    evidence
        For each of `genes`, the sentence of its text that is nearest to the term; "" for a gene without a text.
    """

    term_id: str
    name: str
    score: float
    genes: tuple[str, ...]
    evidence: tuple[str, ...] = ()

    @property
    def shown_score(self) -> str:
        """The score with two digits, rounded down: one that is shown as ``"0.40"`` has reached 0.4."""
        return f"{math.floor(self.score * 100 + 1e-9) / 100:.2f}"


@dataclass(frozen=True, slots=True)
class CellCalls:
    """Calls of n single cells among given types.

    Attributes
    ----------
    label
        (n,) the type as it was given; "" where no type stands out, or for a cell in no cluster or without expression.
    term_id
        (n,) its term; "" for none.
    score
        (n,) the share of the best type among all that were given, called or not; NaN for a cell in no cluster.
    """

    label: Strings = field(repr=False)
    term_id: Strings = field(repr=False)
    score: Floats = field(repr=False)

    def __post_init__(self) -> None:
        for name in ("label", "term_id", "score"):
            object.__setattr__(self, name, freeze(getattr(self, name)))

    def __len__(self) -> int:
        return len(self.label)

    @classmethod
    def none(cls, n: int) -> CellCalls:
        """Return n cells without a call."""
        return cls(np.full(n, "", object), np.full(n, "", object), np.full(n, np.nan, np.float32))


@dataclass(frozen=True, slots=True)
class Names(Tabular):
    """Ranked names for C clusters. Make it with `scvec.name`.

    Attributes
    ----------
    clusters
        (C,) their names.
    n_cells
        (C,) number of their cells.
    suggestions
        For each cluster its ranked names, the best first; none for a cluster that expresses no gene.
    stands_out
        (C,) whether the first name does: where it does not, the cluster is left unnamed.
    member
        (n,) the position of each cell's cluster; -1 for a cell in none.
    obs_names
        (n,) names of the cells.
    notes
        What a reader should know, one line each.
    provenance
        The ontology, the encoders, the options; JSON types.
    llm_ranks
        For each cluster, the rank (from 1) that a language model gives each of its names; () where it gives none. None
        unless one was asked.
    cells
        Calls of the single cells; None unless `candidates` were given.
    """

    clusters: Strings
    n_cells: Ints
    suggestions: tuple[tuple[Suggestion, ...], ...]
    stands_out: Bools
    member: Ints = field(repr=False)
    obs_names: Strings = field(repr=False)
    notes: tuple[str, ...] = ()
    provenance: Mapping[str, Any] = field(default_factory=dict, repr=False)
    llm_ranks: tuple[tuple[int, ...], ...] | None = None
    cells: CellCalls | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        for name in ("clusters", "n_cells", "stands_out", "member", "obs_names"):
            object.__setattr__(self, name, freeze(getattr(self, name)))

    def __len__(self) -> int:
        return len(self.clusters)

    def __repr__(self) -> str:
        n = int(self.stands_out.sum())
        return f"Names: {counted(len(self), 'cluster')}, {n:,} with a name that stands out"

    def _repr_html_(self) -> str:
        rows = []
        for cluster, first, sure in zip(self.clusters.tolist(), self.suggestions, self.stands_out, strict=True):
            if sure and first:
                rows.append((cluster, first[0].name, first[0].score, ", ".join(first[0].genes)))
            else:
                rows.append((cluster, NO_NAME, float("nan"), ""))
        return table(repr(self), ("cluster", "name", "score", "genes"), rows)

    def first(self, i: int) -> Suggestion | None:
        """Return the first name of a cluster, by its position; None where no name stands out."""
        return self.suggestions[i][0] if self.stands_out[i] and self.suggestions[i] else None

    def to_polars(self, n: int | None = None) -> pl.DataFrame:
        """Return one row for each cluster and rank, up to rank n.

        Columns: `cluster`, `rank` (from 1), `term_id`, `name`, `score`, `stands_out` (whether the cluster's first name
        does), `genes` (joined by ``", "``), `cells`; and, if a language model was asked, `llm_rank`.
        """
        import polars as pl

        ranks = self.llm_ranks or ((),) * len(self)
        rows = [
            (cluster, rank, one.term_id, one.name, one.score, bool(sure), ", ".join(one.genes), int(cells), llm)
            for cluster, found, sure, cells, llms in zip(
                self.clusters.tolist(), self.suggestions, self.stands_out, self.n_cells, ranks, strict=True
            )
            for rank, (one, llm) in enumerate(zip(found[:n], (llms or (None,) * len(found))[:n], strict=True), 1)
        ]
        schema = {
            "cluster": pl.String,
            "rank": pl.Int64,
            "term_id": pl.String,
            "name": pl.String,
            "score": pl.Float64,
            "stands_out": pl.Boolean,
            "genes": pl.String,
            "cells": pl.Int64,
            "llm_rank": pl.Int64,
        }
        made = pl.DataFrame(rows, schema=schema, orient="row")
        return made if self.llm_ranks is not None else made.drop("llm_rank")

    def cells_to_polars(self) -> pl.DataFrame:
        """Return one row for each cell.

        Columns: `obs_name`; `cluster`, "" for a cell in none; `label`, `term_id` and `score`, as `of_cells` returns
        them.
        """
        import polars as pl

        ids, names, scores = self.of_cells()
        clusters = np.array([*self.clusters.tolist(), ""], object)[self.member]
        columns = {"obs_name": self.obs_names, "cluster": clusters, "label": names, "term_id": ids}
        made = {name: pl.Series(values.tolist(), dtype=pl.String) for name, values in columns.items()}
        return pl.DataFrame(made | {"score": pl.Series(scores, dtype=pl.Float32).fill_nan(None)})

    def of_cells(self) -> tuple[Strings, Strings, Floats]:
        """Return (n,) the id and name of each cell, "" for none, and (n,) its score or NaN.

        These are its own call where `cells` were called, and else its cluster's first name.
        """
        if self.cells is not None:
            return self.cells.term_id, self.cells.label, self.cells.score
        firsts = [self.first(i) for i in range(len(self))]
        ids = np.array([one.term_id if one else "" for one in firsts] + [""], object)
        names = np.array([one.name if one else "" for one in firsts] + [""], object)
        scores = np.array([one.score if one else np.nan for one in firsts] + [np.nan], np.float32)
        return ids[self.member], names[self.member], scores[self.member]

    def write(self, adata: AnnData, key_added: str = NAMES_KEY, *, missing: bool = False) -> None:
        """Write the names to `adata`, in place. Nothing is changed if an error is raised.

        Entries of earlier names under the same key are replaced, all others stay.

        Parameters
        ----------
        adata
            The cells or some of them, in any order: they are matched by ``obs_names``.
        key_added
            The name of the column of names, and the beginning of the names of all entries.
        missing
            Whether `adata` may have further cells: their values are missing.

        Raises
        ------
        InputError
            If a cell is not one of these and may not be missing, an entry would replace one that no names under this
            key wrote, or the key is invalid.

        Notes
        -----
        Written, with ``KEY`` for `key_added`:

        - ``obs["KEY"]``: the name of the cell's cluster, a categorical; missing where none stands out. If types were
          given, the cell's own call.
        - ``obs["KEY_term_id"]``, ``obs["KEY_score"]``: the term, and the score of that name.
        - ``obs["KEY_cluster"]``: the cell's cluster; missing for a cell in none.
        - ``uns["KEY"]``: a dict of the ranked names, one array for each column of `to_polars` (``"names"``), the notes,
          the provenance as JSON, and the names written.
        """
        check_key(key_added)
        rows = rows_of(adata.obs_names, self.obs_names.tolist(), missing=missing)
        self.entries(key_added).put(adata, rows)

    def entries(self, key_added: str = NAMES_KEY) -> Entries:
        """Return what `write` writes, for all cells."""
        import pandas as pd

        ids, names, scores = self.of_cells()
        clusters = np.array([*self.clusters.tolist(), ""], object)[self.member]
        words = {"": names, "_term_id": ids, "_cluster": clusters}
        obs: dict[str, Any] = {
            f"{key_added}{rest}": pd.Categorical([one or None for one in found.tolist()])
            for rest, found in words.items()
        }
        about = {
            "names": {column.name: column.to_numpy() for column in self.to_polars()},
            "notes": np.array(self.notes, dtype=object),
            "provenance": json.dumps(self.provenance, sort_keys=True),
        }
        return Entries(key_added, obs | {f"{key_added}_score": scores}, {}, about, {})
