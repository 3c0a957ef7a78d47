"""Encoders without weights: TF-IDF of the texts themselves, feature hashing, and the random baseline."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any

import numpy as np

from scvec.core.types import Floats
from scvec.core.vectors import unit_vectors
from scvec.embed.encoders.base import Encoder, Model, Request
from scvec.errors import InputError

WORDS = r"(?u)\b\w+\b"
DIMENSION = 384
"""The same as minilm's, so that these differ from it in what they know and not in size."""


class Hash:
    """Signed feature hashing of a text's words: no weights, nothing fitted, the same everywhere. For tests.

    Texts that share words are near each other. Source: Weinberger et al. 2009, "Feature hashing for large scale
    multitask learning", as in scikit-learn's HashingVectorizer.
    """

    name, revision, dimension = "hash", "1", DIMENSION

    def encode(self, texts: Sequence[str]) -> Floats:
        """Return (n, dimension) unit vectors."""
        from sklearn.feature_extraction.text import HashingVectorizer

        vectorizer = HashingVectorizer(n_features=self.dimension, token_pattern=WORDS)
        return np.asarray(vectorizer.transform(texts).toarray(), np.float32)


class Random:
    """A Gaussian vector for each text, seeded by the text's hash: a baseline that knows nothing."""

    name, revision, dimension = "random", "1", DIMENSION

    def encode(self, texts: Sequence[str]) -> Floats:
        """Return (n, dimension) vectors whose expected length is one."""
        rows = []
        for text in texts:
            seed = int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")
            rows.append(np.random.default_rng(seed).standard_normal(self.dimension))
        return np.asarray(rows, np.float32).reshape(len(rows), self.dimension) / np.float32(np.sqrt(self.dimension))


class Tfidf:
    """TF-IDF of words, reduced by truncated SVD (latent semantic analysis), fitted on the texts of one release.

    Its revision is the hash of those texts. Source: Deerwester et al. 1990, "Indexing by latent semantic analysis".

    Parameters
    ----------
    corpus
        The texts to fit on; the same set of texts gives the same encoder.
    """

    name, min_documents = "tfidf", 2

    def __init__(self, corpus: Sequence[str]) -> None:
        self._corpus = sorted(set(corpus))
        self.revision = f"1-{hashlib.sha256(chr(0).join(self._corpus).encode()).hexdigest()[:16]}"

    @cached_property
    def _fitted(self) -> tuple[Any, Any]:
        """The vectorizer and the SVD, fitted when first needed: never, if all vectors are stored already."""
        from sklearn.decomposition import TruncatedSVD
        from sklearn.feature_extraction.text import TfidfVectorizer

        vectorizer = TfidfVectorizer(
            sublinear_tf=True, stop_words="english", min_df=self.min_documents, dtype=np.float32
        )
        try:
            weights = vectorizer.fit_transform(self._corpus)
        except ValueError as error:
            raise InputError(
                f"encoder 'tfidf' cannot be fitted: the {len(self._corpus)} gene texts share no words",
                fix="import more texts, or use the encoder hash",
            ) from error
        return vectorizer, TruncatedSVD(min(DIMENSION, min(weights.shape) - 1), random_state=0).fit(weights)

    @property
    def dimension(self) -> int:
        """Length of a vector: less than `DIMENSION` if there are fewer texts or words."""
        return int(self._fitted[1].components_.shape[0])

    def encode(self, texts: Sequence[str]) -> Floats:
        """Return (n, dimension) unit vectors; zeros for a text without a known word."""
        vectorizer, svd = self._fitted
        reduced = svd.transform(vectorizer.transform(texts))
        return unit_vectors(reduced, np.linalg.norm(reduced, axis=1))[0]


def _plain(make: Callable[[Request], Encoder]) -> Callable[[Request], Encoder]:
    """Return the maker of a kind without argument and options."""

    def maker(request: Request) -> Encoder:
        request.address.only()
        request.address.alone()
        return make(request)

    return maker


def _model(name: str, make: Callable[[Request], Encoder], weights: str, *, fitted: bool = False) -> Model:
    return Model(name, _plain(make), weights, is_here=lambda: True, dimension=DIMENSION, instant=True, fitted=fitted)


SIMPLE_MODELS = (
    _model(
        "tfidf", lambda request: Tfidf(request.genes["text"].to_list()), "fitted on the release's texts", fitted=True
    ),
    _model("hash", lambda _request: Hash(), "none: for tests"),
    _model("random", lambda _request: Random(), "none: a baseline"),
)
