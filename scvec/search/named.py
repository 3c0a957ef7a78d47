"""Which genes words name: by a symbol, an id, an alias or a full name."""

from __future__ import annotations

import re

import polars as pl

from scvec.ingest import GeneTexts
from scvec.ingest.genes.identifiers import EXACT

FEWEST = 2
"""Letters of a symbol that is found within a sentence: *B* and *T* are no genes there."""


def named(texts: GeneTexts, words: str) -> dict[int, str]:
    """Return the genes that words name, in the order of the words, each with what it is named by.

    That is a `Route` of `scvec.ingest.genes.identifiers`, or ``"name"`` for the full name of a gene. A single word may
    take any route, and an alias of several genes names each of them. So may several words that are all names of genes,
    as in ``"INS gcg H3F3A"``, but aliases must then be written exactly: *mast* and *cell* are aliases, too. In a
    sentence, where *rest*, *cat* and *was* are words, only an Ensembl id counts, and a symbol exactly as it is
    written, if it has no small letter or has a digit: *INS* and *Ins2*, but not *Rest*.
    """
    found = dict.fromkeys(_by_full_name(texts, words), "name")
    tokens = [bare for one in re.split(r"[\s,;]+", words) if (bare := one.strip("\"'()[]{}.:!?`"))]
    meant = [texts.identifiers.meant(one) for one in tokens]
    alone = len(tokens) == 1
    if not all(
        genes and (alone or route != "alias" or texts.identifiers.has_alias(token))
        for token, (genes, route) in zip(tokens, meant, strict=True)
    ):
        sure = EXACT - {"entrez"}
        meant = [one for one, token in zip(meant, tokens, strict=True) if one[1] in sure and _stands_out(token)]
    for genes, route in meant:
        for gene in genes:
            found.setdefault(gene, str(route))
    return found


def _by_full_name(texts: GeneTexts, words: str) -> list[int]:
    """Return the genes that have these words as their full name."""
    wanted = " ".join(words.split()).lower()
    same = (pl.col("full_name").str.to_lowercase() == wanted) & (pl.col("full_name") != "")
    return texts.frame.filter(same)["gene_id"].to_list()


def _stands_out(word: str) -> bool:
    """Whether a word within a sentence looks like a symbol or an id, and not like a word or a number."""
    return len(word) >= FEWEST and not word.isdigit() and (word == word.upper() or any(map(str.isdigit, word)))
