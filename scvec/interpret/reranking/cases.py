"""What a judge can be asked about: clusters or cells, the candidate labels of each, and how sure the first one is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray

from scvec.annotation.clusters import votes_of_clusters
from scvec.annotation.result import LOW_CONFIDENCE, Annotation
from scvec.atlas import Atlas
from scvec.core.types import Floats, Ints, Strings
from scvec.errors import InputError, must_be
from scvec.knn.calibration import distance_to, farthest_neighbor

By: TypeAlias = Literal["cluster", "cell"]
BYS: tuple[str, ...] = get_args(By)

MAX_CANDIDATES = 8
"""Labels of a case that are ranked, those with most votes: further ones are rarely right, and cost tokens."""

MIN_VOTES = 0.02
"""Share of a case's votes that a label needs: in a large cluster some cell has a neighbour of almost any label."""


@dataclass(frozen=True, slots=True)
class Cases:
    """The C clusters, or cells, of a query.

    Attributes
    ----------
    names
        (C,) names of the clusters, or of the cells.
    member
        (n,) the case that a cell is evidence for; -1 for none: a cell that is rejected, empty, or in no cluster.
    case_of
        (n,) the case that a cell belongs to; -1 for none. A cluster's rejected cells belong to it but are not evidence.
    stands
        (n,) the retrieved label of each cell, or of its cluster.
    n_cells
        (C,) number of cells that are evidence.
    codes
        (C, `MAX_CANDIDATES`) the labels with at least `MIN_VOTES`, most votes first; -1 where there are fewer. The
        first one is the label by retrieval.
    votes
        (C, `MAX_CANDIDATES`) their mean share of the votes of the case's cells.
    distance
        (C, `MAX_CANDIDATES`) mean over these cells of the cosine distance to the label: to its three nearest cells
        among the neighbours, or to the last neighbour if none has the label.
    """

    names: Strings
    member: Ints
    case_of: Ints
    stands: Strings
    n_cells: Ints
    codes: Ints
    votes: Floats
    distance: Floats

    def __len__(self) -> int:
        return len(self.names)

    @property
    def n_candidates(self) -> Ints:
        """(C,) number of labels of each case."""
        return np.asarray((self.codes >= 0).sum(axis=1))

    def unsure(self, threshold: float) -> Ints:
        """Return the cases with at least two labels whose first label has a share of the votes below `threshold`."""
        return np.flatnonzero((self.votes[:, 0] < threshold) & (self.n_candidates > 1))


def cases_of(calls: Annotation, atlas: Atlas, by: By) -> Cases:
    """Return the clusters of a query, or its cells, with the labels that retrieval found for them.

    A cluster's labels are those of its cells that are not rejected, as in
    `scvec.annotation.clusters.call_clusters`. A cell is a case unless it is empty or too far from every label.

    Raises
    ------
    InputError
        If `by` is neither ``"cluster"`` nor ``"cell"``, or if it is ``"cluster"`` and `calls` has no clusters.
    """
    if by not in BYS:
        raise must_be("by", " or ".join(BYS), by)
    if by == "cell":
        return _cells(calls, atlas)
    if calls.cluster is None or calls.cluster_label is None:
        raise InputError("the calls have no clusters to rerank", fix="annotate with `cluster`='leiden'")
    names, member, sums = votes_of_clusters(calls, calls.cluster)
    case_of = np.where(calls.cluster == "", -1, member)
    found = _Grouping(names, np.where(calls.rejected, -1, case_of), case_of, calls.cluster_label)
    return _measured(calls, atlas, found, *_most_voted(sums))


def _cells(calls: Annotation, atlas: Atlas) -> Cases:
    asked = np.flatnonzero(np.isin(calls.reason, ("", LOW_CONFIDENCE)))
    member = np.full(len(calls), -1, np.int64)
    member[asked] = np.arange(len(asked))
    place = {label: i for i, label in enumerate(calls.labels)}
    # With equal votes the nearest neighbour's label was called: it comes first here too.
    called = np.array([place[one] for one in calls.label_before_rejection[asked].tolist()], np.int64)
    found = _Grouping(calls.obs_names[asked], member, member, calls.label)
    return _measured(calls, atlas, found, *_most_voted(calls.scores[asked].astype(np.float64), called))


def _most_voted(sums: NDArray[np.float64], first: Ints | None = None) -> tuple[Ints, NDArray[np.float64]]:
    """Return (C, `MAX_CANDIDATES`) the labels with enough votes, most votes first, and their votes; ties by code.

    `first` is (C,) the label that comes first whatever its votes.
    """
    key = sums.copy()
    if first is not None:
        key[np.arange(len(key)), first] = np.inf
    order = np.argsort(-key, axis=1, kind="stable")[:, :MAX_CANDIDATES]
    found = np.take_along_axis(sums, order, 1)
    short = MAX_CANDIDATES - order.shape[1]
    enough = found >= np.maximum(MIN_VOTES * sums.sum(axis=1, keepdims=True), np.finfo(np.float64).tiny)
    codes = np.pad(np.where(enough, order, -1), ((0, 0), (0, short)), constant_values=-1)
    return codes, np.pad(np.where(enough, found, 0), ((0, 0), (0, short)))


@dataclass(frozen=True, slots=True)
class _Grouping:
    """Which cells make up which case; see `Cases`."""

    names: Strings
    member: Ints
    case_of: Ints
    stands: Strings


def _measured(calls: Annotation, atlas: Atlas, of: _Grouping, codes: Ints, sums: NDArray[np.float64]) -> Cases:
    names, member = of.names, of.member
    n_cells = np.bincount(member[member >= 0], minlength=len(names))
    size = np.maximum(n_cells, 1)
    cells = np.flatnonzero(member >= 0)
    near, own = calls.neighbors.ids[cells], codes[member[cells]]
    here = near >= 0
    found = np.full(near.shape, -1, np.int64)
    found[here] = atlas.label_codes[atlas.positions(near[here])]
    neighbors = type(calls.neighbors)(near, calls.neighbors.distances[cells])
    last = farthest_neighbor(neighbors)

    def mean(of_cells: Floats) -> Floats:
        totals = np.bincount(member[cells], weights=of_cells, minlength=len(names))
        return np.asarray(totals / size, np.float32)

    distance = [mean(distance_to(neighbors, here & (found == label[:, None]), last)) for label in own.T]
    return Cases(
        names=names,
        member=member,
        case_of=of.case_of,
        stands=of.stands,
        n_cells=n_cells,
        codes=codes,
        votes=np.asarray(sums / size[:, None], np.float32),
        distance=np.stack(distance, axis=1),
    )
