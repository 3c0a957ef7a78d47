"""Files come in: NCBI's gene files become gene texts, h5ad files become checked batches of cells."""

from scvec.ingest.gene_texts import GeneTexts, list_texts, open_texts, texts
from scvec.ingest.h5ad import open_h5ad

__all__ = ["GeneTexts", "list_texts", "open_h5ad", "open_texts", "texts"]
