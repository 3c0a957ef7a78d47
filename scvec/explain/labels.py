"""Where the labels of an atlas lie, and what its genes are called, there and in a query."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp

from scvec.atlas import Atlas
from scvec.types import Floats, Strings

CELLS = 65_536
"""Vectors that are read at once."""


def label_means(atlas: Atlas) -> Floats:
    """Return (L, d) the mean vector of each label's cells, zeros for a label without cells.

    The scalar product with it is the mean cosine with the label's cells. Cells without expression are left out.
    """
    n_labels = len(atlas.label_names)
    sums, counts = np.zeros((n_labels, atlas.manifest["dimension"])), np.zeros(n_labels)
    for start in range(0, len(atlas.filled), CELLS):
        rows = atlas.filled[start : start + CELLS]
        codes = atlas.label_codes[atlas.positions(rows)]
        np.add.at(sums, codes, atlas.vectors(rows))
        counts += np.bincount(codes, minlength=n_labels)
    return np.asarray(sums / np.maximum(counts, 1)[:, None], np.float32)


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
