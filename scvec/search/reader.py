"""From words to genes: how near each gene's text is to the words."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from scvec.atlas import Atlas
from scvec.core.types import Floats, Ints
from scvec.embed import GeneVectors, encoders_there, open_genes
from scvec.embed.encoders import Address
from scvec.errors import InputError
from scvec.ingest import GeneTexts
from scvec.ingest.genes.gene_texts import taxon_name
from scvec.search.keywords import Keywords


@dataclass(frozen=True)
class Reader:
    """Reads words with the encoder that read the genes' texts; its weights are loaded once, when first used.

    Attributes
    ----------
    vectors
        Vectors of a release's gene texts: see `scvec.embed.open_genes`.
    gene_ids
        (g,) the genes to score: an atlas's, or all of `vectors`.
    """

    vectors: GeneVectors
    gene_ids: Ints

    @property
    def texts(self) -> GeneTexts:
        """The gene texts."""
        return self.vectors.texts

    @cached_property
    def keywords(self) -> Keywords:
        """Finds the same genes by words and names."""
        return Keywords(self.texts, self.gene_ids)

    def scores(self, words: str, *, strict: bool = True) -> Floats:
        """Return (g,) how near the text of each gene is to the words, in standard deviations above the mean gene.

        A score is the cosine of both vectors after the genes' mean vector (what all gene texts have in common) was
        subtracted from each, standardised over the genes.

        Parameters
        ----------
        words
            Any text.
        strict
            Whether to raise an error if the encoder knows none of the words; False: all scores are NaN.

        Raises
        ------
        InputError
            If there are no words, the encoder knows none of them, or it cannot read words.
        MismatchError
            If the encoder here is not the one that made the vectors.
        """
        check_words(words)
        asked = np.asarray(self.vectors.model.encode([words]), np.float64)[0]
        if not asked.any():
            if not strict:
                return np.full(len(self.gene_ids), np.nan, np.float32)
            name = self.vectors.encoder
            raise InputError(f"encoder {name!r} knows none of the words {words!r:.60}", fix="use other words")
        mean, texts = self._texts
        asked -= mean
        lengths = np.linalg.norm(texts, axis=1) * np.linalg.norm(asked)
        cosines = np.divide(texts @ asked, lengths, out=np.zeros(len(texts)), where=lengths > 0)
        spread = cosines.std()
        if spread == 0:
            n = f"{len(texts):,}"
            raise InputError(
                f"{words!r:.60} is equally near to all {n} genes", "words that distinguish genes", "use other words"
            )
        return np.asarray((cosines - cosines.mean()) / spread, np.float32)

    @cached_property
    def _texts(
        self,
    ) -> tuple[np.ndarray[tuple[int], np.dtype[np.float64]], np.ndarray[tuple[int, int], np.dtype[np.float64]]]:
        """The genes' mean vector, and (g, d) their vectors minus it; zero for a gene that the release lacks."""
        there = np.isin(self.gene_ids, self.vectors.gene_ids)
        texts = self.vectors.of(self.gene_ids[there]).astype(np.float64)
        mean = texts.mean(axis=0)
        centred = np.zeros((len(there), len(mean)))
        centred[there] = texts - mean
        return mean, centred


def reader_of(atlas: Atlas, encoder: str | None = None) -> Reader:
    """Return a reader of words for the genes of an atlas.

    Parameters
    ----------
    atlas
        The reference.
    encoder
        An encoder whose vectors of the atlas's release are in the store, or take only seconds to make; None: the
        encoder of the atlas's recipe, or if its head learned without texts, the first whose vectors are there.

    Raises
    ------
    InputError
        If `encoder` is None and there is none.
    NotInStoreError
        If the store lacks the texts of the atlas's genes, or the vectors.
    """
    own = atlas.recipe.encoder
    if encoder is None and own is None:
        there = encoders_there(atlas.store, atlas.texts, atlas.profiles.gene_ids)
        if there and atlas.recipe.weights == "free":
            return reader_of(atlas, there[0])
        release = f"--taxon {taxon_name(atlas.texts.taxon_id)} --release {atlas.texts.release}"
        raise InputError(
            f"atlas {atlas.name!r} of recipe {atlas.recipe.name!r} has no encoder that reads words",
            f"one whose vectors are in the store ({', '.join(there) or 'there is none'})",
            f"`encoder` {there[0]}" if there else f"scvec embed --encoder minilm {release}, then `encoder` minilm",
        )
    name = encoder or own or ""
    is_own = own is not None and Address.parse(name).canonical() == Address.parse(own).canonical()
    revision = atlas.recipe.encoder_revision if is_own else None
    gene_ids = atlas.profiles.gene_ids
    vectors = open_genes(atlas.store, atlas.texts, encoder=name, revision=revision, gene_ids=gene_ids)
    return Reader(vectors, gene_ids)


def check_words(words: str) -> None:
    """Raise `InputError` if there are no words."""
    if not words.strip():
        raise InputError("no words to search for", "some, as 'lymphocytes that release granzyme'", "give them")
