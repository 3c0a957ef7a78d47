"""The template of a gene text, and its substitutes for a missing summary.

    SYMBOL: full name. Summary.
    SYMBOL: full name. Also called other designation; other designation. Human ortholog: summary.

The first form is for genes with a summary at NCBI. The second is for genes without one: their other designations and,
marked as such, the summary of their one-to-one ortholog, where these exist. `source` says what a text was made of.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

import polars as pl

from scvec.ingest.genes.cleaning import clean, without_repeats
from scvec.store import ColumnIndex

TEXT_COLUMNS: Mapping[str, pl.DataType | type[pl.DataType]] = {
    "taxon_id": pl.Int64,
    "gene_id": pl.Int64,
    "symbol": pl.String,
    "aliases": pl.List(pl.String),
    "ensembl_ids": pl.List(pl.String),
    "gene_type": pl.String,
    "human_ortholog": pl.Int64,
    "full_name": pl.String,
    "designations": pl.List(pl.String),
    "summary": pl.String,
    "ortholog": pl.String,
    "ortholog_summary": pl.String,
    "text": pl.String,
    "text_sha256": pl.String,
    "source": pl.String,
}
"""The columns of ``gene_texts``."""

COLUMNS = {
    "taxon_id": "NCBI's number of the species",
    "gene_id": "NCBI's (Entrez) id of the gene; the rows are sorted by it",
    "symbol": "its symbol",
    "aliases": "its other symbols",
    "ensembl_ids": "its ids at Ensembl, without versions",
    "gene_type": "NCBI's type of gene, such as protein-coding",
    "human_ortholog": "the id of its one-to-one human ortholog, through which genes of two species are matched",
    "full_name": "its full name",
    "designations": "other designations of its product",
    "summary": "its summary at NCBI",
    "ortholog": "the species whose summary is borrowed, such as human",
    "ortholog_summary": "the summary of its ortholog in that species",
    "text": "the text that encoders read, made of the columns before",
    "text_sha256": "the text's hash, by which gene_vectors has its vector",
    "source": "what the text was made of",
}

TEXT_INDEXES = (
    ColumnIndex("text", "text"),
    ColumnIndex("full_name", "text"),
    ColumnIndex("symbol", "value"),
    ColumnIndex("gene_id", "value"),
    ColumnIndex("aliases", "members"),
    ColumnIndex("ensembl_ids", "members"),
)
"""The indexes of every release of ``gene_texts``."""

SUMMARY = "NCBI Gene summary"
NAMES = "NCBI Gene names"


def ortholog_source(species: str) -> str:
    """Return the source of a text that borrows the summary of an ortholog."""
    return f"{NAMES}, {species} ortholog's summary"


def with_texts(genes: pl.DataFrame, source: str | None = None) -> pl.DataFrame:
    """Return `genes` as rows of ``gene_texts``: cleaned, with `text`, its hash and its source.

    Parameters
    ----------
    genes
        The columns of `TEXT_COLUMNS` but the last three; missing ones become null or empty.
    source
        The source of all texts, if it is not NCBI.
    """
    absent = {name: kind for name, kind in TEXT_COLUMNS.items() if name not in genes.columns}
    genes = genes.with_columns(_empty(name, kind) for name, kind in absent.items())
    rows = genes.select("symbol", "full_name", "designations", "summary", "ortholog", "ortholog_summary").rows()
    made = [_made(*row) for row in rows]
    names = ("full_name", "designations", "summary", "ortholog_summary", "text", "source")
    columns = {name: [one[i] for one in made] for i, name in enumerate(names)}
    if source is not None:
        columns["source"] = [source] * len(made)
    columns["text_sha256"] = [hashlib.sha256(str(one).encode()).hexdigest() for one in columns["text"]]
    cleaned = [pl.Series(name, values, TEXT_COLUMNS[name]) for name, values in columns.items()]
    return genes.with_columns(cleaned).select(pl.col(name).cast(kind) for name, kind in TEXT_COLUMNS.items())


def _empty(name: str, kind: pl.DataType | type[pl.DataType]) -> pl.Expr:
    return pl.lit([] if isinstance(kind, pl.List) else None, kind).alias(name)


def _made(
    symbol: str,
    full_name: str | None,
    designations: Sequence[str],
    summary: str | None,
    ortholog: str | None,
    ortholog_summary: str | None,
) -> tuple[str, list[str], str | None, str | None, str, str]:
    """Return full name, designations, summary, ortholog's summary, all clean, text and source of one gene."""
    full_name = clean(full_name or "")
    others = without_repeats(map(clean, designations), full_name)
    summary, borrowed = clean(summary or "") or None, clean(ortholog_summary or "") or None
    text = f"{symbol}: {full_name}".strip(".: ") + "."
    if summary:
        return full_name, others, summary, borrowed, f"{text} {summary}", SUMMARY
    if others:
        text += f" Also called {'; '.join(others)}."
    if borrowed:
        text += f" {str(ortholog).capitalize()} ortholog: {borrowed}"
    return full_name, others, summary, borrowed, text, ortholog_source(str(ortholog)) if borrowed else NAMES
