"""`annotate`: from a query file and an atlas through batches, vectors and neighbours to the calls."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Unpack

import numpy as np
import scipy.sparse as sp

from scvec._version import __version__
from scvec.annotation.calls import Found, call, votes_of
from scvec.annotation.candidates import Candidates, candidates_of
from scvec.annotation.clusters import Clusters, Leiden, call_clusters
from scvec.annotation.doubts import doubt_of, doubted
from scvec.annotation.options import QueryChanges, QueryOptions
from scvec.annotation.rejection import check, reject, with_sets
from scvec.annotation.remarks import remarks
from scvec.annotation.result import Annotation
from scvec.annotation.rollup import roll_up_of, with_terms
from scvec.atlas import Atlas
from scvec.atlas.query_cells import OpenCells, QueryCells, open_query
from scvec.core.logs import log_notes
from scvec.core.options import merged, spells_out
from scvec.core.progress import shown
from scvec.core.types import Doubles, Ints, Neighbors, Progress
from scvec.embed.projection import aligner, measured
from scvec.errors import InputError
from scvec.ingest.cells import CellFile, Cells, Matrix
from scvec.ingest.cells.scale import expression, mostly
from scvec.ingest.gene_coverage import Coverage
from scvec.ingest.matching import GeneMatch
from scvec.knn.options import DEFAULT, Voting

USUAL_ERROR = 0.05
"""The error of prediction sets where `max_error` is None."""

OTHER_VOTES = (
    "confidence and novelty are calibrated for the default votes of all labels, and these votes get no confidence"
)

FEW_GENES = 0.6
"""Where a query measures less than this share of a reference's expression, it should have an atlas on its own genes."""


@spells_out(QueryOptions)
def annotate(
    query: Cells,
    atlas: Atlas,
    options: QueryOptions | None = None,
    *,
    progress: Progress | None = None,
    **changes: Unpack[QueryChanges],
) -> Annotation:
    """Label cells by a weighted vote of their k nearest cells in an atlas.

    The cells become vectors by the atlas's own recipe. A cell that expresses none of the atlas's genes is kept and
    labelled `scvec.UNKNOWN`. The result is deterministic and does not depend on the size of the batches read.

    Parameters
    ----------
    query
        The cells: an AnnData, or a file that `scvec.ingest.open_cells` reads (h5ad, zarr, 10x), as a path or URI. They
        are not changed.
    atlas
        The reference.
    options, changes
        How the cells are read and called: a `scvec.QueryOptions`, or its fields as keywords.
    progress
        Shows how many cells are done.

    Returns
    -------
    Annotation
        The calls. They know their query: what explains, evaluates or reports them reads the cells again.

    Raises
    ------
    InputError
        If an argument is out of its range; if a condition is invalid or leaves no cell; if a label or a column is not
        there; or if the cells, the matrix or the genes cannot be used.
    MissingDependencyError
        If `cluster` is given and igraph is not installed.
    """
    options = merged(QueryOptions, options, dict(changes))
    voting, error = options.votes, USUAL_ERROR if options.max_error is None else options.max_error
    how = roll_up_of(atlas, options.roll_up)  # this and `max_error` are checked before any work is done
    others = voting != DEFAULT or options.selects
    trusted = options.max_error is not None or options.sets
    if trusted:
        check(atlas, error, others)
    with open_query(query, atlas, options) as cells:
        doubt = doubt_of(cells.query)
        if doubt is not None and trusted:
            raise doubt.refusal()
        clusters = _clusters(cells.file, options)
        chosen = candidates_of(atlas, options.where, options.allow, options.block)
        summed = _Sums(cells.query.match, cells.matrix)
        found = Found.joined(list(_search(cells, chosen, voting, summed, shown(progress))))
    coverage = cells.query.match.coverage(summed.totals)
    calls = call(found, cells.file.obs_names, chosen, voting)
    if others:
        calls = replace(calls, confidence=np.full(len(calls), np.nan, np.float32))
    calls = calls if doubt is None else doubted(calls)
    calls = reject(calls, atlas, options.max_error)
    calls = with_sets(calls, atlas, error) if options.sets else calls
    calls = with_terms(calls, how)
    calls = call_clusters(calls, clusters)
    notes = (
        f"{cells.query.layer} taken as {cells.query.values}",
        *coverage.notes(),
        *cells.query.notes,
        *summed.notes(len(calls)),
        *_panel_notes(cells.query),
        *([OTHER_VOTES] if others else []),
        *([] if doubt is None else [str(doubt)]),
        *atlas.index.notes,
        *remarks(calls, found, atlas, int(cells.measured.sum())),
        *calls.notes,
    )
    log_notes(notes, "annotate")
    return replace(
        calls,
        source=cells.query,
        notes=notes,
        provenance=_provenance(cells, coverage)
        | {"vote": voting.to_dict(), "n_searched": len(chosen)}
        | {"where": options.where, "allow": list(options.allow), "block": list(options.block)}
        | {"clusters": options.cluster or options.cluster_key, "max_error": options.max_error}
        | {"sets": options.sets, "roll_up": options.roll_up},
    )


def _clusters(file: CellFile, options: QueryOptions) -> Clusters | None:
    """Return the clusters in the file, or how to make them; None for no clusters."""
    key, method = options.cluster_key, options.cluster
    if key is not None and method is not None:
        raise InputError("`cluster_key` and `cluster` exclude each other", fix="leave one out")
    if key is not None:
        return file.groups(key, "cluster_key")
    return None if method is None else Leiden.parse(method)


def _panel_notes(query: QueryCells) -> list[str]:
    """Return a note if the genes that the query measures carry less than `FEW_GENES` of the reference's expression."""
    if query.atlas.recipe.weights == "given":
        return []
    profiles = query.atlas.profiles
    has = measured(aligner(query.match, profiles.gene_ids))
    share = profiles.share(has) / profiles.share(profiles.composition > 0)
    if share >= FEW_GENES:
        return []
    here = (
        f"the genes that the query measures carry {share:.0%} of the expression of the atlas's genes in the reference"
    )
    return [f"{here}: an atlas of these alone, built with `panel` {query.name}, calls better"]


class _Sums:
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


def _search(
    cells: OpenCells, candidates: Candidates, voting: Voting, summed: _Sums, progress: Progress
) -> Iterator[Found]:
    """Yield what is found for each batch of cells, and add the batch to `summed`."""
    profiles = candidates.atlas.profiles
    for first, batch, known in cells.batches("searching", progress):
        vectors, empty = cells.vectors(np.arange(first, first + known.shape[0]), known)
        summed.add(batch)
        ids = np.full((len(empty), voting.k), -1, np.int64)
        distances = np.full((len(empty), voting.k), np.inf, np.float32)
        if not empty.all():
            near = candidates.nearest(vectors[~empty], voting.k)
            ids[~empty], distances[~empty] = near.ids, near.distances
        neighbors = Neighbors(ids, distances)
        votes, positions = votes_of(neighbors, candidates, voting)
        odd, genes = profiles.odd(known, cells.measured, _profiled(votes.winner, len(profiles.labels)))
        yield Found(vectors, empty, neighbors, positions, votes, odd, genes, np.diff(known.indptr))


def _profiled(winner: Ints, n_profiles: int) -> Ints:
    """Return codes of labels, -1 for labels that were added after the atlas was fitted and have no profile."""
    return np.where(winner < n_profiles, winner, -1)


def _provenance(cells: OpenCells, coverage: Coverage) -> dict[str, Any]:
    query, made = cells.query, cells.query.atlas.manifest
    return {
        "scvec": __version__,
        "atlas": {key: made[key] for key in ("name", "version", "recipe", "recipe_sha256", "sources", "index")},
        "query": {"file": query.name, "matrix": cells.matrix.to_dict(), "coverage": coverage.to_dict()}
        | ({"selection": dict(cells.file.left_out)} if cells.file.left_out else {}),
    }
