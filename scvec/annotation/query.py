"""`annotate`: from a query file and an atlas through batches, vectors and neighbours to the calls."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from scvec._version import __version__
from scvec.annotation.calls import Found, call, votes_of
from scvec.annotation.candidates import Candidates, candidates_of
from scvec.annotation.clusters import Clusters, Leiden, call_clusters
from scvec.annotation.rejection import check, reject, with_sets
from scvec.annotation.result import Annotation
from scvec.annotation.rollup import roll_up_of, with_terms
from scvec.atlas import Atlas
from scvec.atlas.query_cells import log_normalised, match_to_atlas, placed
from scvec.core.types import Ints, Neighbors, Progress, silent
from scvec.embed.projection import aligner, measured
from scvec.errors import InputError
from scvec.ingest.cells import AskedScale, CellFile, Matrix, open_cells
from scvec.ingest.cells.scale import expression
from scvec.ingest.gene_coverage import Coverage
from scvec.ingest.matching import GeneMatch
from scvec.knn.options import DEFAULT, Voting

USUAL_ERROR = 0.05
"""The error of prediction sets where `max_error` is None."""

OTHER_VOTES = "confidence and novelty are calibrated for the default votes of all labels, not for these votes"

FEW_GENES = 0.6
"""Where a query measures less than this share of a reference's expression, it should have an atlas on its own genes."""


def annotate(
    query: str | Path,
    atlas: Atlas,
    *,
    k: int | None = None,
    voting: Voting = DEFAULT,
    where: str | None = None,
    allow: Sequence[str] = (),
    block: Sequence[str] = (),
    cluster_key: str | None = None,
    cluster: str | None = None,
    max_error: float | None = None,
    sets: bool = False,
    roll_up: float | None = None,
    obs: str | Path | None = None,
    layer: str | None = None,
    scale: AskedScale = "auto",
    gene_key: str | None = None,
    taxon: str | int | None = None,
    progress: Progress = silent,
) -> Annotation:
    """Label the cells of a file by a weighted vote of their k nearest cells in an atlas.

    The cells become vectors by the atlas's own recipe. A cell that expresses none of the atlas's genes is kept and
    labelled `scvec.UNKNOWN`. The result is deterministic and does not depend on the size of the batches read.

    Parameters
    ----------
    query
        A file of cells that `scvec.ingest.open_cells` reads: h5ad, zarr, 10x; it is not changed.
    atlas
        The reference.
    k
        Number of neighbours that vote; None: that of `voting`.
    voting
        How they vote.
    where
        A condition in SQL on the columns of the atlas's ``obs``, as ``"tissue = 'pancreas'"``, for the reference cells
        to search; None: all.
    allow, block
        Labels that may be called (empty: all), and labels that may not. Only cells that may vote are searched, so that
        k of them are found.
    cluster_key, cluster
        Calls each cluster of the query too, in addition to its cells. Clusters are given by a column of the query's
        ``obs``, or made from its vectors: ``"leiden"`` or ``"leiden:RESOLUTION"`` (needs the extra ``cluster``).
    max_error
        The share of calls that may be wrong, among cells of types that the atlas has: calls of too low a confidence,
        and of cells that are too novel, become `scvec.UNKNOWN`, and ``label_before_rejection`` keeps their label. None:
        every cell with expression is called.
    sets
        Whether to give each cell a prediction set: labels that miss the right one for at most `max_error` (0.05 if that
        is None) of the cells.
    roll_up
        Gives each cell the deepest term of the Cell Ontology that has this share of its votes, a more general one where
        votes are split. Needs labels with ids, and the ontology in the store. None: no terms.
    obs
        A table of further annotations of the query's cells: see `scvec.ingest.open_cells`.
    layer, scale
        The matrix to read, and whether it holds counts or log1p values.
    gene_key
        Column of ``var`` with the genes' names; None: ``var_names``, or, where these match too little, the usual column
        that matches most.
    taxon
        Species of the query. One other than the atlas's is matched through one-to-one orthologs, which needs its gene
        texts in the store. None: the atlas's; a query whose genes look like another species' is then refused.
    progress
        Shows how many cells are done.

    Raises
    ------
    InputError
        If an argument is out of its range; if a condition is invalid or leaves no cell; if a label or a column is not
        there; or if the file, the matrix or the genes cannot be used.
    MissingDependencyError
        If `cluster` is given and igraph is not installed.
    """
    voting = voting if k is None else replace(voting, k=k)
    asked: dict[str, Any] = {
        "where": where,
        "allow": list(allow),
        "block": list(block),
        "clusters": cluster or cluster_key,
    }
    asked |= {"max_error": max_error, "sets": sets, "roll_up": roll_up}
    error = USUAL_ERROR if max_error is None else max_error
    how = roll_up_of(atlas, roll_up)  # this and `max_error` are checked before any work is done
    others = voting != DEFAULT or where is not None or bool(allow) or bool(block)
    if max_error is not None or sets:
        check(atlas, error, others)
    with open_cells(query, obs) as file:
        clusters = _clusters(file, cluster_key, cluster)
        with file.matrix(layer, scale) as matrix:
            match, species_notes = match_to_atlas(matrix, atlas, gene_key, taxon)
            chosen = candidates_of(atlas, where, allow, block)
            totals = np.zeros(matrix.n_genes)
            found = Found.joined(list(_search(matrix, match, chosen, voting, totals, progress)))
        coverage = match.coverage(totals)
        calls = call(found, file.obs_names, chosen, voting)
        calls = reject(calls, atlas, max_error)
        calls = with_sets(calls, atlas, error) if sets else calls
        calls = with_terms(calls, how)
        calls = call_clusters(calls, clusters)
        return replace(
            calls,
            notes=(
                f"{matrix.key} taken as {matrix.values}",
                *file.notes,
                *coverage.notes(),
                *species_notes,
                *_panel_notes(match, atlas, query),
                *([OTHER_VOTES] if others else []),
                *atlas.index.notes,
                *calls.notes,
            ),
            provenance=_provenance(file, matrix, atlas, coverage)
            | {"vote": voting.to_dict(), "n_searched": len(chosen), **asked},
        )


def _clusters(file: CellFile, key: str | None, method: str | None) -> Clusters | None:
    """Return the clusters in the file, or how to make them; None for no clusters."""
    if key is not None and method is not None:
        raise InputError("`cluster_key` and `cluster` exclude each other", fix="leave one out")
    if key is not None:
        return file.labels(key, "cluster_key")
    return None if method is None else Leiden.parse(method)


def _panel_notes(match: GeneMatch, atlas: Atlas, query: str | Path) -> list[str]:
    """Return a note if the genes that the query measures carry less than `FEW_GENES` of the reference's expression."""
    profiles = atlas.profiles
    share = profiles.share(measured(aligner(match, profiles.gene_ids))) / profiles.share(profiles.composition > 0)
    if share >= FEW_GENES:
        return []
    here = (
        f"the genes that the query measures carry {share:.0%} of the expression of the atlas's genes in the reference"
    )
    return [f"{here}: an atlas of these alone, built with `panel` {query}, calls better"]


def _search(
    matrix: Matrix,
    match: GeneMatch,
    candidates: Candidates,
    voting: Voting,
    totals: np.ndarray[Any, Any],
    progress: Progress,
) -> Iterator[Found]:
    """Yield what is found for each batch of cells, and add up the expression of each gene in `totals`."""
    embedding, profiles = candidates.atlas.embedding, candidates.atlas.profiles
    columns, has, share = placed(match, candidates.atlas)
    for _, batch, known in log_normalised(matrix, columns, share, candidates.atlas, "searching", progress):
        vectors, empty = embedding.vectors(known, has, candidates.atlas.device)
        totals += expression(batch, matrix.values)
        ids = np.full((len(empty), voting.k), -1, np.int64)
        distances = np.full((len(empty), voting.k), np.inf, np.float32)
        if not empty.all():
            near = candidates.nearest(vectors[~empty], voting.k)
            ids[~empty], distances[~empty] = near.ids, near.distances
        neighbors = Neighbors(ids, distances)
        votes, positions = votes_of(neighbors, candidates, voting)
        odd, genes = profiles.odd(known, has, _profiled(votes.winner, len(profiles.labels)))
        yield Found(vectors, empty, neighbors, positions, votes, odd, genes)


def _profiled(winner: Ints, n_profiles: int) -> Ints:
    """Return codes of labels, -1 for labels that were added after the atlas was fitted and have no profile."""
    return np.where(winner < n_profiles, winner, -1)


def _provenance(file: CellFile, matrix: Matrix, atlas: Atlas, coverage: Coverage) -> dict[str, Any]:
    made = atlas.manifest
    return {
        "scvec": __version__,
        "atlas": {key: made[key] for key in ("name", "version", "recipe", "recipe_sha256", "sources", "index")},
        "query": {"file": file.path.name, "matrix": matrix.to_dict(), "coverage": coverage.to_dict()},
    }
