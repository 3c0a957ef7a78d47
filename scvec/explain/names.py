"""What an atlas's genes are called, there and in a query."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp

from scvec.atlas import Atlas
from scvec.core.types import Strings


def symbols_of(atlas: Atlas) -> Strings:
    """Return (g,) the symbols of an atlas's genes; "" where one has none."""
    symbol_of = dict(atlas.texts.genes.select("gene_id", "symbol").iter_rows())
    return np.array([symbol_of.get(gene) or "" for gene in atlas.embedding.gene_ids.tolist()], object)


def names_in(var_names: Strings, columns: sp.csr_matrix[np.float32]) -> Strings:
    """Return (g,) what a query calls an atlas's genes, "" for one that it does not measure.

    Of several columns of one gene, the first; `columns` is (n_vars, g), 1 where a column is of a gene.
    """
    rows, genes = columns.nonzero()
    names = np.full(columns.shape[1], "", dtype=object)
    names[genes[::-1]] = var_names[rows[::-1]]
    return names
