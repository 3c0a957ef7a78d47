"""An HTTP client whose answers have a greatest size and a deadline for the whole of each.

A client's own time limit is between two bytes: a server that sends one a second is never late. Import this module where
it is used: it needs the extra ``openai``.
"""

from __future__ import annotations

import threading
from contextlib import closing
from importlib import import_module
from time import monotonic
from typing import Any

import openai

_HTTP: Any = import_module(openai.DefaultHttpxClient.__mro__[1].__module__.partition(".")[0])
"""The library that openai's client is made of: its name depends on openai's release."""

ANSWER_SECONDS = 900.0
"""A whole answer takes at most so long, headers and all."""

STATUS = 502
"""Of the answer that stands for one that was too large or too late: a gateway would say so too."""


class BoundedClient(openai.DefaultHttpxClient):
    """Reads each answer whole, and answers itself, once, in place of a server whose answer has no end.

    Parameters
    ----------
    most
        Bytes of an answer, once it is decompressed.
    options
        As for the client of openai.
    """

    def __init__(self, most: int, **options: Any) -> None:
        super().__init__(**options)
        self._most = most
        self._late = threading.Event()

    def send(self, request: Any, **options: Any) -> Any:
        """Send a request and return the whole answer, decompressed."""
        # Closing the connections is the one way to end a read in another thread.
        timer = threading.Timer(ANSWER_SECONDS, self._end)
        timer.daemon = True
        timer.start()
        try:
            if self._late.is_set():
                return _instead(request, _too_late())
            return self._whole(request, {**options, "stream": True})
        except Exception:
            if self._late.is_set():
                return _instead(request, _too_late())
            raise
        finally:
            timer.cancel()

    def _end(self) -> None:
        self._late.set()
        self.close()

    def _whole(self, request: Any, options: dict[str, Any]) -> Any:
        started, most, body = monotonic(), self._most, bytearray()
        with closing(super().send(request, **options)) as response:
            for block in response.iter_bytes():
                body += block
                if len(body) > most:
                    return _instead(request, f"an answer of more than {most:,} bytes")
                if monotonic() - started > ANSWER_SECONDS:
                    return _instead(request, _too_late())
            of_body = ("content-encoding", "content-length", "transfer-encoding")
            headers = [(key, value) for key, value in response.headers.multi_items() if key.lower() not in of_body]
            return _HTTP.Response(
                response.status_code,
                headers=headers,
                content=bytes(body),
                request=request,
                extensions={key: one for key, one in response.extensions.items() if key != "network_stream"},
                history=response.history,
            )


def _too_late() -> str:
    return f"no whole answer in {ANSWER_SECONDS:g} seconds"


def _instead(request: Any, said: str) -> Any:
    # The client of openai asks again after most failures; this header says not to.
    return _HTTP.Response(
        STATUS, headers={"x-should-retry": "false"}, json={"error": {"message": said}}, request=request
    )
