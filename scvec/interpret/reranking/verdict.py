"""Checks an answer against its case: it must rank exactly the case's labels, or abstain."""

from __future__ import annotations

import json
import unicodedata
from dataclasses import dataclass
from typing import Any, NoReturn

from scvec.interpret.reranking.prompt import MAX_REASON_CHARACTERS, Prompt

KEYS = ("ranking", "abstain", "reason", "genes")
UNPRINTABLE = {"Cc", "Cf", "Cs", "Zl", "Zp"}
"""Unicode categories that no sentence needs: control characters, direction marks, surrogates, line breaks."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """A judge's verdict on a case.

    Attributes
    ----------
    ranking
        All candidates, the most likely first; () for an abstention.
    reason
        One line.
    genes
        The symbols that the judge cites from the evidence.
    """

    ranking: tuple[str, ...]
    reason: str
    genes: tuple[str, ...]


def read_verdict(text: str, prompt: Prompt) -> Verdict:
    """Return the verdict in an answer; raise `ValueError`, which says why it is unusable and quotes nothing of it.

    The messages of these errors go into the second prompt: other words would be another question, with another hash.
    """
    answer = _parsed(text)
    if sorted(answer) != sorted(KEYS):
        raise ValueError(f"its keys are not {', '.join(KEYS)}")
    if type(answer["abstain"]) is not bool:
        raise ValueError("abstain is not true or false")
    ranking, genes = _strings(answer, "ranking"), _strings(answer, "genes")
    if not set(ranking) <= set(prompt.labels):
        raise ValueError("ranking has a label that is not among the candidates")
    if len(set(ranking)) < len(ranking):
        raise ValueError("ranking has a candidate twice")
    if not answer["abstain"] and len(ranking) < len(prompt.labels):
        raise ValueError("ranking lacks a candidate")
    if not set(genes) <= set(prompt.symbols):
        raise ValueError("genes has one that the evidence does not list")
    return Verdict(() if answer["abstain"] else ranking, _reason(answer["reason"]), tuple(dict.fromkeys(genes)))


def _parsed(text: str) -> dict[str, Any]:
    try:
        answer = json.loads(text, object_pairs_hook=_unique, parse_constant=_refused)
    except _RepeatedKeyError:
        raise ValueError("a key stands in it twice") from None
    except (ValueError, RecursionError):
        raise ValueError("it is not one JSON object and nothing else") from None
    if not isinstance(answer, dict):
        raise ValueError("it is not one JSON object and nothing else")
    return answer


class _RepeatedKeyError(ValueError):
    """An object repeats a key."""


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise _RepeatedKeyError
    return found


def _refused(constant: str) -> NoReturn:
    raise ValueError(constant)


def _strings(answer: dict[str, Any], key: str) -> tuple[str, ...]:
    values = answer[key]
    if not isinstance(values, list) or not all(isinstance(one, str) for one in values):
        raise ValueError(f"{key} is not a list of strings")
    return tuple(values)


def _reason(reason: object) -> str:
    if not isinstance(reason, str) or not reason.strip():
        raise ValueError("reason is not a sentence")
    if len(reason) > MAX_REASON_CHARACTERS:
        raise ValueError(f"reason is longer than {MAX_REASON_CHARACTERS} characters")
    if any(unicodedata.category(one) in UNPRINTABLE for one in reason):
        raise ValueError("reason is not one line of plain text")
    return reason.strip()
