"""Client of an OpenAI-compatible server: its address, its key, and the errors for its refusals."""

from __future__ import annotations

import base64
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from scvec.errors import InputError, ServiceError

if TYPE_CHECKING:
    import openai

NO_KEY = "none"  # A local server needs no key, but the client does.
OPENAI_URL = "https://api.openai.com/v1"
MAX_RETRIES = 8
"""Retries of a request that was limited, failed or timed out; the client waits as the server says, or up to 8 s."""
TIMEOUT_SECONDS, CONNECT_SECONDS = 300.0, 10.0
MAX_SAID_CHARACTERS = 200
ANSWER_BYTES = 256 * 2**20

# What is expected, and the fix, by the status of a refusal.
REFUSALS: Mapping[int, tuple[str, str]] = {
    401: ("a key that it knows", "check OPENAI_API_KEY"),
    403: ("a key that may use the model", "check OPENAI_API_KEY and what its account may do"),
    404: ("a model that it has", "check the model's name and OPENAI_BASE_URL"),
    429: ("room in the account's rate limit and quota", "wait or raise the quota, then run again"),
}


@dataclass(frozen=True, slots=True)
class Server:
    """Where requests go. Errors name the `host`; `secrets` are the forms of a login in the URL, () without one."""

    url: str
    host: str
    secrets: tuple[str, ...] = field(default=(), repr=False)

    @classmethod
    def from_environment(cls) -> Server:
        """Read ``OPENAI_BASE_URL``; raise `InputError`, which hides the value, if it is not a server's address."""
        try:
            parts = urlsplit(os.environ.get("OPENAI_BASE_URL", "").strip() or OPENAI_URL)
            named = re.fullmatch(r"[a-z0-9._:%-]+", parts.hostname or "") and parts.port != 0
            usable = named and parts.scheme in ("http", "https") and not parts.query
        except ValueError:
            usable = False
        if not usable:
            fix = "export OPENAI_BASE_URL=http://HOST:PORT/v1, or unset it"
            raise InputError("OPENAI_BASE_URL", "the address of a server, such as http://127.0.0.1:8000/v1", fix)
        login, _, host = parts.netloc.rpartition("@")
        user, _, password = unquote(login).partition(":")
        basic = base64.b64encode(f"{user}:{password}".encode()).decode()
        # The login goes into a header: the client's transport logs the URL.
        secrets = (basic, login, unquote(login), password, user) if login else ()
        return cls(parts._replace(netloc=host).geturl(), host.lower(), tuple(filter(None, secrets)))

    @property
    def is_openai(self) -> bool:
        """Whether it is OpenAI's own server, whose list prices are known."""
        return self.host == "openai.com" or self.host.endswith(".openai.com")

    def client(self, most: int = ANSWER_BYTES) -> openai.OpenAI:
        """Return a client, to be closed, that takes answers of at most so many bytes.

        Raises
        ------
        InputError
            If the key is missing or invalid; it is hidden.
        """
        import openai

        from scvec.models.bounded_client import BoundedClient

        key = os.environ.get("OPENAI_API_KEY", "").strip()
        if re.search(r"[^!-~]", key) or (not key and "openai.com" in self.host):
            seen = "OPENAI_API_KEY contains a character that no key has" if key else "OPENAI_API_KEY is not set"
            raise InputError(seen, f"a key for {self.host}", "export OPENAI_API_KEY=...")
        return openai.OpenAI(
            base_url=self.url,
            api_key=key or NO_KEY,
            default_headers={"Authorization": f"Basic {self.secrets[0]}"} if self.secrets else None,
            max_retries=MAX_RETRIES,
            timeout=openai.Timeout(TIMEOUT_SECONDS, connect=min(CONNECT_SECONDS, TIMEOUT_SECONDS)),
            http_client=BoundedClient(most),
        )

    def hide(self, text: str, key: str, least: int = 1) -> str:
        """Return a server's words without the key and the login, which it may have echoed.

        Secrets of fewer than `least` characters stay: a long answer may contain them by chance.
        """
        # The login as a whole before its parts.
        for secret in (key, *self.secrets):
            text = text if secret == NO_KEY or len(secret) < least else text.replace(secret, "[secret]")
        return text

    def scrub(self, text: str, key: str) -> str:
        """Return the beginning of a server's words as one printable line, without the key and the login."""
        # Hidden before the cut, which could leave half a key. Terminals obey control characters, and HDF5 takes no NUL.
        text = "".join(one if one.isprintable() else " " for one in self.hide(text, key))
        text = " ".join(text.split())
        return text if len(text) <= MAX_SAID_CHARACTERS else f"{text[:MAX_SAID_CHARACTERS]}..."

    def refusal(
        self, error: openai.OpenAIError, key: str, *, by: str, expected: str, left: str, fix: str
    ) -> ServiceError:
        """Return the error to raise for an error of the client.

        Parameters
        ----------
        error
            The client's error. Do not chain it to the new one, as it may hold the key.
        key
            The client's key.
        by
            The model that was asked.
        expected
            What it should have returned: ``"vectors"``.
        left
            The state that the error leaves: ``"nothing of this batch was stored"``.
        fix
            What to do, where the status does not say.
        """
        import openai

        tries, said, what = 1, str(error), expected
        if isinstance(error, openai.APIError):
            tries += int(error.request.headers.get("x-stainless-retry-count", 0))
        if isinstance(error, openai.APIConnectionError):
            said = f"{type(error.__cause__).__name__}: {error.__cause__}"  # Its text says only: no connection.
            fix = "check that the server runs, and OPENAI_BASE_URL, then run again"
        elif isinstance(error, openai.APIStatusError):
            said = said_by(error)
            what, fix = REFUSALS.get(error.status_code, (what, fix))
        seen = f"{self.host} returned no {expected} from model {by!r} on try {tries}"
        return ServiceError(f"{seen} ({self.scrub(said, key)}); {left}", what, fix)


def said_by(error: openai.APIStatusError) -> str:
    """Return a server's words; the error's own text has them only if they stood in the usual place."""
    return str(error) if " - " in str(error) else f"{error} - {error.body}"
