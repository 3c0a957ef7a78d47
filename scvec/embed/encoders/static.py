"""Static text models: a vector for each word or piece of one, whatever stands beside it, and their mean for a text."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from scvec.core.limits import bounded_json
from scvec.core.reading import reading
from scvec.core.types import Floats, freeze
from scvec.core.vectors import unit_vectors
from scvec.embed.encoders.base import Address, Model, Request
from scvec.embed.encoders.vector_files import read_vectors
from scvec.errors import FileError, InputError, missing
from scvec.models.weights import digest_of_files

if TYPE_CHECKING:
    from tokenizers import Tokenizer

WORD = re.compile(r"\w+")
WEIGHTS, TOKENIZER = "model.safetensors", "tokenizer.json"
"""The files of a Model2Vec folder that are read."""

LAYOUT = f"a folder of Model2Vec with {WEIGHTS} and {TOKENIZER}, or a file of word vectors"

Rows: TypeAlias = Callable[[Sequence[str]], list[list[int]]]
"""Returns for each text the rows of its tokens' vectors; a token without a vector has none."""


class Static:
    """The mean of the vectors of a text's tokens, scaled to unit length; every token counts, however long the text is.

    A token has one vector, whatever stands beside it. A text without a known token has a vector of zeros.

    Sources: of words, Pennington et al. 2014, "GloVe: Global vectors for word representation"; of pieces of words,
    distilled from a sentence transformer, Tulkens and van Dongen 2024, "Model2Vec" (doi 10.5281/zenodo.17270888).

    Parameters
    ----------
    name, revision
        The canonical name, and the identity of the vectors.
    vectors
        (v, d) vectors of the tokens.
    rows_of
        Finds the tokens of texts.
    """

    def __init__(self, name: str, revision: str, vectors: Floats, rows_of: Rows) -> None:
        self.name, self.revision = name, revision
        self._vectors, self._rows_of = freeze(vectors), rows_of

    @property
    def dimension(self) -> int:
        """Length of a vector."""
        return int(self._vectors.shape[1])

    def encode(self, texts: Sequence[str]) -> Floats:
        """Return (n, dimension) unit vectors; zeros for a text without a known token."""
        means = np.zeros((len(texts), self.dimension), np.float32)
        for i, rows in enumerate(self._rows_of(list(texts))):
            if rows:
                means[i] = self._vectors[rows].mean(axis=0, dtype=np.float64)
        return unit_vectors(means, np.linalg.norm(means, axis=1))[0]


def make_static(request: Request) -> Static:
    """Make ``static:PATH``: a folder as Model2Vec writes it, or a file of word vectors, such as GloVe's.

    Raises
    ------
    InputError
        If there is no path.
    MissingDependencyError
        If a folder is given, and the package tokenizers is missing.
    FileError
        If there is no such file or folder, or it is not in its format.
    """
    request.address.only()
    if not request.address.argument:
        raise InputError("encoder 'static' needs a path", "an address such as static:glove.6B.300d.txt")
    path, name = _path(request.address), request.address.canonical()
    if not path.exists():
        raise FileError(f"{path} does not exist", LAYOUT, "check the path")
    return of_folder(name, path) if path.is_dir() else of_words(name, path)


def of_words(name: str, path: Path) -> Static:
    """Return the encoder of a file of word vectors, in any format that `read_vectors` knows.

    Words are runs of letters, digits and underscores, as they are written or else in lower case.
    """
    found = read_vectors(path)
    return Static(name, digest_of_files(path), found.vectors, rows_of_words([str(word) for word in found.names]))


def rows_of_words(words: Sequence[str]) -> Rows:
    """Return what finds the words of texts in a list, as they are written or else in lower case."""
    row_of = {word: row for row, word in enumerate(words)}

    def rows_of(texts: Sequence[str]) -> list[list[int]]:
        found = ([row_of.get(word, row_of.get(word.lower(), -1)) for word in WORD.findall(text)] for text in texts)
        return [[row for row in rows if row >= 0] for rows in found]

    return rows_of


def of_folder(name: str, path: Path) -> Static:
    """Return the encoder of a Model2Vec folder.

    A token's vector is its row of ``embeddings``, by ``mapping`` where tokens share rows, times its entry of
    ``weights`` where there are some.
    """
    for file in (WEIGHTS, TOKENIZER):
        if not (path / file).is_file():
            raise FileError(f"{path} has no {file}", LAYOUT, "check the path")
    try:
        from tokenizers import Tokenizer
    except ImportError:
        raise missing("tokenizers", "text", f"the encoder {name}") from None
    # Not by the package model2vec: the format is three arrays beside a tokenizer, and whoever has a text model has the
    # package tokenizers.
    with reading(str(path), LAYOUT, "check the folder, or download it again"):
        vectors, tokenizer = _token_vectors(path / WEIGHTS), Tokenizer.from_file(str(path / TOKENIZER))
        tokenizer.no_padding()
        tokenizer.no_truncation()
        unknown = _unknown_token(tokenizer)

    def rows_of(texts: Sequence[str]) -> list[list[int]]:
        found = tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)
        return [[one for one in text.ids if one != unknown] for text in found]

    return Static(name, digest_of_files(path), vectors, rows_of)


def _token_vectors(path: Path) -> Floats:
    """Return (v, d) the vector of each token: as they are stored, or made of rows that tokens share, and weights."""
    from safetensors import safe_open

    with safe_open(path, framework="numpy") as file:
        there = set(file.keys())
        vectors: NDArray[Any] = file.get_tensor("embeddings")
        if "mapping" in there:
            vectors = vectors[file.get_tensor("mapping")]
        found = vectors.astype(np.float32)
        if "weights" in there:
            found *= file.get_tensor("weights").astype(np.float32)[:, None]
    if found.ndim != 2 or not np.isfinite(found).all():
        raise FileError(f"{path} has embeddings of shape {found.shape}, or values that are not finite", LAYOUT)
    return found


def _unknown_token(tokenizer: Tokenizer) -> int | None:
    """Return the token that stands for what the tokenizer does not know, which says nothing of a text."""
    model = bounded_json(tokenizer.to_str())["model"]
    named = model.get("unk_token")
    return model.get("unk_id") if named is None else tokenizer.token_to_id(named)


def _path(address: Address) -> Path:
    return Path(address.argument).expanduser()


def revision_of(address: Address) -> str | None:
    """Return the hash of the file, or of the folder's files, if it exists."""
    path = _path(address)
    return digest_of_files(path) if path.exists() else None


STATIC_MODELS = (
    Model(
        "static",
        make_static,
        "vectors of words (GloVe, fastText), or a Model2Vec folder",
        is_here=lambda: True,
        argument="PATH",
        revision_of=revision_of,
        local=True,
    ),
)
