"""Encoders behind OpenAI's embeddings API: OpenAI's models, and any OpenAI-compatible server."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from importlib.util import find_spec
from threading import Lock
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from scvec.core.limits import bounded_json, limit_of
from scvec.core.types import Floats
from scvec.embed.encoders.base import Address, Model, Request
from scvec.errors import InputError, ServiceError, missing
from scvec.models.openai_server import Server

if TYPE_CHECKING:
    import openai

DIMENSIONS: Final = {"text-embedding-ada-002": 1536, "text-embedding-3-small": 1536, "text-embedding-3-large": 3072}
PRICES: Final = {"text-embedding-ada-002": 0.10, "text-embedding-3-small": 0.02, "text-embedding-3-large": 0.13}
"""USD per million tokens: list prices of January 2024; a bill is an estimate."""

MAX_TEXT_TOKENS = 8191
"""The longest text that OpenAI's models accept."""
MAX_REQUEST_TEXTS, MAX_REQUEST_TOKENS = 2048, 300_000
"""The largest request that OpenAI accepts."""
CHARACTERS_A_TOKEN = 3
"""A low estimate, so that requests sized by it stay within those limits."""
CONCURRENCY, WORTHWHILE_TEXTS = 4, 32
"""Concurrent requests, and the number of texts up to which a request is not split for their sake."""


def estimate_tokens(text: str) -> int:
    """Estimate the number of tokens in a text, for its cost: English has about four characters per token."""
    return -(-len(text) // 4)


class OpenAICompatible:
    """A model behind OpenAI's embeddings API: OpenAI's own, or that of any server at ``OPENAI_BASE_URL``.

    The key is read from ``OPENAI_API_KEY`` when texts are encoded, is not kept, and is removed from server messages.
    The revision is the server's name and the dimensions requested, as no server reports its weights: vectors of two
    servers never mix, but a server that changes its model goes unnoticed. `tokens_used` is the server's own count.
    """

    def __init__(self, name: str, model: str, server: Server, dimensions: int | None = None) -> None:
        self.name, self.model, self.tokens_used = name, model, 0
        host = re.sub(r"[^a-z0-9._-]+", "-", server.host).strip("-")
        self.revision = f"{host}-d{dimensions}" if dimensions else host
        self._server, self._asked_dimensions = server, dimensions
        self._dimension = dimensions or DIMENSIONS.get(model)
        self._lock = Lock()

    @property
    def dimension(self) -> int:
        """Length of a vector. If only an answer can tell it, a short text is sent."""
        return self._dimension or int(self.encode(["gene"]).shape[1])

    @property
    def usd_per_million_tokens(self) -> float | None:
        """OpenAI's list price of the model; None for another server or another model."""
        return PRICES.get(self.model) if self._server.is_openai else None

    def encode(self, texts: Sequence[str]) -> Floats:
        """Return (n, dimension) vectors as the server returns them.

        Texts are split into as many requests as the server's limits and `CONCURRENCY` require. OpenAI rejects a whole
        request if one text is too long, so such a text is truncated at the limit, at three characters per token.

        Raises
        ------
        InputError
            If the server needs a key and there is none.
        ServiceError
            If a request fails for good or an answer is invalid; requests that have not started are then cancelled.
        """
        if not texts:
            return np.zeros((0, self.dimension), np.float32)
        longest = CHARACTERS_A_TOKEN * MAX_TEXT_TOKENS if self.model in DIMENSIONS else None
        parts = _parts([text[:longest] for text in texts])
        # A client for each call: neither a socket nor the key outlives it.
        with (
            self._server.client(limit_of("answer")) as client,
            ThreadPoolExecutor(min(CONCURRENCY, len(parts))) as pool,
        ):
            answers = [pool.submit(self._ask, client, part) for part in parts]
            try:
                wait(answers, return_when=FIRST_EXCEPTION)
            finally:
                for answer in answers:
                    answer.cancel()
        # They start in order, so a failed request comes before those that were cancelled.
        return np.concatenate([answer.result() for answer in answers])

    def _ask(self, client: openai.OpenAI, texts: list[str]) -> Floats:
        import openai

        try:
            answer = client.embeddings.with_raw_response.create(
                model=self.model,
                input=texts,
                encoding_format="float",  # Not every server supports base64, the client's default.
                dimensions=self._asked_dimensions or openai.omit,
            )
            vectors, tokens = _read(answer.text, len(texts))
            with self._lock:
                self.tokens_used += tokens
                self._dimension = self._dimension or vectors.shape[1]
            if vectors.shape[1] != self._dimension:
                raise ValueError(f"vectors of {vectors.shape[1]} numbers, not {self._dimension}")
        except openai.OpenAIError as error:
            problem = self._server.refusal(
                error,
                client.api_key,
                by=self.model,
                expected="vectors",
                left="nothing of this batch was stored",
                fix="run again: what is stored is not asked for again",
            )
        except ValueError as error:
            said = self._server.scrub(str(error), client.api_key)
            seen = f"{self._server.host} returned for model {self.model!r} {said}; nothing of this batch was stored"
            problem = ServiceError(seen, "one finite vector per text, in order", "run again, or use another server")
        else:
            return vectors
        # Raised out here to have no context: the client's errors hold the server's message, which may contain the key.
        raise problem


def _parts(texts: list[str]) -> list[list[str]]:
    """Split texts, in order, into requests."""
    most = min(MAX_REQUEST_TEXTS, max(WORTHWHILE_TEXTS, -(-len(texts) // CONCURRENCY)))
    parts: list[list[str]] = []
    room = 0
    for text in texts:
        tokens = -(-len(text) // CHARACTERS_A_TOKEN)
        if not parts or len(parts[-1]) == most or tokens > room:
            parts.append([])
            room = MAX_REQUEST_TOKENS
        parts[-1].append(text)
        room -= tokens
    return parts


def _read(body: str, n_texts: int) -> tuple[Floats, int]:
    """Return an answer's vectors and the tokens it reports; raise `ValueError` if it is invalid.

    It is parsed here and not by the client, whose models accept values of any type.
    """
    try:
        answer = bounded_json(body)
    except (ValueError, RecursionError):
        raise ValueError(f"invalid JSON: {body}") from None
    items = answer.get("data") if isinstance(answer, dict) else None
    if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
        raise ValueError(f"no list of vectors: {body}")
    if len(items) != n_texts:
        raise ValueError(f"{len(items)} vectors for {n_texts} texts")
    places = [item.get("index") for item in items]
    if places != list(range(n_texts)):
        raise ValueError(f"vectors in another order than the texts: {places[:10]}")
    usage = answer.get("usage")
    tokens = usage.get("total_tokens") if isinstance(usage, dict) else 0
    return _matrix([item.get("embedding") for item in items]), tokens if type(tokens) is int else 0


def _matrix(rows: list[Any]) -> Floats:
    """Return vectors as an array; raise `ValueError` for a row that is not a vector, and for a zero vector."""
    for i, row in enumerate(rows):
        # By type, as NumPy would read "0.5" and true as numbers.
        if not (isinstance(row, list) and row and set(map(type, row)) <= {int, float}):
            raise ValueError(f"something other than a list of numbers as vector {i}")
        if len(row) != len(rows[0]):
            raise ValueError(f"vectors of {len(rows[0])} and of {len(row)} numbers")
    try:
        with np.errstate(over="ignore"):
            vectors = np.asarray(rows, np.float64).astype(np.float32)
    except OverflowError:
        raise ValueError("an integer that is too large") from None
    if not np.isfinite(vectors).all():
        raise ValueError("numbers that are not finite")
    if not vectors.any(axis=1).all():
        raise ValueError("a vector of zeros")
    return vectors


def make_openai(request: Request) -> OpenAICompatible:
    """Make ``openai:MODEL``, or one of OpenAI's models by its own name; ``dimensions`` shortens the vectors."""
    address = request.address
    address.only("dimensions")
    is_preset = address.kind in DIMENSIONS
    if is_preset:
        address.alone()
    elif not address.argument:
        raise InputError("encoder 'openai' needs a model", "openai:MODEL")
    if find_spec("openai") is None:
        raise missing("openai", "openai", f"the encoder {address.canonical()}")
    model = address.kind if is_preset else address.argument
    return OpenAICompatible(address.canonical(), model, Server.from_environment(), _dimensions(address, model))


def _dimensions(address: Address, model: str) -> int | None:
    text, most = address.options.get("dimensions"), DIMENSIONS.get(model, 10**6)
    if text is None:
        return None
    named = f"encoder {address.canonical()!r}"
    if model == "text-embedding-ada-002":
        raise InputError(f"{named}: its vectors cannot be shortened", fix="leave out dimensions")
    if not re.fullmatch("[1-9][0-9]{0,6}", text) or int(text) > most:
        raise InputError(f"{named}: dimensions must be an integer from 1 to {most} (got {text})")
    return int(text)


def _is_here() -> bool:
    return find_spec("openai") is not None and any(map(os.environ.get, ("OPENAI_API_KEY", "OPENAI_BASE_URL")))


_WEIGHTS = "OpenAI's server, or the one at OPENAI_BASE_URL"
OPENAI_MODELS: tuple[Model, ...] = (
    *(Model(name, make_openai, _WEIGHTS, _is_here, "", size, MAX_TEXT_TOKENS) for name, size in DIMENSIONS.items()),
    Model("openai", make_openai, _WEIGHTS, _is_here, "MODEL"),
)
