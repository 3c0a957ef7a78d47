"""Search an atlas by description, for genes, labels and cells; or by a cell, for similar cells."""

from scvec.search.keywords import Keywords
from scvec.search.labels import words
from scvec.search.ranked_genes import By, genes
from scvec.search.reader import Reader, reader_of
from scvec.search.result import Found
from scvec.search.similar_cells import like

__all__ = ["By", "Found", "Keywords", "Reader", "genes", "like", "reader_of", "words"]
