"""The tests' own server: a client that goes is the client's affair, what cannot be answered is the server's."""

from __future__ import annotations

import socket

import pytest

from tests.chat_server import ChatServer


def send(server: ChatServer, length: int, body: bytes) -> None:
    """Say that so many bytes come, send those of `body`, and read until the server hangs up."""
    head = f"POST /v1/chat/completions HTTP/1.1\r\nContent-Length: {length}\r\n\r\n"
    with socket.create_connection(("127.0.0.1", server.port)) as line:
        line.sendall(head.encode() + body)
        line.shutdown(socket.SHUT_WR)
        while line.recv(1024):
            pass


@pytest.mark.parametrize("body", [b"", b'{"model": '])
def test_a_client_that_goes_in_the_middle_is_no_failure_of_the_server(body: bytes) -> None:
    with ChatServer() as server:
        send(server, 1000, body)
    assert server.bodies == []


def test_what_cannot_be_answered_is_one() -> None:
    with pytest.raises(AssertionError, match="the server itself failed"), ChatServer() as server:
        send(server, 3, b"no!")
