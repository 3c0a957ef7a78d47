"""A server that speaks OpenAI's interface: where it is, by which key, and what is said when it refuses."""

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

NO_KEY = "none"  # A local server asks for no key, but the client does.
OPENAI_URL = "https://api.openai.com/v1"
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


@dataclass(frozen=True, slots=True)
class Server:
    """Where requests go; `host` is what errors name, `secrets` are what a login in the url is known by, or ()."""

    url: str
    host: str
    secrets: tuple[str, ...] = field(default=(), repr=False)

    @classmethod
    def from_environment(cls) -> Server:
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

    @property
    def is_openai(self) -> bool:
        """Whether it is OpenAI's own, whose list prices are known."""
        return self.host == "openai.com" or self.host.endswith(".openai.com")

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

    def hide(self, text: str, key: str, least: int = 1) -> str:
        """Return what a server said without the key and the login, which it may have echoed.

        Secrets of fewer than `least` characters stay: in an answer of many words they would be found by chance.
        """
        # The login as a whole before its parts.
        for secret in (key, *self.secrets):
            text = text if secret == NO_KEY or len(secret) < least else text.replace(secret, "[secret]")
        return text

    def scrub(self, text: str, key: str) -> str:
        """Return the beginning of what a server said in one printable line, without the key and the login."""
        # Before the text is cut, or half a key could be left. Controls would reach a terminal, and HDF5 takes no NUL.
        text = "".join(one if one.isprintable() else " " for one in self.hide(text, key))
        text = " ".join(text.split())
        return text if len(text) <= MAX_SAID_CHARACTERS else f"{text[:MAX_SAID_CHARACTERS]}..."

    def refusal(
        self, error: openai.OpenAIError, key: str, *, by: str, wanted: str, left: str, cure: str
    ) -> ServiceError:
        """Return what to raise for an error of the client.

        Parameters
        ----------
        error
            The client's; it is not to be in the new one's wake, as it may hold the key.
        key
            The client's.
        by
            The model asked.
        wanted
            What it was to give: ``"vectors"``.
        left
            What became of what was asked: ``"nothing of this batch was stored"``.
        cure
            Where the status tells no other.
        """
        import openai

        tries, said, what = 1, str(error), wanted
        if isinstance(error, openai.APIError):
            tries += int(error.request.headers.get("x-stainless-retry-count", 0))
        if isinstance(error, openai.APIConnectionError):
            said = f"{type(error.__cause__).__name__}: {error.__cause__}"  # It says only that there was no connection.
            cure = "check that it runs, and OPENAI_BASE_URL, then run again"
        elif isinstance(error, openai.APIStatusError):
            said = said_by(error)
            what, cure = REFUSALS.get(error.status_code, (what, cure))
        seen = f"{self.host} gave no {wanted} by model {by!r} at try {tries}"
        return ServiceError(f"{seen} ({self.scrub(said, key)}); {left}", what, cure)


def said_by(error: openai.APIStatusError) -> str:
    """Return what a server said; the error's own text has it only where that stands in the usual place."""
    return str(error) if " - " in str(error) else f"{error} - {error.body}"
