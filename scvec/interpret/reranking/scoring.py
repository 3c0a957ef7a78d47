"""A local judge: ranks labels by how much the evidence raises their probability under a language model."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, get_args

from scvec.embed.encoders import Address
from scvec.errors import InputError
from scvec.interpret.reranking.judge import Answer, Ask
from scvec.interpret.reranking.prompt import Form, Messages, Prompt
from scvec.models.causal_lm import CausalLM, Precision, load_llm, place_of, randomised
from scvec.models.weights import all_threads, digest_of_files

WEIGHTS = ("trained", "random")


@dataclass(frozen=True)
class ScoringJudge:
    """A causal language model that generates nothing: its probabilities of the labels' names are compared.

    A label's score is log p(label | prompt) - log p(label | the same prompt without the evidence), divided by the
    label's number of tokens. Both prompts list the candidates in the same order, so that naming them cancels out.

    Sources: division by length as in Brown et al. 2020 (arXiv 2005.14165, section 2.4); subtraction of the score under
    a prompt without content as in Zhao et al. 2021 (arXiv 2102.09690), and in Holtzman et al. 2021 (arXiv 2104.08315)
    for labels of unequal prior probability.
    """

    name: str
    source: str
    weights: str
    precision: Precision
    device: str
    random_state: int

    form: ClassVar[Form] = "name"
    max_tokens: ClassVar[int] = 0
    is_remote: ClassVar[bool] = False
    usd: ClassVar[tuple[float, float] | None] = (0.0, 0.0)

    @cached_property
    def revision(self) -> str:
        """A hash of its files, not of the loaded weights: cached answers need no model."""
        return digest_of_files(place_of(self.source))

    @property
    def settings(self) -> Mapping[str, Any]:
        """Everything that an answer depends on, besides the prompt."""
        seed = {"seed": self.random_state} if self.weights == "random" else {}
        return {"weights": self.weights, "revision": self.revision, "precision": self.precision, **seed}

    @contextmanager
    def asking(self) -> Iterator[Ask]:
        """Yield the function that asks; the weights are loaded for it."""
        llm = load_llm(self.source, precision=self.precision, device=self.device)
        if self.weights == "random":
            llm = randomised(llm, self.random_state)
        with all_threads():
            yield lambda prompt, _messages: ranked(llm, prompt)


def ranked(llm: CausalLM, prompt: Prompt) -> Answer:
    """Return the labels in the order of their scores, as an answer; an abstention if no score is above 0.

    Raises
    ------
    InputError
        If the prompt is longer than the model's context.
    """
    told, bare = tokens_of(llm, prompt.messages), tokens_of(llm, prompt.bare)
    names = [label_tokens(llm, label) for label in prompt.labels]
    _check_length(llm, len(told) + max(map(len, names)))
    with_it, without = log_chances(llm, told, names), log_chances(llm, bare, names)
    scores = [(one - other) / len(name) for one, other, name in zip(with_it, without, names, strict=True)]
    order = sorted(range(len(scores)), key=lambda i: -scores[i])
    best = scores[order[0]]
    if best > 0:
        reason = f"the evidence changes its log probability by {best:+.3f} a token"
        reason += f", that of the runner-up by {scores[order[1]]:+.3f}" if len(order) > 1 else ""
    else:
        reason = f"the evidence makes no label likelier: the best changes by {best:+.3f} a token"
    ranking = [prompt.labels[i] for i in order]
    text = json.dumps({"ranking": ranking, "abstain": best <= 0, "reason": reason, "genes": []}, ensure_ascii=False)
    return Answer(text, "", len(told) + len(bare), 0)


def tokens_of(llm: CausalLM, messages: Messages) -> list[int]:
    """Return a prompt's tokens up to where the answer begins, by the model's chat template if it has one."""
    from jinja2 import TemplateError

    tokenizer = llm.tokenizer
    system, user = (_plain(llm, one["content"]) for one in messages)
    if getattr(tokenizer, "chat_template", None) is None:
        return list(tokenizer(f"{system}\n\n{user}\n\nLabel:")["input_ids"])
    asked = [{"role": "system", "content": system}, {"role": "user", "content": user}]
    try:
        text = tokenizer.apply_chat_template(asked, tokenize=False, add_generation_prompt=True)
    except TemplateError:  # Some do not accept a system message.
        both = [{"role": "user", "content": f"{system}\n\n{user}"}]
        text = tokenizer.apply_chat_template(both, tokenize=False, add_generation_prompt=True)
    return list(tokenizer(text, add_special_tokens=False)["input_ids"])


def _plain(llm: CausalLM, text: str) -> str:
    """Return a text without special tokens such as ``[/INST]``, which could end a turn: JSON escapes replace them."""
    special = (str(one) for one in llm.tokenizer.added_tokens_decoder.values() if one.special)
    for token in sorted(special, key=len, reverse=True):
        if len(token) > 1:
            text = text.replace(token, f"\\u{ord(token[0]):04x}{token[1:]}")
    return text


def label_tokens(llm: CausalLM, label: str) -> list[int]:
    """Return a label's tokens as they follow a prompt."""
    lead = " " if getattr(llm.tokenizer, "chat_template", None) is None else ""
    return list(llm.tokenizer(lead + label, add_special_tokens=False)["input_ids"])


def log_chances(llm: CausalLM, prompt: Sequence[int], names: Sequence[Sequence[int]]) -> list[float]:
    """Return the log probability of each sequence of tokens after a prompt, which is run once for all of them."""
    import torch

    def ids(tokens: Sequence[int]) -> torch.Tensor:
        return torch.tensor([list(tokens)], dtype=torch.long, device=llm.device)

    found = []
    with torch.inference_mode():
        run = llm.model(input_ids=ids(prompt), use_cache=True, logits_to_keep=1)
        after_prompt = run.logits[0, -1:].float().log_softmax(dim=-1)
        for name in names:
            logs = after_prompt
            if len(name) > 1:
                # A copy: the model appends to the keys and values it is given.
                past = {llm.cache_name: copy.deepcopy(run[llm.cache_name])}
                rest = llm.model(input_ids=ids(name[:-1]), use_cache=True, **past).logits[0]
                logs = torch.cat([after_prompt, rest.float().log_softmax(dim=-1)])
            found.append(float(logs[torch.arange(len(name)), ids(name)[0]].double().sum()))
    return found


def _check_length(llm: CausalLM, n_tokens: int) -> None:
    if llm.context is not None and n_tokens > llm.context:
        raise InputError(
            f"a case has {n_tokens:,} tokens, but the context of model {llm.name} is {llm.context:,}",
            fix="choose a model with a longer context",
        )


def make_scoring(address: Address, random_state: int, download: bool, device: str) -> ScoringJudge:
    """Make ``hf:MODEL``; ``weights=random`` replaces its weights by random ones, ``precision`` is its number format."""
    address.only("weights", "precision")
    asked = address.choice("precision", get_args(Precision))
    precision = next(one for one in get_args(Precision) if one == asked)
    weights = address.choice("weights", WEIGHTS)
    place_of(address.argument, download=download)  # Fails, or downloads, before any work.
    return ScoringJudge(address.canonical(), address.argument, weights, precision, device, random_state)
