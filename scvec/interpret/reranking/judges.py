"""Makes judges by their addresses."""

from __future__ import annotations

from importlib.util import find_spec

from scvec.embed.encoders import Address
from scvec.errors import missing, must_be
from scvec.interpret.reranking.judge import Judge


def make_judge(model: str, *, random_state: int = 0, download: bool = False, device: str = "cpu") -> Judge:
    """Make a judge by its address.

    Parameters
    ----------
    model
        ``openai:MODEL``, by ``OPENAI_BASE_URL`` and ``OPENAI_API_KEY``; ``?format=object`` or ``?format=text`` for
        servers without support for JSON schemas. ``hf:MODEL``: a folder, a ``.gguf`` file or a name on the Hugging
        Face hub; ``?weights=random`` is the control, ``?precision=bfloat16`` is faster.
    random_state
        Random seed.
    download, device
        For a local model: whether its weights may be downloaded, and where it computes.

    Raises
    ------
    InputError
        If the address is invalid.
    FileError
        If the weights are not on this machine.
    MissingDependencyError
        If an extra is not installed.
    """
    from scvec.interpret.reranking.chat import make_chat
    from scvec.interpret.reranking.scoring import make_scoring

    address = Address.parse(model, "model")
    if address.kind not in ("openai", "hf") or not address.argument:
        raise must_be("model", "openai:MODEL or hf:MODEL", model)
    package, extra = ("openai", "openai") if address.kind == "openai" else ("transformers", "llm")
    if find_spec(package) is None:
        raise missing(package, extra, f"model {address.canonical()}")
    if address.kind == "openai":
        return make_chat(address, random_state)
    return make_scoring(address, random_state, download, device)
