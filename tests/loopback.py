"""What the tests' own servers share: a real HTTP server on the loopback, and its life in a context."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

Body = dict[str, Any]
GATHER_SECONDS = 20.0
"""Far more than any machine needs to have the requests of one client under way."""


class Loopback(ThreadingHTTPServer):
    """Serves on a free port of the loopback, each request in a thread."""

    daemon_threads = False

    def __init__(self, owner: Served, handler: type[BaseHTTPRequestHandler]) -> None:
        self.owner = owner
        super().__init__(("127.0.0.1", 0), handler)
        self._thread = threading.Thread(target=self.serve_forever, args=(0.01,))

    @property
    def port(self) -> int:
        return int(self.server_address[1])

    def begin(self) -> None:
        self._thread.start()

    def end(self) -> None:
        self.shutdown()
        self._thread.join()
        self.server_close()

    def handle_error(self, request: object, client_address: object) -> None:
        """Be silent about a client that did not wait, and about nothing else."""
        if not isinstance(sys.exception(), ConnectionError):
            self.owner.failed = True
            super().handle_error(request, client_address)  # type: ignore[arg-type]


class Handler(BaseHTTPRequestHandler):
    """Answers in JSON, silently."""

    protocol_version = "HTTP/1.1"
    timeout = 10

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Be silent."""

    def body(self) -> Body:
        length = int(self.headers["Content-Length"])
        content = self.rfile.read(length)
        if len(content) < length:
            raise ConnectionAbortedError("the client went before it had asked")
        read: Body = json.loads(content)
        return read

    def counted(self, owner: Served, seconds: Callable[[int], float]) -> tuple[Body, int]:
        """Return what a request asks, and its number, from one; after so many seconds, by its number."""
        body = self.body()
        with owner.came:
            owner.bodies.append(body)
            owner.authorizations.append(self.headers.get("Authorization", ""))
            number = len(owner.bodies)
            owner.at_once += 1
            owner.most_at_once = max(owner.most_at_once, owner.at_once)
            owner.came.notify_all()
            if not owner.came.wait_for(lambda: owner.most_at_once >= owner.gather, GATHER_SECONDS):
                owner.gather = 1  # They do not come together, which most_at_once tells.
        owner.ending.wait(seconds(number))
        with owner.lock:
            # Before the answer goes out, or the client's next request could be here first.
            owner.at_once -= 1
        return body, number

    def send(
        self,
        status: int,
        body: str | Body,
        kind: str = "application/json",
        *,
        length: int | None = None,
        retry_after: str | None = None,
    ) -> None:
        content = (body if isinstance(body, str) else json.dumps(body)).encode()
        self.send_response(status)
        if retry_after is not None:
            self.send_header("Retry-After", retry_after)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content) if length is None else length))
        self.end_headers()
        self.wfile.write(content)


@dataclass(kw_only=True)
class Served:
    """A server of OpenAI's interface while its context is open, and what it keeps of the requests.

    Attributes
    ----------
    limited, limited_status
        So many first requests are answered with that status.
    gather
        No request is answered until so many have been under way together.
    usage
        Whether it counts tokens.
    bodies, authorizations
        Of the requests, in the order in which they came.
    most_at_once
        Requests that were under way together.
    """

    limited: int = 0
    limited_status: int = 429
    gather: int = 1
    usage: bool = True
    bodies: list[Body] = field(default_factory=list)
    authorizations: list[str] = field(default_factory=list)
    most_at_once: int = 0

    def answers_by(self) -> type[Handler]:
        """Return what answers its requests."""
        raise NotImplementedError

    def __enter__(self) -> Self:
        self.ending = threading.Event()
        self.lock = threading.Lock()
        self.came = threading.Condition(self.lock)
        self.at_once = 0
        self.failed = False
        self._http = Loopback(self, self.answers_by())
        self._http.begin()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.ending.set()
        self._http.end()
        assert not self.failed, "the server itself failed"

    @property
    def port(self) -> int:
        return self._http.port

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"
