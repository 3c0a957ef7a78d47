"""One spelling for the many ways in which people write the name of a cell."""

from __future__ import annotations

import re
import unicodedata

GREEK = {
    letter: unicodedata.name(letter).removeprefix("GREEK SMALL LETTER ").lower()
    for letter in "αβγδεζηθικλμνξοπρστυφχψω"
} | {"λ": "lambda"}
"""The letters written out; Unicode spells lambda its own way."""

LETTERS = frozenset({*GREEK.values(), *"abcdefghijklmnopqrstuvwxyz"})
"""What remains of ``alpha cell`` or ``C cells`` does not identify a cell: many tissues have one of that name."""


def spelling(name: str) -> str:
    """Return a normalised spelling, which is equal for two spellings of one cell's name.

    It ignores case, accents and the width of letters; the difference between ``_``, ``-``, ``.``, commas and spaces; a
    plural *s*; *cell* at either end; the difference between Greek letters and their names, between *+* and *positive*
    after a marker, and between *-* and *negative* at the end of a word after a marker with a digit. In ``CD4-CD8-`` the
    first ``-`` may be a hyphen, and is taken for one. A slash is kept: it may separate two cells.
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
