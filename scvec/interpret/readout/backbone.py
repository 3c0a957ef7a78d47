"""The backbone between the genes and the readout: a frozen language model, or a mean in its place."""

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
"""Tokens of the vocabulary whose norms are computed at once."""


class Backbone(Protocol):
    """Turns a cell's genes into one vector."""

    @property
    def name(self) -> str:
        """Name of its model; "" without a model."""
        ...

    @property
    def revision(self) -> str:
        """A hash of its weights; "" without weights."""
        ...

    @property
    def width(self) -> int:
        """Dimension of a token, and of the vector that is returned."""
        ...

    @property
    def token_norm(self) -> float:
        """The norm that a gene's token must have."""
        ...

    @property
    def takes_class_token(self) -> bool:
        """Whether a class token follows the genes."""
        ...

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        ...

    def read(self, tokens: torch.Tensor, places: torch.Tensor, class_token: torch.Tensor | None) -> torch.Tensor:
        """Return (b, width) float32, one vector per cell.

        Parameters
        ----------
        tokens
            (u, width) float32, the genes of the batch.
        places
            (b, T) rows of `tokens`: the genes of each cell, in order; -1 after the last.
        class_token
            (width,) float32, if the backbone takes one.
        """
        ...


@dataclass(frozen=True)
class MeanBackbone:
    """The mean of a cell's genes: the ablation without a language model."""

    width: int
    device: torch.device
    name: str = ""
    revision: str = ""
    takes_class_token: bool = False

    @property
    def token_norm(self) -> float:
        """The norm of a vector whose entries have magnitude one."""
        return float(self.width**0.5)

    def read(self, tokens: torch.Tensor, places: torch.Tensor, class_token: torch.Tensor | None) -> torch.Tensor:
        """Return the means; see `Backbone`."""
        import torch

        del class_token
        table = torch.cat([tokens, tokens.new_zeros(1, self.width)])
        n = (places >= 0).sum(1, keepdim=True)
        return torch.nn.functional.embedding(_padded(places, len(tokens)), table).sum(1) / n


@dataclass(frozen=True)
class FrozenLLM:
    """A frozen causal language model that reads an instruction, the genes, and finally a class token.

    Attributes
    ----------
    llm
        The model; the output is its last hidden state at the class token.
    instruction
        The text that it reads first.
    cached
        Whether the instruction is read once, and its keys and values are reused for every batch: attention is causal,
        so that they are the same for all cells.
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
        """The mean norm of the model's tokens, as its first layer receives them."""
        import torch

        embed = self.llm.model.get_input_embeddings()
        ids = torch.arange(embed.weight.shape[0], device=self.device)
        with torch.no_grad():
            norms = [embed(part).float().norm(dim=1) for part in torch.split(ids, TOKENS_AT_ONCE)]
        return float(torch.cat(norms).double().mean())

    @cached_property
    def prefix(self) -> torch.Tensor:
        """(p,) tokens of the instruction."""
        import torch

        return torch.tensor(self.llm.tokenizer(self.instruction)["input_ids"], device=self.device)

    def expect_room(self, n_genes: int) -> None:
        """Raise `InputError` if a cell of `n_genes` genes exceeds the model's context."""
        room = self.llm.context
        asked = len(self.prefix) + n_genes + 1
        if room is not None and asked > room:
            raise InputError(
                f"the instruction ({len(self.prefix)} tokens), {n_genes:,} genes and the class token make {asked:,} "
                f"tokens, but the context of {self.name} is {room:,}",
                fix=f"set `n_genes` to at most {max(1, room - len(self.prefix) - 1)}",
            )

    def read(self, tokens: torch.Tensor, places: torch.Tensor, class_token: torch.Tensor | None) -> torch.Tensor:
        """Return the last hidden states at the class tokens; see `Backbone`.

        A class token directly follows its cell's last gene, and attention is causal: padding needs no mask.
        """
        import torch
        from torch.nn.functional import embedding, pad

        if class_token is None:
            raise ValueError("`class_token` is missing")
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
        """The model without its language-modelling head."""
        return self.llm.model.base_model

    @cached_property
    def _said(self) -> list[tuple[torch.Tensor, torch.Tensor]]:
        """The instruction's (1, heads, p, d) keys and values in each layer."""
        import torch

        with torch.no_grad():
            past = self._base(input_ids=self.prefix[None], use_cache=True)[self.llm.cache_name]
        return [(layer.keys, layer.values) for layer in past.layers]

    def _past(self, n: int) -> Any:
        """Return a new cache for n cells: the model appends what it reads to the cache it is given."""
        from transformers import DynamicCache

        spread = [(keys.expand(n, -1, -1, -1), values.expand(n, -1, -1, -1)) for keys, values in self._said]
        return DynamicCache(spread, config=self.llm.model.config)


def require() -> None:
    """Raise `MissingDependencyError` if torch is not installed; call it before any work is done."""
    if find_spec("torch") is None:
        raise missing("torch", "llm", "a readout")


def make_backbone(
    spec: ReadoutSpec, *, model: str | None = None, device: str = "cpu", download: bool = False
) -> MeanBackbone | FrozenLLM:
    """Return the backbone of a spec; `model` is where its LLM is now.

    Raises
    ------
    MissingDependencyError, FileError
        If the LLM is not on this machine.
    InputError
        If a cell's genes exceed its context.
    """
    if not spec.reads_llm:
        import torch

        return MeanBackbone(spec.width, torch.device(device))
    llm = load_llm(model or spec.model or "", precision=spec.precision, device=device, download=download)
    if spec.ablation == "random-llm":
        llm = randomised(llm, spec.random_state)
    backbone = FrozenLLM(llm, spec.instruction, cached=remembers_all(llm))
    backbone.expect_room(spec.n_genes)
    return backbone


def remembers_all(llm: CausalLM) -> bool:
    """Whether a model's layers keep every token's keys and values, and nothing else: no window, no running state."""
    from transformers import DynamicCache
    from transformers.cache_utils import DynamicLayer

    return all(type(layer) is DynamicLayer for layer in DynamicCache(config=llm.model.config).layers)


def _padded(places: torch.Tensor, padding: int) -> torch.Tensor:
    return places.masked_fill(places < 0, padding)
