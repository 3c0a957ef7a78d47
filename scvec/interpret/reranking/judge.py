"""What ranks the labels of a case: a chat model behind OpenAI's interface, or a local language model."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

from scvec.interpret.reranking.prompt import Form, Messages, Prompt


@dataclass(frozen=True, slots=True)
class Answer:
    """What a judge returned.

    Attributes
    ----------
    text
        The text as received; it may be anything.
    problem
        Why there is no text (refused, or cut off); else "".
    tokens_in, tokens_out
        As counted by the judge; None if it does not count.
    is_final
        Whether to keep the answer: the same question would get the same answer, or be paid for again.
    """

    text: str
    problem: str = ""
    tokens_in: int | None = 0
    tokens_out: int | None = 0
    is_final: bool = True


Ask: TypeAlias = Callable[[Prompt, Messages], Answer]
"""Called with a prompt and the messages of this try: the prompt's own, or those that say what was wrong before."""


class Judge(Protocol):
    """Ranks the labels of a case."""

    @property
    def name(self) -> str:
        """Its canonical address."""
        ...

    @property
    def revision(self) -> str:
        """What identifies its weights: a hash of them, or the name of the server that has them."""
        ...

    @property
    def form(self) -> Form:
        """The form of its answer."""
        ...

    @property
    def settings(self) -> Mapping[str, Any]:
        """Everything that an answer depends on, besides the prompt, as JSON types."""
        ...

    @property
    def max_tokens(self) -> int:
        """Length of the longest answer."""
        ...

    @property
    def usd(self) -> tuple[float, float] | None:
        """List price in USD per million tokens, in and out; None if unknown."""
        ...

    @property
    def is_remote(self) -> bool:
        """Whether it is behind a server, which can be asked several cases at once."""
        ...

    def asking(self) -> AbstractContextManager[Ask]:
        """Yield the function that asks; weights are loaded, or a key is read, only now."""
        ...
