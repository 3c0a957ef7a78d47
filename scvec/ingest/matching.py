"""Which gene of the texts a matrix's column is: by symbol, with a report and a guard."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from scvec.errors import GeneMatchError
from scvec.types import Coverage, Ints, Strings, freeze

MIN_COVERAGE = 0.5
"""A matrix with less than this share of its expression on known genes is refused."""

N_UNMATCHED_SHOWN = 10


@dataclass(frozen=True, slots=True)
class GeneMatch:
    """The columns of a matrix that are known genes.

    Attributes
    ----------
    var_names
        (n_vars,) all columns' names.
    columns
        (m,) positions of the matched columns, ascending.
    gene_ids
        (m,) the gene of each.
    """

    var_names: Strings
    columns: Ints
    gene_ids: Ints

    def __post_init__(self) -> None:
        object.__setattr__(self, "columns", freeze(self.columns))
        object.__setattr__(self, "gene_ids", freeze(self.gene_ids))

    def only(self, gene_ids: Ints) -> GeneMatch:
        """Return the match without genes that are not in `gene_ids`."""
        keep = np.isin(self.gene_ids, gene_ids)
        return GeneMatch(self.var_names, self.columns[keep], self.gene_ids[keep])

    def coverage(self, totals: np.ndarray[tuple[int], np.dtype[np.float64]]) -> Coverage:
        """Return the report, given each column's (n_vars,) total expression."""
        whole = float(totals.sum()) or 1.0
        left = totals.copy()
        left[self.columns] = 0.0
        top = np.argsort(-left, kind="stable")[:N_UNMATCHED_SHOWN]
        return Coverage(
            n_genes=len(self.var_names),
            n_matched=len(self.columns),
            share=float(totals[self.columns].sum()) / whole,
            unmatched=tuple((str(self.var_names[i]), float(left[i]) / whole) for i in top if left[i] > 0),
        )


def match_symbols(var_names: Strings, genes: pl.DataFrame) -> GeneMatch:
    """Match columns to genes whose symbol is spelt exactly the same.

    Where several genes have one symbol, the only protein-coding one among them is taken; if that does not decide, none.

    Parameters
    ----------
    var_names
        (n_vars,) the columns' names, each one once.
    genes
        Frame with `gene_id`, `symbol` and `gene_type`.
    """
    coding = pl.col("gene_type") == "protein-coding"
    chosen = (
        genes.select("gene_id", "symbol", coding=coding)
        .with_columns(n=pl.len().over("symbol"), n_coding=pl.col("coding").sum().over("symbol"))
        .filter((pl.col("n") == 1) | (pl.col("coding") & (pl.col("n_coding") == 1)))
    )
    by_symbol = dict(chosen.select("symbol", "gene_id").iter_rows())
    ids = np.array([by_symbol.get(name, -1) for name in var_names.tolist()], np.int64)
    # Gene ids may be negative (a project's own), so absence is asked of the names.
    columns = np.flatnonzero([name in by_symbol for name in var_names.tolist()])
    return GeneMatch(var_names, columns, ids[columns])


def guard(coverage: Coverage, match: GeneMatch, known: str, where: str) -> None:
    """Refuse a matrix of which too little is known.

    Parameters
    ----------
    coverage, match
        The report, and the match it is of.
    known
        What the genes were matched to, for the message: ``"human gene texts 2021-07-11"``.
    where
        The file, for the message.

    Raises
    ------
    GeneMatchError
        Below `MIN_COVERAGE`.
    """
    if coverage.share >= MIN_COVERAGE and coverage.n_matched:
        return
    examples = ", ".join(match.var_names[:3].tolist())
    raise GeneMatchError(
        f"{where}: {coverage} with {known}; its genes ({examples}, ...) look like {suspect(match.var_names.tolist())}",
        f"gene symbols of that species with at least {MIN_COVERAGE:.0%} of the expression",
        "put the gene symbols in var_names (adata.var_names = ...), or use texts or an atlas of the right species",
    )


def suspect(names: Sequence[str]) -> str:
    """Say what kind of identifier most of `names` are, and of what species they look."""
    shapes = (
        (r"ENSG\d{11}(\.\d+)?", "human Ensembl ids"),
        (r"ENSMUSG\d{11}(\.\d+)?", "mouse Ensembl ids"),
        (r"ENS[A-Z]+G\d{11}(\.\d+)?", "Ensembl ids of another species"),
        (r"\d+", "Entrez ids or plain numbers"),
        (r"[A-Z][a-z0-9]+[A-Za-z0-9.-]*", "mouse or rat symbols"),
        (r"[A-Z0-9][A-Z0-9orf.-]*", "human symbols"),
        (r"[a-z0-9][a-z0-9.-]*", "symbols in lower case"),
    )
    counts = dict.fromkeys((what for _, what in shapes), 0)
    for name in names:
        counts[next((what for shape, what in shapes if re.fullmatch(shape, name)), "symbols in lower case")] += 1
    best = max(counts, key=lambda what: counts[what])
    return best if counts[best] * 2 > len(names) else "a mixture of kinds"
