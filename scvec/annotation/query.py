"""A query file against an atlas: batches, vectors, neighbours, and the steps from there to the answer."""

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
"""Of prediction sets, where none was asked for."""

OTHER_VOTES = "confidence and novelty were calibrated with the usual votes of all labels, and are not of these votes"

FEW_GENES = 0.6
"""Share of a reference's expression below which a query should have an atlas on its own genes."""


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

    The cells become vectors by the atlas's own recipe. A cell without expression on the atlas's genes is kept and
    labelled `scvec.UNKNOWN`. The answer is the same at every call, whatever the size of the batches read.

    Parameters
    ----------
    query
        A file of cells, as `scvec.ingest.open_cells` takes it: h5ad, zarr, 10x; it is not changed.
    atlas
        The reference.
    k
        Neighbours that vote; None: as `voting` says.
    voting
        How they vote.
    where
        Which reference cells are searched, by a condition in SQL on the columns of the atlas's ``obs``:
        ``"tissue = 'pancreas'"``; None: all.
    allow, block
        Labels that may be called, all if there are none here; labels that may not. Only cells that may vote are
        searched, so that k of them are found.
    cluster_key, cluster
        Whether each cluster of the query is called too, beside its cells: by a column of the query's ``obs``, or by a
        clustering of its vectors, ``"leiden"`` or ``"leiden:RESOLUTION"``; needs the extra ``cluster``.
    max_error
        Which share of the calls may be wrong, of cells of types that the atlas has: calls of too low a
        confidence, and of cells that are too novel, become `scvec.UNKNOWN`, and ``label_before_rejection`` keeps their
        label. None: every cell with expression is called.
    sets
        Whether each cell is to have a prediction set: labels of which the right one is missing for at most `max_error`
        (0.05 if that is None) of the cells.
    roll_up
        The share of its votes that a term of the Cell Ontology is to have, for each cell; where votes are split, it is
        a more general one. Needs labels with ids, and the ontology in the store. None: no terms.
    obs
        A table of annotations of its cells, beside those that the file has: see `scvec.ingest.open_cells`.
    layer, scale
        Which matrix, and whether it holds counts or log1p values.
    gene_key
        Column of ``var`` that names the genes; None: ``var_names``, or the usual column that covers more where these
        cover too little.
    taxon
        Species of the query: another than the atlas's meets it through one-to-one orthologs, for which its gene texts
        must be in the store. None: the atlas's, and a query whose genes look like another's is refused.
    progress
        Shows the cells done.

    Raises
    ------
    InputError
        If `k` is no whole number above 0; if the condition, a label or a column is not there, or leaves no cell; or if
        the file, the matrix or the genes are of no use.
    MissingDependencyError
        If `cluster` is asked for, and igraph is not installed.
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
    how = roll_up_of(atlas, roll_up)  # this and the error are found wanting before any work is done
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
    """Return the clusters of the file, or how they are to be made; None where there are to be none."""
    if key is not None and method is not None:
        raise InputError(f"--cluster-key {key} and --cluster {method}", "one of the two", "leave one out")
    if key is not None:
        return file.labels(key, "--cluster-key")
    return None if method is None else Leiden.parse(method)


def _panel_notes(match: GeneMatch, atlas: Atlas, query: str | Path) -> list[str]:
    """Say so if the query measures genes of the atlas that make less than `FEW_GENES` of its expression."""
    profiles = atlas.profiles
    share = profiles.share(measured(aligner(match, profiles.gene_ids))) / profiles.share(profiles.composition > 0)
    if share >= FEW_GENES:
        return []
    here = f"the genes that the query measures make {share:.0%} of what the atlas's genes express in the reference"
    return [f"{here}: an atlas on these alone, built with --panel {query}, calls better"]


def _search(
    matrix: Matrix,
    match: GeneMatch,
    candidates: Candidates,
    voting: Voting,
    totals: np.ndarray[Any, Any],
    progress: Progress,
) -> Iterator[Found]:
    """Yield vectors and neighbours batch by batch, adding up the expression of each gene in `totals`."""
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
    """Return the codes of labels, -1 for those that came after the atlas was fitted and have no profile."""
    return np.where(winner < n_profiles, winner, -1)


def _provenance(file: CellFile, matrix: Matrix, atlas: Atlas, coverage: Coverage) -> dict[str, Any]:
    made = atlas.manifest
    return {
        "scvec": __version__,
        "atlas": {key: made[key] for key in ("name", "version", "recipe", "recipe_sha256", "sources", "index")},
        "query": {"file": file.path.name, "matrix": matrix.to_dict(), "coverage": coverage.to_dict()},
    }
