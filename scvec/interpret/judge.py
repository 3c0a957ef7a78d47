"""Who ranks the labels of a case: a chat model behind OpenAI's interface, or a language model that runs here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any, Protocol, TypeAlias

from scvec.embed.encoders import Address
from scvec.errors import InputError, missing
from scvec.interpret.prompt import Form, Messages, Prompt


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


def make_judge(model: str, *, random_state: int = 0, download: bool = False, device: str = "cpu") -> Judge:
    """Make a judge by its address.

    Parameters
    ----------
    model
        ``openai:MODEL``, by ``OPENAI_BASE_URL`` and ``OPENAI_API_KEY``; ``?format=object`` or ``?format=text`` for
        servers that know no JSON schema. ``hf:MODEL``, a folder, a ``.gguf`` file or a name on the Hugging Face hub;
        ``?weights=random`` is the control, ``?precision=bfloat16`` is faster.
    random_state
        Seed.
    download, device
        Of a model that runs here.

    Raises
    ------
    InputError
        If it is no such address.
    FileError
        If the weights are not here.
    MissingDependencyError
        If an extra is not installed.
    """
    from scvec.interpret.chat import make_chat
    from scvec.interpret.scoring import make_scoring

    address = Address.parse(model, "model")
    if address.kind not in ("openai", "hf") or not address.argument:
        raise InputError(f"model {model!r} to rerank with", "openai:MODEL or hf:MODEL", "give another --rerank")
    package, extra = ("openai", "openai") if address.kind == "openai" else ("transformers", "llm")
    if find_spec(package) is None:
        raise missing(package, extra, f"the model {address.canonical()}")
    if address.kind == "openai":
        return make_chat(address, random_state)
    return make_scoring(address, random_state, download, device)
