"""What is found for the cells of a query: their neighbours among the candidates, and what all views say together."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import scipy.sparse as sp

from scvec.annotation.calls import Found, votes_of
from scvec.annotation.candidates import Candidates
from scvec.atlas.query_cells import OpenCells
from scvec.core.types import Bools, Doubles, Floats, Ints, Neighbors, Progress
from scvec.ingest.cells import Matrix
from scvec.ingest.cells.scale import expression, mostly
from scvec.ingest.matching import GeneMatch
from scvec.knn.options import Voting
from scvec.knn.voting import by_shares


class Sums:
    """Sums over all cells of a query: the expression of each gene, and the cells that are mostly of other genomes."""

    def __init__(self, match: GeneMatch, matrix: Matrix) -> None:
        self.totals: Doubles = np.zeros(matrix.n_genes)
        self._n_others = 0
        self._name, self._mask = match.others

    def add(self, batch: sp.csr_matrix[np.float32]) -> None:
        """Add a batch of cells."""
        self.totals += expression(batch)
        if self._name:
            self._n_others += int(mostly(batch, self._mask).sum())

    def notes(self, n_cells: int) -> list[str]:
        """Return a note on the cells of other genomes, if there are any."""
        if not self._n_others:
            return []
        said = f"{self._n_others:,} of {n_cells:,} cells are mostly of {self._name}"
        return [f"{said}: their calls rest on the little that they have of the atlas's genes"]


def found_for(cells: OpenCells, candidates: Candidates, voting: Voting, summed: Sums, progress: Progress) -> Found:
    """Return what is found for all cells of a query, and add them to `summed`."""
    return Found.joined(list(_batches(cells, candidates, voting, summed, progress)))


def _batches(
    cells: OpenCells, candidates: Candidates, voting: Voting, summed: Sums, progress: Progress
) -> Iterator[Found]:
    atlas, may = candidates.atlas, candidates.counts > 0
    for first, batch, known in cells.batches("searching", progress):
        vectors, empty = cells.vectors(np.arange(first, first + known.shape[0]), known)
        summed.add(batch)
        neighbors = _nearest(candidates, vectors, empty, voting.k)
        votes, positions = votes_of(neighbors, candidates, voting)
        by_view: dict[str, Ints] = {}
        if atlas.views is not None:
            settled = atlas.views.settle(votes.shares, atlas.views.points(known), may)
            by_view = {name: one.argmax(axis=1) for name, one in settled.by_view.items()}
            votes = by_shares(settled.shares)
        odd, genes = atlas.profiles.odd(known, cells.measured, _profiled(votes.winner, len(atlas.profiles.labels)))
        expressed = np.diff(known.indptr)
        yield Found(vectors, empty, neighbors, positions, votes, odd, genes, expressed, by_view)


def _nearest(candidates: Candidates, vectors: Floats, empty: Bools, k: int) -> Neighbors:
    ids = np.full((len(empty), k), -1, np.int64)
    distances = np.full((len(empty), k), np.inf, np.float32)
    if not empty.all():
        near = candidates.nearest(vectors[~empty], k)
        ids[~empty], distances[~empty] = near.ids, near.distances
    return Neighbors(ids, distances)


def _profiled(winner: Ints, n_profiles: int) -> Ints:
    """Return codes of labels, -1 for labels that were added after the atlas was fitted and have no profile."""
    return np.where(winner < n_profiles, winner, -1)
