"""From what was found for each cell to its call: the label with the largest share."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scvec.annotation.candidates import Candidates
from scvec.annotation.result import NO_EXPRESSION, Annotation
from scvec.core.text import counted
from scvec.core.types import UNKNOWN, Bools, Floats, Ints, Neighbors, Strings
from scvec.knn.calibration import signals
from scvec.knn.options import Voting
from scvec.knn.voting import Votes, vote
from scvec.views import Points

SHOWN_GENES = 3
"""Unexpected genes that are named for a cell."""


@dataclass(frozen=True, slots=True)
class Found:
    """What the search found for n cells.

    Attributes
    ----------
    vectors
        (n, d) the cells' unit vectors; zeros for an empty cell.
    empty
        (n,) True for a cell with no expression on the atlas's genes.
    neighbors
        (n, k) their neighbours; none for an empty cell.
    positions
        (n, k) the rows of the neighbours in the atlas's `obs`; 0 where there is none.
    votes
        The neighbours' votes; with further views, the shares by all of them together.
    odd, unexpected_genes
        (n,) and (n, m) how far each cell expresses more than its label does, and which of the atlas's genes these are;
        see `Profiles.odd`.
    n_expressed
        (n,) number of the atlas's genes that each cell expresses.
    by_view
        By view, (n,) codes of the labels to which each alone gives most; none for an atlas without further views.
    leads
        By view, (n,) by how much it puts the called label ahead of the runner-up; see `scvec.views.Settled`.
    alone, points
        (n, L) shares of the neighbours' votes alone, and by view (n, d) what is kept of the cells: what further views
        need to call them again. None, and none, without further views.
    depends
        (n,) where a call depends on the query's other cells; None without further views.
    further
        By name, (n,) further signals by which new types are told; see `scvec.atlas.likeness`.
    """

    vectors: Floats
    empty: NDArray[np.bool_]
    neighbors: Neighbors
    positions: Ints
    votes: Votes
    odd: Floats
    unexpected_genes: Ints
    n_expressed: Ints
    by_view: Mapping[str, Ints]
    leads: Mapping[str, Floats] = field(default_factory=dict)
    alone: Floats | None = None
    points: Points = field(default_factory=dict)
    depends: Bools | None = None
    further: Mapping[str, Floats] = field(default_factory=dict)

    @classmethod
    def joined(cls, parts: Sequence[Found]) -> Found:
        """Join several batches."""

        def one(of: Callable[[Found], Any]) -> Any:
            return np.concatenate([of(part) for part in parts])

        def by_name(of: Callable[[Found], Mapping[str, Any]]) -> dict[str, Any]:
            return {name: np.concatenate([of(part)[name] for part in parts]) for name in of(parts[0])}

        return cls(
            vectors=one(lambda part: part.vectors),
            empty=one(lambda part: part.empty),
            neighbors=Neighbors(one(lambda part: part.neighbors.ids), one(lambda part: part.neighbors.distances)),
            positions=one(lambda part: part.positions),
            votes=Votes(one(lambda part: part.votes.winner), one(lambda part: part.votes.shares)),
            odd=one(lambda part: part.odd),
            unexpected_genes=one(lambda part: part.unexpected_genes),
            n_expressed=one(lambda part: part.n_expressed),
            by_view=by_name(lambda part: part.by_view),
            leads=by_name(lambda part: part.leads),
            alone=None if parts[0].alone is None else one(lambda part: part.alone),
            points=by_name(lambda part: part.points),
            further=by_name(lambda part: part.further),
        )


def votes_of(neighbors: Neighbors, candidates: Candidates, voting: Voting) -> tuple[Votes, Ints]:
    """Return the neighbours' votes, and (n, k) their rows in the atlas's `obs`; 0 where there is no neighbour."""
    here = neighbors.ids >= 0
    positions = np.zeros_like(neighbors.ids)
    positions[here] = candidates.atlas.positions(neighbors.ids[here])
    return vote(neighbors, candidates.codes[positions], candidates.counts, voting), positions


def call(found: Found, obs_names: Strings, candidates: Candidates, voting: Voting) -> Annotation:
    """Call each cell by the label with the largest share; the provenance is left empty."""
    neighbors, positions, votes = found.neighbors, found.positions, found.votes
    ids = candidates.atlas.label_ids
    rejected = votes.winner < 0
    label = np.where(rejected, UNKNOWN, candidates.labels[votes.winner])
    seen = signals(neighbors, candidates.codes[positions], votes, found.odd, found.further)
    calibration = candidates.atlas.calibration
    none = np.full(len(label), np.nan, np.float32)
    return Annotation(
        obs_names=obs_names,
        label=label,
        label_id=np.array([ids.get(one, "") for one in label], dtype=object),
        label_before_rejection=label,
        reason=np.where(rejected, NO_EXPRESSION, "").astype(object),
        confidence=none if calibration is None else np.where(rejected, none, calibration.confidence(seen)),
        novelty=none if calibration is None else np.where(rejected, none, calibration.novelty(seen)),
        unexpected_genes=_symbols(found.unexpected_genes, candidates),
        score=seen.share,
        distance=np.where(rejected, np.nan, neighbors.distances[:, 0]).astype(np.float32),
        rejected=rejected,
        labels=tuple(candidates.labels.tolist()),
        scores=votes.shares,
        neighbors=neighbors,
        neighbor_names=np.where(neighbors.ids >= 0, candidates.atlas.cell_ids(positions), "").astype(object),
        vectors=found.vectors,
        by_view={
            name: np.where(rejected, UNKNOWN, candidates.labels[codes]).astype(object)
            for name, codes in found.by_view.items()
        },
        leads=found.leads,
        provenance={},
        notes=_notes(found, candidates, voting),
    )


def _symbols(genes: Ints, candidates: Candidates) -> Strings:
    """Return (n,) the symbols of the first genes of each cell, joined; "" where there is none."""
    symbols = np.append(candidates.atlas.gene_symbols, "")
    return np.array([", ".join(filter(None, row)) for row in symbols[genes[:, :SHOWN_GENES]].tolist()], dtype=object)


def _notes(found: Found, candidates: Candidates, voting: Voting) -> tuple[str, ...]:
    notes = list(candidates.notes)
    if voting.k > len(candidates):
        notes.append(f"k is {voting.k}, but only {counted(len(candidates), 'cell')} can vote: all of them do")
    if found.empty.any():
        n_empty = int(found.empty.sum())
        express = "expresses" if n_empty == 1 else "express"
        notes.append(f"{counted(n_empty, 'cell')} {express} none of the atlas's genes; labelled {UNKNOWN}")
    return tuple(notes)
