"""Matching a matrix's columns to genes, with a report; a single name is resolved by `genes.identifiers`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from scvec.core.forks import computing
from scvec.core.types import Bools, Floats, Ints, Strings, freeze
from scvec.ingest.cells import VAR_NAMES, Matrix
from scvec.ingest.cells.scale import Totals
from scvec.ingest.gene_coverage import Coverage, Part
from scvec.ingest.genes.features import LeftOut, counted
from scvec.ingest.genes.gene_table import GeneTable
from scvec.ingest.genes.gene_texts import taxon_name
from scvec.ingest.genes.identifiers import EXACT, ROUTES, are_row_numbers
from scvec.ingest.genes.lookup import LookedUp, look_up
from scvec.ingest.genes.orthologs import Orthologs

MIN_COVERAGE = 0.5
"""A matrix with less than this share of its expression on known genes is refused."""

NAMED = tuple(route for route in ROUTES if route != "entrez")
"""Routes of names that can only be genes; a number may match by chance."""

NUMBERS_LESS = 0.1
"""The penalty on Entrez numbers, so that a column of names with about the same coverage is preferred."""

N_UNMATCHED_SHOWN = 10

MIN_OTHER = 0.05
"""A genome with less than this share of the names has no cells of its own: it is a virus, or was added."""


@dataclass(frozen=True, slots=True)
class Second:
    """A second species, some of whose genes are in a matrix: its name, (n_vars,) its columns, their share."""

    name: str
    mask: Bools
    share: float

    def __str__(self) -> str:
        return (
            f"{int(self.mask.sum()):,} names are exactly those of {self.name} genes ({self.share:.1%} of the "
            "expression): they count for genes that are spelt alike"
        )


@dataclass(frozen=True, slots=True)
class GeneMatch:
    """The columns of a matrix that are known genes.

    Attributes
    ----------
    names
        (n_vars,) names of the columns.
    key
        Where the names were read: ``"var_names"``, or a column of ``var``.
    gene_table
        The gene texts, or packaged identifiers, whose genes were matched.
    columns
        (m,) positions of the matched columns, ascending; a column of several genes stands once for each.
    gene_ids
        (m,) the gene of each; one gene may have several columns.
    routes
        (m,) the route by which each was found.
    weights
        (m,) the share of the column that counts for the gene; None: the whole of each.
    ambiguous
        Positions of the columns whose name fits several genes.
    named_by
        Those that the names belong to, if they are of another taxon.
    looked_up
        The names without what they hold beside a gene's name, and which are of other genomes; None: all as they are.
    left_out
        The features of the matrix that are not genes, and are not among its columns.
    second
        Another species whose genes many of the names are, where nothing tells genomes apart.
    orthologs
        By what the genes of another taxon were found.
    """

    names: Strings
    key: str
    gene_table: GeneTable
    columns: Ints
    gene_ids: Ints
    routes: Strings
    ambiguous: Ints
    named_by: GeneTable | None = None
    looked_up: LookedUp | None = field(default=None, repr=False)
    left_out: tuple[LeftOut, ...] = ()
    second: Second | None = None
    weights: Floats | None = None
    orthologs: str = ""

    def __post_init__(self) -> None:
        for name in ("columns", "gene_ids", "routes"):
            object.__setattr__(self, name, freeze(getattr(self, name)))
        if self.weights is not None:
            object.__setattr__(self, "weights", freeze(self.weights))

    @property
    def n_columns(self) -> int:
        """The number of matched columns, each once."""
        return len(np.unique(self.columns))

    @property
    def genes(self) -> Ints:
        """(g,) the matched genes, each once, in the order of their first columns."""
        return self.gene_ids[np.sort(np.unique(self.gene_ids, return_index=True)[1])]

    @property
    def plain(self) -> Strings:
        """(n_vars,) the names without what they hold beside a gene's name."""
        return self.names if self.looked_up is None else self.looked_up.plain

    @property
    def foreign(self) -> Bools:
        """(n_vars,) True for the genes of other genomes."""
        return np.zeros(len(self.names), bool) if self.looked_up is None else self.looked_up.foreign.mask

    @property
    def others(self) -> tuple[str, Bools]:
        """The name of other genomes or species with many genes, and (n_vars,) their columns; "" if there is none."""
        if self.second is not None or self.looked_up is None:
            return ("", self.foreign) if self.second is None else (self.second.name, self.second.mask)
        sizes = self._other_genomes(np.zeros(len(self.names)))
        large = [one.kind for one in sizes if one.n > MIN_OTHER * len(self.names)]
        return ", ".join(large), self.foreign & np.isin(self.looked_up.foreign.genomes.astype(str), large)

    def only(self, gene_ids: Ints) -> GeneMatch:
        """Return the match restricted to `gene_ids`."""
        return self._kept(np.isin(self.gene_ids, gene_ids))

    def through(self, pairs: Orthologs, gene_table: GeneTable) -> GeneMatch:
        """Return the match to the genes of another taxon, given what each gene here stands for there."""
        first = np.searchsorted(pairs.genes, self.gene_ids, side="left")
        n = np.searchsorted(pairs.genes, self.gene_ids, side="right") - first
        whose = np.repeat(np.arange(len(n)), n)
        place = np.repeat(first - np.cumsum(n) + n, n) + np.arange(len(whose))
        weights = pairs.weights[place]
        return replace(
            self,
            columns=self.columns[whose],
            gene_ids=pairs.others[place],
            routes=self.routes[whose],
            weights=None if (weights == 1).all() else weights,
            gene_table=gene_table,
            named_by=self.gene_table,
            orthologs=pairs.source,
        )

    def _kept(self, keep: Bools) -> GeneMatch:
        weights = None if self.weights is None else self.weights[keep]
        return replace(
            self, columns=self.columns[keep], gene_ids=self.gene_ids[keep], routes=self.routes[keep], weights=weights
        )

    def share(self, totals: Totals, routes: Iterable[str] = ROUTES) -> float:
        """Return the share of the genome's expression on genes found by these routes, given each column's total."""
        return self._on(totals, routes) / (float(totals[~self.foreign].sum()) or 1.0)

    def fit(self, totals: Totals, routes: Iterable[str] = ROUTES) -> float:
        """Return the share of all expression, that of other genomes too: by it one species fits better than another."""
        return self._on(totals, routes) / (float(totals.sum()) or 1.0)

    def _on(self, totals: Totals, routes: Iterable[str]) -> float:
        return float(self._counted(totals)[np.isin(self.routes.astype(str), list(routes))].sum())

    def _counted(self, totals: Totals) -> Totals:
        """Return (m,) what counts for the gene of each matched column, of each column's (n_vars,) total."""
        there = totals[self.columns]
        return there if self.weights is None else there * self.weights

    def coverage(self, totals: Totals) -> Coverage:
        """Return the report, given each column's (n_vars,) total expression."""
        foreign, looked_up = self.foreign, self.looked_up
        shares = totals / (float(totals[~foreign].sum()) or 1.0)
        left = np.where(foreign, 0.0, shares)
        left[self.columns] = left[self.ambiguous] = 0.0
        source_of = dict(self.gene_table.genes.select("gene_id", "source").iter_rows())
        sources = np.array([source_of[gene] for gene in self.gene_ids.tolist()], dtype=object)
        counted_shares = self._counted(shares)
        return Coverage(
            names=self._said(),
            n_genes=int((~foreign).sum()),
            n_matched=self.n_columns,
            share=float(counted_shares.sum()),
            routes=_parts(self.routes, self.columns, counted_shares, ROUTES),
            texts=_parts(sources, self.columns, counted_shares, sorted(set(sources.tolist()))),
            n_merged=self._n_merged(),
            ambiguous=self._largest(shares, self.ambiguous, len(self.ambiguous)),
            unmatched=self._largest(left, np.flatnonzero(left > 0), N_UNMATCHED_SHOWN),
            left_out=self.left_out,
            other_genomes=self._other_genomes(totals),
            prefixes=() if looked_up is None else looked_up.prefixes,
            n_joined=0 if looked_up is None else looked_up.n_joined,
            numbered=() if looked_up is None else looked_up.numbered,
        )

    def _n_merged(self) -> int:
        """Return the number of columns that are added to an earlier column of the same gene."""
        later = np.ones(len(self.gene_ids), bool)
        later[np.unique(self.gene_ids, return_index=True)[1]] = False
        return len(np.unique(self.columns[later]))

    def _other_genomes(self, totals: Totals) -> tuple[LeftOut, ...]:
        if self.looked_up is None or not self.foreign.any():
            return ()
        genomes = self.looked_up.foreign.genomes
        return counted({int(i): str(genomes[i]) for i in np.flatnonzero(self.foreign)}, totals)

    def _largest(self, shares: Totals, columns: Ints, n: int) -> tuple[tuple[str, float], ...]:
        order = columns[np.argsort(-shares[columns], kind="stable")][:n]
        return tuple((str(self.names[i]), float(shares[i])) for i in order)

    def _said(self) -> str:
        kinds = {"ensembl": "Ensembl ids", "entrez": "Entrez ids"}
        found = [kinds.get(route, "symbols") for route in self.routes.tolist()]
        kind = max(("symbols", *kinds.values()), key=found.count)
        own = self.named_by or self.gene_table
        said = f"{self.key} taken as {taxon_name(own.taxon_id)} {kind}, by the {own}"
        if own is self.gene_table:
            return said
        return f"{said}, and as their {self.orthologs}, by the {self.gene_table}"


def match_genes(matrix: Matrix, offered: Sequence[GeneTable], *, gene_key: str | None = None) -> GeneMatch:
    """Match the columns of a matrix to the genes of the taxon that fits best.

    Of several taxa, the one fits best that covers most of the expression, exact matches counting twice. Names are
    read from ``var_names``; if these cover too little, or are numbers, from the one of ``var_names`` and the usual
    columns of ``var`` that covers most; if that is too little, from the other column of ``var`` that covers most.

    Parameters
    ----------
    matrix
        The matrix.
    offered
        Gene texts or packaged identifiers, one per taxon.
    gene_key
        The only column to read names from; None: choose.
    """
    totals = matrix.sampled_totals
    computing()
    best: list[GeneMatch] = []
    for key in [gene_key] if gene_key else matrix.gene_keys:
        best.append(_best_taxon(matrix, key, offered, totals))
        if key == VAR_NAMES and best[-1].share(totals, NAMED) >= MIN_COVERAGE:
            return best[-1]
    found = max(best, key=lambda one: one.share(totals) - NUMBERS_LESS * one.share(totals, ["entrez"]))
    if gene_key is None and found.share(totals, NAMED) < MIN_COVERAGE:
        best = [_best_taxon(matrix, key, offered, totals) for key in matrix.name_like_keys]
        named = max(best, key=lambda one: one.share(totals, NAMED), default=None)
        if named is not None and named.share(totals, NAMED) >= max(MIN_COVERAGE, found.share(totals)):
            return named
    return found


def _best_taxon(matrix: Matrix, key: str, offered: Sequence[GeneTable], totals: Totals) -> GeneMatch:
    names, genomes = matrix.gene_names(key), matrix.genomes
    found = [match_names(names, key, one, genomes, matrix.left_out) for one in offered]
    return max(found, key=lambda one: one.fit(totals, EXACT) + one.fit(totals))


def match_names(
    names: Strings,
    key: str,
    gene_table: GeneTable,
    genomes: Strings | None = None,
    left_out: tuple[LeftOut, ...] = (),
) -> GeneMatch:
    """Match (n_vars,) names to the genes of a release; `genomes` are those of a column of ``var``."""
    # Row numbers would match as Entrez ids: most of the first thousands are ids.
    unnamed = are_row_numbers(names.tolist())
    asked = np.full(len(names), "", object) if unnamed else names
    looked_up = look_up(asked, gene_table.identifiers, gene_table.taxon_id, genomes)
    found = looked_up.found
    return GeneMatch(
        names,
        key,
        gene_table,
        found.columns,
        found.gene_ids,
        found.routes,
        found.ambiguous,
        looked_up=replace(looked_up, plain=names) if unnamed else looked_up,
        left_out=left_out,
    )


def _parts(kinds: Strings, columns: Ints, shares: Totals, order: Iterable[str]) -> dict[str, Part]:
    parts = {kind: Part(len(np.unique(columns[kinds == kind])), float(shares[kinds == kind].sum())) for kind in order}
    return {kind: part for kind, part in parts.items() if part.n_genes}
