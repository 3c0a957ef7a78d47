"""Files come in: NCBI's gene files become gene texts, h5ad files become checked batches of cells."""

from scvec.ingest.cells.h5ad import open_h5ad
from scvec.ingest.coverage import coverage
from scvec.ingest.genes.diff import diff
from scvec.ingest.genes.gene_texts import GeneTexts, list_texts, newest_texts, open_texts, texts
from scvec.ingest.genes.pull import Pulled, pull

__all__ = [
    "GeneTexts",
    "Pulled",
    "coverage",
    "diff",
    "list_texts",
    "newest_texts",
    "open_h5ad",
    "open_texts",
    "pull",
    "texts",
]
