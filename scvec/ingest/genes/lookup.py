"""The names of a matrix's genes looked up together: first as they are, then for what they hold beside a gene's name."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np

from scvec.core.types import Bools, Ints, Strings
from scvec.ingest.genes.compound import joined, numbered
from scvec.ingest.genes.genomes import Foreign, foreign, without_prefixes
from scvec.ingest.genes.identifiers import EXACT, Identifiers, Resolved

SURE = EXACT - {"entrez"}
"""Routes by which names with something else before them count as known: a number may match by chance."""


MANY, MIN_MANY = 0.05, 10
"""If at least this share of the names, and this number, end alike, that has a cause."""


@dataclass(frozen=True, slots=True)
class LookedUp:
    """What the names of a matrix are.

    Attributes
    ----------
    plain
        (n,) the names under which the genes were looked for.
    found
        The genes; those of other genomes are none.
    foreign
        Which names are of other genomes.
    prefixes
        What was taken off the names.
    n_joined
        How many names joined several names of a gene.
    numbered
        The names that had a number of `make_unique`.
    """

    plain: Strings
    found: Resolved
    foreign: Foreign
    prefixes: tuple[str, ...] = ()
    n_joined: int = 0
    numbered: tuple[str, ...] = ()


class _Lookup:
    """Genes and routes of (n,) names, filled step by step; the route of an unknown name is ""."""

    def __init__(self, names: Strings, identifiers: Identifiers) -> None:
        self.plain, self._identifiers = names, identifiers
        self.gene_ids = np.zeros(len(names), np.int64)
        self.routes = np.full(len(names), "", object)
        self.ambiguous = np.zeros(len(names), bool)
        self.take(np.arange(len(names)), names)

    def take(self, places: Ints, names: Strings) -> Ints:
        """Look up (m,) names of some columns; return the columns that were found."""
        found = self._identifiers.resolve(names)
        at = places[found.columns]
        self.gene_ids[at], self.routes[at] = found.gene_ids, found.routes
        self.ambiguous[places[found.ambiguous]] = True
        return at

    @property
    def unknown(self) -> Ints:
        """Columns that are not found, and not ambiguous."""
        return np.flatnonzero((self.routes == "") & ~self.ambiguous)

    @property
    def sure(self) -> Bools:
        """(n,) whether a name is exactly a gene's."""
        return np.isin(self.routes.astype(str), list(SURE))

    def rename(self, places: list[int], names: list[str]) -> Ints:
        """Look up other names of some columns; return the columns that were found, which keep these names."""
        if not places:
            return np.empty(0, np.int64)
        at, given = np.array(places, np.int64), np.array(names, object)
        found = self.take(at, given)
        plain = self.plain.copy()
        keep = np.isin(at, found)
        plain[at[keep]] = given[keep]
        self.plain = plain
        return found

    def symbols(self, names: list[str]) -> list[bool]:
        """Return for each name whether it is exactly a symbol."""
        found = self._identifiers.resolve(np.array(names, object), exact=True)
        exact = set(found.columns[found.routes == "symbol"].tolist())
        return [i in exact for i in range(len(names))]

    def found(self, without: Bools) -> Resolved:
        """Return the genes, except of some columns."""
        columns = np.flatnonzero((self.routes != "") & ~without)
        ambiguous = np.flatnonzero(self.ambiguous & ~without)
        return Resolved(columns, self.gene_ids[columns], self.routes[columns], ambiguous)


def look_up(names: Strings, identifiers: Identifiers, taxon_id: int, genomes: Strings | None = None) -> LookedUp:
    """Look up (n,) names, and what they hold beside a gene's name.

    In this order: as they are; without the prefix of a genome; an Ensembl id within, then the name beside it; without
    the number of `make_unique`. A name that is known as it is goes no further.

    Parameters
    ----------
    names
        (n,) the names.
    identifiers
        The names of a species' genes.
    taxon_id
        NCBI's number of the species.
    genomes
        (n,) the genome of each gene, from a column of ``var``; "" where it is missing.
    """
    lookup = _Lookup(names, identifiers)
    prefixed = np.full(len(names), "", object)
    if len(lookup.unknown):
        prefixed = _unprefix(lookup, identifiers)
    n_joined = _unjoin(lookup)
    others = foreign(_either(genomes, prefixed), lookup.sure, taxon_id)
    without = _unnumber(lookup, others.mask)
    return LookedUp(
        plain=lookup.plain,
        found=lookup.found(others.mask),
        foreign=others,
        prefixes=tuple(dict.fromkeys(one for one in prefixed.tolist() if one)),
        n_joined=n_joined,
        numbered=tuple(names[without].tolist()),
    )


def _either(genomes: Strings | None, prefixed: Strings) -> Strings:
    return prefixed if genomes is None else np.where(genomes == "", prefixed, genomes)


def _unprefix(lookup: _Lookup, identifiers: Identifiers) -> Strings:
    """Take prefixes off; return the prefix of each name."""

    def known(names: Strings) -> int:
        inner = [(joined(name) or [name])[0] for name in names.tolist()]
        return int(np.isin(identifiers.resolve(np.array(inner, object), exact=True).routes.astype(str), [*SURE]).sum())

    without = without_prefixes(lookup.plain, lookup.unknown, known)
    numbers = np.array([name.isdigit() for name in without.names.tolist()], bool)  # which may be genes by chance
    at = np.flatnonzero((without.genomes != "") & ~numbers)
    if len(at):
        lookup.take(at, without.names[at])
        lookup.plain = without.names
    return without.genomes


def _unjoin(lookup: _Lookup) -> int:
    parts = {int(i): found for i in lookup.unknown if (found := joined(lookup.plain[i]))}
    n, left = 0, list(parts)
    for place in range(max(map(len, parts.values()), default=0)):
        left = [i for i in left if len(parts[i]) > place and lookup.routes[i] == "" and not lookup.ambiguous[i]]
        n += len(lookup.rename(left, [parts[i][place] for i in left]))
    return n


def _unnumber(lookup: _Lookup, without: Bools) -> Ints:
    """Look up names without the number of `make_unique`; return the columns that were found.

    A number is one where the name without it is another column's. If there are such columns, or very many names like
    that, a number is one, too, where the name without it is exactly a symbol.
    """
    parts = {
        int(i): found for i in lookup.unknown if not without[i] and (found := numbered(lookup.plain[i])) is not None
    }
    if not parts:
        return np.empty(0, np.int64)
    there = set(lookup.plain[lookup.routes != ""].tolist())
    twins = {i for i, (name, _) in parts.items() if name in there}
    alone = [i for i in parts if i not in twins]
    symbols = lookup.symbols([parts[i][0] for i in alone])
    alone = [i for i, is_symbol in zip(alone, symbols, strict=True) if is_symbol]
    styles = {parts[i][1] for i in twins}
    styles |= {
        one for one, n in Counter(parts[i][1] for i in alone).items() if n > max(MIN_MANY, MANY * len(lookup.plain))
    }
    numbers = [i for i in parts if i in twins or (i in set(alone) and parts[i][1] in styles)]
    return lookup.rename(numbers, [parts[i][0] for i in numbers])
