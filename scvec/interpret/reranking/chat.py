"""A judge behind OpenAI's chat completions: OpenAI's models, or any OpenAI-compatible server."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias, get_args

from scvec.core.limits import bounded_json, limit_of
from scvec.embed.encoders import Address
from scvec.errors import ServiceError
from scvec.interpret.reranking.judge import Answer, Ask
from scvec.interpret.reranking.prompt import Form, Messages, Prompt
from scvec.models.openai_server import Server, said_by

if TYPE_CHECKING:
    import openai

Format: TypeAlias = Literal["schema", "object", "text"]

PRICES: Final = {
    "gpt-4o": (2.50, 10.00),
    "gpt-4o-mini": (0.15, 0.60),
    "gpt-4.1": (2.00, 8.00),
    "gpt-4.1-mini": (0.40, 1.60),
    "gpt-4.1-nano": (0.10, 0.40),
}
"""USD per million tokens, in and out: OpenAI's list prices, April 2025; a bill is an estimate."""

MAX_TOKENS = 600
"""Longest answer: eight labels, a sentence, some genes."""

REFUSED = (400, 413, 422)
"""Statuses with which a server refuses one request (too long, filtered); it may accept the next."""

LEAST_SECRET = 8
"""Only secrets of at least so many characters are searched for in an answer."""


class ChatJudge:
    """A chat model: OpenAI's own, or any server's at ``OPENAI_BASE_URL``.

    The key is read when the first case is asked, is not kept, and is removed from what the server returns.
    """

    form: Form = "ranking"
    max_tokens = MAX_TOKENS
    is_remote = True

    def __init__(self, name: str, model: str, server: Server, format: Format, seed: int) -> None:  # noqa: A002
        self.name, self.model, self.revision = name, model, server.host
        self._server, self._format, self._seed = server, format, seed

    @property
    def settings(self) -> Mapping[str, Any]:
        """Everything that an answer depends on, besides the prompt."""
        return {
            "model": self.model,
            "host": self._server.host,
            "format": self._format,
            "temperature": 0,
            "seed": self._seed,
            "max_completion_tokens": MAX_TOKENS,
        }

    @property
    def usd(self) -> tuple[float, float] | None:
        """OpenAI's list price per million tokens, in and out; None for other servers, and if it is unknown."""
        return PRICES.get(self.model) if self._server.is_openai else None

    @contextmanager
    def asking(self) -> Iterator[Ask]:
        """Yield the function that asks; the client, and the key in it, live as long as the context."""
        with self._server.client(limit_of("answer")) as client:
            yield lambda prompt, messages: self._ask(client, prompt, messages)

    def _ask(self, client: openai.OpenAI, prompt: Prompt, messages: Messages) -> Answer:
        """Return an answer, or why there is none; raise `ServiceError` if other cases would fail as well."""
        import openai

        asked: Any = [dict(one) for one in messages]
        try:
            answer = client.chat.completions.with_raw_response.create(
                model=self.model,
                messages=asked,
                temperature=0,
                seed=self._seed,
                max_completion_tokens=MAX_TOKENS,
                response_format=self._wanted(prompt),
            )
            return self._read(answer.text, client.api_key)
        except openai.OpenAIError as error:
            if isinstance(error, openai.APIStatusError) and error.status_code in REFUSED:
                said = self._server.scrub(said_by(error), client.api_key)
                return Answer("", f"the server did not take the case ({said})", is_final=False)
            problem = self._server.refusal(
                error,
                client.api_key,
                by=self.model,
                expected="ranking",
                left="the answers received so far are kept",
                fix="run again: answered cases are not asked again",
            )
        except ValueError as error:
            said = self._server.scrub(str(error), client.api_key)
            seen = f"{self._server.host} gave for model {self.model!r} {said} (answers received so far are kept)"
            problem = ServiceError(seen, "a chat completion", "run again, or use another server")
        # Raised here, to have no context: the client's errors hold what the server said, which may include the key.
        raise problem

    def _wanted(self, prompt: Prompt) -> Any:
        import openai

        if self._format == "schema":
            schema = {"name": "ranking", "strict": True, "schema": dict(prompt.schema)}
            return {"type": "json_schema", "json_schema": schema}
        return {"type": "json_object"} if self._format == "object" else openai.omit

    def _read(self, body: str, key: str) -> Answer:
        """Return the answer in a completion; raise `ValueError` if `body` is not a completion.

        It is parsed here and not by the client, whose models accept values of any type.
        """
        try:
            found = bounded_json(body)
            choice = found["choices"][0]
            message, why = choice["message"], choice.get("finish_reason")
            content, refusal = message.get("content"), message.get("refusal")
        except (ValueError, RecursionError, LookupError, TypeError, AttributeError):
            raise ValueError(f"something else than a chat completion: {body}") from None
        usage = found.get("usage")
        counted = usage if isinstance(usage, dict) else {}
        tokens = _count(counted.get("prompt_tokens")), _count(counted.get("completion_tokens"))
        if refusal:
            return Answer("", "the model refused to answer", *tokens)
        if why == "content_filter":
            return Answer("", "the answer was filtered", *tokens)
        if why == "length":
            return Answer("", f"the answer was cut off at {MAX_TOKENS} tokens", *tokens)
        if not isinstance(content, str):
            return Answer("", "the answer has no text", *tokens)
        return Answer(self._server.hide(content, key, LEAST_SECRET), "", *tokens)


def _count(tokens: object) -> int | None:
    """Return a number of tokens; None for anything else."""
    return tokens if type(tokens) is int and tokens >= 0 else None


def make_chat(address: Address, random_state: int) -> ChatJudge:
    """Make ``openai:MODEL``; ``format`` is how the server is told the form of an answer."""
    address.only("format")
    asked = address.choice("format", get_args(Format))
    form = next(one for one in get_args(Format) if one == asked)
    return ChatJudge(address.canonical(), address.argument, Server.from_environment(), form, random_state)
