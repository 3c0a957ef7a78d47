"""A query file against an atlas: batches, vectors, neighbours, votes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import scvec
from scvec.annotation import Annotation
from scvec.atlas import Atlas
from scvec.errors import InputError
from scvec.ingest import GeneTexts, newest_texts, open_texts
from scvec.ingest.cells.h5ad import AskedScale, CellFile, Matrix, open_h5ad
from scvec.ingest.cells.scale import expression
from scvec.ingest.genes.gene_texts import taxon_id, taxon_name
from scvec.ingest.genes.orthologs import orthologs
from scvec.ingest.guards import guard, guard_species, other_species
from scvec.ingest.matching import GeneMatch, match_genes
from scvec.types import UNKNOWN, Coverage, Floats, Neighbors, Progress, Strings, silent
from scvec.vote import vote


@dataclass(frozen=True, slots=True)
class _Found:
    vectors: Floats
    empty: np.ndarray[Any, np.dtype[np.bool_]]
    neighbors: Neighbors


def annotate(
    query: str | Path,
    atlas: Atlas,
    *,
    k: int = 15,
    layer: str | None = None,
    scale: AskedScale = "auto",
    gene_key: str | None = None,
    taxon: str | int | None = None,
    progress: Progress = silent,
) -> Annotation:
    """Label the cells of an h5ad by a distance-weighted vote of their k nearest cells in an atlas.

    The cells become vectors by the atlas's own recipe. A cell without expression on the atlas's genes is kept and
    labelled `scvec.UNKNOWN`. The answer is the same at every call, whatever the size of the batches read.

    Parameters
    ----------
    query
        An h5ad file; it is not changed.
    atlas
        The reference.
    k
        Neighbours that vote.
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
        If `k` is no whole number above 0, or the file, the matrix or the genes are of no use.
    """
    if k < 1:
        raise InputError(f"k = {k!r}", "a whole number above 0", "give another --k")
    with open_h5ad(query) as file, file.matrix(layer, scale) as matrix:
        match, notes = _match(matrix, atlas, gene_key, taxon)
        totals = np.zeros(matrix.n_genes)
        found = list(_search(matrix, match, atlas, k, totals, progress))
        return _calls(file, matrix, atlas, k, found, match.coverage(totals), notes)


def _match(matrix: Matrix, atlas: Atlas, gene_key: str | None, taxon: str | int | None) -> tuple[GeneMatch, list[str]]:
    """Return the match to the atlas's genes, and notes on the species."""
    own, offered = atlas.texts if taxon is None else _texts_of(atlas, taxon), newest_texts(atlas.store)
    match, notes = match_genes(matrix, [own], gene_key=gene_key), []
    if taxon is None:
        guard_species(match, offered, matrix, is_query=True)
    else:
        other = other_species(match, offered, matrix)
        if other is not None:
            notes.append(f"the genes look like {other[1]}; taken as {taxon_name(own.taxon_id)} because --taxon says so")
    if own.taxon_id != atlas.texts.taxon_id:
        match = match.through(orthologs(own, atlas.texts), atlas.texts)
    match = match.only(atlas.projection.gene_ids)
    guard(match, matrix)
    return match, notes


def _texts_of(atlas: Atlas, taxon: str | int) -> GeneTexts:
    """Return the texts of the query's species: the atlas's own release, or the last one of another taxon."""
    return atlas.texts if taxon_id(taxon) == atlas.texts.taxon_id else open_texts(atlas.store, taxon)


def _search(
    matrix: Matrix, match: GeneMatch, atlas: Atlas, k: int, totals: np.ndarray[Any, Any], progress: Progress
) -> Iterator[_Found]:
    """Yield vectors and neighbours batch by batch, adding up the expression of each gene in `totals`."""
    aligner = atlas.projection.aligner(match)
    for _, batch in matrix.batches("searching", progress):
        vectors, empty = atlas.projection.embed(batch, matrix.values, aligner)
        totals += expression(batch, matrix.values)
        ids = np.full((len(empty), k), -1, np.int64)
        distances = np.full((len(empty), k), np.inf, np.float32)
        if not empty.all():
            near = atlas.search(vectors[~empty], k)
            ids[~empty], distances[~empty] = near.ids, near.distances
        yield _Found(vectors, empty, Neighbors(ids, distances))


def _calls(
    file: CellFile,
    matrix: Matrix,
    atlas: Atlas,
    k: int,
    found: list[_Found],
    coverage: Coverage,
    species_notes: list[str],
) -> Annotation:
    neighbors = Neighbors(
        np.concatenate([one.neighbors.ids for one in found]),
        np.concatenate([one.neighbors.distances for one in found]),
    )
    rejected = np.concatenate([one.empty for one in found])
    here = neighbors.ids >= 0
    positions = np.zeros_like(neighbors.ids)
    positions[here] = atlas.positions(neighbors.ids[here])
    labels, code_of_cell = np.unique(atlas.labels.astype(str), return_inverse=True)
    votes = vote(neighbors, code_of_cell[positions], len(labels))
    label = np.array([str(one) for one in labels], dtype=object)[votes.winner]
    label[rejected] = UNKNOWN
    names = np.array(atlas.obs["cell_id"].to_pylist(), dtype=object)
    id_of = dict(zip(atlas.obs["label"].to_pylist(), atlas.obs["label_id"].to_pylist(), strict=True))
    notes = [f"{matrix.key} taken as {matrix.values}", *coverage.notes(), *species_notes]
    if rejected.any():
        notes.append(
            f"{int(rejected.sum()):,} cells have no expression on the atlas's genes and are labelled {UNKNOWN}"
        )
    return Annotation(
        obs_names=file.obs_names,
        label=label,
        label_id=np.array([id_of.get(one, "") for one in label], dtype=object),
        score=np.where(rejected, 0, np.take_along_axis(votes.shares, votes.winner[:, None], 1)[:, 0]).astype(
            np.float32
        ),
        distance=np.where(rejected, np.nan, neighbors.distances[:, 0]).astype(np.float32),
        rejected=rejected,
        labels=tuple(str(one) for one in labels),
        scores=votes.shares,
        neighbors=neighbors,
        neighbor_names=_where(here, names[positions]),
        vectors=np.concatenate([one.vectors for one in found]),
        provenance=_provenance(file, matrix, atlas, k, coverage),
        notes=tuple(notes),
    )


def _where(here: np.ndarray[Any, Any], names: Strings) -> Strings:
    return np.where(here, names, "").astype(object)


def _provenance(file: CellFile, matrix: Matrix, atlas: Atlas, k: int, coverage: Coverage) -> dict[str, Any]:
    made = atlas.manifest
    return {
        "scvec": scvec.__version__,
        "atlas": {key: made[key] for key in ("name", "version", "recipe", "recipe_sha256", "source", "index")},
        "query": {"file": file.path.name, "matrix": matrix.to_dict(), "coverage": coverage.to_dict()},
        "k": k,
        "vote": "1 / (cosine distance + 0.001)",
    }
