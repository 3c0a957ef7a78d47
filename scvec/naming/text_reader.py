"""What genes and terms say, as vectors of one encoder, which stay in the store."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from shlex import quote

import numpy as np

from scvec.core.progress import shown
from scvec.core.types import Bools, Floats, Ints, Progress
from scvec.embed import GeneVectors, encoder_for, open_genes
from scvec.embed.encoders import Address, find
from scvec.embed.text_vectors import TextTable, encoded, hash_of
from scvec.errors import InputError
from scvec.ingest import GeneTexts
from scvec.ingest.genes.gene_texts import taxon_name
from scvec.naming.term_texts import PARTS, Part, TermTexts, term_texts
from scvec.ontology import Ontology
from scvec.store import Store

TERMS, SENTENCES = "term_vectors", "sentence_vectors"
"""The folders of the tables with vectors of the terms' texts, and of sentences of the genes' texts."""

SCORED_PARTS: tuple[tuple[Part, ...], ...] = (PARTS,)
"""The texts of terms that are scored, each by the parts that it is made of."""

TERM_COLUMNS = {
    "text_sha256": "the hash of a text of a term; rows are in the order in which texts were encoded",
    "vector": "the encoder's vector of the text",
}
SENTENCE_COLUMNS = {
    "text_sha256": "the hash of a sentence; rows are in the order in which sentences were encoded",
    "vector": "the encoder's vector of the sentence",
}


@dataclass(frozen=True)
class TextReader:
    """Reads the texts of genes and terms with the encoder that read the genes'. Make it with `reader_for`.

    A text is encoded once: its vector is kept in the store by the text's hash, so that of another release of the
    ontology only the terms that changed are encoded.

    Attributes
    ----------
    store
        Where vectors are kept.
    terms
        The terms that may name a cluster.
    genes
        Vectors of the gene texts of a species, which say what the encoder is.
    progress
        Shows what is encoded.
    """

    store: Store = field(repr=False)
    terms: TermTexts
    genes: GeneVectors
    progress: Progress = field(repr=False)

    @property
    def encoder(self) -> str:
        """The encoder's name."""
        return self.genes.encoder

    @property
    def reads_meaning(self) -> bool:
        """Whether the encoder is a model; one that takes only seconds compares words, or nothing."""
        return not find(Address.parse(self.encoder).kind).instant

    def of_terms(self, parts: Sequence[Part] = PARTS) -> Floats:
        """Return (T, d) vectors of the terms' texts, made of `parts`; zeros where a term has none of them."""
        texts = self.terms.texts(parts)
        there = np.array([bool(one) for one in texts])
        vectors = np.zeros((len(texts), self.genes.dimension), np.float32)
        vectors[there] = self._terms([one for one in texts if one])
        return vectors

    def _terms(self, texts: Sequence[str]) -> Floats:
        """Return vectors of terms' texts; an encoder that costs money, or runs elsewhere, is only asked on request."""
        kind = find(Address.parse(self.encoder).kind)
        if kind.local or kind.instant:
            return self._kept(TERMS, texts)
        taxon = taxon_name(self.genes.texts.taxon_id)
        return TextTable.of(self.store, TERMS, self.encoder, self.genes.revision).vectors(
            [hash_of(one) for one in texts],
            fix=f"scvec embed --taxon {taxon} --encoder {quote(self.encoder)} --terms",
        )

    def _kept(self, kind: str, texts: Sequence[str]) -> Floats:
        """Return vectors of texts, which the store keeps; the encoder is loaded only for those that it lacks."""
        stored = TextTable.of(self.store, kind, self.encoder, self.genes.revision)
        hashes = [hash_of(one) for one in texts]
        if hashes and stored.positions.keys() >= set(hashes):
            return stored.vectors(hashes)
        return encoded(self.store, kind, texts, self.genes.model, progress=self.progress)

    def has_text(self, gene_ids: Ints) -> Bools:
        """Return (g,) whether each gene has a text, and so a vector."""
        return np.isin(gene_ids, self.genes.gene_ids)

    def of_genes(self, gene_ids: Ints) -> Floats:
        """Return (g, d) vectors of the genes' texts; zeros for a gene without a text."""
        there = self.has_text(gene_ids)
        vectors = np.zeros((len(gene_ids), self.genes.dimension), np.float32)
        vectors[there] = self.genes.of(gene_ids[there])
        return vectors

    def of_sentences(self, sentences: Sequence[str]) -> Floats:
        """Return (n, d) vectors of sentences of gene texts."""
        return self._kept(SENTENCES, sentences)

    def gene_texts(self, gene_ids: Ints) -> list[str]:
        """Return (g,) the genes' texts; "" for a gene without one."""
        found = self._text_of
        return [found.get(int(gene), "") for gene in gene_ids]

    @cached_property
    def _text_of(self) -> dict[int, str]:
        return dict(self.genes.texts.frame.select("gene_id", "text").iter_rows())


def encode_terms(store: Store, ontology: Ontology, genes: GeneVectors, progress: Progress | None = None) -> int:
    """Encode what `scvec.name` reads of the terms, whatever the encoder costs; return how many texts had no vector.

    Parameters
    ----------
    store, ontology
        The store, and the ontology in it.
    genes
        Vectors of gene texts by the encoder.
    progress
        Shows progress in texts.
    """
    terms, model = term_texts(ontology), genes.model
    texts = sorted({text for parts in SCORED_PARTS for text in terms.texts(parts) if text})
    before = TextTable.of(store, TERMS, model.name, model.revision).positions
    encoded(store, TERMS, texts, model, progress=progress)
    return sum(hash_of(one) not in before for one in texts)


def reader_for(
    store: Store,
    terms: TermTexts,
    texts: GeneTexts,
    gene_ids: Ints,
    encoder: str | None = None,
    progress: Progress | None = None,
) -> TextReader:
    """Return a reader of terms, and of the texts of some genes.

    Parameters
    ----------
    store, terms, texts
        The store, the terms, and the texts of a species in the store.
    gene_ids
        The genes whose vectors are needed.
    encoder
        An encoder whose vectors of these genes are in the store, or take only seconds to make; None: the first model
        whose vectors are there, or else tfidf.
    progress
        Shows what is encoded.

    Raises
    ------
    NotInStoreError
        If the store lacks vectors of the genes.
    InputError
        If the encoder cannot read words.
    """
    name = encoder_for(store, texts, gene_ids) if encoder is None else encoder
    require_words(name)
    genes = open_genes(store, texts, encoder=name, gene_ids=gene_ids, progress=progress)
    return TextReader(store, terms, genes, shown(progress))


def require_words(encoder: str) -> None:
    """Raise `InputError` for an encoder that has vectors of genes only, `KeyNotFoundError` for an unknown one."""
    if find(Address.parse(encoder).kind).partial:
        seen = f"`encoder` {encoder!r} has vectors of genes and cannot read the texts of terms"
        raise InputError(seen, "an encoder of texts", "`encoder` minilm, after scvec embed")
