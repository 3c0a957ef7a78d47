"""One spelling for the ways in which people write the name of a cell."""

from __future__ import annotations

import re
import unicodedata

GREEK = {
    letter: unicodedata.name(letter).removeprefix("GREEK SMALL LETTER ").lower()
    for letter in "αβγδεζηθικλμνξοπρστυφχψω"
} | {"λ": "lambda"}
"""The letters as they are written out; Unicode has its own spelling of one."""

LETTERS = frozenset({*GREEK.values(), *"abcdefghijklmnopqrstuvwxyz"})
"""What is left of ``alpha cell`` or ``C cells`` is too little to tell one cell from another: tissues have their own."""


def spelling(name: str) -> str:
    """Return the spelling in which two names of one cell are alike.

    Alike are: case, accents, the width of letters; ``_``, ``-``, ``.``, commas and spaces; a plural's *s*; a *cell* at
    either end; Greek letters and their names; *+* and *positive* behind a marker; *-* and *negative* behind one with a
    digit, where a word ends. In ``CD4-CD8-`` the first may be a hyphen, so that it is taken as one. A slash stays: what
    it divides may be two cells.
    """
    text = "".join(one for one in unicodedata.normalize("NFKD", name).casefold() if not unicodedata.combining(one))
    text = re.sub("|".join(GREEK), lambda found: f" {GREEK[found[0]]} ", text)
    text = re.sub(r"(?<=\w)\(?\+\)?", " positive ", text)
    text = re.sub(r"\b(\w*\d\w*)\(?-\)?(?=[\s,;]|$)", r"\1 negative ", text)
    words = [_singular(word) for word in re.split(r"[\s_\-\u2010-\u2015.,;]+", text) if word]
    while len(words) > 1 and words[-1] == "cell":
        words.pop()
    while len(words) > 1 and words[0] == "cell":
        words.pop(0)
    return " ".join(words)


def _singular(word: str) -> str:
    is_plural = len(word) > 3 and word.endswith("s") and not word.endswith(("ss", "us", "is"))
    return word[:-1] if is_plural else word
