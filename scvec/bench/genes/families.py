"""Families of genes, by a rule on their symbols and names.

Two genes are kin if their symbols have the same stem (the letters before the first digit or hyphen, two or more:
COL1A1 and COL3A1), or the same first three letters and names with the same first word of four letters or more (ACTA1
and ACTB, both "actin ..."). Kin of kin are kin. A family is kin whose names share that first word, unless the word says
only that the gene is unknown. This is not the curation of HGNC: it is there for every gene of every release, joins
some genes too many (all CD numbers are kin), and errs on the side that keeps relatives together.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Hashable, Sequence

import numpy as np
import polars as pl

from scvec.bench.genes.sets import Sets
from scvec.core.types import Ints

PLACEHOLDERS = frozenset({"transmembrane", "family", "coiled", "chromosome", "open", "uncharacterized", "protein"})
"""First words of names by which genes are numbered that have nothing else in common."""

LETTERS, LONG = 3, 4


def kin_of(genes: pl.DataFrame) -> Ints:
    """Return (n,) the number of each gene's kin: equal for relatives (columns `symbol`, `full_name`)."""
    parent: dict[Hashable, Hashable] = {}

    def root(one: Hashable) -> Hashable:
        while parent.setdefault(one, one) != one:
            parent[one] = parent[parent[one]]
            one = parent[one]
        return one

    rows = genes.select("symbol", "full_name").rows()
    for i, (symbol, name) in enumerate(rows):
        for key in _keys(symbol, first_word(name)):
            parent[root(key)] = root(i)
    roots = [root(i) for i in range(len(rows))]
    number = {one: i for i, one in enumerate(dict.fromkeys(roots))}
    return np.array([number[one] for one in roots], np.int64)


def families_of(genes: pl.DataFrame) -> Sets:
    """Return the symbols of each family of two or more, by a name of the stems and the first word of its genes."""
    kin = kin_of(genes)
    members: dict[tuple[int, str], list[str]] = defaultdict(list)
    for number, (symbol, name) in zip(kin.tolist(), genes.select("symbol", "full_name").rows(), strict=True):
        word = first_word(name)
        if len(word) >= LONG and word not in PLACEHOLDERS:
            members[number, word].append(symbol)
    families = [(f"{word} {_stem_of(some)}", tuple(some)) for (_, word), some in members.items() if len(some) > 1]
    names = Counter(name for name, _ in families)
    # Two families of one word and stem are told apart by a gene of theirs: no gene is in two families of one word.
    return {name if names[name] == 1 else f"{name} ({min(symbols)})": symbols for name, symbols in families}


def first_word(name: str | None) -> str:
    """Return the first word of a gene's full name, in small letters; "" if it does not begin with one."""
    found = re.match(r"[A-Za-z]+", name or "")
    return found[0].lower() if found else ""


def _keys(symbol: str, word: str) -> list[Hashable]:
    stem = re.match(r"[A-Za-z]{2,}(?=[0-9-])", symbol)
    keys: list[Hashable] = [("stem", stem[0].upper())] if stem else []
    if len(word) >= LONG:
        keys.append(("name", symbol[:LETTERS].upper(), word))
    return keys


def _stem_of(symbols: Sequence[str]) -> str:
    """Return the letters that all symbols begin with, or else the first symbol."""
    first, last = min(symbols), max(symbols)
    n = next((i for i, (one, other) in enumerate(zip(first, last, strict=False)) if one != other), len(first))
    return re.sub(r"[0-9-].*", "", first[:n]) or min(symbols)
