"""Servers whose answers have no end: too slow, too large, or compressed to next to nothing."""

from __future__ import annotations

import gzip
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import pytest

from scvec.errors import ScvecError, ServiceError
from scvec.ingest.genes import download
from scvec.models import bounded_client
from scvec.models.openai_server import Server

Speak = Callable[[socket.socket, threading.Event], None]
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"


@contextmanager
def speaking(speak: Speak) -> Iterator[tuple[str, list[float]]]:
    """Serve one behaviour on a port of the loopback; yield the address, and when requests came."""
    asked: list[float] = []
    end = threading.Event()

    def serve(listener: socket.socket) -> None:
        while not end.is_set():
            with suppress(OSError):
                connection, _ = listener.accept()
                asked.append(time.monotonic())
                with closing(connection), suppress(OSError):
                    connection.recv(65_536)
                    speak(connection, end)

    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        listener.settimeout(0.2)
        thread = threading.Thread(target=serve, args=(listener,), daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}", asked
        end.set()
        thread.join(10)


def drip(text: bytes) -> Speak:
    """Return what sends some bytes at once, and then one every twentieth of a second."""

    def speak(connection: socket.socket, end: threading.Event) -> None:
        connection.sendall(text)
        while not end.wait(0.05):
            connection.sendall(b" ")

    return speak


def flood(connection: socket.socket, end: threading.Event) -> None:
    connection.sendall(HEAD + b"\r\n")
    while not end.is_set():
        connection.sendall(b" " * 65_536)


def bomb(connection: socket.socket, end: threading.Event) -> None:
    del end
    body = gzip.compress(b" " * 50_000_000)
    connection.sendall(HEAD + b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(body) + body)


@pytest.mark.parametrize(
    ("speak", "said"),
    [
        (drip(HEAD + b"\r\n"), "no whole answer in 1.5 seconds"),
        (drip(b"HTTP/1.1 200 OK\r\nX-Long:"), "no whole answer in 1.5 seconds"),
        (flood, "an answer of more than 1,000,000 bytes"),
        (bomb, "an answer of more than 1,000,000 bytes"),
    ],
    ids=["drip of a body", "drip of a head", "flood", "bomb"],
)
def test_an_answer_without_end_ends(monkeypatch: pytest.MonkeyPatch, speak: Speak, said: str) -> None:
    import openai

    monkeypatch.setattr(bounded_client, "ANSWER_SECONDS", 1.5)
    monkeypatch.setenv("SCVEC_MAX_UNFOLDED", "1000000")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with speaking(speak) as (address, asked):
        monkeypatch.setenv("OPENAI_BASE_URL", f"{address}/v1")
        server, started = Server.from_environment(), time.monotonic()
        with server.client(1_000_000) as client, pytest.raises(openai.APIStatusError) as caught:
            client.embeddings.with_raw_response.create(model="toy", input=["x"])
        assert time.monotonic() - started < 15
        assert len(asked) == 1, "it is not asked again"
        line = str(server.refusal(caught.value, "", by="toy", expected="vectors", left="nothing", fix="x"))
        assert said in line


@pytest.mark.parametrize(
    ("speak", "said"),
    [(drip(HEAD + b"\r\n"), "less than 200 bytes a second"), (flood, "unfolds to more than 1,000,000 bytes")],
    ids=["drip", "flood"],
)
def test_a_download_without_end_ends(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, speak: Speak, said: str) -> None:
    monkeypatch.setattr(download, "PATIENCE_S", 0.5)
    monkeypatch.setenv("SCVEC_MAX_UNFOLDED", "1000000")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with speaking(speak) as (address, _), pytest.raises(ScvecError, match=said) as caught:
        download.fetch(f"{address}/gene_info.gz", tmp_path / "gene_info.gz", check=lambda _path: None)
    assert isinstance(caught.value, ServiceError)
