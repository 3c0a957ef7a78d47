"""A map of query and reference cells in two dimensions."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from scvec import index as indexes
from scvec.annotation.result import NO_EXPRESSION, Annotation
from scvec.atlas import Atlas
from scvec.core.text import counted
from scvec.core.types import Floats, Ints, Neighbors, Strings
from scvec.errors import InputError

if TYPE_CHECKING:
    from anndata import AnnData

FITTED = 10_000
"""Largest number of cells of each side that the map is fitted to; other reference cells are not shown."""

N_NEIGHBORS = 15
"""Nearest cells that UMAP uses, the cell itself included."""

N_PLACING = 3
"""Nearest fitted cells whose mean is the place of a further cell."""


@dataclass(frozen=True, slots=True)
class CellMap:
    """Places of cells in two dimensions: cells with similar vectors are near each other, as far as possible.

    Attributes
    ----------
    query
        (n, 2) the place of each cell of the query; NaN for a cell without expression.
    reference
        (m, 2) the places of reference cells.
    rows
        (m,) their row ids in the atlas.
    labels
        (m,) their labels.
    n_fitted
        Number of cells of the query that the map was fitted to; the others were placed afterwards.
    """

    query: Floats
    reference: Floats
    rows: Ints
    labels: Strings
    n_fitted: int

    def to_adata(self, adata: AnnData) -> AnnData:
        """Return a copy of `adata`, the query, with ``obsm["X_scvec_umap"]``.

        ``sc.pl.embedding(adata, "X_scvec_umap", color="scvec")`` draws it.

        Raises
        ------
        InputError
            If `adata` has another number of cells.
        """
        if adata.n_obs != len(self.query):
            raise InputError(
                f"`adata` has {counted(adata.n_obs, 'cell')}", f"the {len(self.query):,} of the map", "give the query"
            )
        result = adata.copy()
        result.obsm["X_scvec_umap"] = self.query
        return result


def cell_map(calls: Annotation, atlas: Atlas, *, random_state: int = 0) -> CellMap:
    """Map the cells of a query and of its reference to two dimensions by UMAP (McInnes et al. 2018, arXiv 1802.03426).

    UMAP is fitted to at most 10,000 cells of each; reference cells are drawn evenly from the labels, as far as they
    suffice. Cells unlike any reference cell then lie by themselves. Each further cell of the query is placed at the
    mean of its three nearest fitted cells.

    Raises
    ------
    InputError
        If no cell has expression, or there are fewer than four cells in all.
    """
    rng = np.random.default_rng(random_state)
    rows = _even(atlas, rng)
    here = np.flatnonzero(calls.reason != NO_EXPRESSION)
    shuffled = rng.permutation(here)
    fitted, others = np.sort(shuffled[:FITTED]), np.sort(shuffled[FITTED:])
    vectors = np.concatenate([np.asarray(atlas.vectors(rows), np.float32), calls.vectors[fitted]])
    if len(fitted) == 0 or len(vectors) < 4:
        seen = (
            f"a map of {counted(len(fitted), 'cell')} of the query with expression and {len(rows):,} of the reference"
        )
        raise InputError(seen, "at least one of the query, and four in all", "leave the map out")
    among = indexes.build("Flat", np.arange(len(vectors)), vectors)
    places = _fit(vectors, indexes.search(among, vectors, min(N_NEIGHBORS, len(vectors) - 1)), random_state)
    query = np.full((len(calls), 2), np.nan, np.float32)
    query[fitted] = places[len(rows) :]
    if len(others):
        query[others] = places[indexes.search(among, calls.vectors[others], N_PLACING).ids].mean(axis=1)
    labels = atlas.label_names[atlas.label_codes[atlas.positions(rows)]]
    return CellMap(query, places[: len(rows)], rows, labels, len(fitted))


def _even(atlas: Atlas, rng: np.random.Generator) -> Ints:
    """Return row ids, ascending, of at most `FITTED` cells with expression, drawn evenly from the labels."""
    rows = rng.permutation(atlas.filled)
    codes = atlas.label_codes[atlas.positions(rows)]
    order = np.argsort(codes, kind="stable")
    first = np.concatenate([[0], np.cumsum(np.bincount(codes, minlength=len(atlas.label_names)))])
    turn = np.empty(len(rows), np.int64)
    turn[order] = np.arange(len(rows)) - first[codes[order]]
    return np.sort(rows[np.argsort(turn, kind="stable")[:FITTED]])


def _fit(vectors: Floats, near: Neighbors, random_state: int) -> Floats:
    # Euclidean distances order unit vectors as cosines do. A cell's distance from itself is 0; rounding would make it
    # positive, and UMAP would take it for the distance of the nearest cell.
    apart = np.where(near.ids == np.arange(len(vectors))[:, None], 0.0, np.sqrt(2 * near.distances))
    with warnings.catch_warnings():
        # umap-learn warns that a seed disables its threads, that it cannot place further cells, and of changes in its
        # dependencies.
        warnings.simplefilter("ignore")
        from umap import UMAP

        # UMAP's own search for neighbours is approximate and takes several times as long, on one thread.
        known = near.ids.copy(), apart.astype(np.float32), None
        model = UMAP(random_state=random_state, n_jobs=1, n_neighbors=near.ids.shape[1], precomputed_knn=known)
        return np.asarray(model.fit_transform(vectors), np.float32)
