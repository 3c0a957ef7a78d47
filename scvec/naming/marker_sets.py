"""Marker sets as one more kind of text: sets of genes whose name is that of a term."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import scipy.sparse as sp

from scvec.core.text import counted
from scvec.core.types import Doubles, Ints
from scvec.errors import GeneMatchError
from scvec.ingest.genes.gene_sets import read_gene_sets
from scvec.ingest.genes.gene_table import GeneTable
from scvec.naming.phrases import phrases_of, words_of
from scvec.naming.term_texts import TermTexts
from scvec.ontology.terms import as_id

FEWEST, MOST = 3, 500
"""Fewest and most measured genes of a set: fewer say little, and more are not markers."""

N_TOP = 100
"""Genes that are most specific to a cluster, in which sets are looked for."""


@dataclass(frozen=True)
class MarkerSets:
    """S sets of g genes, each of one term. Make it with `marker_sets`.

    Attributes
    ----------
    terms
        (S,) the position of each set's term.
    members
        (S, g) 1 for the genes of each set.
    notes
        What a reader should know, one line each.
    """

    terms: Ints
    members: sp.csr_matrix[np.float32] = field(repr=False)
    notes: tuple[str, ...] = ()

    def over_represented(self, profile: Doubles, n_terms: int) -> Doubles:
        """Return (C, T) the greatest -log10 p of a term's sets among the genes most specific to each cluster.

        Source: the hypergeometric test.

        Parameters
        ----------
        profile
            (C, g) how specific each gene is to each cluster.
        n_terms
            Number of terms.
        """
        from scipy.stats import hypergeom

        n_top = min(N_TOP, profile.shape[1])
        top = np.zeros(profile.shape, np.float32)
        np.put_along_axis(top, np.argsort(-profile, axis=1, kind="stable")[:, :n_top], 1.0, axis=1)
        sizes = np.asarray(self.members.sum(axis=1)).ravel()
        hits = np.asarray(self.members @ top.T).T
        found = -hypergeom.logsf(hits - 1, profile.shape[1], sizes, n_top) / np.log(10)
        made = np.zeros((len(profile), n_terms))
        for one, term in enumerate(self.terms.tolist()):
            made[:, term] = np.maximum(made[:, term], found[:, one])
        return made

    def of_term(self, term: int) -> Doubles:
        """Return (g,) 1 for the genes that any set of a term has."""
        own = self.members[np.flatnonzero(self.terms == term)]
        return np.asarray(own.sum(axis=0) > 0, np.float64).ravel()


def read_markers(paths: Iterable[str | Path], terms: TermTexts, table: GeneTable, gene_ids: Ints) -> MarkerSets:
    """Read the sets of GMT files whose name is that of a term.

    A set's name is a term's id, or the longest run of its words that is a term's name or exact synonym is taken:
    ``AIZARANI_LIVER_C11_HEPATOCYTES_1`` is of hepatocytes. Other sets are left out, and a note says how many.

    Parameters
    ----------
    paths
        The files.
    terms
        The terms.
    table
        The genes of the cells' species, by which the sets' names are read.
    gene_ids
        (g,) the genes that the cells measure.

    Raises
    ------
    FileError
        If a file is missing or not a GMT file.
    GeneMatchError
        If the name of no set is that of a term, or no set has enough of the cells' genes.
    """
    sources = [read_gene_sets(path) for path in paths]
    sets = [pair for one in sources for pair in one.sets.items()]
    names = np.array(list(dict.fromkeys(gene for _, genes in sets for gene in genes)), object)
    found = table.identifiers.resolve(names)
    gene_of = dict(zip(names[found.columns].tolist(), found.gene_ids.tolist(), strict=True))
    known = [(name, {gene_of[one] for one in genes if one in gene_of}) for name, genes in sets]
    made = marker_sets(known, terms, gene_ids)
    if not len(made.terms):
        said = ", ".join(one.name for one in sources)
        raise GeneMatchError(
            f"no set of `markers` {said} is of a term and has {FEWEST} to {MOST} genes that the cells measure",
            "sets named by cell types, of genes of the cells' species",
            "name sets by terms or their ids, as CL:0000236",
        )
    n_terms = len(set(made.terms.tolist()))
    note = f"{len(made.terms):,} of {counted(len(sets), 'marker set')} are of a term: {counted(n_terms, 'term')}"
    return MarkerSets(made.terms, made.members, (note,))


def marker_sets(sets: Sequence[tuple[str, Iterable[int]]], terms: TermTexts, gene_ids: Ints) -> MarkerSets:
    """Return the sets whose name is that of a term, on the cells' genes; see `read_markers`.

    Parameters
    ----------
    sets
        The name and the genes' ids of each set.
    terms, gene_ids
        As for `read_markers`.
    """
    phrases = {phrase: i for i, term in enumerate(terms.terms) for phrase in phrases_of(term)}
    place = {int(gene): i for i, gene in enumerate(gene_ids)}
    owners: list[int] = []
    rows: list[int] = []
    columns: list[int] = []
    for name, genes in sets:
        term = _term_of(name, terms, phrases)
        own = sorted({place[gene] for gene in genes if gene in place})
        if term is None or not FEWEST <= len(own) <= MOST:
            continue
        rows += [len(owners)] * len(own)
        columns += own
        owners.append(term)
    ones = np.ones(len(rows), np.float32)
    members = sp.csr_matrix((ones, (rows, columns)), (len(owners), len(gene_ids)))
    return MarkerSets(np.array(owners, np.int64), members)


def _term_of(name: str, terms: TermTexts, phrases: Mapping[tuple[str, ...], int]) -> int | None:
    """Return the position of the term that a set's name means; None if it means none."""
    if as_id(name):
        return terms.positions.get(as_id(name))
    words = words_of(name)
    runs = [tuple(words[i:j]) for i in range(len(words)) for j in range(i + 1, len(words) + 1)]
    known = [run for run in (*runs, *((*one, "cell") for one in runs)) if run in phrases]
    return phrases[max(known, key=len)] if known else None
