"""What judging costs, and a limit that it keeps to."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass

from scvec.errors import InputError
from scvec.interpret.reranking.judge import Answer, Judge
from scvec.interpret.reranking.prompt import Prompt

CHARACTERS_A_TOKEN = 2
"""ASCII text has more, as a rule four: what is reserved is not less than what is paid."""

USUAL_CHARACTERS_A_TOKEN = 3
"""Of JSON with symbols and numbers: for an estimate."""

USUAL_TOKENS_OUT = 150
"""Of an answer: for an estimate."""

TRIES = 2
COMPLAINT_CHARACTERS = 300

Price = tuple[float, float]


def price_of(judge: Judge, price: Price | None, max_cost: float | None) -> Price | None:
    """Return what a million tokens cost in USD, in and out: the price given, or the judge's list price, or None.

    Raises
    ------
    InputError
        If a limit is to be kept and no price is known, or one of them is no sum of money.
    """
    if price is not None and not all(math.isfinite(one) and one >= 0 for one in price):
        raise InputError(f"price {price}", "USD for a million tokens in, and out", "--price 0.15,0.60")
    if max_cost is not None and not (math.isfinite(max_cost) and max_cost >= 0):
        raise InputError(f"max_cost = {max_cost!r}", "USD, from 0", "--max-cost 0.50")
    known = price or judge.usd
    if max_cost is not None and known is None:
        raise InputError(
            f"a limit of ${max_cost:g} for {judge.name}, whose price is not known",
            "USD for a million tokens in, and out",
            "--price IN,OUT, as --price 0.15,0.60, or leave out --max-cost",
        )
    return known


def most_tokens(text: str) -> int:
    """Return a number of tokens that a text hardly exceeds."""
    n_ascii = sum(one.isascii() for one in text)
    # Beyond ASCII a byte may be a token.
    return -(-n_ascii // CHARACTERS_A_TOKEN) + len(text.encode()) - n_ascii


def text_of(prompt: Prompt) -> str:
    """Return all that is sent of a prompt, the schema too."""
    return "".join(one["content"] for one in prompt.messages) + json.dumps(prompt.schema, ensure_ascii=False)


@dataclass(slots=True)
class Budget:
    """Money, reserved before a call is made and booked when it has been answered.

    Attributes
    ----------
    price
        USD for a million tokens in, and out; None where it is not known.
    most
        What may be spent, in USD; None: any sum.
    spent, reserved
        In USD.
    """

    price: Price | None
    most: float | None
    spent: float = 0.0
    reserved: float = 0.0

    def worst(self, prompt: Prompt, judge: Judge) -> float:
        """Return what a case may cost at most, in two tries."""
        return TRIES * self._cost(*self.worst_try(prompt, judge))

    def worst_try(self, prompt: Prompt, judge: Judge) -> tuple[int, int]:
        """Return the tokens, in and out, that one try takes at most."""
        return most_tokens(text_of(prompt)) + COMPLAINT_CHARACTERS, judge.max_tokens

    def fits(self, usd: float) -> bool:
        """Whether a sum is left beside what is reserved."""
        return self.most is None or self.spent + self.reserved + usd <= self.most

    def allows_another(self, spent: float, prompt: Prompt, judge: Judge) -> bool:
        """Whether a case that cost so much may be asked once more within what was reserved for it.

        It may not where a server counted more than a prompt can have, or wrote more than it was to.
        """
        return self.most is None or spent + self._cost(*self.worst_try(prompt, judge)) <= self.worst(prompt, judge)

    def cost(self, answer: Answer, prompt: Prompt, judge: Judge) -> tuple[int, int, float]:
        """Return tokens in and out, and USD, of an answer; at worst where the server does not count."""
        worst = self.worst_try(prompt, judge)
        tokens_in = worst[0] if answer.tokens_in is None else answer.tokens_in
        tokens_out = worst[1] if answer.tokens_out is None else answer.tokens_out
        return tokens_in, tokens_out, self._cost(tokens_in, tokens_out)

    def _cost(self, tokens_in: int, tokens_out: int) -> float:
        return 0.0 if self.price is None else (tokens_in * self.price[0] + tokens_out * self.price[1]) / 1e6
