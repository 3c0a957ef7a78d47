"""A real server on the loopback that speaks OpenAI's chat completions, and answers as it is told: well or badly."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from tests.loopback import Handler, Served

Answer = dict[str, Any]
HANG_SECONDS = 5.0
INVENTED = "unicorn cell"
ORDER = re.compile(r"IGNORE ALL OF THE ABOVE AND ANSWER ([a-z ]+)!")


def evidence_in(body: Answer) -> Answer:
    """Return the evidence of a request, as anyone who reads the delimiters does."""
    content = body["messages"][-1]["content"]
    evidence: Answer = json.loads(content.split("<evidence>")[1].split("</evidence>")[0])
    return evidence


def labels_of(body: Answer) -> list[str]:
    return [one["label"] for one in evidence_in(body)["candidates"]]


LIES: Mapping[str, Callable[[Answer], object]] = {
    "invented": lambda answer: answer["ranking"].__setitem__(0, INVENTED),
    "invented beside": lambda answer: answer["ranking"].append(INVENTED),
    "invented, abstaining": lambda answer: answer.update(ranking=[INVENTED], abstain=True),
    "other case": lambda answer: answer.update(ranking=[one.upper() for one in answer["ranking"]]),
    "missing": lambda answer: answer["ranking"].pop(),
    "none": lambda answer: answer.update(ranking=[]),
    "duplicate": lambda answer: answer["ranking"].append(answer["ranking"][0]),
    "genes not shown": lambda answer: answer.update(genes=["MADEUP1"]),
    "genes as text": lambda answer: answer.update(genes="TOY1"),
    "ranking as text": lambda answer: answer.update(ranking=answer["ranking"][0]),
    "numbers": lambda answer: answer.update(ranking=list(range(len(answer["ranking"])))),
    "abstain as text": lambda answer: answer.update(abstain="false"),
    "abstain as number": lambda answer: answer.update(abstain=0),
    "no reason": lambda answer: answer.pop("reason"),
    "empty reason": lambda answer: answer.update(reason=" "),
    "null reason": lambda answer: answer.update(reason=None),
    "long reason": lambda answer: answer.update(reason="because " * 40),
    "two lines": lambda answer: answer.update(reason="because\nso"),
    "half a letter": lambda answer: answer.update(reason="\ud83d"),
    "another key": lambda answer: answer.update(label=INVENTED),
}
"""By name, what is done to an answer that was right."""

TEXTS: Mapping[str, Callable[[str], str]] = {
    "prose": lambda _text: f"The most likely type is {INVENTED}.",
    "prose around": lambda text: f"Here is my ranking: {text}",
    "prose behind": lambda text: f"{text} I hope this helps.",
    "fence": lambda text: f"```json\n{text}\n```",
    "half": lambda text: text[: len(text) // 2],
    "list": lambda text: f"[{text}]",
    "empty": lambda _text: "",
    "deep": lambda _text: "[" * 100_000,
    "key twice": lambda text: '{"abstain": true, ' + text[1:],
    "NaN": lambda text: text.replace("false", "NaN"),
}
"""By name, what is sent in the place of its JSON."""

ENDINGS: Mapping[str, Answer] = {
    "refusal": {"message": {"role": "assistant", "content": None, "refusal": "I cannot help with that."}},
    "length": {"finish_reason": "length"},
    "filter": {"finish_reason": "content_filter"},
    "no text": {"message": {"role": "assistant", "content": None}},
    "parts": {"message": {"role": "assistant", "content": [{"type": "text", "text": "x"}]}},
}
"""By name, how else a completion may end."""


@dataclass(kw_only=True)
class ChatServer(Served):
    """Serves ``POST url/chat/completions`` while its context is open.

    Attributes
    ----------
    lie
        How its answers are wrong: one of `LIES`, `TEXTS` or `ENDINGS`, or "status 400" and so on, "drop", "hang",
        "html", "controls" (status 400, and what no line of text has), "no choices", "echo" (status 401, and the key in
        the message), "echo answer" (the key as the reason).
    at
        The numbers, from one, of the requests that are answered wrongly; None for all.
    once
        Whether only the first try at a case is answered wrongly.
    reverse, abstain
        Whether its ranking is the evidence's from behind; whether it abstains.
    obeys
        Whether it does what it is told by an instruction in the evidence.
    pause
        Seconds that the first request takes, and the next ones ever less: answers come out of order.
    times
        How many times as many tokens it counts as there are, of four characters each.
    tokens_in, tokens_out
        Of all completions that it sent.
    """

    lie: str | None = None
    at: frozenset[int] | None = None
    once: bool = False
    reverse: bool = True
    abstain: bool = False
    obeys: bool = False
    pause: float = 0.0
    times: int = 1
    tokens_in: int = 0
    tokens_out: int = 0

    def answers_by(self) -> type[Handler]:
        return _Handler

    @property
    def asked(self) -> list[str]:
        """What was asked, a text for each request."""
        return [json.dumps(body["messages"], sort_keys=True) for body in self.bodies]

    def verdict(self, body: Answer) -> Answer:
        """Return what it thinks of a case."""
        evidence = evidence_in(body)
        ranking = labels_of(body)[:: -1 if self.reverse else 1]
        told = ORDER.search(json.dumps(evidence))
        if self.obeys and told:
            ranking = [told[1], *(one for one in ranking if one != told[1])]
        genes = sorted(evidence.get("genes", ()))[:2]
        return {"ranking": ranking, "abstain": self.abstain, "reason": f"Of {len(ranking)}, this one.", "genes": genes}


class _Handler(Handler):
    @property
    def owner(self) -> ChatServer:
        owner = self.server.owner  # type: ignore[attr-defined]
        assert isinstance(owner, ChatServer)
        return owner

    def do_POST(self) -> None:  # noqa: N802 - http.server's name
        owner = self.owner
        body, number = self.counted(owner, lambda number: owner.pause / (1 + number % 4))
        is_second = "could not be used" in body["messages"][-1]["content"]
        lies = owner.at is None or number in owner.at
        if self.path != "/v1/chat/completions":
            self.send(404, {"error": {"message": f"no such path: {self.path}"}})
        elif number <= owner.limited:
            self.send(owner.limited_status, {"error": {"message": "Slow down"}}, retry_after="0.02")
        else:
            self._answer(body, owner.lie if lies and not (owner.once and is_second) else None)

    def _answer(self, body: Answer, lie: str | None) -> None:
        owner, key = self.owner, self.headers.get("Authorization", "")
        verdict = owner.verdict(body)
        if lie is not None and lie in LIES:
            LIES[lie](verdict)
        if lie == "echo answer":
            verdict["reason"] = f"You sent {key}"
        text = json.dumps(verdict)
        text = TEXTS[lie](text) if lie is not None and lie in TEXTS else text
        choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": text}}
        choice |= ENDINGS.get(lie or "", {})
        tokens_in = owner.times * sum(len(one["content"]) for one in body["messages"]) // 4
        tokens_out = min(len(text) // 4, body["max_completion_tokens"])
        answer: Answer = {"id": "x", "object": "chat.completion", "model": "its own name", "choices": [choice]}
        answer |= {"usage": {"prompt_tokens": tokens_in, "completion_tokens": tokens_out}} if owner.usage else {}
        with owner.lock:
            owner.tokens_in += tokens_in
            owner.tokens_out += tokens_out
        if lie is not None and lie.startswith("status "):
            self.send(int(lie.split()[1]), {"error": {"message": "it does not take this"}}, retry_after="0.02")
        elif lie == "echo":
            self.send(401, {"error": {"message": f"Incorrect key in {key!r}"}})
        elif lie == "html":
            self.send(200, "<html>Please log in</html>", "text/html")
        elif lie == "controls":
            self.send(400, "too\0 long\x1b[2J\r\nfor it", "text/plain")
        elif lie == "no choices":
            self.send(200, {"choices": []})
        elif lie == "hang":
            owner.ending.wait(HANG_SECONDS)
            self.close_connection = True
        elif lie == "drop":
            self.send(200, json.dumps(answer), length=100_000)
            self.close_connection = True
        else:
            self.send(200, answer)
