"""Causal language models that run here: a folder of Hugging Face's form, one in its cache, or a GGUF file."""

from __future__ import annotations

import io
from contextlib import AbstractContextManager, redirect_stderr
from dataclasses import dataclass
from functools import cached_property
from inspect import signature
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from scvec.models.weights import digest_of, folder_of, loading

if TYPE_CHECKING:
    import torch

Precision: TypeAlias = Literal["float32", "bfloat16"]


@dataclass(frozen=True)
class CausalLM:
    """A frozen causal language model.

    Attributes
    ----------
    name
        What it was asked for by, of a path its last part only.
    model
        Of transformers, in evaluation mode; none of its weights has a gradient.
    tokenizer
        Its own.
    """

    name: str
    model: Any
    tokenizer: Any

    @cached_property
    def revision(self) -> str:
        """A hash of its weights and their precision."""
        return digest_of(self.model, str(self.model.dtype).removeprefix("torch."))

    @property
    def width(self) -> int:
        """Length of a token's vector."""
        return int(self.model.config.hidden_size)

    @property
    def context(self) -> int | None:
        """How many tokens it can read at once; None where its shape does not say."""
        most = getattr(self.model.config, "max_position_embeddings", None)
        return most if isinstance(most, int) else None

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        device: torch.device = self.model.device
        return device

    @cached_property
    def cache_name(self) -> str:
        """What it calls the keys and values it was left, as argument and in what it returns."""
        # "cache" from transformers 5.24 on, where the older name warns until 5.40 takes it away.
        return "cache" if "cache" in signature(self.model.base_model.forward).parameters else "past_key_values"


def load_llm(source: str, *, precision: Precision = "float32", device: str = "cpu", download: bool = False) -> CausalLM:
    """Load a causal language model.

    Parameters
    ----------
    source
        A folder, the path of a ``.gguf`` file, which is turned into plain weights, or a name on the Hugging Face hub.
    precision
        Of its weights and of what they compute.
    device
        ``"cpu"``, ``"cuda"``, or one of several as ``"cuda:1"``.
    download
        Whether a model of the hub may be fetched.

    Raises
    ------
    MissingDependencyError
        If transformers, or for a GGUF file gguf, is not installed.
    FileError
        If the weights are not here, or are of no causal language model.
    """
    path = place_of(source, download=download)
    is_gguf = path.is_file()
    with _reading(source, download):
        import torch
        from transformers import AutoModelForCausalLM, AutoTokenizer

        folder = path.parent if is_gguf else path
        # Weights that are only there as pickles are not read.
        more: dict[str, Any] = {"gguf_file": path.name} if is_gguf else {}
        plain = {} if is_gguf else {"use_safetensors": True}
        # The bars of GGUF files cannot be told to be silent.
        with redirect_stderr(io.StringIO()):
            tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True, **more)
            model = AutoModelForCausalLM.from_pretrained(
                folder, local_files_only=True, dtype=getattr(torch, precision), **more, **plain
            )
    return _frozen(_named(source), model, tokenizer, device)


def place_of(source: str, *, download: bool = False) -> Path:
    """Return where a model's files are, a folder or a GGUF file; raises as `load_llm`, which takes the same."""
    with _reading(source, download):
        path = Path(source) if source.endswith(".gguf") else Path(folder_of(source, download))
        if not path.exists():
            raise OSError("no such file")
        return path


def _reading(source: str, download: bool) -> AbstractContextManager[None]:
    package = "gguf" if source.endswith(".gguf") else "transformers"
    return loading(source, f"the language model {source}", package=package, extra="llm", download=download)


def randomised(llm: CausalLM, random_state: int) -> CausalLM:
    """Return a model of the same shape whose weights were drawn at random: the control for what a model has learnt."""
    import torch
    from transformers import AutoModelForCausalLM

    config = plain_config(llm)
    with torch.random.fork_rng():
        torch.manual_seed(random_state)
        model = AutoModelForCausalLM.from_config(config, dtype=llm.model.dtype)  # type: ignore[no-untyped-call]
    return _frozen(f"{llm.name}, random weights", model, llm.tokenizer, str(llm.device))


def plain_config(llm: CausalLM) -> Any:
    """Return a model's shape as that of plain weights, whatever file they came from."""
    config = llm.model.config
    values = {key: value for key, value in config.to_dict().items() if key != "quantization_config"}
    return type(config).from_dict(values)


def _frozen(name: str, model: Any, tokenizer: Any, device: str) -> CausalLM:
    return CausalLM(name, model.eval().requires_grad_(False).to(device), tokenizer)


def _named(source: str) -> str:
    return Path(source).name if Path(source).exists() else source
