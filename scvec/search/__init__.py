"""Search an atlas by description, for genes, labels and cells; or by a cell, for similar cells."""

from scvec.search.labels import words
from scvec.search.reader import Reader, genes, reader_of
from scvec.search.result import Found
from scvec.search.similar_cells import like

__all__ = ["Found", "Reader", "genes", "like", "reader_of", "words"]
