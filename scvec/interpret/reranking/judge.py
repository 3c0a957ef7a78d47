"""Who ranks the labels of a case: a chat model behind OpenAI's interface, or a language model that runs here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

from scvec.interpret.reranking.prompt import Form, Messages, Prompt


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back.

    Attributes
    ----------
    text
        As it was given; it may be anything.
    problem
        Why there is none: it was refused, or cut off; else "".
    tokens_in, tokens_out
        As counted by who answered; None where it does not say.
    is_final
        Whether the same question would be answered the same, or paid again, and so is not to be asked again.
    """

    text: str
    problem: str = ""
    tokens_in: int | None = 0
    tokens_out: int | None = 0
    is_final: bool = True


Ask: TypeAlias = Callable[[Prompt, Messages], Answer]
"""Called with a prompt and the messages of this try: the prompt's, or those that say what was wrong before."""


class Judge(Protocol):
    """Ranks the labels of a case."""

    @property
    def name(self) -> str:
        """Its canonical address."""
        ...

    @property
    def revision(self) -> str:
        """What is known of its weights: a hash of them, or the name of the server that has them."""
        ...

    @property
    def form(self) -> Form:
        """What it is to answer with."""
        ...

    @property
    def settings(self) -> Mapping[str, Any]:
        """All but the prompt that its answer depends on, in JSON types."""
        ...

    @property
    def max_tokens(self) -> int:
        """Length of its longest answer."""
        ...

    @property
    def usd(self) -> tuple[float, float] | None:
        """List price of a million tokens in, and out; None where it is not known."""
        ...

    @property
    def is_remote(self) -> bool:
        """Whether several cases may be asked at once."""
        ...

    def asking(self) -> AbstractContextManager[Ask]:
        """Give what asks it; only then are weights loaded or a key read."""
        ...
