"""Genomes of the genes of one matrix: as prefixes of their names (``GRCh38_INS``), or in a column of ``var``."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from scvec.core.types import Bools, Ints, Strings
from scvec.ingest.genes.features import GENOME

GENOME_KEYS = ("genome", "feature_reference", "species", "organism")
"""Columns of ``var`` with the genome of a gene: of 10x, of CELLxGENE, of joined species."""

TAXON_OF: Mapping[int, str] = {
    9606: r"grch\d|hg\d\d|b37|chm13|t2t|human|homo[-_ .]?sapiens|hsapiens|\bhsap?\b",
    10090: r"grcm\d|mm\d\d?|mouse|mus[-_ .]?musculus|mmusculus|\bmmus?\b",
    10116: r"rn\d|mratbn|rnor|\brat\b|rattus",
    9544: r"rhemac|mmul_|macaca[-_ .]?mulatta|macaque|rhesus",
    9823: r"sscrofa|susscr|\bpig\b",
    7955: r"grcz\d|danrer|zebrafish",
    9615: r"canfam|\bdog\b",
    60711: r"chlsab|\bvero\b",
}
"""Words by which a genome's name tells its species."""

PREFIX = re.compile(rf"({GENOME})[-_.:|]+(?=.)", re.IGNORECASE)
ENDING, ASSEMBLY = re.compile(r"[-_.:|]+([A-Za-z]+\d[A-Za-z0-9]*)$"), re.compile(GENOME, re.IGNORECASE)
TOKENS = (re.compile(r"([A-Za-z][A-Za-z0-9]+)[-_.:|]+(?=.)"), re.compile(r"([A-Za-z]+[-_ .][A-Za-z0-9]+)[-_.:|]+(?=.)"))
"""The first word of a name, or its first two."""

MIN_NAMES, MIN_SHARE, MIN_KNOWN = 10, 0.02, 0.5
"""A word is a prefix if so many unknown names, and this share of them, begin with it, and this share of these is known
without it."""

NEARLY_ALL = 0.9
"""If more than this share of the names have a prefix, so has every other name of the matrix."""

ID = re.compile(r"ENS[A-Z]*\d+|LOC\d+", re.IGNORECASE)
"""Words that are names themselves."""

TRIED = 200
"""Names with a word on which it is tried whether they are known without it."""


@dataclass(frozen=True, slots=True)
class Prefixed:
    """Names of genes without the prefixes of their genomes.

    Attributes
    ----------
    names
        (n,) the names without a prefix.
    genomes
        (n,) the prefix of each; "" for names without one.
    """

    names: Strings
    genomes: Strings


def without_prefixes(names: Strings, unknown: Ints, known: Callable[[Strings], int]) -> Prefixed:
    """Take the prefixes of genomes off names: those of known assemblies, and any word before many known names.

    Parameters
    ----------
    names
        (n,) names.
    unknown
        Positions of those that are unknown as they are; others stay.
    known
        Returns how many of some names are known.
    """
    bare, genomes = names.copy(), np.full(len(names), "", object)
    left: list[int] = []
    for i in unknown.tolist():
        found = PREFIX.match(names[i]) or _ending(names[i])
        if found:
            bare[i], genomes[i] = names[i][: found.start()] + names[i][found.end() :], found[1]
        else:
            left.append(i)
    for pattern in TOKENS:
        for i, found in _with_words(names, [i for i in left if genomes[i] == ""], pattern, known):
            bare[i], genomes[i] = names[i][found.end() :], found[1]
    if (genomes != "").mean() > NEARLY_ALL:
        # The names of this matrix have prefixes: one that does not name a species names a virus, or what was added.
        for i in left:
            found = TOKENS[0].match(names[i])
            if genomes[i] == "" and found:
                bare[i], genomes[i] = names[i][found.end() :], found[1]
    return Prefixed(bare, genomes)


def _ending(name: str) -> re.Match[str] | None:
    """Return where a name ends in a genome; None for other names."""
    found = ENDING.search(name)
    return found if found and found.start() and ASSEMBLY.fullmatch(found[1]) else None


def _with_words(
    names: Strings, left: list[int], pattern: re.Pattern[str], known: Callable[[Strings], int]
) -> list[tuple[int, re.Match[str]]]:
    """Return the names that begin with a word that is a prefix, and where it is."""
    of_word: dict[str, list[tuple[int, re.Match[str]]]] = {}
    for i in left:
        found = pattern.match(names[i])
        if found and not ID.fullmatch(found[1]):
            of_word.setdefault(found[1], []).append((i, found))
    prefixed = []
    for word, places in of_word.items():
        if len(places) < MIN_NAMES:
            continue
        some = places[:: max(1, len(places) // TRIED)]
        rest = np.array([names[i][found.end() :] for i, found in some], object)
        common = len(places) >= MIN_SHARE * len(left) and known(rest) > MIN_KNOWN * len(rest)
        if common or taxon_of(word) is not None:
            prefixed += places
    return prefixed


def taxon_of(genome: str) -> int | None:
    """Return NCBI's number of a genome's species by its name (``GRCh38-2020-A``, ``NCBITaxon:9606``); None: unknown."""
    numbered = re.fullmatch(r"NCBITaxon:(\d+)", genome)
    if numbered:
        return int(numbered[1])
    return next((taxon for taxon, words in TAXON_OF.items() if re.search(words, genome.lower())), None)


@dataclass(frozen=True, slots=True)
class Foreign:
    """Genes of other genomes than the one that is looked for.

    Attributes
    ----------
    mask
        (n,) True for them.
    genomes
        (n,) the genome of each gene; "" where none is known.
    """

    mask: Bools
    genomes: Strings


def foreign(genomes: Strings, known: Bools, taxon_id: int) -> Foreign:
    """Tell which genes are of another genome than a species'.

    A genome is the species' if its name says so. One whose name says nothing is, if most of its names are known and
    no other's name says so. Where no genome is the species', none is another, unless most names without one are known.

    Parameters
    ----------
    genomes
        (n,) the genome of each gene; "" where none is known: such genes are not foreign.
    known
        (n,) whether the name is exactly that of a gene of the species.
    taxon_id
        NCBI's number of the species.
    """
    n, n_known = Counter(genomes.tolist()), Counter(genomes[known].tolist())
    kinds = [one for one in n if one]
    none = Foreign(np.zeros(len(genomes), bool), genomes)
    named = [one for one in kinds if taxon_of(one) == taxon_id]
    own = named or [one for one in kinds if taxon_of(one) is None and n_known[one] > MIN_KNOWN * n[one]]
    if not own and not n_known[""] > MIN_KNOWN * n[""]:
        return none
    ours = {"", *own}
    return Foreign(np.array([one not in ours for one in genomes.tolist()], bool), genomes)
