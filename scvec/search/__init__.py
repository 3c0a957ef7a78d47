"""Search in words, and from a cell to cells: which genes, labels and cells of an atlas are meant."""

from scvec.search.cells import like
from scvec.search.found import Found
from scvec.search.labels import words
from scvec.search.reader import Reader, genes, reader_of

__all__ = ["Found", "Reader", "genes", "like", "reader_of", "words"]
