"""Reading files: NCBI's gene files become gene texts, files of cells become checked batches of cells."""

from scvec.ingest.cells import expand, open_cells
from scvec.ingest.check import coverage
from scvec.ingest.genes.diff import diff
from scvec.ingest.genes.gene_texts import GeneTexts, list_texts, newest_texts, open_texts, texts
from scvec.ingest.genes.ortholog_tables import OrthologTable, list_orthologs
from scvec.ingest.genes.ortholog_tables import import_orthologs as orthologs
from scvec.ingest.genes.pull import Pulled, pull

__all__ = [
    "GeneTexts",
    "OrthologTable",
    "Pulled",
    "coverage",
    "diff",
    "expand",
    "list_orthologs",
    "list_texts",
    "newest_texts",
    "open_cells",
    "open_texts",
    "orthologs",
    "pull",
    "texts",
]
