"""Query and reference cells in one plane."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING

import numpy as np

from scvec import index as indexes
from scvec.annotation.result import NO_EXPRESSION, Annotation
from scvec.atlas import Atlas
from scvec.core.types import Floats, Ints, Neighbors, Strings
from scvec.errors import InputError, missing

if TYPE_CHECKING:
    from anndata import AnnData

FITTED = 10_000
"""Cells of each side, at most, that the plane is fitted to; of the reference no others are shown."""

N_NEIGHBORS = 15
"""Nearest cells that UMAP goes by, a cell itself among them."""

N_PLACING = 3
"""Fitted cells that say where a further one is placed."""


@dataclass(frozen=True, slots=True)
class CellMap:
    """Where cells lie in a plane: near to each other as their vectors are, as far as a plane can say it.

    Attributes
    ----------
    query
        (n, 2) one place for each cell of the query; NaN for one without expression.
    reference
        (m, 2) places of reference cells.
    rows
        (m,) their row ids in the atlas.
    labels
        (m,) their labels.
    n_fitted
        How many cells of the query the plane was fitted to; the others were placed in it afterwards.
    """

    query: Floats
    reference: Floats
    rows: Ints
    labels: Strings
    n_fitted: int

    def to_adata(self, adata: AnnData) -> AnnData:
        """Return a copy of `adata`, the query, with ``obsm["X_scvec_umap"]``.

        ``sc.pl.embedding(adata, "X_scvec_umap", color="scvec_label")`` draws it.

        Raises
        ------
        InputError
            If `adata` has another number of cells.
        """
        if adata.n_obs != len(self.query):
            raise InputError(f"{adata.n_obs:,} cells", f"the {len(self.query):,} of the map", "give the query")
        result = adata.copy()
        result.obsm["X_scvec_umap"] = self.query
        return result


def require_umap() -> None:
    """Raise `MissingDependencyError` if cells cannot be mapped; asked before any work is done."""
    if find_spec("umap") is None:
        raise missing("umap-learn", "report", "a map of the cells")


def cell_map(calls: Annotation, atlas: Atlas, *, random_state: int = 0) -> CellMap:
    """Lay the cells of a query and of its reference out in a plane, by UMAP (McInnes et al. 2018, arXiv 1802.03426).

    It is fitted to at most 10,000 cells of each, of the reference the same number of each label as far as there are, so
    that cells unlike any reference cell lie by themselves. Each further cell of the query is placed at the mean of the
    three fitted cells that its vector is nearest to.

    Raises
    ------
    MissingDependencyError
        If umap-learn is not installed.
    InputError
        If all cells are empty, or there are fewer than four in all.
    """
    require_umap()
    rng = np.random.default_rng(random_state)
    rows = _even(atlas, rng)
    here = np.flatnonzero(calls.reason != NO_EXPRESSION)
    shuffled = rng.permutation(here)
    fitted, others = np.sort(shuffled[:FITTED]), np.sort(shuffled[FITTED:])
    vectors = np.concatenate([np.asarray(atlas.vectors(rows), np.float32), calls.vectors[fitted]])
    if len(fitted) == 0 or len(vectors) < 4:
        seen = f"{len(fitted):,} cells of the query with expression, and {len(rows):,} of the reference"
        raise InputError(seen, "one of the query, and four in all, for a map", "leave the map out")
    among = indexes.build("Flat", np.arange(len(vectors)), vectors)
    places = _fit(vectors, indexes.search(among, vectors, min(N_NEIGHBORS, len(vectors) - 1)), random_state)
    query = np.full((len(calls), 2), np.nan, np.float32)
    query[fitted] = places[len(rows) :]
    if len(others):
        query[others] = places[indexes.search(among, calls.vectors[others], N_PLACING).ids].mean(axis=1)
    labels = atlas.label_names[atlas.label_codes[atlas.positions(rows)]]
    return CellMap(query, places[: len(rows)], rows, labels, len(fitted))


def _even(atlas: Atlas, rng: np.random.Generator) -> Ints:
    """Return row ids, ascending, of at most `FITTED` cells with expression: all of the small labels."""
    rows = rng.permutation(atlas.filled)
    codes = atlas.label_codes[atlas.positions(rows)]
    order = np.argsort(codes, kind="stable")
    first = np.concatenate([[0], np.cumsum(np.bincount(codes, minlength=len(atlas.label_names)))])
    turn = np.empty(len(rows), np.int64)
    turn[order] = np.arange(len(rows)) - first[codes[order]]
    return np.sort(rows[np.argsort(turn, kind="stable")[:FITTED]])


def _fit(vectors: Floats, near: Neighbors, random_state: int) -> Floats:
    # Vectors have length one: Euclidean distances order them as cosines do. A cell is at no distance from itself, which
    # rounding would make one that UMAP takes for the nearest cell's.
    apart = np.where(near.ids == np.arange(len(vectors))[:, None], 0.0, np.sqrt(2 * near.distances))
    with warnings.catch_warnings():
        # umap-learn warns that a seed costs it its threads, that no further cells can be placed by it, and of its own
        # dependencies' changes.
        warnings.simplefilter("ignore")
        from umap import UMAP

        # Its own search for neighbours is approximate and takes several times as long, on one thread.
        known = near.ids.copy(), apart.astype(np.float32), None
        model = UMAP(random_state=random_state, n_jobs=1, n_neighbors=near.ids.shape[1], precomputed_knn=known)
        return np.asarray(model.fit_transform(vectors), np.float32)
