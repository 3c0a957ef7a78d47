"""What is found for the cells of a query: their neighbours among the candidates, and what all views say together."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import scipy.sparse as sp

from scvec.annotation.calls import Found, votes_of
from scvec.annotation.candidates import Candidates
from scvec.annotation.rejection import TOO_NOVEL
from scvec.atlas.query_cells import OpenCells
from scvec.core.types import Bools, Doubles, Floats, Ints, Neighbors, Progress
from scvec.ingest.cells import Matrix
from scvec.ingest.cells.scale import expression, mostly
from scvec.ingest.matching import GeneMatch
from scvec.knn.calibration import signals
from scvec.knn.options import Voting
from scvec.knn.voting import by_shares
from scvec.views import Points, Settled, Views

REREAD_CELLS = 4096
"""Cells whose call changed are read again, so many at a time."""


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


@dataclass(frozen=True, slots=True)
class Asked:
    """How cells are called.

    Attributes
    ----------
    voting
        How neighbours vote.
    views
        The further views that call beside them; None: neighbours alone.
    adapt
        Whether the views see the query as a whole: what it has in common by which it differs from the reference.
    """

    voting: Voting
    views: Views | None
    adapt: bool


def found_for(cells: OpenCells, candidates: Candidates, asked: Asked, summed: Sums, progress: Progress) -> Found:
    """Return what is found for all cells of a query, and add them to `summed`."""
    found = Found.joined(list(_batches(cells, candidates, asked, summed, progress)))
    return _adapted(found, cells, candidates, asked.views) if asked.adapt and asked.views is not None else found


def _batches(
    cells: OpenCells, candidates: Candidates, asked: Asked, summed: Sums, progress: Progress
) -> Iterator[Found]:
    may, views = candidates.counts > 0, asked.views
    for first, batch, known in cells.batches("searching", progress):
        vectors, empty = cells.vectors(np.arange(first, first + known.shape[0]), known)
        summed.add(batch)
        neighbors = _nearest(candidates, vectors, empty, asked.voting.k)
        votes, positions = votes_of(neighbors, candidates, asked.voting)
        found = Found(
            vectors=vectors,
            empty=empty,
            neighbors=neighbors,
            positions=positions,
            votes=votes,
            odd=np.zeros(len(empty), np.float32),
            unexpected_genes=np.zeros((len(empty), 0), np.int64),
            n_expressed=np.diff(known.indptr),
            by_view={},
        )
        if views is not None:
            found = replace(found, alone=votes.shares, points=views.points(known))
            found = _settled(found, views.settle(votes.shares, found.points, may))
        odd, genes = _odd(cells, known, found.votes.winner)
        further = _further(cells, known, found.vectors, found.points, found.votes.winner)
        yield replace(found, odd=odd, unexpected_genes=genes, further=further)


def _adapted(found: Found, cells: OpenCells, candidates: Candidates, views: Views) -> Found:
    """Return what is found with the views adapted to the query."""
    alone = found.votes.shares if found.alone is None else found.alone
    settled = views.settle(alone, found.points, candidates.counts > 0, _trusted(found, candidates))
    again = _settled(found, settled)
    odd, genes = found.odd.copy(), found.unexpected_genes.copy()
    further = {name: one.copy() for name, one in found.further.items()}
    changed = np.flatnonzero(again.votes.winner != found.votes.winner)
    for first in range(0, len(changed), REREAD_CELLS):  # what is unexpected depends on the label
        some = changed[first : first + REREAD_CELLS]
        known, codes = cells.known(some), again.votes.winner[some]
        odd[some], genes[some] = _odd(cells, known, codes)
        points = {name: one[some] for name, one in found.points.items()}
        for name, one in _further(cells, known, found.vectors[some], points, codes).items():
            further[name][some] = one
    return replace(again, odd=odd, unexpected_genes=genes, further=further)


def _settled(found: Found, settled: Settled) -> Found:
    votes = by_shares(settled.shares)
    return replace(found, votes=votes, by_view=settled.by_view, leads=settled.leads, depends=settled.depends)


def _trusted(found: Found, candidates: Candidates) -> Bools:
    """Return (n,) the cells that may say how the query differs from the reference: not those that may be new to it.

    A query that is shifted as a whole is more novel as a whole. So a cell's novelty is held against that of the query:
    the median over labels of the median of each label's cells.
    """
    calibration, called = candidates.atlas.calibration, found.votes.winner >= 0
    if calibration is None or not called.any() or not calibration.held.known.any():
        return called
    seen = signals(found.neighbors, candidates.codes[found.positions], found.votes, found.odd, found.further)
    novelty, codes = calibration.novelty(seen), found.votes.winner
    here = np.median([np.median(novelty[codes == code]) for code in np.unique(codes[called])])
    usual = np.median(calibration.held_novelty())
    return called & (novelty <= calibration.too_novel(TOO_NOVEL) + max(0.0, float(here - usual)))


def _further(
    cells: OpenCells, known: sp.csr_matrix[np.float32], vectors: Floats, points: Points, winner: Ints
) -> dict[str, Floats]:
    """Return the signals by which new types are told; none from an atlas of an earlier version."""
    likeness = cells.query.atlas.likeness
    return {} if likeness is None else likeness.signals(known, cells.measured, vectors, points, winner)


def _odd(cells: OpenCells, known: sp.csr_matrix[np.float32], winner: Ints) -> tuple[Floats, Ints]:
    """Return how far cells express more than their label does, and which genes these are."""
    profiles = cells.query.atlas.profiles
    # Labels that were added after the atlas was fitted have no profile.
    return profiles.odd(known, cells.measured, np.where(winner < len(profiles.labels), winner, -1))


def _nearest(candidates: Candidates, vectors: Floats, empty: Bools, k: int) -> Neighbors:
    ids = np.full((len(empty), k), -1, np.int64)
    distances = np.full((len(empty), k), np.inf, np.float32)
    if not empty.all():
        near = candidates.nearest(vectors[~empty], k)
        ids[~empty], distances[~empty] = near.ids, near.distances
    return Neighbors(ids, distances)
