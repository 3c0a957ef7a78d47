"""Mapping genes between species through the human gene: one to one, or one to many with weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import polars as pl
import scipy.sparse as sp

from scvec.core.types import Floats, Ints, freeze
from scvec.errors import GeneMatchError
from scvec.ingest.genes.gene_table import GeneTable
from scvec.ingest.genes.gene_texts import HUMAN, taxon_name
from scvec.ingest.genes.ortholog_tables import OrthologTable, newest_orthologs, pairs_of
from scvec.store import Store

ONE_TO_ONE = "one-to-one orthologs"

MIN_SUPPORT = 0.5
"""A pair counts if it has this share of the sources of the best-supported pair of each of its two genes."""


@dataclass(frozen=True, slots=True)
class Orthologs:
    """Which genes of one species stand for which genes of another, and how much of each.

    Attributes
    ----------
    source
        What they are called in notes.
    genes, others
        (p,) the gene of the one species, ascending, and of the other, of each pair.
    weights
        (p,) the share of the gene's expression that counts for the other gene; the shares of a gene add up to 1.
    """

    source: str
    genes: Ints
    others: Ints
    weights: Floats

    def __post_init__(self) -> None:
        for name in ("genes", "others", "weights"):
            object.__setattr__(self, name, freeze(getattr(self, name)))

    def __len__(self) -> int:
        return len(self.genes)

    def among(self, others: Ints) -> Orthologs:
        """Return the pairs with some genes of the other species, which share what the others would have had."""
        keep = np.isin(self.others, others)
        _, gene = np.unique(self.genes[keep], return_inverse=True)
        weights = self.weights[keep] / np.bincount(gene, self.weights[keep])[gene]
        return Orthologs(self.source, self.genes[keep], self.others[keep], np.asarray(weights, np.float32))

    def best(self) -> dict[int, int]:
        """Return for each gene the one with the largest share, or of equals the first; several may have the same."""
        order = np.lexsort((self.others, -self.weights, self.genes))
        first = order[np.unique(self.genes[order], return_index=True)[1]]
        return dict(zip(self.genes[first].tolist(), self.others[first].tolist(), strict=True))

    @classmethod
    def one_to_one(cls, pairs: Mapping[int, int]) -> Orthologs:
        """Return pairs of which each gene is in one."""
        genes = np.array(sorted(pairs), np.int64)
        others = np.array([pairs[gene] for gene in genes.tolist()], np.int64)
        return cls(ONE_TO_ONE, genes, others, np.ones(len(genes), np.float32))


def orthologs(own: GeneTable, other: GeneTable) -> Mapping[int, int]:
    """Return the one gene of `other` for each gene of `own`; the gene itself if both are of one taxon.

    Raises
    ------
    GeneMatchError
        If they were imported without orthologs.
    """
    if own.taxon_id == other.taxon_id:
        return {gene: gene for gene in own.genes["gene_id"].to_list()}
    to_human, from_human = _to_human(own), {human: gene for gene, human in _to_human(other).items()}
    return {gene: from_human[human] for gene, human in to_human.items() if human in from_human}


def weighted_orthologs(store: Store, own: GeneTable, other: GeneTable) -> Orthologs:
    """Return the genes of `other` for each gene of `own`, one to many if the store has such orthologs.

    A gene's share for each of its orthologs is their share of the sources that name the pair; pairs with few sources
    are left out (`MIN_SUPPORT`). Genes of which the store's table has no pair keep their one-to-one ortholog. Without
    such a table, all are one to one.

    Raises
    ------
    GeneMatchError
        If there are neither.
    """
    tables = [_table(store, one) for one in (own, other)]
    releases = [str(one) for one in tables if one is not None]
    if not releases or own.taxon_id == other.taxon_id:
        return Orthologs.one_to_one(orthologs(own, other))
    there, back = (_support(one, pairs) for one, pairs in zip((own, other), tables, strict=True))
    back = back.rename({"gene_id": "human_gene_id", "human_gene_id": "gene_id"})
    source = "orthologs, one to many, by the " + " and the ".join(releases)
    return _through(of_pairs(there, source), of_pairs(back, source))


def of_pairs(pairs: pl.DataFrame, source: str) -> Orthologs:
    """Return pairs, columns `gene_id`, `human_gene_id`, `n_sources`, each with its share of a gene's sources."""
    pairs = pairs.sort("gene_id", "human_gene_id")
    shares = pairs.select((pl.col("n_sources") / pl.col("n_sources").sum().over("gene_id")).cast(pl.Float32))
    genes, others = (pairs[column].to_numpy() for column in ("gene_id", "human_gene_id"))
    return Orthologs(source, genes, others, shares.to_series().to_numpy())


def supported(pairs: pl.DataFrame, least: float = MIN_SUPPORT) -> pl.DataFrame:
    """Return the pairs, columns `gene_id`, `human_gene_id`, `n_sources`, with enough sources for both of their genes.

    A pair of two sources beside one of twelve is a distant relative, whose counts would be noise.
    """
    enough = [
        pl.col("n_sources") >= least * pl.col("n_sources").max().over(gene) for gene in ("gene_id", "human_gene_id")
    ]
    return pairs.filter(*enough)


def _table(store: Store, genes: GeneTable) -> OrthologTable | None:
    return None if genes.taxon_id == HUMAN else newest_orthologs(store, genes.taxon_id)


def _support(genes: GeneTable, table: OrthologTable | None) -> pl.DataFrame:
    """Return pairs of a species' genes and human genes, `gene_id` and `human_gene_id`, with their `n_sources`."""
    if table is None:
        return _frame(_to_human(genes))
    known = genes.genes.select("gene_id")
    found = supported(pairs_of(table).join(known, on="gene_id", how="semi"))
    there, humans = (set(found[column].to_list()) for column in ("gene_id", "human_gene_id"))
    alone = {gene: human for gene, human in _pairs(genes).items() if gene not in there and human not in humans}
    return pl.concat([found, _frame(alone)])


def _frame(pairs: Mapping[int, int]) -> pl.DataFrame:
    columns = {"gene_id": list(pairs), "human_gene_id": list(pairs.values()), "n_sources": [1] * len(pairs)}
    return pl.DataFrame(columns, schema=dict.fromkeys(columns, pl.Int64))


def _through(first: Orthologs, then: Orthologs) -> Orthologs:
    """Return what the genes of the first pairs stand for among those of the second, by the human genes between them."""
    genes, humans, others = (np.unique(one) for one in (first.genes, then.genes, then.others))
    first = first.among(humans)
    rows = np.searchsorted(genes, first.genes), np.searchsorted(humans, first.others)
    columns = np.searchsorted(humans, then.genes), np.searchsorted(others, then.others)
    there = sp.csr_matrix((first.weights.astype(np.float64), rows), shape=(len(genes), len(humans)))
    back = sp.csr_matrix((then.weights.astype(np.float64), columns), shape=(len(humans), len(others)))
    pairs = sp.csr_matrix(there @ back)
    pairs.sort_indices()
    owners = np.repeat(genes, np.diff(pairs.indptr))
    return Orthologs(first.source, owners, others[pairs.indices], pairs.data.astype(np.float32))


def _pairs(table: GeneTable) -> dict[int, int]:
    return dict(table.genes.select("gene_id", "human_ortholog").drop_nulls().iter_rows())


def _to_human(table: GeneTable) -> Mapping[int, int]:
    if table.taxon_id == HUMAN:
        return {gene: gene for gene in table.genes["gene_id"].to_list()}
    pairs = _pairs(table)
    if not pairs:
        raise GeneMatchError(
            f"the {table} have no orthologs",
            "the human ortholog of each gene",
            f"scvec genes pull --taxon {taxon_name(table.taxon_id)}, or import again with `gene_orthologs`, and "
            "rebuild the atlases of these texts",
        )
    return pairs
