"""From a description to the labels of an atlas, with the genes behind each match, and exemplar cells."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import scipy.sparse as sp

from scvec.annotation.candidates import Candidates, candidates_of
from scvec.atlas import Atlas
from scvec.core.types import Doubles, Floats, Ints
from scvec.errors import InputError, MismatchError
from scvec.ontology.spelling import spelling
from scvec.search.keywords import Keywords
from scvec.search.ranked_genes import N_GENES, By, RankedGenes, rank_genes
from scvec.search.reader import Reader, reader_of
from scvec.search.result import Found
from scvec.search.similar_cells import cells_frame

if TYPE_CHECKING:
    import polars as pl

SHARPNESS = 5
"""A gene's weight is its score to this power. From 4 to 8, ranks of the Cell Ontology's definitions agree within their
spread; with a lower power unrelated genes drown the related ones, with a higher power one gene decides."""

N_LABELS, N_EXEMPLARS = 5, 3
CLEAR = 3.0
"""If the best score is below this, a note says that no label stands out: one of a few labels can reach it by chance."""


def words(
    atlas: Atlas,
    words: str,
    *,
    encoder: str | Reader | Keywords | None = None,
    by: By | None = None,
    label_names: bool = True,
    where: str | None = None,
    n_labels: int = N_LABELS,
    n_exemplars: int = N_EXEMPLARS,
) -> Found:
    """Rank the labels of an atlas by how well a description fits what their cells express.

    Each gene is scored by how near its text is to the words as the encoder reads them, and by how many of the words its
    text has (BM25), both in standard deviations above the mean gene. A score's weight is its fifth power, and 0 below
    the mean. Weights of both ways, and of genes that the words name, are added, such that the scores that each alone
    would give the labels have the same spread.
    A label's score is the weighted mean of how far it expresses the genes above the mean of the labels. That difference
    is in units of the gene's spread between labels plus the median gene's, so that genes with hardly any expression
    count little, and is standardised over the genes of the label. Variants were compared on definitions of the Cell
    Ontology (``benchmarks/results/words.md``).

    Exemplars are cells of the atlas nearest to the vector of a cell that would express the genes by their weights.

    Parameters
    ----------
    atlas
        The reference.
    words
        Any text: ``"cytotoxic lymphocytes that release granzyme"``.
    encoder
        Encoder for the words, or what `reader_of` returns, for several searches; None: that of the atlas's recipe. Its
        vectors of the atlas's release must be in the store. An atlas of a recipe without an encoder needs one, except
        by keywords.
    by
        How texts are compared with the words, see `scvec.search.genes`: ``"meaning"``, ``"keywords"`` or ``"both"``;
        None: both.
    label_names
        Whether a label comes first that is called by exactly these words, or whose term in the store's ontology is. By
        meaning, none does.
    where
        A condition in SQL on the columns of the atlas's `obs`, for the cells that may be found; None: all. A label
        without such cells is not ranked; what a label expresses is taken from all of its cells.
    n_labels, n_exemplars
        Number of labels with exemplars, and number of exemplars for each.

    Raises
    ------
    InputError
        If there are no words, the encoder knows none of them, no text has any of them, there is no encoder that reads
        words, or `by` or the condition is invalid, or the condition leaves no cell.
    NotInStoreError
        If the store lacks the encoder's vectors of the atlas's release.
    MismatchError
        If the encoder here is not the one that made the vectors, or no label can be ranked.
    """
    reader = _reader(atlas, encoder, by)
    gene_ids = atlas.profiles.gene_ids
    if not np.array_equal(reader.gene_ids, gene_ids):
        raise MismatchError("the reader has other genes", f"those of atlas {atlas.name!r}", "make it with reader_of")
    ranked = rank_genes(reader, words, by)
    if not len(ranked.order):
        seen = f"no gene of atlas {atlas.name!r} is named {words!r:.60} or has one of these words in its text"
        raise InputError(seen, fix="use other words, or `by` meaning")
    among = candidates_of(atlas, where)
    codes, late = _ranked(atlas, among)
    excess = _standardised(atlas.profiles.excess())
    # Of all labels, so that a filter leaves the scores of the others as they are.
    weights = _weights(ranked, excess[atlas.profiles.labels.any(axis=1)])
    ties = excess[codes] * _in_chance(weights)
    totals = ties.sum(axis=1)
    called = _called(atlas, words) if label_names and ranked.by != "meaning" else []
    named = np.isin(atlas.label_names[codes].astype(str), called)
    order = np.lexsort((codes, -totals, ~named))
    codes, named, names = codes[order], named[order], atlas.label_names
    ids = atlas.label_ids
    best = float(totals.max())
    said = ", ".join(names[codes[named]].tolist())
    first = (f"first, as the words are its name: {said}",) if said else ()
    unclear = () if best >= CLEAR else (f"no label stands out: the best score is {best:.1f} above chance",)
    unseen = (f"not ranked, because they were added after the atlas was fitted: {', '.join(late)}",) if late else ()
    return Found(
        words=words,
        encoder=reader.vectors.encoder if isinstance(reader, Reader) else "",
        labels=names[codes],
        label_ids=np.array([ids.get(name, "") for name in names[codes].tolist()], object),
        n_cells=among.counts[codes],
        scores=np.asarray(totals[order], np.float32),
        gene_ids=gene_ids,
        symbols=np.where(atlas.gene_symbols == "", gene_ids.astype(str).astype(object), atlas.gene_symbols),
        gene_scores=np.asarray(ranked.scores, np.float32),
        ties=np.asarray(ties[order], np.float32),
        genes=ranked.frame(reader.texts, N_GENES),
        cells=_exemplars(atlas, among, codes[:n_labels], weights, n_exemplars),
        notes=(*among.notes, *first, *unseen, *unclear),
        by=ranked.by,
    )


def _reader(atlas: Atlas, encoder: str | Reader | Keywords | None, by: By | None) -> Reader | Keywords:
    """Return what reads the words; keywords alone need no encoder."""
    if isinstance(encoder, (Reader, Keywords)):
        return encoder
    return Keywords(atlas.texts, atlas.profiles.gene_ids) if by == "keywords" else reader_of(atlas, encoder)


def _called(atlas: Atlas, words: str) -> list[str]:
    """Return the labels that are called so, or whose term has that name or synonym: see `scvec.ontology.spelling`."""
    wanted = spelling(words)
    names = {label: {spelling(label)} for label in atlas.label_names.tolist()}
    if atlas.label_table is not None:
        for row in atlas.label_table.read(["label", "name", "synonyms"]).to_pylist():
            called = [*([row["name"]] if row["name"] else []), *(row["synonyms"] or [])]
            names.setdefault(row["label"], set()).update(map(spelling, called))
    return [label for label, spelt in names.items() if wanted in spelt]


def _weights(ranked: RankedGenes, excess: Doubles) -> Floats:
    """Return (g,) weights of genes that add up to one: of those by meaning, by keywords and of named genes together.

    Each is divided by the spread of the scores that it alone would give the labels, whose standardised `excess` is (L,
    g): so it orders them as much as any other. One that tells labels apart no better than chance is not blown up.
    """
    parts = []
    if ranked.meaning is not None and np.isfinite(ranked.meaning).all():
        parts.append(_powers(ranked.meaning))
    if ranked.keywords is not None and ranked.keywords.any():
        parts.append(_powers((ranked.keywords - ranked.keywords.mean()) / (ranked.keywords.std() or 1)))
    if ranked.named:
        parts.append(ranked.is_named / ranked.is_named.sum())
    scaled = [_in_chance(one) for one in parts]
    total = np.sum([one / max(1.0, (excess @ one).std()) for one in scaled], axis=0)
    return np.asarray(total / total.sum(), np.float32)


def _powers(scores: Doubles) -> Doubles:
    """Return (g,) weights of standardised scores, which add up to one."""
    weights = np.maximum(scores, 0) ** SHARPNESS
    total = weights.sum()
    # Keywords that are in every text score all genes alike.
    made: Doubles = weights / total if total > 0 else np.full(len(weights), 1 / len(weights))
    return made


def _ranked(atlas: Atlas, among: Candidates) -> tuple[Ints, list[str]]:
    """Return the codes of labels to rank, those with candidates and a profile; and the names of labels without one."""
    there, fitted = among.counts > 0, np.zeros(len(atlas.label_names), bool)
    fitted[: len(atlas.profiles.labels)] = atlas.profiles.labels.any(axis=1)
    if not (there & fitted).any():
        raise MismatchError(
            f"all labels left of atlas {atlas.name!r} were added after it was fitted",
            "one that was there before",
            f"build it again: scvec atlas build {atlas.name} REF.h5ad --overwrite",
        )
    return np.flatnonzero(there & fitted), atlas.label_names[there & ~fitted].tolist()


def _standardised(excess: Doubles) -> Doubles:
    """Return (L, g) the excess of each label, standardised over its genes."""
    excess = excess - excess.mean(axis=1, keepdims=True)
    deviation = excess.std(axis=1, keepdims=True)
    made: Doubles = np.divide(excess, deviation, out=np.zeros_like(excess), where=deviation > 0)
    return made


def _in_chance(weights: Floats | Doubles) -> Doubles:
    """Return (g,) weights over the standard deviation of a label's score over all permutations of the genes."""
    n_genes = len(weights)
    at_random = np.sqrt(((weights.astype(np.float64) - 1 / n_genes) ** 2).sum() * n_genes / max(1, n_genes - 1))
    return np.asarray(weights / (at_random or 1), np.float64)


def _exemplars(atlas: Atlas, among: Candidates, codes: Ints, weights: Floats, n: int) -> pl.DataFrame:
    """Return the cells of each label that are nearest to a cell that expresses the genes by their weights."""
    if atlas.recipe.weights == "given":  # no expression leads to such a vector: those nearest to the label's mean
        towards = atlas.label_means
    else:
        cell = sp.csr_matrix(weights[None])
        vectors, _ = atlas.embedding.vectors(cell, np.ones(len(weights), bool), atlas.device)
        towards = np.broadcast_to(vectors, (len(atlas.label_names), vectors.shape[1]))
    own = among.codes[atlas.positions(among.rows)]
    rows, similarity = [np.zeros(0, np.int64)], [np.zeros(0, np.float32)]
    for code in codes.tolist():
        found = atlas.search(np.ascontiguousarray(towards[[code]]), n, atlas.narrowed(among.rows[own == code]))
        there = found.ids[0] >= 0
        rows.append(found.ids[0][there])
        similarity.append(1 - found.distances[0][there])
    return cells_frame(atlas, np.concatenate(rows), np.concatenate(similarity))
