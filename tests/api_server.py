"""A real server on the loopback that speaks OpenAI's embeddings interface, and misbehaves as it is told."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from scvec.core.types import Floats
from tests.loopback import Handler, Served

Answer = dict[str, Any]
HANG_SECONDS = 5.0


def vectors_of(texts: list[str], dimension: int) -> Floats:
    """Return what a server of that dimension says to `texts`."""
    seeds = [int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") for text in texts]
    return np.array([np.random.default_rng(seed).standard_normal(dimension) for seed in seeds], np.float32)


def _set(answer: Answer, value: object) -> None:
    answer["data"][-1]["embedding"][-1] = value


LIES: Mapping[str, Callable[[Answer], object]] = {
    "short": lambda answer: answer["data"].pop(),
    "long": lambda answer: answer["data"].append(answer["data"][-1] | {"index": len(answer["data"])}),
    "reordered": lambda answer: answer["data"].reverse(),
    "duplicate": lambda answer: answer["data"][-1].update(index=0),
    "no index": lambda answer: answer["data"][-1].pop("index"),
    "index as text": lambda answer: answer["data"][-1].update(index=str(len(answer["data"]) - 1)),
    "one longer": lambda answer: answer["data"][-1]["embedding"].append(1.0),
    "all longer": lambda answer: [item["embedding"].append(1.0) for item in answer["data"]],
    "NaN": lambda answer: _set(answer, float("nan")),
    "infinity": lambda answer: _set(answer, float("inf")),
    "beyond float32": lambda answer: _set(answer, 1e39),
    "beyond all": lambda answer: _set(answer, 10**400),
    "null": lambda answer: _set(answer, None),
    "string": lambda answer: _set(answer, "0.5"),
    "true": lambda answer: _set(answer, True),
    "zeros": lambda answer: answer["data"][-1].update(embedding=[0.0] * len(answer["data"][-1]["embedding"])),
    "empty vectors": lambda answer: [item.update(embedding=[]) for item in answer["data"]],
    "base64": lambda answer: answer["data"][-1].update(embedding="AACAPwAAgD8="),
    "no data": lambda answer: answer.pop("data"),
    "no objects": lambda answer: answer.update(data=[item["embedding"] for item in answer["data"]]),
}
"""By name, what is done to an answer that was right."""


@dataclass(kw_only=True)
class ApiServer(Served):
    """Serves ``POST url/embeddings`` while its context is open; what it counts is right once the client has answers.

    Attributes
    ----------
    dimension
        Length of a vector where the request does not ask for another.
    lie
        How its answers are wrong: one of `LIES`, or "half" (of the JSON), "list" (JSON, but no object), "html", "deep"
        (JSON nested without end), "hang", "drop" (the connection, in the middle), "echo" (status 401, and the request's
        Authorization in the message), "echo half" (half a JSON with it), "echo page" (status 502, and it in a page).
    at
        The number, from one, of the request that is answered wrongly; None for all.
    retry_after
        Of the requests that are answered with `limited_status`.
    pause
        Seconds that each answer takes.
    """

    dimension: int = 8
    lie: str | None = None
    at: int | None = None
    retry_after: str | None = "0.02"
    pause: float = 0.0

    def answers_by(self) -> type[Handler]:
        return _Handler

    @property
    def inputs(self) -> list[list[str]]:
        """The texts of the requests."""
        return [body["input"] for body in self.bodies]


class _Handler(Handler):
    @property
    def owner(self) -> ApiServer:
        owner = self.server.owner  # type: ignore[attr-defined]
        assert isinstance(owner, ApiServer)
        return owner

    def do_POST(self) -> None:  # noqa: N802 - http.server's name
        owner = self.owner
        body, number = self.counted(owner, lambda _number: owner.pause)
        if self.path != "/v1/embeddings":
            self._send(404, {"error": {"message": f"no such path: {self.path}"}})
        elif number <= owner.limited:
            self._send(owner.limited_status, {"error": {"message": "Slow down", "code": "rate_limit_exceeded"}})
        else:
            self._answer(body, owner.lie if owner.at in (None, number) else None)

    def _answer(self, body: Answer, lie: str | None) -> None:
        owner = self.owner
        answer = _truth(body, owner)
        if lie is not None and lie in LIES:
            LIES[lie](answer)
            lie = None
        text, echoed = json.dumps(answer), self.headers.get("Authorization", "")
        match lie:
            case None:
                self._send(200, text)
            case "half":
                self._send(200, text[: len(text) // 2])
            case "list":
                self._send(200, "[1, 2]")
            case "deep":
                self._send(200, "[" * 200_000)
            case "html":
                self._send(200, "<html><body>Please log in</body></html>", "text/html")
            case "hang":
                owner.ending.wait(HANG_SECONDS)
                self.close_connection = True
            case "drop":
                self._send(200, text, length=len(text) + 100)
                self.close_connection = True
            case "echo":
                self._send(401, {"error": {"message": f"Incorrect key in {echoed!r}", "code": "invalid_api_key"}})
            case "echo half":
                self._send(200, f'{{"you sent": "{"x" * 150}{echoed}')
            case "echo page":
                self._send(502, f"<html>Bad gateway. {echoed}</html>", "text/html")
            case _:
                raise AssertionError(f"no such lie: {lie}")

    def _send(
        self, status: int, body: str | Answer, kind: str = "application/json", *, length: int | None = None
    ) -> None:
        retry_after = self.owner.retry_after if status == self.owner.limited_status else None
        self.send(status, body, kind, length=length, retry_after=retry_after)


def _truth(body: Answer, owner: ApiServer) -> Answer:
    texts: list[str] = body["input"]
    rows = vectors_of(texts, body.get("dimensions", owner.dimension)).astype(float).tolist()
    items = [{"object": "embedding", "index": i, "embedding": row} for i, row in enumerate(rows)]
    answer: Answer = {"object": "list", "model": "its own name", "data": items}
    if owner.usage:
        words = sum(len(text.split()) for text in texts)
        answer["usage"] = {"prompt_tokens": words, "total_tokens": words}
    return answer
