"""Gene texts without the words that give the answer away: a gene's own names, and the words of the sets' names."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

BLANK = "gene"
"""What is read where no word is left: encoders behind servers refuse empty texts."""

GENERIC = frozenset(
    {
        *("a", "an", "and", "are", "as", "at", "be", "by", "for", "from", "in", "into", "is", "it", "its", "of", "on"),
        *("or", "other", "per", "that", "the", "their", "this", "to", "via", "was", "with", "without"),
        *("hallmark", "reactome", "wp", "kegg", "gobp", "gocc", "gomf", "go", "dn", "up"),
    }
)
"""Words of sets' names that name nothing."""

ENDINGS = ("ations", "ation", "ings", "ing", "ions", "ion", "ies", "ic", "al", "es", "as", "s", "y", "e")
LEFT = ((r"([,;])(?:\s*[,;])+", r"\1"), (r"\(\s*[,;\s]+", "("), (r"\(\s*\)", " "), (r"\s+([,.;:)])", r"\1"))
"""What removed words leave, and what becomes of it: rows of commas, empty brackets, spaces before a comma."""
MIN_STEM = 4
MIN_WORD = 3
N_LETTERS_AS_WORDS = 4
"""Symbols of up to so many letters, and nothing else, stay where all are small: max, set and cat are words, too."""


def names_of(gene: Mapping[str, Any]) -> list[str]:
    """Return a gene's symbol, aliases, full name and designations (a row of ``gene_texts``)."""
    found = [gene["symbol"], *(gene["aliases"] or []), gene["full_name"], *(gene["designations"] or [])]
    return [one for one in dict.fromkeys(found) if one and len(one) > 1]


def words_of(names: Iterable[str]) -> frozenset[str]:
    """Return the words of sets' names, in small letters, without those that name nothing."""
    words = (word for name in names for word in re.findall(r"[^\W_]+", name.lower()))
    return frozenset(one for one in words if len(one) >= MIN_WORD and one not in GENERIC and not one.isdigit())


def without_names(text: str, names: Sequence[str]) -> str:
    """Return a text without a gene's names in any case: mTOR too; but not the word that a short symbol is in a text."""
    kept = {one.lower() for one in names if one.isalpha() and len(one) <= N_LETTERS_AS_WORDS} - set(names)
    found = "|".join(map(re.escape, sorted(names, key=len, reverse=True)))
    if found:
        pattern = rf"(?<!\w)(?:{found})(?!\w)"
        text = re.sub(pattern, lambda one: one[0] if one[0] in kept else " ", text, flags=re.IGNORECASE)
    return tidy(text)


def without_words(text: str, words: Iterable[str]) -> str:
    """Return a text without words, and without others of the same stem: pancreas, pancreatic."""
    stems = sorted({stem(one) for one in words}, key=len, reverse=True)
    if not stems:
        return tidy(text)
    return tidy(re.sub(rf"\b(?:{'|'.join(map(re.escape, stems))})\w*", " ", text, flags=re.IGNORECASE))


def stem(word: str) -> str:
    """Return what is left of a word without its ending, at least `MIN_STEM` letters."""
    ending = next((one for one in ENDINGS if word.endswith(one) and len(word) - len(one) >= MIN_STEM), "")
    return word.removesuffix(ending)


def tidy(text: str) -> str:
    """Return a text without what removed words leave, such as empty brackets; `BLANK` if no word is left."""
    for wrong, right in LEFT:
        text = re.sub(wrong, right, text)
    text = " ".join(text.split()).strip(" ,;:")
    return text if re.search(r"\w", text) else BLANK
