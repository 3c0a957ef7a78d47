"""Gene vectors in the store: one table per encoder and revision, one row per text, each encoded once."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from shlex import quote
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa

from scvec.core.arrow import vectors_from_arrow, vectors_to_arrow
from scvec.core.progress import shown
from scvec.core.types import Floats, Ints, Progress
from scvec.embed.encoders import Address, Encoder, Partial, Priced, find, make
from scvec.embed.encoders.api import estimate_tokens
from scvec.embed.searchable import functions_of
from scvec.errors import InputError, NotInStoreError, ServiceError
from scvec.ingest.genes.gene_texts import GeneTexts, taxon_name
from scvec.store import Store, Table

COLUMNS = {
    "text_sha256": "the hash of a text, as in gene_texts; rows are in the order in which texts were encoded",
    "vector": "the encoder's vector of the text",
}

COMMIT_TEXTS = 512
"""Texts encoded between two commits: what is lost when the process is killed."""


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
        there = pl.col("text_sha256").is_in(list(self._positions))
        return self.texts.frame.filter(there)["gene_id"].to_numpy()

    def of(self, gene_ids: Ints) -> Floats:
        """Return (n, dimension) vectors of genes, in their order; raise `NotInStoreError` if one is missing."""
        hash_of = dict(self.texts.frame.select("gene_id", "text_sha256").iter_rows())
        snapshot = self.table.latest()
        try:
            rows = np.array([self._positions[hash_of[int(gene)]] for gene in gene_ids], np.int64)
        except KeyError as error:
            raise NotInStoreError(
                f"{self.table.path} lacks a vector for the text {error}",
                fix=_embed_command(self.texts, self.encoder),
            ) from error
        unique, inverse = np.unique(rows, return_inverse=True)
        return vectors_from_arrow(snapshot.take(unique, ["vector"])["vector"])[inverse]

    @cached_property
    def _positions(self) -> dict[str, int]:
        return _positions(self.table)


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
    progress = shown(progress)
    model = make(encoder, texts.frame, download=download)
    table = _table(store, model.name, model.revision)
    wanted = _wanted(texts, model, gene_ids)
    left = _left(wanted, table)
    with progress(f"{model.name}: {len(left):,} of {len(wanted):,} texts to encode", len(left)) as advance:
        for start in range(0, len(left), COMMIT_TEXTS):
            part = left.slice(start, COMMIT_TEXTS)
            rows = _rows(part, model)
            table.append(rows, _manifest(model))
            advance(len(part))
    dimension = table.latest().manifest["dimension"]
    return GeneVectors(texts, model.name, model.revision, dimension, len(left), len(wanted), table)


def bill(store: Store, texts: GeneTexts, *, encoder: str, download: bool = False) -> Bill:
    """Return what `genes` would encode and cost, without encoding anything."""
    model = make(encoder, texts.frame, download=download)
    wanted = _wanted(texts, model)
    left = _left(wanted, _table(store, model.name, model.revision))
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
    progress = shown(progress)
    address = Address.parse(encoder)
    model = find(address.kind)
    if model.instant:
        return genes(store, texts, encoder=encoder, gene_ids=gene_ids, progress=progress)
    revision = revision or model.revision_of(address)
    name, hashes = address.canonical(), set(_of_genes(texts, gene_ids)["text_sha256"])
    tables = {one: _table(store, name, one) for one in store.children(_folder(name)) if revision in (None, one)}
    there = {one: hashes & _positions(table).keys() for one, table in tables.items()}
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
    table = tables[whole[0]]
    return GeneVectors(texts, name, whole[0], table.latest().manifest["dimension"], 0, len(there[whole[0]]), table)


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


def _of_genes(texts: GeneTexts, gene_ids: Ints | None) -> pl.DataFrame:
    return texts.frame if gene_ids is None else texts.frame.filter(pl.col("gene_id").is_in(gene_ids.tolist()))


def _wanted(texts: GeneTexts, model: Encoder, gene_ids: Ints | None = None) -> pl.DataFrame:
    """Return the distinct texts that the encoder accepts."""
    wanted = _of_genes(texts, gene_ids).select("text_sha256", "text").unique("text_sha256", maintain_order=True)
    if isinstance(model, Partial):
        return wanted.filter(pl.Series([model.knows(text) for text in wanted["text"]], dtype=pl.Boolean))
    return wanted


def _left(wanted: pl.DataFrame, table: Table) -> pl.DataFrame:
    """Return the texts without a vector, longest first."""
    left = wanted.filter(~pl.col("text_sha256").is_in(list(_positions(table))))
    return left.sort(pl.col("text").str.len_chars(), "text_sha256", descending=[True, False])


def _folder(encoder: str) -> str:
    return f"gene_vectors/{re.sub(r'[^A-Za-z0-9._-]+', '-', encoder)}"


def _table(store: Store, encoder: str, revision: str) -> Table:
    return store.table(f"{_folder(encoder)}/{revision}")


def table_schema(dimension: int) -> pa.Schema:
    """Return the columns of a table of vectors."""
    return pa.schema({"text_sha256": pa.string(), "vector": pa.list_(pa.float32(), dimension)})


def _positions(table: Table) -> dict[str, int]:
    """Return the row of each text, by hash."""
    if not table.exists:
        return {}
    hashes = table.latest().read(["text_sha256"])["text_sha256"].to_pylist()
    return {one: row for row, one in enumerate(hashes)}


def _rows(texts: pl.DataFrame, model: Encoder) -> pa.Table:
    encoded = model.encode(texts["text"].to_list())
    try:
        with np.errstate(over="ignore"):
            vectors = np.asarray(encoded, np.float32)
    except (TypeError, ValueError) as error:
        seen = f"encoder {model.name!r} returned {type(encoded).__name__}; nothing of this batch was stored"
        raise ServiceError(seen, "an array of numbers", "check the encoder") from error
    if vectors.shape != (len(texts), model.dimension) or not np.isfinite(vectors).all():
        raise ServiceError(
            f"encoder {model.name!r} returned the shape {vectors.shape}, or values that are not finite; "
            "nothing of this batch was stored",
            f"finite values of shape {(len(texts), model.dimension)}",
            "check the encoder",
        )
    columns = [pa.array(texts["text_sha256"].to_list()), vectors_to_arrow(vectors)]
    schema = table_schema(model.dimension).with_metadata(dict(functions_of(model)))
    return pa.Table.from_arrays(columns, schema=schema)


def _manifest(model: Encoder) -> dict[str, Any]:
    return {
        "kind": "gene_vectors",
        "encoder": model.name,
        "revision": model.revision,
        "dimension": model.dimension,
    }


def _embed_command(texts: GeneTexts, encoder: str) -> str:
    return f"scvec embed --taxon {taxon_name(texts.taxon_id)} --encoder {quote(encoder)} --release {texts.release}"
