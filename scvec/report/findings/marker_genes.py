"""Mean expression of genes in groups of cells, and the share of cells that express them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import scipy.sparse as sp

from scvec.atlas import Atlas
from scvec.atlas.query_cells import match_to_atlas
from scvec.core.types import Floats, Ints, Progress, Strings, silent
from scvec.errors import InputError
from scvec.explain.streaming import GroupedCells
from scvec.ingest.cells import open_cells
from scvec.ingest.cells.options import ReadOptions


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
    query: str | Path,
    atlas: Atlas,
    groups: Strings,
    gene_ids: Ints,
    symbols: Strings,
    *,
    reading: ReadOptions | None = None,
    progress: Progress = silent,
) -> Markers:
    """Return how groups of a query's cells express some of the atlas's genes.

    Parameters
    ----------
    query, reading
        A file of cells, and how to read it.
    atlas
        The atlas, whose recipe scales the expression.
    groups
        (n,) the group of each cell; "" for none.
    gene_ids, symbols
        (m,) ids and symbols of the genes.

    Raises
    ------
    InputError
        If the atlas lacks a gene.
    """
    reading = reading or ReadOptions()
    names = np.array(sorted(set(groups.tolist()) - {""}), dtype=object)
    code = {name: i for i, name in enumerate(names.tolist())}
    codes = np.array([code.get(one, -1) for one in groups.tolist()], np.int64)
    at = _places(gene_ids, atlas)
    mean, share = np.zeros((len(names), len(at))), np.zeros((len(names), len(at)))
    with open_cells(query, reading.obs) as file, file.matrix(reading.layer, reading.scale) as matrix:
        match, _ = match_to_atlas(matrix, atlas, reading.gene_key, reading.taxon)
        for rows, known in GroupedCells.of(matrix, match, atlas, codes).batches("markers", progress):
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
