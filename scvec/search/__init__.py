"""Search in words, and from a cell to cells: which genes, labels and cells of an atlas are meant."""

from scvec.search.labels import words
from scvec.search.reader import Reader, genes, reader_of
from scvec.search.result import Found
from scvec.search.similar_cells import like

__all__ = ["Found", "Reader", "genes", "like", "reader_of", "words"]
