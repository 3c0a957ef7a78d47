"""From the neighbours found to an answer: the votes, cell by cell."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from scvec.annotation import Annotation
from scvec.types import UNKNOWN, Floats, Neighbors, Strings
from scvec.vote import vote
from scvec.voters import Voters
from scvec.voting import Voting


@dataclass(frozen=True, slots=True)
class Found:
    """What the search found of n cells.

    Attributes
    ----------
    vectors
        (n, d) the cells' vectors, of length one; zeros for an empty cell.
    empty
        (n,) True for a cell with no expression on the atlas's genes.
    neighbors
        (n, k) its neighbours; none for an empty cell.
    """

    vectors: Floats
    empty: NDArray[np.bool_]
    neighbors: Neighbors

    @classmethod
    def joined(cls, parts: Sequence[Found]) -> Found:
        """Return several batches as one."""
        return cls(
            np.concatenate([one.vectors for one in parts]),
            np.concatenate([one.empty for one in parts]),
            Neighbors(
                np.concatenate([one.neighbors.ids for one in parts]),
                np.concatenate([one.neighbors.distances for one in parts]),
            ),
        )


def call(found: Found, obs_names: Strings, voters: Voters, voting: Voting) -> Annotation:
    """Return the label that gets most votes, for each cell; an answer without notes and provenance as yet."""
    neighbors, obs = found.neighbors, voters.atlas.obs
    here = neighbors.ids >= 0
    positions = np.zeros_like(neighbors.ids)
    positions[here] = voters.atlas.positions(neighbors.ids[here])
    votes = vote(neighbors, voters.codes[positions], voters.counts, voting)
    rejected = votes.winner < 0
    label = np.where(rejected, UNKNOWN, voters.labels[votes.winner])
    score = np.take_along_axis(votes.shares, votes.winner[:, None], 1)[:, 0]
    names = np.array(obs["cell_id"].to_pylist(), dtype=object)
    id_of = dict(zip(obs["label"].to_pylist(), obs["label_id"].to_pylist(), strict=True))
    return Annotation(
        obs_names=obs_names,
        label=label,
        label_id=np.array([id_of.get(one, "") for one in label], dtype=object),
        score=np.where(rejected, 0, score).astype(np.float32),
        distance=np.where(rejected, np.nan, neighbors.distances[:, 0]).astype(np.float32),
        rejected=rejected,
        labels=tuple(voters.labels.tolist()),
        scores=votes.shares,
        neighbors=neighbors,
        neighbor_names=np.where(here, names[positions], "").astype(object),
        vectors=found.vectors,
        provenance={},
        notes=_notes(found, voters, voting),
    )


def _notes(found: Found, voters: Voters, voting: Voting) -> tuple[str, ...]:
    notes = list(voters.notes)
    if voting.k > len(voters):
        notes.append(f"k is {voting.k} and {len(voters):,} cells were searched: all of them vote")
    if found.empty.any():
        n_empty = int(found.empty.sum())
        notes.append(f"{n_empty:,} cells have no expression on the atlas's genes and are labelled {UNKNOWN}")
    return tuple(notes)
