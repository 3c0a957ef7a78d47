"""Checking conditions in SQL before an engine sees them: their brackets, columns, functions and size.

Engines take more than a condition: expressions that close brackets they did not open, hidden columns, functions with
another answer each time, and chains of operators on which they compute without end. A condition is read here into its
words, and whatever is not known to be harmless is refused; whether the words make sense is left to the engine.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from itertools import pairwise

from scvec.errors import InputError

MAX_CHARACTERS = 10_000
MAX_DEPTH = 40
"""Brackets and NOTs within each other; Lance's parser ends near 50."""
MAX_OPERATIONS = 100
"""Arithmetic, text operators and functions; Lance takes 30 seconds for 2,000."""
SHOWN = 100
"""Characters of a condition that an error repeats."""

FUNCTIONS = frozenset(
    {
        *("abs", "ceil", "floor", "round", "mod", "sign", "nullif", "coalesce", "cast", "try_cast"),
        *("lower", "upper", "length", "char_length", "character_length", "initcap", "reverse"),
        *("trim", "ltrim", "rtrim", "btrim", "substr", "substring", "left", "right", "split_part", "replace"),
        *("starts_with", "ends_with", "contains", "strpos", "concat", "concat_ws"),
        *("regexp_like", "regexp_match", "regexp_replace"),
    }
)
"""Functions of a row's own values, whose results are not much larger than these."""

KEYWORDS = frozenset(
    {
        *(
            "and",
            "or",
            "not",
            "in",
            "is",
            "null",
            "true",
            "false",
            "like",
            "ilike",
            "rlike",
            "regexp",
            "between",
            "distinct",
        ),
        *("from", "case", "when", "then", "else", "end", "as", "escape", "date", "timestamp"),
        *("int", "integer", "bigint", "smallint", "float", "double", "real", "decimal", "string", "text", "varchar"),
        *("boolean", "bool"),
    }
)

_TOKEN = re.compile(
    r"""(?P<space>\s+|--[^\n]*|/\*.*?\*/)
    |(?P<text>'(?:[^']|'')*')
    |(?P<double>"(?:[^"]|"")*")
    |(?P<back>`[^`]+`)
    |(?P<number>\d+(?:\.\d*)?(?:[eE][+-]?\d+)?(?![\w.])|\.\d+(?:[eE][+-]?\d+)?(?![\w.]))
    |(?P<word>[^\W\d]\w*)
    |(?P<comparison><>|!=|<=|>=|==|=|<|>)
    |(?P<operation>\|\||::|[+*/%-])
    |(?P<bracket>[(),])""",
    re.VERBOSE | re.DOTALL,
)


@dataclass(frozen=True, slots=True)
class _Word:
    kind: str
    text: str
    at: int

    @property
    def lower(self) -> str:
        return self.text.lower()


def check_condition(condition: str, names: Collection[str], parameter: str = "where", quote: str = "`") -> set[str]:
    """Return the columns that a condition reads.

    Parameters
    ----------
    condition
        A condition in SQL: comparisons joined by AND, OR and NOT.
    names
        The columns that it may read. Case is ignored for names without quotes.
    parameter
        The parameter at fault, which errors name.
    quote
        What stands around a column's name that is not a plain word; the other of ` and " is not taken.

    Raises
    ------
    InputError
        If its brackets do not match, it reads anything but `names`, calls a function other than `FUNCTIONS`, has a
        placeholder, or is longer or more nested than the limits.
    """
    try:
        if len(condition) > MAX_CHARACTERS:
            raise _FaultError(f"it has {len(condition):,} characters, more than {MAX_CHARACTERS:,}")
        words = list(_words(condition))
        if not words:
            raise _FaultError("it is empty")
        _check_brackets(words)
        n_operations = sum(one.kind == "operation" for one in words) + len(_functions(words))
        if n_operations > MAX_OPERATIONS:
            raise _FaultError(f"it has {n_operations:,} operations, more than {MAX_OPERATIONS}")
        return _columns(words, names, quote)
    except _FaultError as error:
        raise wrong_condition(condition, str(error), names, parameter, quote) from None


def wrong_condition(
    condition: str, found: str, names: Collection[str], parameter: str = "where", quote: str = "`"
) -> InputError:
    """Return the error for a condition that is not valid; `found` says why."""
    shown = condition if len(condition) <= SHOWN else f"{condition[:SHOWN]}..."
    named = "backticks" if quote == "`" else "double quotes"
    return InputError(
        f"`{parameter}` {shown!r}: {found}",
        f"SQL on the columns {', '.join(names)}",
        f"put text in single quotes, and names that are not one plain word in {named}",
    )


class _FaultError(Exception):
    """What is wrong with a condition."""


def _words(condition: str) -> Iterator[_Word]:
    """Yield the words of a condition, without blanks and remarks."""
    at, before = 0, ""
    while at < len(condition):
        found = _TOKEN.match(condition, at)
        if found is None:
            raise _FaultError(_unknown(condition[at:]))
        kind = str(found.lastgroup)
        if "word" in (before, kind) and {before, kind} & {"text", "double"}:
            raise _FaultError(f"a quote touches a word at {condition[max(at - 10, 0) : at + 10]!r}")
        if kind != "space":
            yield _Word(kind, found[0], at)
        at, before = found.end(), kind


def _unknown(rest: str) -> str:
    if rest[0] in "'\"`":
        return "a quote is not closed"
    if rest[0] in "?$:":
        return f"it has a placeholder, {rest[:10]!r}"
    return f"{rest[:10]!r} cannot stand in a condition"


def _check_brackets(words: list[_Word]) -> None:
    opened = negated = 0
    for word in words:
        opened += (word.text == "(") - (word.text == ")")
        negated = negated + 1 if word.lower in ("not", "-", "+") else 0
        if opened < 0:
            break
        if opened + negated > MAX_DEPTH:
            raise _FaultError(f"it is nested more than {MAX_DEPTH} levels deep")
    if opened:
        raise _FaultError("its brackets do not match")


def _functions(words: list[_Word]) -> list[_Word]:
    """Return the words that are called as functions."""
    return [
        one
        for one, after in pairwise(words)
        if one.kind in ("word", "back", "double") and after.text == "(" and one.lower not in KEYWORDS
    ]


def _columns(words: list[_Word], names: Collection[str], quote: str) -> set[str]:
    called = {one.at: one for one in _functions(words)}
    wrong = next((one.text for one in called.values() if one.lower not in FUNCTIONS), None)
    if wrong is not None:
        raise _FaultError(f"the function {wrong[:40]} is not one of {', '.join(sorted(FUNCTIONS))}")
    by_fold = {name.lower(): name for name in names}
    found = set()
    for word in words:
        if word.at in called or word.kind not in ("word", "back", "double"):
            continue
        quoted = word.kind != "word"
        name = word.text[1:-1] if quoted else word.text
        if word.kind == "double" and quote != '"':
            if name in names:
                raise _FaultError(f"{word.text} in double quotes is read as text")
            continue
        if not quoted and word.lower in KEYWORDS and name not in names:
            continue
        if name not in names and (quoted or word.lower not in by_fold):
            raise _FaultError(f"no column {name[:40]}")
        found.add(name if name in names else by_fold[word.lower])
    return found
