"""Text for people: numbers in sentences, and names that a terminal does not obey."""

from __future__ import annotations

import unicodedata


def counted(n: int, noun: str) -> str:
    """Return a number with its noun, which is given in the singular: ``"1 cell"``, ``"2,000 cells"``."""
    return f"{n:,} {noun}" if n == 1 else f"{n:,} {noun}s"


def printable(text: str, kept: str = "\n\t") -> str:
    r"""Return text with escapes, as ``\x1b``, for what is not printable, but for the characters in `kept`.

    Names come from files. A terminal obeys control characters (C0 and C1) in them, and shows others in an order that
    deceives (bidirectional marks); no encoding takes half a surrogate pair.
    """
    if text.isprintable():
        return text
    return "".join(
        one if one.isprintable() or one in kept or unicodedata.category(one) == "Zs" else _escaped(one) for one in text
    )


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")
