"""From words to genes: how near the text of each gene is to them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from scvec.atlas import Atlas
from scvec.core.types import Floats, Ints
from scvec.embed import GeneVectors, open_genes
from scvec.embed.encoders import Address, Encoder, find, make
from scvec.errors import InputError, MismatchError, NotInStoreError
from scvec.ingest import GeneTexts
from scvec.ingest.genes.gene_texts import taxon_name
from scvec.store import Store

if TYPE_CHECKING:
    import polars as pl

N_GENES = 20
FOLDER = "gene_vectors"


@dataclass(frozen=True)
class Reader:
    """Reads words by the encoder that read the genes' texts; its weights are loaded once, at the first words.

    Attributes
    ----------
    vectors
        Of a release's texts: see `scvec.embed.open_genes`.
    gene_ids
        (g,) the genes that may be meant: an atlas's, or all of `vectors`.
    """

    vectors: GeneVectors
    gene_ids: Ints

    def scores(self, words: str) -> Floats:
        """Return (g,) how near the text of each gene is to the words, in standard deviations above the mean gene.

        It is the cosine of both vectors, from each of which the genes' mean vector was subtracted (what all texts about
        genes have in common), standardised over the genes.

        Raises
        ------
        InputError
            If there are no words, none that the encoder knows, or if it reads no words at all.
        MismatchError
            If the encoder here is not the one that made the vectors.
        """
        if not words.strip():
            raise InputError("no words", "some, as 'lymphocytes that release granzyme'", "say what is looked for")
        asked = np.asarray(self._model.encode([words]), np.float64)[0]
        if not asked.any():
            name = self.vectors.encoder
            raise InputError(f"encoder {name!r} knows none of the words {words!r:.60}", "words it knows", "use others")
        mean, texts = self._texts
        asked -= mean
        lengths = np.linalg.norm(texts, axis=1) * np.linalg.norm(asked)
        cosines = np.divide(texts @ asked, lengths, out=np.zeros(len(texts)), where=lengths > 0)
        spread = cosines.std()
        if spread == 0:
            n = f"{len(texts):,}"
            raise InputError(
                f"{words!r:.60} is equally near to all {n} genes", "words that tell them apart", "use others"
            )
        return np.asarray((cosines - cosines.mean()) / spread, np.float32)

    @cached_property
    def _model(self) -> Encoder:
        """The encoder, as it made the vectors."""
        name = self.vectors.encoder
        if find(Address.parse(name).kind).partial:
            seen = f"encoder {name!r} has vectors of genes and reads no words"
            raise InputError(seen, "one that reads texts", "--encoder minilm, after scvec embed")
        model = make(name, self.vectors.texts.frame)
        if model.revision != self.vectors.revision:
            raise MismatchError(
                f"encoder {name!r} is at revision {model.revision} here",
                f"{self.vectors.revision}, by which the vectors in the store were made",
                "bring back those weights, or embed the texts and build the atlas again",
            )
        return model

    @cached_property
    def _texts(
        self,
    ) -> tuple[np.ndarray[tuple[int], np.dtype[np.float64]], np.ndarray[tuple[int, int], np.dtype[np.float64]]]:
        """The genes' mean vector, and (g, d) what they have beyond it."""
        texts = self.vectors.of(self.gene_ids).astype(np.float64)
        mean = texts.mean(axis=0)
        return mean, texts - mean


def reader_of(atlas: Atlas, encoder: str | None = None) -> Reader:
    """Return what reads words for the genes of an atlas.

    Parameters
    ----------
    atlas
        The reference.
    encoder
        One whose vectors of the atlas's release are in the store, or that takes seconds; None: that of the atlas's
        recipe.

    Raises
    ------
    InputError
        If none is given and the recipe has none.
    NotInStoreError
        If the store lacks the vectors.
    """
    own = atlas.recipe.encoder
    if encoder is None and own is None:
        there = encoders_there(atlas.store, atlas.texts)
        release = f"--taxon {taxon_name(atlas.texts.taxon_id)} --release {atlas.texts.release}"
        raise InputError(
            f"atlas {atlas.name!r} of recipe {atlas.recipe.name!r} has no encoder that reads words",
            f"one of those whose vectors are in the store: {', '.join(there) or 'none is there'}",
            f"--encoder {there[0]}" if there else f"scvec embed --encoder minilm {release}, then --encoder minilm",
        )
    name = encoder or own or ""
    is_own = own is not None and Address.parse(name).canonical() == Address.parse(own).canonical()
    revision = atlas.recipe.encoder_revision if is_own else None
    vectors = open_genes(atlas.store, atlas.texts, encoder=name, revision=revision)
    return Reader(vectors, atlas.profiles.gene_ids)


def genes(reader: Reader, words: str, n: int = N_GENES) -> pl.DataFrame:
    """Return the genes whose texts are nearest to some words.

    Parameters
    ----------
    reader
        Who reads the words, for which genes.
    words
        Any text: a function, a phenotype, a description.
    n
        How many.

    Returns
    -------
    pl.DataFrame
        Columns `gene_id`, `symbol`, `name` and `score`, that of `Reader.scores`; the best first, of equally good ones
        that with the lowest id.

    Raises
    ------
    InputError, MismatchError
        As `Reader.scores` does.
    """
    return named(reader, reader.scores(words)).head(n)


def named(reader: Reader, scores: Floats) -> pl.DataFrame:
    """Return all genes with their scores, as `genes` does."""
    import polars as pl

    about = reader.vectors.texts.frame.select("gene_id", "symbol", name="full_name")
    scored = pl.DataFrame({"gene_id": reader.gene_ids, "score": scores})
    frame = scored.join(about, on="gene_id", how="left", maintain_order="left")
    return frame.select("gene_id", "symbol", "name", "score").sort("score", "gene_id", descending=[True, False])


def encoders_there(store: Store, texts: GeneTexts) -> list[str]:
    """Return the encoders that read words and whose vectors of these texts are in the store, those of models first."""
    names = set()
    for folder in store.children(FOLDER):
        for revision in store.children(f"{FOLDER}/{folder}"):
            table = store.table(f"{FOLDER}/{folder}/{revision}")
            names |= {table.latest().manifest["encoder"]} if table.exists else set()
    order = sorted(names, key=lambda name: (find(Address.parse(name).kind).instant, name))
    return [name for name in order if _is_there(store, texts, name)]


def _is_there(store: Store, texts: GeneTexts, name: str) -> bool:
    """Whether it reads words, and has a vector for every text."""
    if find(Address.parse(name).kind).partial:
        return False
    try:
        open_genes(store, texts, encoder=name)
    except (InputError, NotInStoreError):
        return False
    return True
