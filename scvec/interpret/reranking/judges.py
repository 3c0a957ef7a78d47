"""Judges by their addresses."""

from __future__ import annotations

from importlib.util import find_spec

from scvec.embed.encoders import Address
from scvec.errors import InputError, missing
from scvec.interpret.reranking.judge import Judge


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
    from scvec.interpret.reranking.chat import make_chat
    from scvec.interpret.reranking.scoring import make_scoring

    address = Address.parse(model, "model")
    if address.kind not in ("openai", "hf") or not address.argument:
        raise InputError(f"model {model!r} to rerank with", "openai:MODEL or hf:MODEL", "give another --rerank")
    package, extra = ("openai", "openai") if address.kind == "openai" else ("transformers", "llm")
    if find_spec(package) is None:
        raise missing(package, extra, f"the model {address.canonical()}")
    if address.kind == "openai":
        return make_chat(address, random_state)
    return make_scoring(address, random_state, download, device)
