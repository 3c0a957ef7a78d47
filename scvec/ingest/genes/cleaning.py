"""Cleaning NCBI's prose for gene texts: attributions, HTML and non-ASCII characters are removed."""

from __future__ import annotations

import html
import re
import unicodedata
from collections.abc import Iterable

ATTRIBUTION = re.compile(r"\s*\[(?:provided|supplied) by [^\]]*\]\.?")
"""``[provided by RefSeq, Jul 2008].``: the author of a summary says nothing about the gene."""

TAG = re.compile(r"</?(?:a|b|br|div|em|i|li|ol|p|span|strong|sub|sup|u|ul)(?:\s[^<>]*)?/?>", re.IGNORECASE)
"""HTML tags by name; other angle brackets belong to alleles and aliases: ``Del(17)1t<w18>-d``, ``p34<CDC2>``."""

PLAIN = str.maketrans(
    {
        **dict.fromkeys("\u2018\u2019\u2032\u00b4", "'"),
        **dict.fromkeys("\u201c\u201d\u2033", '"'),
        "\u00d7": "x",
        "±": "+/-",
        "≥": ">=",
        "≤": "<=",
        "→": "->",
        "°": " degrees ",
        "ß": "beta",  # typed for the Greek letter
        "ø": "o",
        "Ø": "O",
    }
)


def clean(text: str) -> str:
    """Return `text` without attributions and HTML, in ASCII (Greek letters by name), with single spaces."""
    if "<" in text or "&" in text:
        text = TAG.sub(" ", html.unescape(text)) if "&" in text else TAG.sub(" ", text)
    if "[" in text:
        text = ATTRIBUTION.sub("", text)
    if not text.isascii():
        text = _ascii(text)
    return " ".join(text.split())


def without_repeats(names: Iterable[str], said: str) -> list[str]:
    """Return `names` without those that equal an earlier one, or `said`, but for case and punctuation."""
    seen = {_bare(said)}
    kept = []
    for name in names:
        bare = _bare(name)
        if bare and bare not in seen:
            seen.add(bare)
            kept.append(name)
    return kept


def _ascii(text: str) -> str:
    plain = unicodedata.normalize("NFKD", text.translate(PLAIN))
    return "".join(one if one.isascii() else _spelt(one) for one in plain)


def _spelt(character: str) -> str:
    if unicodedata.category(character) == "Pd":
        return "-"
    # "GREEK SMALL LETTER ALPHA", "GREEK SMALL LETTER FINAL SIGMA"
    name = unicodedata.name(character, "")
    return name.split()[-1].lower() if name.startswith("GREEK") and " LETTER " in name else ""


def _bare(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())
