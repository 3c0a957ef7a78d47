"""What the tests' own servers share: a real HTTP server on the loopback, and its life in a context."""

from __future__ import annotations

import json
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Protocol

Body = dict[str, Any]


class Owner(Protocol):
    """Whose server it is."""

    failed: bool


class Loopback(ThreadingHTTPServer):
    """Serves on a free port of the loopback, each request in a thread."""

    daemon_threads = False

    def __init__(self, owner: Owner, handler: type[BaseHTTPRequestHandler]) -> None:
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
        read: Body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        return read

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
