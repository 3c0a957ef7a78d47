"""scvec's encoders as an embedding function of LanceDB."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import polars as pl
from lancedb.embeddings import TextEmbeddingFunction, register

from scvec.core.types import Strings
from scvec.embed.encoders import Encoder, make
from scvec.embed.searchable import NAME, STORE
from scvec.errors import InputError, MismatchError
from scvec.ingest.genes.gene_texts import list_texts
from scvec.ingest.genes.template import TEXT_COLUMNS
from scvec.store import Store


@register(NAME)
class GeneTextEncoder(TextEmbeddingFunction):
    """Encodes words with the encoder that made a table's vectors.

    LanceDB makes it from the metadata of the table; ``gene_vectors`` have them from scvec 0.8.2 on. An encoder is
    loaded when the first words are searched, and once in a process.

    Attributes
    ----------
    encoder, revision, dimension
        The encoder's name, the identity of its weights, and the length of a vector.
    store
        Folder or URI of the store, for an encoder that is fitted on the gene texts there. A table names the variable
        ``scvec_store``: ``lancedb.embeddings.get_registry().set_var("scvec_store", "my-store")``, before the table is
        opened.
    """

    encoder: str
    revision: str
    dimension: int
    store: str = ""

    def ndims(self) -> int:
        """Return the length of a vector."""
        return self.dimension

    def generate_embeddings(self, texts: Sequence[str] | Strings, *_args: Any, **_options: Any) -> list[Any]:
        """Return a float32 vector for each text.

        Raises
        ------
        InputError
            If a text has no words, or none that the encoder knows.
        MismatchError
            If the encoder here is not at the `revision`.
        MissingDependencyError
            If it needs a package or weights that are not installed.
        """
        words = [str(text) for text in texts]
        if not all(map(str.strip, words)):
            raise InputError("no words to search for", "some, as 'lymphocytes that release granzyme'", "give them")
        vectors = np.asarray(_model(self.encoder, self.revision, self.store).encode(words), np.float32)
        for text, vector in zip(words, vectors, strict=True):
            if not vector.any():
                raise InputError(
                    f"encoder {self.encoder!r} knows none of the words {text!r:.60}", fix="use other words"
                )
        return list(vectors)

    # LanceDB would retry for minutes whatever went wrong. What is worth a retry, an encoder retries itself.

    def compute_query_embeddings_with_retry(self, *args: Any, **options: Any) -> list[Any]:
        """Return the vector of a query; nothing is tried again."""
        return self.compute_query_embeddings(*args, **options)

    def compute_source_embeddings_with_retry(self, *args: Any, **options: Any) -> list[Any]:
        """Return the vectors of texts; nothing is tried again."""
        return self.compute_source_embeddings(*args, **options)


@lru_cache(maxsize=4)
def _model(name: str, revision: str, store: str) -> Encoder:
    """Return the encoder at that revision."""
    others = []
    for genes in _releases(store):
        model = make(name, genes)
        if model.revision == revision:
            return model
        others.append(model.revision)
    raise MismatchError(
        f"encoder {name!r} is at revision {others[-1]} here",
        f"{revision}, which made the vectors of the table",
        "restore those weights; for an encoder that is fitted on gene texts, name the store that has them, and open "
        f'the table again: lancedb.embeddings.get_registry().set_var("{STORE}", "my-store")',
    )


def _releases(uri: str) -> Iterator[pl.DataFrame]:
    """Yield no gene texts, which suffices for most encoders; then those of each release in a store."""
    yield pl.DataFrame(schema=dict(TEXT_COLUMNS))
    if uri:
        for texts in reversed(list_texts(Store(uri))):
            yield texts.frame
