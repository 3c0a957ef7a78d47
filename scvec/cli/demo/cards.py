"""Gene cards: this project's own texts on the demo's 765 genes. Not NCBI's, and marked so wherever they go."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from scvec.core.files import sha256
from scvec.ingest import GeneTexts
from scvec.ingest.genes.gene_texts import HUMAN, write_texts
from scvec.ingest.genes.template import with_texts
from scvec.store import Store

CARDS = Path(__file__).with_name("gene_cards.tsv")
ORIGIN = "scvec gene cards: written for this demo, not NCBI's"
SOURCE = "scvec gene card"


def import_cards(store: Store) -> GeneTexts:
    """Import the cards as human gene texts, under a release named after their content.

    Genes have their Entrez ids; the few transcripts without one have negative ids of the cards' own.
    """
    cards = pl.read_csv(CARDS, separator="\t", quote_char=None, schema_overrides={"gene_id": pl.Int64})
    genes = cards.select(
        pl.lit(HUMAN).alias("taxon_id"), "gene_id", "symbol", "full_name", "gene_type", pl.col("text").alias("summary")
    )
    release = f"scvec-cards-{sha256(CARDS)[:8]}"
    return write_texts(store, HUMAN, with_texts(genes, SOURCE), release, {"origin": ORIGIN})
