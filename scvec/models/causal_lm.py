"""Local causal language models: a folder in Hugging Face's format, a model in its cache, or a GGUF file."""

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
        The name it was loaded by; of a path, the last part only.
    model
        A transformers model in evaluation mode; no weight has a gradient.
    tokenizer
        The model's own.
    """

    name: str
    model: Any
    tokenizer: Any

    @cached_property
    def revision(self) -> str:
        """A hash of the weights and their precision."""
        return digest_of(self.model, str(self.model.dtype).removeprefix("torch."))

    @property
    def width(self) -> int:
        """Length of a token's vector."""
        return int(self.model.config.hidden_size)

    @property
    def context(self) -> int | None:
        """Tokens that it can read at once; None where its configuration does not say."""
        most = getattr(self.model.config, "max_position_embeddings", None)
        return most if isinstance(most, int) else None

    @property
    def device(self) -> torch.device:
        """The device that it is on."""
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
        A folder; the path of a ``.gguf`` file, which is converted to plain weights; or a name on the Hugging Face hub.
    precision
        Of the weights and of the computation.
    device
        ``"cpu"``, ``"cuda"``, or one of several GPUs, such as ``"cuda:1"``.
    download
        Whether a model may be downloaded from the hub.

    Raises
    ------
    MissingDependencyError
        If transformers, or gguf for a GGUF file, is not installed.
    FileError
        If the weights are not on this machine, or are not those of a causal language model.
    """
    path = place_of(source, download=download)
    is_gguf = path.is_file()
    with _reading(source, download):
        import torch
        from transformers import AutoModelForCausalLM, AutoTokenizer

        folder = path.parent if is_gguf else path
        # Weights that exist only as pickles are not read.
        more: dict[str, Any] = {"gguf_file": path.name} if is_gguf else {}
        plain = {} if is_gguf else {"use_safetensors": True}
        # The progress bars of GGUF files cannot be switched off.
        with redirect_stderr(io.StringIO()):
            tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True, **more)
            model = AutoModelForCausalLM.from_pretrained(
                folder, local_files_only=True, dtype=getattr(torch, precision), **more, **plain
            )
    return _frozen(_named(source), model, tokenizer, device)


def place_of(source: str, *, download: bool = False) -> Path:
    """Return where a model's files are, a folder or a GGUF file; the arguments and errors are those of `load_llm`."""
    with _reading(source, download):
        path = Path(source) if source.endswith(".gguf") else Path(folder_of(source, download))
        if not path.exists():
            raise OSError("no such file")
        return path


def _reading(source: str, download: bool) -> AbstractContextManager[None]:
    package = "gguf" if source.endswith(".gguf") else "transformers"
    return loading(source, f"the language model {source}", package=package, extra="llm", download=download)


def randomised(llm: CausalLM, random_state: int) -> CausalLM:
    """Return a model of the same shape with random weights: the baseline for what a model has learnt."""
    import torch
    from transformers import AutoModelForCausalLM

    config = plain_config(llm)
    with torch.random.fork_rng():
        torch.manual_seed(random_state)
        model = AutoModelForCausalLM.from_config(config, dtype=llm.model.dtype)  # type: ignore[no-untyped-call]
    return _frozen(f"{llm.name}, random weights", model, llm.tokenizer, str(llm.device))


def plain_config(llm: CausalLM) -> Any:
    """Return a model's configuration as that of plain weights, whatever file they came from."""
    config = llm.model.config
    values = {key: value for key, value in config.to_dict().items() if key != "quantization_config"}
    return type(config).from_dict(values)


def _frozen(name: str, model: Any, tokenizer: Any, device: str) -> CausalLM:
    return CausalLM(name, model.eval().requires_grad_(False).to(device), tokenizer)


def _named(source: str) -> str:
    return Path(source).name if Path(source).exists() else source
