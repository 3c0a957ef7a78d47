"""From words to the labels of an atlas, with the genes that tie them to the words, and exemplar cells."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.sparse as sp

from scvec.annotation.candidates import Candidates, candidates_of
from scvec.atlas import Atlas
from scvec.core.types import Floats, Ints
from scvec.errors import MismatchError
from scvec.search.reader import N_GENES, Reader, named, reader_of
from scvec.search.result import Found
from scvec.search.similar_cells import cells_frame

if TYPE_CHECKING:
    import polars as pl

SHARPNESS = 5
"""A gene's weight is its score to this power. From 4 to 8 ranks of the Cell Ontology's definitions are the same within
their spread; lower, genes that have nothing to do with the words drown those that have, higher, one gene decides."""

N_LABELS, N_EXEMPLARS = 5, 3
CLEAR = 3.0
"""A best score below this is said to be none: of a few labels, one comes near it by chance."""


def words(
    atlas: Atlas,
    words: str,
    *,
    encoder: str | Reader | None = None,
    where: str | None = None,
    n_labels: int = N_LABELS,
    n_exemplars: int = N_EXEMPLARS,
) -> Found:
    """Rank the labels of an atlas by how well words describe what their cells express.

    Each gene is scored by how near its text is to the words, in standard deviations above the mean gene, and weighs the
    fifth power of that; one below the mean weighs nothing. A label's score is the weighted mean of how far it expresses
    the genes above the mean of the labels. That difference is taken in units of a gene's spread between labels, to
    which the median gene's is added, so that a gene that hardly anything expresses does not count for much, and is
    standardised over the genes of the label. Variants were compared on definitions of the Cell Ontology
    (``benchmarks/results/words.md``).

    Exemplars are found in the atlas itself, by the vector of a cell that would express the genes by these weights.

    Parameters
    ----------
    atlas
        The reference.
    words
        Any text: ``"cytotoxic lymphocytes that release granzyme"``.
    encoder
        Who reads the words, if not the encoder of the atlas's recipe: one whose vectors of the atlas's release are in
        the store. An atlas of a recipe without encoder needs it. Or what `reader_of` returns: to ask more than once.
    where
        Which cells may be found, a condition in SQL on the columns of the atlas's `obs`; None: all. A label that has
        none of them is not ranked; what a label expresses is that of all of its cells.
    n_labels, n_exemplars
        How many labels have exemplars, and how many exemplars each.

    Raises
    ------
    InputError
        If there are no words, none that the encoder knows, no encoder that reads words, or if the condition is none or
        leaves no cell.
    NotInStoreError
        If the store lacks the encoder's vectors of the atlas's release.
    MismatchError
        If the encoder here is not the one that made the vectors, or no label can be ranked.
    """
    reader = encoder if isinstance(encoder, Reader) else reader_of(atlas, encoder)
    gene_ids = atlas.profiles.gene_ids
    if not np.array_equal(reader.gene_ids, gene_ids):
        raise MismatchError("a reader of other genes", f"one of the genes of atlas {atlas.name!r}", "use reader_of")
    gene_scores = reader.scores(words)
    weights = _weights(gene_scores)
    among = candidates_of(atlas, where)
    codes, late = _ranked(atlas, among)
    ties = _ties(atlas.profiles.labels[codes], weights, _known(atlas.profiles.labels))
    totals = ties.sum(axis=1)
    order = np.lexsort((codes, -totals))
    codes, names = codes[order], atlas.label_names
    ids = atlas.label_ids
    best = float(totals.max())
    unclear = () if best >= CLEAR else (f"no label stands out: the best is {best:.1f} above what chance gives",)
    unseen = (f"not ranked, as they came after the atlas was fitted: {', '.join(late)}",) if late else ()
    return Found(
        words=words,
        encoder=reader.vectors.encoder,
        labels=names[codes],
        label_ids=np.array([ids.get(name, "") for name in names[codes].tolist()], object),
        n_cells=among.counts[codes],
        scores=np.asarray(totals[order], np.float32),
        gene_ids=gene_ids,
        symbols=np.where(atlas.gene_symbols == "", gene_ids.astype(str).astype(object), atlas.gene_symbols),
        gene_scores=gene_scores,
        ties=np.asarray(ties[order], np.float32),
        genes=named(reader, gene_scores).head(N_GENES),
        cells=_exemplars(atlas, among, codes[:n_labels], weights, n_exemplars),
        notes=(*among.notes, *unseen, *unclear),
    )


def _weights(gene_scores: Floats) -> Floats:
    """Return (g,) weights, which add up to one."""
    weights = np.maximum(gene_scores.astype(np.float64), 0) ** SHARPNESS
    return np.asarray(weights / weights.sum(), np.float32)


def _known(profiles: Floats) -> Floats:
    """Return the profiles of the labels that have one."""
    return profiles[profiles.any(axis=1)]


def _ranked(atlas: Atlas, among: Candidates) -> tuple[Ints, list[str]]:
    """Return the labels to rank: of the cells that may be found, those with a profile; and the names of the others."""
    there, fitted = among.counts > 0, np.zeros(len(atlas.label_names), bool)
    fitted[: len(atlas.profiles.labels)] = atlas.profiles.labels.any(axis=1)
    if not (there & fitted).any():
        raise MismatchError(
            f"no label of atlas {atlas.name!r} that is left was there when it was fitted",
            "one that was",
            f"build it again: scvec atlas build {atlas.name} REF.h5ad --overwrite",
        )
    return np.flatnonzero(there & fitted), atlas.label_names[there & ~fitted].tolist()


def _ties(labels: Floats, weights: Floats, known: Floats) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Return (L, g) what each gene adds to the score of each of some labels; `known` are the profiles of all."""
    spread = known.std(axis=0, dtype=np.float64)
    spread += np.median(spread[spread > 0]) if spread.any() else 1
    excess = (labels - known.mean(axis=0, dtype=np.float64)) / spread
    excess -= excess.mean(axis=1, keepdims=True)
    deviation = excess.std(axis=1, keepdims=True)
    excess = np.divide(excess, deviation, out=np.zeros_like(excess), where=deviation > 0)
    # The variance of the weighted sum over all orders of the genes.
    n_genes = len(weights)
    at_random = np.sqrt(((weights.astype(np.float64) - 1 / n_genes) ** 2).sum() * n_genes / max(1, n_genes - 1))
    ties: np.ndarray[Any, np.dtype[np.float64]] = excess * weights / (at_random or 1)
    return ties


def _exemplars(atlas: Atlas, among: Candidates, codes: Ints, weights: Floats, n: int) -> pl.DataFrame:
    """Return the cells of each label that are nearest to one that expresses the genes by their weights."""
    measured = np.ones(len(weights), bool)
    vectors, _ = atlas.embedding.vectors(sp.csr_matrix(weights[None]), measured, atlas.device)
    own = among.codes[atlas.positions(among.rows)]
    rows, similarity = [np.zeros(0, np.int64)], [np.zeros(0, np.float32)]
    for code in codes.tolist():
        found = atlas.search(vectors, n, atlas.narrowed(among.rows[own == code]))
        there = found.ids[0] >= 0
        rows.append(found.ids[0][there])
        similarity.append(1 - found.distances[0][there])
    return cells_frame(atlas, np.concatenate(rows), np.concatenate(similarity))
