"""What judging costs, and the limit it stays within."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass

from scvec.errors import InputError, must_be
from scvec.interpret.reranking.judge import Answer, Judge
from scvec.interpret.reranking.prompt import Prompt

CHARACTERS_A_TOKEN = 2
"""Cautious: ASCII text usually has about four, so that no less is reserved than is paid."""

USUAL_CHARACTERS_A_TOKEN = 3
"""In JSON with symbols and numbers; used for estimates."""

USUAL_TOKENS_OUT = 150
"""Length of an answer; used for estimates."""

TRIES = 2
COMPLAINT_CHARACTERS = 300

Price = tuple[float, float]


def price_of(judge: Judge, price: Price | None, max_cost: float | None) -> Price | None:
    """Return USD per million tokens, in and out: the given price, else the judge's list price, else None.

    Raises
    ------
    InputError
        If the price or the limit is negative or not finite, or if there is a limit and no price is known.
    """
    if price is not None and not all(math.isfinite(one) and one >= 0 for one in price):
        raise must_be("price", "USD per million tokens in and out, such as 0.15,0.60", price)
    if max_cost is not None and not (math.isfinite(max_cost) and max_cost >= 0):
        raise must_be("max_cost", "USD, at least 0", max_cost)
    known = price or judge.usd
    if max_cost is not None and known is None:
        raise InputError(
            f"`max_cost` limits {judge.name} to ${max_cost:g}, but its price is not known",
            fix="give `price` in USD per million tokens in and out, such as 0.15,0.60, or leave out `max_cost`",
        )
    return known


def most_tokens(text: str) -> int:
    """Return a number of tokens that a text is very unlikely to exceed."""
    n_ascii = sum(one.isascii() for one in text)
    # Outside ASCII each byte may be a token.
    return -(-n_ascii // CHARACTERS_A_TOKEN) + len(text.encode()) - n_ascii


def text_of(prompt: Prompt) -> str:
    """Return all the text that is sent for a prompt, including the schema."""
    return "".join(one["content"] for one in prompt.messages) + json.dumps(prompt.schema, ensure_ascii=False)


@dataclass(slots=True)
class Budget:
    """Money: reserved before a request, booked once it is answered.

    Attributes
    ----------
    price
        USD per million tokens, in and out; None if unknown.
    most
        What may be spent, in USD; None for no limit.
    spent, reserved
        In USD.
    """

    price: Price | None
    most: float | None
    spent: float = 0.0
    reserved: float = 0.0

    def worst(self, prompt: Prompt, judge: Judge) -> float:
        """Return the most that a case can cost, in two tries."""
        return TRIES * self._cost(*self.worst_try(prompt, judge))

    def worst_try(self, prompt: Prompt, judge: Judge) -> tuple[int, int]:
        """Return the most tokens, in and out, that one try can take."""
        return most_tokens(text_of(prompt)) + COMPLAINT_CHARACTERS, judge.max_tokens

    def fits(self, usd: float) -> bool:
        """Whether a sum fits within the limit, on top of what is spent and reserved."""
        return self.most is None or self.spent + self.reserved + usd <= self.most

    def allows_another(self, spent: float, prompt: Prompt, judge: Judge) -> bool:
        """Whether a case that has cost this much may be asked once more within what was reserved for it.

        It may not if the server counted more tokens than the prompt can have, or wrote more than it was allowed to.
        """
        return self.most is None or spent + self._cost(*self.worst_try(prompt, judge)) <= self.worst(prompt, judge)

    def cost(self, answer: Answer, prompt: Prompt, judge: Judge) -> tuple[int, int, float]:
        """Return tokens in and out, and USD, of an answer; the most possible if the server does not count.

        A server that counts none for a prompt, or for a text, does not count: the limit would never be reached.
        """
        worst = self.worst_try(prompt, judge)
        tokens_in = answer.tokens_in or worst[0]
        uncounted = answer.tokens_out is None or (answer.tokens_out == 0 and bool(answer.text))
        tokens_out = worst[1] if uncounted else int(answer.tokens_out or 0)
        return tokens_in, tokens_out, self._cost(tokens_in, tokens_out)

    def _cost(self, tokens_in: int, tokens_out: int) -> float:
        return 0.0 if self.price is None else (tokens_in * self.price[0] + tokens_out * self.price[1]) / 1e6
