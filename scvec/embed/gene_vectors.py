"""Gene vectors in the store: one table an encoder and revision, one row a text, encoded once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa

from scvec.arrow import vectors_from_arrow, vectors_to_arrow
from scvec.embed.encoders import ENCODERS, INSTANT, Encoder, make
from scvec.errors import NotInStoreError, unknown
from scvec.ingest.gene_texts import GeneTexts, taxon_name
from scvec.store import Store, Table
from scvec.types import Floats, Ints, Progress, silent

COMMIT_TEXTS = 512
"""Texts encoded between two commits: what a kill can cost."""


@dataclass(frozen=True)
class GeneVectors:
    """The vectors of the texts of one release, by one encoder.

    Attributes
    ----------
    texts
        The release.
    encoder, revision, dimension
        The encoder, its weights' identity, and the length of a vector.
    n_encoded
        How many texts this call encoded; the others were there.
    table
        Where the vectors are.
    """

    texts: GeneTexts
    encoder: str
    revision: str
    dimension: int
    n_encoded: int
    table: Table

    def of(self, gene_ids: Ints) -> Floats:
        """Return (n, dimension) vectors of genes, in their order; raise `NotInStoreError` if one has none."""
        hash_of = dict(self.texts.frame.select("gene_id", "text_sha256").iter_rows())
        position = _positions(self.table)
        snapshot = self.table.latest()
        try:
            rows = np.array([position[hash_of[int(gene)]] for gene in gene_ids], np.int64)
        except KeyError as error:
            raise NotInStoreError(
                f"{self.table.path} lacks the text {error}",
                "a vector for every text",
                _embed_command(self.texts, self.encoder),
            ) from error
        unique, inverse = np.unique(rows, return_inverse=True)
        return vectors_from_arrow(snapshot.take(unique, ["vector"])["vector"])[inverse]


def genes(
    store: Store, texts: GeneTexts, *, encoder: str, download: bool = False, progress: Progress = silent
) -> GeneVectors:
    """Encode the texts of a release that have no vector yet.

    Vectors are kept by the hash of their text, so a text that did not change between releases is encoded once. Texts
    are encoded longest first, those of like length together, which wastes little padding; every `COMMIT_TEXTS` texts
    are committed, so that a run that was killed goes on where it was.

    Parameters
    ----------
    store, texts
        The store, and the release in it.
    encoder
        Name in the registry.
    download
        Whether an encoder may fetch its weights.
    progress
        Shows the texts done.

    Raises
    ------
    KeyNotFoundError
        If there is no such encoder.
    MissingDependencyError
        If it needs a package or weights that are not here.
    """
    wanted = texts.frame.select("text_sha256", "text").unique("text_sha256", maintain_order=True)
    model = make(encoder, wanted["text"].to_list(), download=download)
    table = store.table(f"gene_vectors/{encoder}/{model.revision}")
    left = wanted.filter(~pl.col("text_sha256").is_in(list(_positions(table))))
    left = left.sort(pl.col("text").str.len_chars(), "text_sha256", descending=[True, False])
    with progress(f"{encoder}: {len(left):,} of {len(wanted):,} texts to encode", len(left)) as advance:
        for start in range(0, len(left), COMMIT_TEXTS):
            part = left.slice(start, COMMIT_TEXTS)
            table.append(_rows(part, model), _manifest(model))
            advance(len(part))
    return GeneVectors(texts, encoder, model.revision, table.latest().manifest["dimension"], len(left), table)


def open_genes(store: Store, texts: GeneTexts, *, encoder: str, progress: Progress = silent) -> GeneVectors:
    """Return the vectors of a release's texts that `genes` left in the store.

    An encoder that takes seconds is run where vectors are missing.

    Raises
    ------
    NotInStoreError
        If texts have no vector yet.
    """
    if encoder not in ENCODERS:
        raise unknown("encoder", encoder, ENCODERS)
    if encoder in INSTANT:
        return genes(store, texts, encoder=encoder, progress=progress)
    hashes = set(texts.frame["text_sha256"])
    for revision in store.children(f"gene_vectors/{encoder}"):
        table = store.table(f"gene_vectors/{encoder}/{revision}")
        if hashes <= _positions(table).keys():
            return GeneVectors(texts, encoder, revision, table.latest().manifest["dimension"], 0, table)
    raise NotInStoreError(
        f"{store.uri} lacks vectors of encoder {encoder!r} for the {taxon_name(texts.taxon_id)} texts {texts.release}",
        "one for every text",
        _embed_command(texts, encoder),
    )


def _positions(table: Table) -> dict[str, int]:
    """Return row by text hash."""
    if not table.exists:
        return {}
    hashes = table.latest().read(["text_sha256"])["text_sha256"].to_pylist()
    return {one: row for row, one in enumerate(hashes)}


def _rows(texts: pl.DataFrame, model: Encoder) -> pa.Table:
    vectors = model.encode(texts["text"].to_list())
    if vectors.shape != (len(texts), model.dimension) or not np.isfinite(vectors).all():
        raise AssertionError(
            f"encoder {model.name} returned {vectors.shape} for {len(texts)} texts, or values that are not finite"
        )
    return pa.table({"text_sha256": pa.array(texts["text_sha256"].to_list()), "vector": vectors_to_arrow(vectors)})


def _manifest(model: Encoder) -> dict[str, Any]:
    return {
        "kind": "gene_vectors",
        "encoder": model.name,
        "revision": model.revision,
        "dimension": model.dimension,
    }


def _embed_command(texts: GeneTexts, encoder: str) -> str:
    return f"scvec embed --taxon {taxon_name(texts.taxon_id)} --encoder {encoder} --release {texts.release}"
