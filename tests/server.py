"""A real HTTP server on the loopback that serves a folder, and misbehaves as it is told."""

from __future__ import annotations

import hashlib
import socket
import threading
from contextlib import suppress
from dataclasses import dataclass, field
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from urllib.parse import urlsplit

BEFORE_THE_HEAD = -1


@dataclass
class Quirks:
    """What goes wrong with one path.

    Attributes
    ----------
    failures, status, retry_after
        So many requests are answered with that status, no body, and that Retry-After in seconds.
    cuts
        Bytes of the file at which the connection is closed, one for each answer with a body.
    stalls
        Bytes of the file at which the server falls silent until it ends, in the same way, before the cuts; or
        `BEFORE_THE_HEAD`.
    body
        Sent in place of the file, with its right length.
    becomes
        The file is changed to it as soon as the first answer with a body has been made.
    hidden, extra
        Headers that are left out, and added.
    no_ranges
        Range is not heeded.
    no_if_range
        Range is heeded whatever If-Range says.
    """

    failures: int = 0
    status: int = 503
    retry_after: int | None = None
    cuts: list[int] = field(default_factory=list)
    stalls: list[int] = field(default_factory=list)
    body: bytes | None = None
    becomes: bytes | None = None
    hidden: tuple[str, ...] = ()
    extra: dict[str, str] = field(default_factory=dict)
    no_ranges: bool = False
    no_if_range: bool = False


@dataclass
class Asked:
    """A request, and what was made of it."""

    path: str
    headers: dict[str, str]
    status: int = 0
    sent: int = 0


class Server:
    """Serves `folder` at `url` while its context is open.

    `quirks` holds what goes wrong, by path (``/gene_info.gz``); `asked` the requests so far.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.quirks: dict[str, Quirks] = {}
        self.asked: list[Asked] = []
        self.ending = threading.Event()
        self._http = _Http(self)
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.01,))

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._http.server_address[1]}"

    def __enter__(self) -> Server:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.ending.set()
        self._http.shutdown()
        self._http.hang_up()
        self._thread.join()
        self._http.server_close()

    def asked_for(self, path: str) -> list[Asked]:
        return [one for one in self.asked if one.path == path]


class _Http(ThreadingHTTPServer):
    daemon_threads = False  # so that server_close waits for them, and nothing outlives a test

    def __init__(self, server: Server) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.server = server
        self._calls: list[socket.socket] = []

    def get_request(self) -> tuple[socket.socket, tuple[str, int]]:
        call, address = super().get_request()
        self._calls.append(call)
        return call, address

    def hang_up(self) -> None:
        """End the connections that clients keep open."""
        for call in self._calls:
            with suppress(OSError):
                call.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: object, client_address: object) -> None:
        """A client may go whenever it likes."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 5

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        assert isinstance(self.server, _Http)
        server = self.server.server
        path = urlsplit(self.path).path  # a proxy is asked for whole addresses
        quirks = server.quirks.get(path, Quirks())
        asked = Asked(self.path, dict(self.headers))
        server.asked.append(asked)
        file = server.folder / path.lstrip("/")
        if quirks.failures:
            quirks.failures -= 1
            wait = {} if quirks.retry_after is None else {"Retry-After": str(quirks.retry_after)}
            self._head(asked, quirks.status, {"Content-Length": "0", **wait, **quirks.extra})
        elif not file.is_file():
            self._head(asked, 404, {"Content-Length": "0"})
        elif quirks.stalls and quirks.stalls[0] == BEFORE_THE_HEAD:
            self._stall(quirks)
        else:
            self._serve(asked, file, quirks)

    def _serve(self, asked: Asked, file: Path, quirks: Quirks) -> None:
        body = file.read_bytes() if quirks.body is None else quirks.body
        state = {"ETag": f'"{hashlib.sha256(body).hexdigest()[:16]}"', "Last-Modified": modified(file)}
        shown = {"Accept-Ranges": "bytes", **state, **quirks.extra}
        if self._unchanged(state):
            self._head(asked, 304, shown, quirks.hidden)
            return
        start, stop = (0, None) if quirks.no_ranges else self._range(state, quirks.no_if_range)
        if start is not None and start >= len(body) > 0:
            self._head(asked, 416, {"Content-Range": f"bytes */{len(body)}", "Content-Length": "0"})
            return
        end, start, is_part = min(stop or len(body), len(body)), start or 0, bool(start or stop)
        length = {"Content-Length": str(end - start)}
        ranged = {"Content-Range": f"bytes {start}-{end - 1}/{len(body)}"} if is_part else {}
        if quirks.becomes is not None:
            file.write_bytes(quirks.becomes)
            quirks.becomes = None
        self.close_connection = "Content-Length" in quirks.hidden
        self._head(asked, 206 if is_part else 200, {**shown, **length, **ranged}, quirks.hidden)
        if self.command != "HEAD":
            self._send(asked, body[:end], start, quirks)

    def _send(self, asked: Asked, body: bytes, start: int, quirks: Quirks) -> None:
        stall = quirks.stalls[0] if quirks.stalls else None
        end = stall if stall is not None else quirks.cuts.pop(0) if quirks.cuts else len(body)
        asked.sent = len(body[start:end])  # noted first: the client may look as soon as it has them
        self.wfile.write(body[start:end])
        if stall is not None:
            self._stall(quirks)
        self.close_connection = self.close_connection or end < len(body)

    def _stall(self, quirks: Quirks) -> None:
        quirks.stalls.pop(0)
        self.close_connection = True
        assert isinstance(self.server, _Http)
        self.server.server.ending.wait(5)

    def _unchanged(self, state: dict[str, str]) -> bool:
        if "If-None-Match" in self.headers:
            return self.headers["If-None-Match"] == state["ETag"]
        return self.headers.get("If-Modified-Since") == state["Last-Modified"]

    def _range(self, state: dict[str, str], no_if_range: bool) -> tuple[int | None, int | None]:
        """Return the first byte that is wanted, None for all, and the end where one is said."""
        wanted = self.headers.get("Range")
        if wanted is None or not (no_if_range or self.headers.get("If-Range") in (None, *state.values())):
            return None, None
        start, _, last = wanted.removeprefix("bytes=").partition("-")
        return int(start), int(last) + 1 if last else None

    def _head(self, asked: Asked, status: int, headers: dict[str, str], hidden: tuple[str, ...] = ()) -> None:
        asked.status = status
        self.send_response(status)
        for name, value in headers.items():
            if name not in hidden:
                self.send_header(name, value)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        """Stay silent."""


def modified(file: Path) -> str:
    """Return when a file was modified, as HTTP says it."""
    return formatdate(file.stat().st_mtime, usegmt=True)
