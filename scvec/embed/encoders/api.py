"""Encoders behind OpenAI's embeddings interface: OpenAI's models, and any server that speaks as it does."""

from __future__ import annotations

import base64
import json
import os
import re
from collections.abc import Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from importlib.util import find_spec
from threading import Lock
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote, urlsplit

import numpy as np

from scvec.embed.encoders.base import Address, Model, Request
from scvec.errors import InputError, ServiceError, missing
from scvec.types import Floats

if TYPE_CHECKING:
    import openai

NO_KEY = "none"  # A local server asks for no key, but the client does.
OPENAI_URL = "https://api.openai.com/v1"
DIMENSIONS: Final = {"text-embedding-ada-002": 1536, "text-embedding-3-small": 1536, "text-embedding-3-large": 3072}
PRICES: Final = {"text-embedding-ada-002": 0.10, "text-embedding-3-small": 0.02, "text-embedding-3-large": 0.13}
"""USD for a million tokens: list prices, January 2024; a bill is an estimate."""

MAX_TEXT_TOKENS = 8191
"""What OpenAI's models take as one text."""
MAX_REQUEST_TEXTS, MAX_REQUEST_TOKENS = 2048, 300_000
"""What OpenAI takes in one request."""
CHARACTERS_A_TOKEN = 3
"""Texts hardly have fewer: tokens reckoned with it keep under those limits."""
CONCURRENCY, WORTHWHILE_TEXTS = 4, 32
"""Requests under way at once, and how many texts are not split for its sake."""
MAX_RETRIES = 8
"""Of a request that was limited, failed or not answered: the client waits as the server says, else up to 8 s."""
TIMEOUT_SECONDS, CONNECT_SECONDS = 300.0, 10.0
MAX_SAID_CHARACTERS = 200

# Of a refusal, by its status: what is wanted, and the cure.
REFUSALS: Mapping[int, tuple[str, str]] = {
    401: ("a key that it knows", "check OPENAI_API_KEY"),
    403: ("a key that may use the model", "check OPENAI_API_KEY and what its account may do"),
    404: ("a model that it has", "check the model's name and OPENAI_BASE_URL"),
    429: ("room in the account's rate limit and quota", "wait or raise the quota, then run again"),
}


def estimate_tokens(text: str) -> int:
    """Return about how many tokens a text has, to reckon its cost: English has about four characters a token."""
    return -(-len(text) // 4)


@dataclass(frozen=True, slots=True)
class _Server:
    """Where requests go; `host` is what errors name, `secrets` are what a login in the url is known by, or ()."""

    url: str
    host: str
    secrets: tuple[str, ...] = field(default=(), repr=False)

    @classmethod
    def from_environment(cls) -> _Server:
        """Read ``OPENAI_BASE_URL``; raise `InputError`, which does not show it, if no request can go there."""
        try:
            parts = urlsplit(os.environ.get("OPENAI_BASE_URL", "").strip() or OPENAI_URL)
            named = re.fullmatch(r"[a-z0-9._:%-]+", parts.hostname or "") and parts.port != 0
            usable = named and parts.scheme in ("http", "https") and not parts.query
        except ValueError:
            usable = False
        if not usable:
            cure = "export OPENAI_BASE_URL=http://HOST:PORT/v1, or unset it"
            raise InputError("OPENAI_BASE_URL is no address of a server", "one like http://127.0.0.1:8000/v1", cure)
        login, _, host = parts.netloc.rpartition("@")
        user, _, password = unquote(login).partition(":")
        basic = base64.b64encode(f"{user}:{password}".encode()).decode()
        # The login goes in a header: the client's transport logs the url.
        secrets = (basic, login, unquote(login), password, user) if login else ()
        return cls(parts._replace(netloc=host).geturl(), host.lower(), tuple(filter(None, secrets)))

    def client(self) -> openai.OpenAI:
        """Return a client, to be closed; raise `InputError`, which does not show the key, if it is of no use."""
        import openai

        key = os.environ.get("OPENAI_API_KEY", "").strip()
        if re.search(r"[^!-~]", key) or (not key and "openai.com" in self.host):
            seen = "OPENAI_API_KEY holds a space or a letter that no key has" if key else "OPENAI_API_KEY is not set"
            raise InputError(seen, f"a key for {self.host}", "export OPENAI_API_KEY=...")
        return openai.OpenAI(
            base_url=self.url,
            api_key=key or NO_KEY,
            default_headers={"Authorization": f"Basic {self.secrets[0]}"} if self.secrets else None,
            max_retries=MAX_RETRIES,
            timeout=openai.Timeout(TIMEOUT_SECONDS, connect=min(CONNECT_SECONDS, TIMEOUT_SECONDS)),
        )

    def scrub(self, text: str, key: str) -> str:
        """Return the beginning of what a server said, without the key and the login, which it may have echoed."""
        # Before the text is cut, or half a key could be left; the login as a whole before its parts.
        for secret in (key, *self.secrets):
            text = text if secret == NO_KEY else text.replace(secret, "[secret]")
        text = " ".join(text.split())
        return text if len(text) <= MAX_SAID_CHARACTERS else f"{text[:MAX_SAID_CHARACTERS]}..."


class OpenAICompatible:
    """A model behind OpenAI's embeddings interface: OpenAI's own, or any server's at ``OPENAI_BASE_URL``.

    The key is read from ``OPENAI_API_KEY`` when texts are encoded, is not kept, and is cut out of what a server says.
    The revision is the server's name and the dimensions asked for, as no server tells its weights: vectors of two
    servers never mix, but a server that changes its model is not noticed. `tokens_used` is what the server counted.
    """

    def __init__(self, name: str, model: str, server: _Server, dimensions: int | None = None) -> None:
        self.name, self.model, self.tokens_used = name, model, 0
        host = re.sub(r"[^a-z0-9._-]+", "-", server.host).strip("-")
        self.revision = f"{host}-d{dimensions}" if dimensions else host
        self._server, self._asked_dimensions = server, dimensions
        self._dimension = dimensions or DIMENSIONS.get(model)
        self._lock = Lock()

    @property
    def dimension(self) -> int:
        """Length of a vector. Where nothing tells it but the first answer, a short text is sent to learn it."""
        return self._dimension or int(self.encode(["gene"]).shape[1])

    @property
    def usd_per_million_tokens(self) -> float | None:
        """OpenAI's list price of the model; None where another serves it, or it is another's."""
        return PRICES.get(self.model) if self._server.host.endswith("openai.com") else None

    def encode(self, texts: Sequence[str]) -> Floats:
        """Return (n, dimension) vectors as the server gives them.

        Texts go in as many requests as its limits and `CONCURRENCY` ask for. OpenAI refuses a whole request for one
        text that is too long: such a text is cut where it reaches the limit at three characters a token. Raise
        `InputError` if the server needs a key and there is none, `ServiceError` if a request fails for good or an
        answer cannot be used; requests that have not started are then given up.
        """
        if not texts:
            return np.zeros((0, self.dimension), np.float32)
        longest = CHARACTERS_A_TOKEN * MAX_TEXT_TOKENS if self.model in DIMENSIONS else None
        parts = _parts([text[:longest] for text in texts])
        # A client for each call: neither a socket nor the key outlives it.
        with self._server.client() as client, ThreadPoolExecutor(min(CONCURRENCY, len(parts))) as pool:
            answers = [pool.submit(self._ask, client, part) for part in parts]
            try:
                wait(answers, return_when=FIRST_EXCEPTION)
            finally:
                for answer in answers:
                    answer.cancel()
        # They start in order, so the one that failed comes before those that were cancelled.
        return np.concatenate([answer.result() for answer in answers])

    def _ask(self, client: openai.OpenAI, texts: list[str]) -> Floats:
        import openai

        try:
            answer = client.embeddings.with_raw_response.create(
                model=self.model,
                input=texts,
                encoding_format="float",  # Not every server knows base64, the client's default.
                dimensions=self._asked_dimensions or openai.omit,
            )
            vectors, tokens = _read(answer.text, len(texts))
            with self._lock:
                self.tokens_used += tokens
                self._dimension = self._dimension or vectors.shape[1]
            if vectors.shape[1] != self._dimension:
                raise ValueError(f"vectors of {vectors.shape[1]} numbers, not {self._dimension}")
        except openai.OpenAIError as error:
            problem = self._refusal(error, client.api_key)
        except ValueError as error:
            said = self._server.scrub(str(error), client.api_key)
            seen = f"{self._server.host} gave for model {self.model!r} {said}; nothing of this batch was stored"
            problem = ServiceError(seen, "one finite vector a text, in order", "run again, or ask another server")
        else:
            return vectors
        # Raised out here to have no context: the client's errors hold what the server said, and that may be the key.
        raise problem

    def _refusal(self, error: openai.OpenAIError, key: str) -> ServiceError:
        """Return what to raise for an error of the client."""
        import openai

        tries, said = 1, str(error)
        wanted, cure = "vectors", "run again: what is stored is not asked for again"
        if isinstance(error, openai.APIError):
            tries += int(error.request.headers.get("x-stainless-retry-count", 0))
        if isinstance(error, openai.APIConnectionError):
            said = f"{type(error.__cause__).__name__}: {error.__cause__}"  # It says only that there was no connection.
            cure = "check that it runs, and OPENAI_BASE_URL, then run again"
        elif isinstance(error, openai.APIStatusError):
            # Its text has the server's message, but only where that stands in the usual place.
            said = said if " - " in said else f"{said} - {error.body}"
            wanted, cure = REFUSALS.get(error.status_code, (wanted, cure))
        seen = f"{self._server.host} gave no vectors by model {self.model!r} at try {tries}"
        return ServiceError(f"{seen} ({self._server.scrub(said, key)}); nothing of this batch was stored", wanted, cure)


def _parts(texts: list[str]) -> list[list[str]]:
    """Split texts, in order, into what is sent in one request each."""
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
    """Return an answer's vectors and the tokens it says were used; raise `ValueError` if it is not as it should be.

    It is read here and not by the client, whose models take values of any type.
    """
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError):
        raise ValueError(f"what is not JSON: {body}") from None
    items = answer.get("data") if isinstance(answer, dict) else None
    if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
        raise ValueError(f"no list of vectors: {body}")
    if len(items) != n_texts:
        raise ValueError(f"{len(items)} vectors for {n_texts} texts")
    places = [item.get("index") for item in items]
    if places != list(range(n_texts)):
        raise ValueError(f"vectors that are not in the order of the texts, but {places[:10]}")
    usage = answer.get("usage")
    tokens = usage.get("total_tokens") if isinstance(usage, dict) else 0
    return _matrix([item.get("embedding") for item in items]), tokens if type(tokens) is int else 0


def _matrix(rows: list[Any]) -> Floats:
    """Return vectors as an array; raise `ValueError` for what is not a vector, and for one that is nothing."""
    for i, row in enumerate(rows):
        # By type, for numpy would read "0.5" and true as numbers.
        if not (isinstance(row, list) and row and set(map(type, row)) <= {int, float}):
            raise ValueError(f"what is not a list of numbers as vector {i}")
        if len(row) != len(rows[0]):
            raise ValueError(f"vectors of {len(rows[0])} and of {len(row)} numbers")
    try:
        with np.errstate(over="ignore"):
            vectors = np.asarray(rows, np.float64).astype(np.float32)
    except OverflowError:
        raise ValueError("an integer that no vector has") from None
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
    if bool(address.argument) == is_preset:
        wanted = f"{address.kind!r} alone" if is_preset else "openai:MODEL"
        raise InputError(f"encoder {address.canonical()!r}", wanted, "mend the name")
    if find_spec("openai") is None:
        raise missing("openai", "openai", f"the encoder {address.canonical()}")
    model = address.kind if is_preset else address.argument
    return OpenAICompatible(address.canonical(), model, _Server.from_environment(), _dimensions(address, model))


def _dimensions(address: Address, model: str) -> int | None:
    text, most = address.options.get("dimensions"), DIMENSIONS.get(model, 10**6)
    if text is None:
        return None
    seen = f"dimensions={text} in encoder {address.canonical()!r}"
    if model == "text-embedding-ada-002":
        raise InputError(seen, "none: its vectors cannot be shortened", "leave it out")
    if not re.fullmatch("[1-9][0-9]{0,6}", text) or int(text) > most:
        raise InputError(seen, f"a whole number from 1 to {most}", "mend the name")
    return int(text)


def _is_here() -> bool:
    return find_spec("openai") is not None and any(map(os.environ.get, ("OPENAI_API_KEY", "OPENAI_BASE_URL")))


_WEIGHTS = "OpenAI's server, or the one at OPENAI_BASE_URL"
OPENAI_MODELS: tuple[Model, ...] = (
    *(Model(name, make_openai, _WEIGHTS, _is_here, "", size, MAX_TEXT_TOKENS) for name, size in DIMENSIONS.items()),
    Model("openai", make_openai, _WEIGHTS, _is_here, "MODEL"),
)
