"""Changes between two releases of gene texts."""

from __future__ import annotations

from typing import Literal, TypeAlias, get_args

import polars as pl

from scvec.errors import InputError
from scvec.ingest.genes.gene_texts import GeneTexts, taxon_name

Change: TypeAlias = Literal["added", "removed", "renamed", "text changed"]
CHANGES: tuple[Change, ...] = get_args(Change)


def diff(before: GeneTexts, after: GeneTexts) -> pl.DataFrame:
    """Return the genes that changed between two releases.

    Returns
    -------
    polars.DataFrame
        Columns `change` (one of `CHANGES`), `gene_id`, `symbol` (the later one, if there is one), `before` and `after`:
        the symbols of a renamed gene, otherwise the texts; null for none. A renamed gene has two rows, as its text,
        which contains the symbol, changed too. Sorted by change and gene id.

    Raises
    ------
    InputError
        If the two are of different taxa.
    """
    if before.taxon_id != after.taxon_id:
        taxa = f"{taxon_name(before.taxon_id)} and {taxon_name(after.taxon_id)}"
        raise InputError(f"releases of {taxa}", "two releases of one taxon", "choose others")
    left, right = (one.frame.select("gene_id", "symbol", "text") for one in (before, after))
    both = left.join(right, on="gene_id", how="full", suffix="_after", coalesce=True)
    symbol = pl.coalesce("symbol_after", "symbol")
    old, new = pl.col("text"), pl.col("text_after")
    kinds = {
        "added": (old.is_null(), old, new),
        "removed": (new.is_null(), old, new),
        "renamed": (pl.col("symbol") != pl.col("symbol_after"), pl.col("symbol"), pl.col("symbol_after")),
        "text changed": (old != new, old, new),
    }
    parts = [
        both.filter(changed).select(pl.lit(kind).alias("change"), "gene_id", symbol=symbol, before=was, after=now)
        for kind, (changed, was, now) in kinds.items()
    ]
    order = pl.Enum(CHANGES)
    return pl.concat(parts).with_columns(pl.col("change").cast(order)).sort("change", "gene_id")
