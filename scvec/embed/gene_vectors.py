"""Gene vectors in the store: one table per encoder and revision, one row per text, each encoded once."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from shlex import quote

import polars as pl

from scvec.core.types import Floats, Ints, Progress
from scvec.embed.encoders import Address, Encoder, Partial, Priced, find, make, models
from scvec.embed.encoders.api import estimate_tokens
from scvec.embed.text_vectors import TextTable, accepted, encoders_of, folder_of
from scvec.errors import InputError, MismatchError, NotInStoreError
from scvec.ingest.genes.gene_texts import GeneTexts, taxon_name
from scvec.store import Store, Table

KIND = "gene_vectors"
"""The folder of the tables."""

COLUMNS = {
    "text_sha256": "the hash of a text, as in gene_texts; rows are in the order in which texts were encoded",
    "vector": "the encoder's vector of the text",
}


@dataclass(frozen=True)
class GeneVectors:
    """The vectors of one release's texts, or of some of its genes, by one encoder.

    Attributes
    ----------
    texts
        The release.
    encoder, revision, dimension
        The encoder, the identity of its weights, and the length of a vector.
    n_encoded, n_texts
        How many texts this call encoded, and how many distinct texts the encoder accepts; the rest were stored already.
    table
        The table of the vectors.
    """

    texts: GeneTexts
    encoder: str
    revision: str
    dimension: int
    n_encoded: int
    n_texts: int
    table: Table

    @cached_property
    def gene_ids(self) -> Ints:
        """(g,) the genes that have a vector: those that were encoded, which need not be all of the release."""
        there = pl.col("text_sha256").is_in(list(self._stored.positions))
        return self.texts.frame.filter(there)["gene_id"].to_numpy()

    def of(self, gene_ids: Ints) -> Floats:
        """Return (n, dimension) vectors of genes, in their order; raise `NotInStoreError` if one is missing."""
        hash_of = dict(self.texts.frame.select("gene_id", "text_sha256").iter_rows())
        hashes = [hash_of.get(int(gene), str(gene)) for gene in gene_ids]
        return self._stored.vectors(hashes, fix=_embed_command(self.texts, self.encoder))

    @cached_property
    def model(self) -> Encoder:
        """The encoder that made the vectors; its weights are loaded when it first encodes.

        Raises
        ------
        InputError
            If it cannot read words.
        MismatchError
            If the encoder here is not the one that made the vectors.
        """
        if find(Address.parse(self.encoder).kind).partial:
            seen = f"encoder {self.encoder!r} has vectors of genes and cannot read words"
            raise InputError(seen, "an encoder of texts", "`encoder` minilm, after scvec embed")
        model = make(self.encoder, self.texts.frame)
        if model.revision != self.revision:
            raise MismatchError(
                f"encoder {self.encoder!r} is at revision {model.revision} here",
                f"{self.revision}, which made the vectors in the store",
                "restore those weights, or embed the texts and build the atlas again",
            )
        return model

    @cached_property
    def _stored(self) -> TextTable:
        return TextTable(self.table)


@dataclass(frozen=True, slots=True)
class Bill:
    """What encoding would cost.

    Attributes
    ----------
    encoder, revision
        The encoder.
    n_left, n_texts
        The number of texts without a vector, and of all texts.
    tokens
        Tokens in the texts without a vector, estimated from their length; 0 for ready-made vectors.
    usd
        Their cost at list price: 0 for an encoder that runs locally; None if no price is known.
    """

    encoder: str
    revision: str
    n_left: int
    n_texts: int
    tokens: int
    usd: float | None


def genes(
    store: Store,
    texts: GeneTexts,
    *,
    encoder: str,
    gene_ids: Ints | None = None,
    download: bool = False,
    progress: Progress | None = None,
) -> GeneVectors:
    """Encode the texts of a release that have no vector yet.

    Vectors are stored by the hash of their text, so a text that two releases share is encoded once. Texts are encoded
    longest first, so that batches have texts of similar length and little padding. Every `COMMIT_TEXTS` texts are
    committed: a run that was killed resumes where it stopped.

    Parameters
    ----------
    store, texts
        The store, and the release in it.
    encoder
        Name in the registry, with argument and options: see `scvec.embed.encoders.Address`.
    gene_ids
        Encode only the texts of these genes; None: of all. The others can be encoded later.
    download
        Whether the encoder may download its weights.
    progress
        Shows progress in texts.

    Raises
    ------
    KeyNotFoundError
        If there is no such encoder.
    MissingDependencyError
        If it needs a package or weights that are not installed.
    ServiceError
        If a server or a plug-in returns invalid vectors; those of earlier batches are kept.
    """
    model = make(encoder, texts.frame, download=download)
    stored = TextTable.of(store, KIND, model.name, model.revision)
    wanted = accepted(_of_genes(texts, gene_ids), model)
    n_encoded = stored.encode(wanted, model, KIND, progress)
    return GeneVectors(texts, model.name, model.revision, stored.dimension, n_encoded, len(wanted), stored.table)


def bill(store: Store, texts: GeneTexts, *, encoder: str, download: bool = False) -> Bill:
    """Return what `genes` would encode and cost, without encoding anything."""
    model = make(encoder, texts.frame, download=download)
    wanted = accepted(texts.frame, model)
    left = TextTable.of(store, KIND, model.name, model.revision).missing(wanted)
    tokens = 0 if isinstance(model, Partial) else sum(map(estimate_tokens, left["text"].to_list()))
    price = model.usd_per_million_tokens if isinstance(model, Priced) else 0.0
    usd = None if price is None else tokens * price / 1e6
    return Bill(model.name, model.revision, len(left), len(wanted), tokens, usd)


def open_genes(
    store: Store,
    texts: GeneTexts,
    *,
    encoder: str,
    revision: str | None = None,
    gene_ids: Ints | None = None,
    progress: Progress | None = None,
) -> GeneVectors:
    """Return the vectors of a release's texts that `genes` stored.

    Missing vectors of an encoder that takes only seconds are computed.

    Parameters
    ----------
    store, texts, encoder
        As for `genes`.
    revision
        The encoder's revision; None: the only one there.
    gene_ids
        The genes whose vectors are needed, of which those without a text are left out; None: all of the release.
    progress
        As for `genes`.

    Raises
    ------
    NotInStoreError
        If texts have no vector yet.
    InputError
        If there are vectors of several revisions, and `revision` is None.
    """
    address = Address.parse(encoder)
    model = find(address.kind)
    if model.instant:
        return genes(store, texts, encoder=encoder, gene_ids=gene_ids, progress=progress)
    revision = revision or model.revision_of(address)
    name, hashes = address.canonical(), set(_of_genes(texts, gene_ids)["text_sha256"])
    revisions = [one for one in store.children(folder_of(KIND, name)) if revision in (None, one)]
    tables = {one: TextTable.of(store, KIND, name, one) for one in revisions}
    there = {one: hashes & table.positions.keys() for one, table in tables.items()}
    whole = [one for one, found in there.items() if len(found) == len(hashes) or (model.partial and found)]
    if not whole:
        raise NotInStoreError(
            f"{store.uri} lacks vectors of encoder {name!r} for the {texts}", fix=_embed_command(texts, encoder)
        )
    if len(whole) > 1:
        raise InputError(
            f"{store.uri} has vectors of encoder {name!r} of several revisions: {', '.join(whole)}",
            fix='choose one in a recipe file, with encoder_revision = "..."',
        )
    found = tables[whole[0]]
    return GeneVectors(texts, name, whole[0], found.dimension, 0, len(there[whole[0]]), found.table)


def ensure_genes(
    store: Store,
    texts: GeneTexts,
    *,
    encoder: str,
    gene_ids: Ints,
    revision: str | None = None,
    progress: Progress | None = None,
) -> GeneVectors:
    """Return the vectors of genes; an encoder that runs on this machine encodes those that are missing.

    One that costs money, or runs elsewhere, is only asked by `genes`. The parameters are those of `open_genes`.

    Raises
    ------
    NotInStoreError
        If texts have no vector yet, and the encoder does not run here or another `revision` is asked for.
    MissingDependencyError
        If the encoder needs a package or weights that are not installed.
    InputError
        If there are vectors of several revisions, and `revision` is None.
    """
    try:
        return open_genes(store, texts, encoder=encoder, revision=revision, gene_ids=gene_ids, progress=progress)
    except NotInStoreError:
        if revision is not None or not find(Address.parse(encoder).kind).local:
            raise
    return genes(store, texts, encoder=encoder, gene_ids=gene_ids, progress=progress)


def encoders_there(store: Store, texts: GeneTexts, gene_ids: Ints, *, local: bool = False) -> list[str]:
    """Return the encoders that read words and have vectors of these genes in the store, those of models first.

    With `local`, only models that run on this machine. Those of a package that is not installed are left out.
    """
    here = models()
    kinds = {name: here.get(Address.parse(name).kind) for name in encoders_of(store, KIND)}
    able = {name: kind for name, kind in kinds.items() if kind is not None and not kind.partial}
    order = sorted(able, key=lambda name: (able[name].instant, name))
    return [name for name in order if able[name].local >= local and _is_there(store, texts, gene_ids, name)]


def encoder_for(store: Store, texts: GeneTexts, gene_ids: Ints) -> str:
    """Return the first model of this machine that has vectors of these genes in the store, or else tfidf."""
    return next(iter(encoders_there(store, texts, gene_ids, local=True)), "tfidf")


def _is_there(store: Store, texts: GeneTexts, gene_ids: Ints, name: str) -> bool:
    """Whether the store has the encoder's vectors of the genes."""
    try:
        open_genes(store, texts, encoder=name, gene_ids=gene_ids)
    except (InputError, NotInStoreError):
        return False
    return True


def _of_genes(texts: GeneTexts, gene_ids: Ints | None) -> pl.DataFrame:
    return texts.frame if gene_ids is None else texts.frame.filter(pl.col("gene_id").is_in(gene_ids.tolist()))


def _embed_command(texts: GeneTexts, encoder: str) -> str:
    return f"scvec embed --taxon {taxon_name(texts.taxon_id)} --encoder {quote(encoder)} --release {texts.release}"
