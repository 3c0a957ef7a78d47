"""Which genes words name: by a symbol, an id, an alias or a full name."""

from __future__ import annotations

import re
from collections.abc import Sequence

import polars as pl

from scvec.ingest import GeneTexts
from scvec.ingest.genes.identifiers import EXACT, Route

FEWEST, FEWEST_OF_ALIAS = 2, 3
"""Letters of a symbol, and of an alias, that are found within a sentence: *B* and *T* are not genes there."""

MOST_MEANT = 3
"""Genes that an alias within a sentence may mean: *CD16* is two."""

_APART = re.compile(r"/|(?<=[+])(?=\w)")
_LACKING = re.compile(r"-(negative|low)$|-$")
_STATE = re.compile(r"(-positive|-negative|-low|-high|-dim|-bright|-expressing|-secreting|-producing|-|\+)+$")


def named(texts: GeneTexts, words: str) -> dict[int, str]:
    """Return the genes that words name, in the order of the words, each with what it is named by.

    That is a `Route` of `scvec.ingest.genes.identifiers`, or ``"name"`` for the full name of a gene. A single word may
    take any route, and an alias of several genes names each of them. So may several words that are all names of genes,
    as in ``"INS gcg H3F3A"``, but aliases must then be written exactly: *mast* and *cell* are aliases, too. In a
    sentence, where *rest*, *cat* and *was* are words, only an Ensembl id counts, a symbol exactly as it is written, if
    it has no small letter or has a digit: *INS* and *Ins2*, but not *Rest*; and an alias with a digit, as *CD16*. There
    a gene may be said to be there (*CD14-positive*, *CD14+*); one that is lacking (*CD16-negative*) is not named.
    """
    found = dict.fromkeys(_by_full_name(texts, words), "name")
    tokens = [bare for one in re.split(r"[\s,;]+", words) if (bare := one.strip("\"'()[]{}.:!?`"))]
    meant = [texts.identifiers.meant(one) for one in tokens]
    alone = len(tokens) == 1
    if not all(
        genes and (alone or route != "alias" or texts.identifiers.has_alias(token))
        for token, (genes, route) in zip(tokens, meant, strict=True)
    ):
        said = _said(tokens)
        meant = [one for name in said if _is_sure(texts, name, one := texts.identifiers.meant(name))]
    for genes, route in meant:
        for gene in genes:
            found.setdefault(gene, str(route))
    return found


def _by_full_name(texts: GeneTexts, words: str) -> list[int]:
    """Return the genes that have these words as their full name."""
    wanted = " ".join(words.split()).lower()
    same = (pl.col("full_name").str.to_lowercase() == wanted) & (pl.col("full_name") != "")
    return texts.frame.filter(same)["gene_id"].to_list()


def _said(tokens: Sequence[str]) -> list[str]:
    """Return what a sentence may name: its words without *-positive* and the like, and those that are lacking left out.

    *CD3/CD28* and *CD4+CD25+* are two.
    """
    return [
        _STATE.sub("", part)
        for token, after in zip(tokens, [*tokens[1:], ""], strict=True)
        for part in _APART.split(token)
        if not _LACKING.search(part) and after.lower() not in ("negative", "low")
    ]


def _is_sure(texts: GeneTexts, name: str, meant: tuple[list[int], Route | None]) -> bool:
    """Whether a name within a sentence is meant as that of a gene."""
    genes, route = meant
    if route in ("alias", "spelling"):
        has_digit = any(map(str.isdigit, name)) and not name.isdigit()
        exact = route == "spelling" or texts.identifiers.has_alias(name)
        return len(name) >= FEWEST_OF_ALIAS and has_digit and len(genes) <= MOST_MEANT and exact
    return route in EXACT - {"entrez"} and _stands_out(name)


def _stands_out(word: str) -> bool:
    """Whether a word within a sentence looks like a symbol or an id, and not like a word or a number."""
    return len(word) >= FEWEST and not word.isdigit() and (word == word.upper() or any(map(str.isdigit, word)))
