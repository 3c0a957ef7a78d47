"""Mean expression of genes in groups of cells, and the share of cells that express them."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import scipy.sparse as sp

from scvec.atlas import Atlas
from scvec.atlas.query_cells import OpenCells, QueryCells
from scvec.core.progress import shown
from scvec.core.types import Floats, Ints, Progress, Strings
from scvec.errors import InputError
from scvec.explain.streaming import GroupedCells


@dataclass(frozen=True, slots=True)
class Markers:
    """Expression of m genes in G groups.

    Attributes
    ----------
    groups
        (G,) names of the groups.
    gene_ids, symbols
        (m,) the genes.
    mean
        (G, m) mean log1p of the counts, scaled to the recipe's total.
    share
        (G, m) share of the cells that express the gene, 0 to 1.
    """

    groups: Strings
    gene_ids: Ints
    symbols: Strings
    mean: Floats
    share: Floats

    def telling(self, n: int) -> Markers:
        """Return the n most specific genes of each group, by how much larger a share of its cells expresses them."""
        if len(self.groups) < 2:
            kept = list(range(min(n, len(self.symbols))))
        else:
            highest = np.sort(self.share, axis=0)
            others = np.where(self.share == highest[-1], highest[-2], highest[-1])
            order = np.argsort(-(self.share - others), axis=1, kind="stable")[:, :n]
            kept = list(dict.fromkeys(order.ravel().tolist()))
        return replace(
            self, **{name: getattr(self, name)[..., kept] for name in ("gene_ids", "symbols", "mean", "share")}
        )


def markers(
    query: QueryCells,
    groups: Strings,
    gene_ids: Ints,
    symbols: Strings,
    *,
    progress: Progress | None = None,
) -> Markers:
    """Return how groups of a query's cells express some of the atlas's genes.

    Parameters
    ----------
    query
        The cells, as the calls know them: `Annotation.query`. The recipe of their atlas scales the expression.
    groups
        (n,) the group of each cell; "" for none.
    gene_ids, symbols
        (m,) ids and symbols of the genes.

    Raises
    ------
    InputError
        If the atlas lacks a gene, or the query was changed since it was annotated.
    """
    with query.opened() as cells:
        return markers_in(cells, groups, gene_ids, symbols, shown(progress))


def markers_in(cells: OpenCells, groups: Strings, gene_ids: Ints, symbols: Strings, progress: Progress) -> Markers:
    """Return what `markers` does, of an open query."""
    names = np.array(sorted(set(groups.tolist()) - {""}), dtype=object)
    code = {name: i for i, name in enumerate(names.tolist())}
    codes = np.array([code.get(one, -1) for one in groups.tolist()], np.int64)
    at = _places(gene_ids, cells.query.atlas)
    mean, share = np.zeros((len(names), len(at))), np.zeros((len(names), len(at)))
    for rows, known in GroupedCells(cells, codes).batches("markers", progress):
        member = sp.csr_matrix(
            (np.ones(len(rows), np.float32), (codes[rows], np.arange(len(rows)))), shape=(len(names), len(rows))
        )
        values = known[:, at]
        mean += (member @ values).todense()
        values.data = np.sign(values.data)
        share += (member @ values).todense()
    size = np.bincount(codes[codes >= 0], minlength=len(names))[:, None]
    return Markers(names, gene_ids, symbols, np.asarray(mean / size, np.float32), np.asarray(share / size, np.float32))


def _places(gene_ids: Ints, atlas: Atlas) -> Ints:
    """Return the positions of genes among the atlas's."""
    own = atlas.embedding.gene_ids
    order = np.argsort(own)
    at: Ints = order[np.clip(np.searchsorted(own, gene_ids, sorter=order), 0, len(own) - 1)]
    lacking = gene_ids[own[at] != gene_ids]
    if len(lacking):
        raise InputError(f"gene {lacking[0]} is not in the atlas", f"genes of atlas {atlas.name!r}", "leave it out")
    return at
