"""Which columns of a matrix are genes: other features are left out before anything else is seen of it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

from scvec.core.types import Ints, Strings
from scvec.errors import FileError
from scvec.ingest.cells.frames import Column, Frame
from scvec.ingest.cells.scale import Values, expression, number_of, undone
from scvec.ingest.genes.features import TYPE_KEYS, LeftOut, by_company, by_name, by_type, counted, said

SYMBOL_KEYS = ("feature_name", "gene_symbols", "gene_symbol", "gene_name")
"""Columns of ``var`` in which a feature has its name where ``var_names`` has its id."""


@dataclass(frozen=True, slots=True)
class Selected:
    """Some rows of annotations."""

    frame: Frame
    rows: Ints

    @property
    def keys(self) -> list[str]:
        """The names of the columns."""
        return self.frame.keys

    def names(self) -> Strings:
        """Return (n,) the names of the rows."""
        return self.frame.names()[self.rows]

    def column(self, key: str) -> Column:
        """Return a column."""
        whole = self.frame.column(key)
        return Column(whole.codes[self.rows], whole.values)


def no_genes(var: Frame, names: Strings, where: str) -> dict[int, str]:
    """Return the kind of each feature that is not a gene, by its position: by its type first, then by its names.

    Raises
    ------
    FileError
        If no feature is a gene.
    """
    keys = var.keys
    found: dict[int, str] = {}
    for own in (names, *(var.column(key).gene_names() for key in SYMBOL_KEYS if key in keys)):
        found |= by_name(own)
    types = [key for key in TYPE_KEYS if key in keys]
    for key in types:
        found |= by_type(var.column(key).gene_names())
    if not types:
        found |= by_company(names)
    if len(found) == len(names):
        what = said(counted(found)) or "no features at all"
        raise FileError(f"{where} has no genes ({what})", "features that are genes", "choose another file or matrix")
    return found


def shares(kinds: dict[int, str], sample: sp.csr_matrix[np.float32], values: Values) -> tuple[LeftOut, ...]:
    """Return what is left out, with its share of the values of a sample of cells with all features."""
    if not kinds:
        return ()
    if values.scale not in ("counts", "linear"):
        sample = undone(sample, np.full(sample.shape[0], number_of(values.scale), np.int8))
    with np.errstate(all="ignore"):  # raw counts of tags beside logarithms
        return counted(kinds, expression(sample))
