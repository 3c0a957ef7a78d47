"""What the genes of a contrast are about: clusters of their texts, with the words that distinguish each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from scvec.atlas import Atlas
from scvec.core.progress import shown
from scvec.core.tabular import Tabular
from scvec.core.types import Floats, Ints, Progress, Strings
from scvec.core.vectors import unit_vectors
from scvec.embed import open_genes
from scvec.errors import InputError, must_be
from scvec.explain.contrasts import By, Contrast

if TYPE_CHECKING:
    import scipy.sparse as sp

N_GROUPS = 8

COMMON = 0.1
"""A word in more than this share of all texts says nothing, such as ``encodes`` or ``type``."""

WORD = r"[a-z][a-z0-9-]*[a-z0-9]"


@dataclass(frozen=True, slots=True)
class TextGroup:
    """Genes of a contrast with similar texts.

    Attributes
    ----------
    genes_a, genes_b
        The symbols of genes that speak for A, and for B, in the order of the contrast.
    words
        The words that distinguish the group's texts from those of the atlas's other genes, best first.
    """

    genes_a: tuple[str, ...]
    genes_b: tuple[str, ...]
    words: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.genes_a) + len(self.genes_b)


@dataclass(frozen=True, slots=True)
class TextGroups(Tabular):
    """Groups of genes with similar texts.

    Attributes
    ----------
    a, b
        The groups of cells.
    encoder
        The encoder whose vectors of the texts were clustered.
    silhouette
        Mean silhouette of the clustering, -1 to 1; near 0, as is usual, if the texts form no clear groups.
    groups
        The groups, the largest first.
    """

    a: str
    b: str
    encoder: str
    silhouette: float
    groups: tuple[TextGroup, ...]

    def to_polars(self) -> pl.DataFrame:
        """Return one row for each group."""
        strings, number = pl.List(pl.String), pl.Int64
        schema: dict[str, Any] = {"group": number, "n_a": number, "n_b": number, "words": strings}
        schema |= {"genes_a": strings, "genes_b": strings}
        rows = [
            (i, len(one.genes_a), len(one.genes_b), list(one.words), list(one.genes_a), list(one.genes_b))
            for i, one in enumerate(self.groups, start=1)
        ]
        return pl.DataFrame(rows, schema=schema, orient="row")


def text_groups(
    contrast: Contrast,
    atlas: Atlas,
    *,
    by: By = "attribution",
    n_genes: int = 50,
    n_groups: int = N_GROUPS,
    n_words: int = 6,
    encoder: str | None = None,
    progress: Progress | None = None,
) -> TextGroups:
    """Cluster the top genes of both sides by their texts' vectors, and find the words that distinguish each cluster.

    Clustering is Ward's (1963, 10.1080/01621459.1963.10500845) on unit vectors. A word's score is the share of the
    cluster's texts that have it, times log(texts / texts that have it) over all genes of the atlas. The word must be in
    two of the cluster's texts, if there are two, and in at most a tenth of all texts.

    Parameters
    ----------
    contrast, atlas
        The contrast, and the atlas that it was made with.
    by
        What the genes are ordered by.
    n_genes
        Number of genes of each side.
    n_groups
        Number of clusters.
    n_words
        Number of words for each cluster.
    encoder
        The encoder whose vectors in the store are clustered; None: the atlas's.

    Raises
    ------
    InputError
        If the atlas was made without texts and `encoder` is None, or there are fewer genes than clusters.
    NotInStoreError
        If the texts of the atlas's genes, or the encoder's vectors of them, are not in the store.
    """
    progress = shown(progress)
    texts, name = atlas.texts, encoder or (atlas.recipe.encoder if atlas.recipe.reads_text else None)
    if name is None:
        raise InputError(
            f"atlas {atlas.name!r} was made without gene texts", "an encoder of texts", "give an `encoder`"
        )
    sides = contrast.top(by, "a", n_genes), contrast.top(by, "b", n_genes)
    revision = atlas.recipe.encoder_revision if name == atlas.recipe.encoder else None
    vectors = open_genes(
        atlas.store,
        texts,
        encoder=name,
        revision=revision,
        gene_ids=atlas.embedding.gene_ids,
        progress=progress,
    )
    with_vector = np.isin(contrast.gene_ids, vectors.gene_ids)
    first, second = (side[with_vector[side]] for side in sides)
    genes = np.concatenate([first, second])
    if not 1 <= n_groups <= len(genes):
        raise must_be("n_groups", f"from 1 to the number of genes, {len(genes)}", n_groups)
    found = vectors.of(contrast.gene_ids[genes])
    codes, silhouette = _clustered(found, n_groups)
    names = np.array([s or str(i) for s, i in zip(contrast.symbols, contrast.gene_ids, strict=True)], object)
    words = _words(atlas, contrast.gene_ids[genes], codes, n_words)
    is_a = np.arange(len(genes)) < len(first)
    groups = [
        TextGroup(tuple(names[genes[(codes == i) & is_a]]), tuple(names[genes[(codes == i) & ~is_a]]), words[i])
        for i in range(len(words))
    ]
    return TextGroups(contrast.a, contrast.b, vectors.encoder, silhouette, tuple(sorted(groups, key=len, reverse=True)))


def _clustered(vectors: Floats, n_groups: int) -> tuple[Ints, float]:
    """Return (n,) the cluster of each vector, by number, and the mean silhouette."""
    from sklearn.cluster import AgglomerativeClustering
    from sklearn.metrics import silhouette_score

    units, _ = unit_vectors(vectors)
    if n_groups == 1:
        return np.zeros(len(units), np.int64), 0.0
    codes = np.asarray(AgglomerativeClustering(n_groups, linkage="ward").fit_predict(units), np.int64)
    return codes, float(silhouette_score(units, codes)) if n_groups < len(units) else 0.0


def _words(atlas: Atlas, gene_ids: Ints, codes: Ints, n_words: int) -> list[tuple[str, ...]]:
    """Return the words that distinguish each cluster."""
    counts, vocabulary, rows = _words_of_texts(atlas)
    place = {gene: row for row, gene in enumerate(rows.tolist())}
    texts = np.array([place[gene] for gene in gene_ids.tolist()], np.int64)
    share = np.asarray(counts.sum(axis=0)).ravel() / counts.shape[0]
    weight = np.where(share <= COMMON, -np.log(share), 0.0)
    found = []
    for i in range(int(codes.max(initial=-1)) + 1):
        own = counts[texts[codes == i]]
        n_with = np.asarray(own.sum(axis=0)).ravel()
        score = np.where(n_with >= min(2, own.shape[0]), n_with / own.shape[0] * weight, 0.0)
        order = np.lexsort((np.arange(len(score)), -score))[:n_words]
        found.append(tuple(vocabulary[order[score[order] > 0]].tolist()))
    return found


def _words_of_texts(atlas: Atlas) -> tuple[sp.csr_matrix[np.int64], Strings, Ints]:
    """Return (texts, words) 1 where the text of an atlas's gene has a word, else 0; the words; and the genes' ids."""
    from sklearn.feature_extraction.text import CountVectorizer

    genes = atlas.texts.frame.filter(pl.col("gene_id").is_in(atlas.embedding.gene_ids.tolist()))
    counter = CountVectorizer(binary=True, stop_words="english", token_pattern=WORD)
    counts = counter.fit_transform(genes["text"].to_list())
    return counts, np.asarray(counter.get_feature_names_out(), object), genes["gene_id"].to_numpy()
