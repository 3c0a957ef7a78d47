"""What lies between the genes and the readout: a frozen language model, or a mean in its place."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Protocol

from scvec.errors import InputError, missing
from scvec.interpret.readout.spec import ReadoutSpec
from scvec.models.causal_lm import CausalLM, load_llm, randomised

if TYPE_CHECKING:
    import torch

TOKENS_AT_ONCE = 8192
"""Of the vocabulary, whose lengths are taken at once."""


class Body(Protocol):
    """What makes one vector of a cell's genes."""

    @property
    def name(self) -> str:
        """What it is called; "" where there is no model."""
        ...

    @property
    def revision(self) -> str:
        """A hash of its weights; "" where there are none."""
        ...

    @property
    def width(self) -> int:
        """Length of a token, and of what is read."""
        ...

    @property
    def token_norm(self) -> float:
        """The length that a gene's token is to have."""
        ...

    @property
    def takes_class_token(self) -> bool:
        """Whether a class token is put behind the genes."""
        ...

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        ...

    def read(self, tokens: torch.Tensor, places: torch.Tensor, class_token: torch.Tensor | None) -> torch.Tensor:
        """Return (b, width) float32, one vector a cell.

        Parameters
        ----------
        tokens
            (u, width) float32, the genes of the batch.
        places
            (b, T) which of them a cell has, in its order; -1 behind the last.
        class_token
            (width,) float32, if it takes one.
        """
        ...


@dataclass(frozen=True)
class Mean:
    """The mean of a cell's genes: what a readout knows without a language model."""

    width: int
    device: torch.device
    name: str = ""
    revision: str = ""
    takes_class_token: bool = False

    @property
    def token_norm(self) -> float:
        """That of a vector whose entries are of size one."""
        return float(self.width**0.5)

    def read(self, tokens: torch.Tensor, places: torch.Tensor, class_token: torch.Tensor | None) -> torch.Tensor:
        """Return the means; see `Body`."""
        import torch

        del class_token
        table = torch.cat([tokens, tokens.new_zeros(1, self.width)])
        n = (places >= 0).sum(1, keepdim=True)
        return torch.nn.functional.embedding(_padded(places, len(tokens)), table).sum(1) / n


@dataclass(frozen=True)
class Frozen:
    """A frozen causal language model that reads an instruction, the genes, and last a class token.

    Attributes
    ----------
    llm
        The model; what its last layer says at the class token is read.
    instruction
        What it reads first.
    cached
        Whether the instruction is read once, and what it leaves (keys and values) put before every batch: attention
        looks back only, so that it is the same for all cells.
    """

    llm: CausalLM
    instruction: str
    cached: bool = True
    takes_class_token: bool = True

    @property
    def name(self) -> str:
        """The LLM's."""
        return self.llm.name

    @property
    def revision(self) -> str:
        """The LLM's."""
        return self.llm.revision

    @property
    def width(self) -> int:
        """The LLM's."""
        return self.llm.width

    @property
    def device(self) -> torch.device:
        """The LLM's."""
        return self.llm.device

    @cached_property
    def token_norm(self) -> float:
        """The mean length of the model's tokens, as its first layer takes them."""
        import torch

        embed = self.llm.model.get_input_embeddings()
        ids = torch.arange(embed.weight.shape[0], device=self.device)
        with torch.no_grad():
            norms = [embed(part).float().norm(dim=1) for part in torch.split(ids, TOKENS_AT_ONCE)]
        return float(torch.cat(norms).double().mean())

    @cached_property
    def prefix(self) -> torch.Tensor:
        """(p,) the tokens of the instruction."""
        import torch

        return torch.tensor(self.llm.tokenizer(self.instruction)["input_ids"], device=self.device)

    def expect_room(self, n_genes: int) -> None:
        """Raise `InputError` if a cell of so many genes is longer than what the model takes."""
        room = self.llm.context
        asked = len(self.prefix) + n_genes + 1
        if room is not None and asked > room:
            raise InputError(
                f"an instruction of {len(self.prefix)} tokens, {n_genes:,} genes and the class token: {asked:,} in all",
                f"at most {room:,}, which {self.name} takes",
                f"read fewer genes: --n-genes {max(1, room - len(self.prefix) - 1)}",
            )

    def read(self, tokens: torch.Tensor, places: torch.Tensor, class_token: torch.Tensor | None) -> torch.Tensor:
        """Return the last hidden states at the class tokens; see `Body`.

        A class token stands right behind its cell's last gene, and nothing looks ahead: padding needs no mask.
        """
        import torch
        from torch.nn.functional import embedding, pad

        if class_token is None:
            raise ValueError("a class token is wanted")
        n, rows = (places >= 0).sum(1), torch.arange(len(places), device=self.device)
        table = torch.cat([tokens, class_token[None], tokens.new_zeros(1, self.width)]).to(self.llm.model.dtype)
        index = _padded(pad(places, (0, 1), value=-1), len(tokens) + 1).index_put((rows, n), n.new_tensor(len(tokens)))
        inputs = embedding(index, table)
        if self.cached:
            past = {self.llm.cache_name: self._past(len(places))}
            hidden = self._base(inputs_embeds=inputs, use_cache=True, **past)[0]
        else:
            said = self.llm.model.get_input_embeddings()(self.prefix).expand(len(places), -1, -1)
            hidden = self._base(inputs_embeds=torch.cat([said, inputs], 1), use_cache=False)[0][:, len(self.prefix) :]
        found: torch.Tensor = hidden[rows, n].float()
        return found

    @property
    def _base(self) -> Any:
        """The model without what makes words of its last hidden states."""
        return self.llm.model.base_model

    @cached_property
    def _said(self) -> list[tuple[torch.Tensor, torch.Tensor]]:
        """What the instruction leaves in each layer: (1, heads, p, d) keys and values."""
        import torch

        with torch.no_grad():
            past = self._base(input_ids=self.prefix[None], use_cache=True)[self.llm.cache_name]
        return [(layer.keys, layer.values) for layer in past.layers]

    def _past(self, n: int) -> Any:
        """Return a new cache for n cells, as the model puts what it reads behind what is there."""
        from transformers import DynamicCache

        spread = [(keys.expand(n, -1, -1, -1), values.expand(n, -1, -1, -1)) for keys, values in self._said]
        return DynamicCache(spread, config=self.llm.model.config)


def require() -> None:
    """Raise `MissingDependencyError` if torch is not installed; asked before any work is done."""
    if find_spec("torch") is None:
        raise missing("torch", "llm", "a readout")


def make_body(
    spec: ReadoutSpec, *, model: str | None = None, device: str = "cpu", download: bool = False
) -> Mean | Frozen:
    """Return what a spec has between the genes and the readout; `model` says where its LLM is now.

    Raises
    ------
    MissingDependencyError, FileError
        If the LLM is not here.
    InputError
        If a cell's genes are more than it takes.
    """
    if not spec.reads_llm:
        import torch

        return Mean(spec.width, torch.device(device))
    llm = load_llm(model or spec.model or "", precision=spec.precision, device=device, download=download)
    if spec.ablation == "random-llm":
        llm = randomised(llm, spec.random_state)
    body = Frozen(llm, spec.instruction, cached=remembers_all(llm))
    body.expect_room(spec.n_genes)
    return body


def remembers_all(llm: CausalLM) -> bool:
    """Whether all that a model's layers remember is the keys and values of every token: no window, no running state."""
    from transformers import DynamicCache
    from transformers.cache_utils import DynamicLayer

    return all(type(layer) is DynamicLayer for layer in DynamicCache(config=llm.model.config).layers)


def _padded(places: torch.Tensor, padding: int) -> torch.Tensor:
    return places.masked_fill(places < 0, padding)
