"""One call for each cluster of a query's cells, in addition to the calls of the cells."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from scvec import index as indexes
from scvec.annotation.result import Annotation
from scvec.core.types import UNKNOWN, Floats, Ints, Strings
from scvec.errors import missing, must_be

N_NEIGHBORS = 15
MAX_EXACT = 50_000
"""Above this many cells the graph is made by an approximate search."""


@dataclass(frozen=True, slots=True)
class Leiden:
    """How to make a Leiden clustering.

    Attributes
    ----------
    resolution
        Of the modularity; higher values give more clusters.
    random_state
        Seed.
    """

    resolution: float = 1.0
    random_state: int = 0

    @classmethod
    def parse(cls, text: str, usual: float = 1.0) -> Leiden:
        """Read ``"leiden"``, which has the usual resolution, or ``"leiden:0.5"``.

        Raises
        ------
        InputError
            If it is neither.
        MissingDependencyError
            If igraph is not installed.
        """
        method, _, asked = text.partition(":")
        try:
            resolution = float(asked or usual)
        except ValueError:
            resolution = 0.0
        if method != "leiden" or not 0 < resolution < np.inf or text.endswith(":"):
            raise must_be("cluster", "leiden, or leiden:RESOLUTION with a number above 0", text)
        try:
            import igraph  # noqa: F401 - whether it is there
        except ImportError:
            raise missing("igraph", "cluster", "Leiden clustering") from None
        return cls(resolution)


Clusters: TypeAlias = Leiden | Strings


def leiden(vectors: Floats, how: Leiden) -> Ints:
    """Cluster cells by the Leiden algorithm on the graph of their nearest neighbours.

    Two cells are joined where one is among the other's 15 nearest. The same vectors give the same clusters.

    Source: Traag et al. 2019, "From Louvain to Leiden" (10.1038/s41598-019-41695-z).

    Parameters
    ----------
    vectors
        (n, d) unit vectors.
    how
        Resolution and seed.

    Returns
    -------
    Ints
        (n,) each cell's cluster, by number; 0 is the largest.
    """
    import igraph

    n_cells = len(vectors)
    ids = np.arange(n_cells)
    factory = indexes.EXACT if n_cells <= MAX_EXACT else f"IVF{int(n_cells**0.5)},Flat"
    found = indexes.search(indexes.build(factory, ids, vectors), vectors, N_NEIGHBORS + 1)
    left, right = np.broadcast_to(ids[:, None], found.ids.shape), found.ids
    edges = np.column_stack([np.minimum(left, right)[right >= 0], np.maximum(left, right)[right >= 0]])
    edges = np.unique(edges[edges[:, 0] != edges[:, 1]], axis=0)
    with _seeded(how.random_state):
        graph = igraph.Graph(n_cells, edges.tolist())
        parts = graph.community_leiden(objective_function="modularity", resolution=how.resolution, n_iterations=-1)
    members = np.asarray(parts.membership, np.int64)
    by_size = np.argsort(-np.bincount(members), kind="stable")
    return np.argsort(by_size)[members]


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Seed Python's own generator, which igraph draws from, and restore its state afterwards."""
    state = random.getstate()
    random.seed(seed)
    try:
        yield
    finally:
        random.setstate(state)


def call_clusters(calls: Annotation, clusters: Clusters | None) -> Annotation:
    """Add the calls of clusters: the label with the largest sum of the cells' scores.

    Of equal sums, the first label by name wins. A rejected cell does not vote; a cluster of rejected cells, and a cell
    in no cluster, is called `scvec.UNKNOWN`.

    Parameters
    ----------
    calls
        The calls of n cells.
    clusters
        (n,) the name of each cell's cluster, "" for none; or how to make clusters from the cells' vectors; None: no
        calls of clusters.
    """
    if clusters is None:
        return calls
    cluster = leiden_names(calls.vectors, clusters) if isinstance(clusters, Leiden) else clusters
    _, member, sums = votes_of_clusters(calls, cluster)
    whole = sums.sum(axis=1)
    label = np.where(whole > 0, np.array(calls.labels, object)[sums.argmax(axis=1)], UNKNOWN)
    share = sums.max(axis=1) / np.where(whole > 0, whole, 1.0)
    return replace(
        calls,
        cluster=cluster,
        cluster_label=label.astype(object)[member],
        cluster_share=share.astype(np.float32)[member],
    )


def votes_of_clusters(calls: Annotation, cluster: Strings) -> tuple[Strings, Ints, NDArray[np.float64]]:
    """Return the clusters' names, (n,) the position of each cell's cluster, and (C, L) the sums of their cells' scores.

    Rejected cells, and cells in no cluster, do not vote.
    """
    names, member = np.unique(cluster.astype(str), return_inverse=True)
    sums = np.zeros((len(names), len(calls.labels)))
    voting = ~calls.rejected & (cluster != "")
    np.add.at(sums, member[voting], calls.scores[voting].astype(np.float64))
    return names.astype(object), member, sums


def leiden_names(vectors: Floats, how: Leiden) -> Strings:
    """Return (n,) the Leiden cluster of each cell by its unit vector, "0" the largest; "" for a cell without one."""
    names, filled = np.full(len(vectors), "", object), vectors.any(axis=1)
    if filled.any():
        names[filled] = [str(one) for one in leiden(vectors[filled], how)]
    return names
