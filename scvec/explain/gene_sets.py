"""Gene sets, matched to an atlas's genes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from scvec.atlas import Atlas
from scvec.errors import GeneMatchError
from scvec.ingest.genes.gene_sets import GeneSets
from scvec.ingest.genes.gene_table import open_table
from scvec.ingest.genes.gene_texts import taxon_id
from scvec.ingest.genes.orthologs import weighted_orthologs


@dataclass(frozen=True, slots=True)
class MatchedSets:
    """The sets of one file as genes of an atlas.

    Attributes
    ----------
    source
        The file's sets.
    genes
        The ids of the genes in each set, without those that were not found.
    n_names, n_known
        Number of different names in the file, and of those that match a gene of the texts.
    """

    source: GeneSets
    genes: Mapping[str, frozenset[int]]
    n_names: int
    n_known: int

    def __str__(self) -> str:
        source, known = self.source, self.n_known / self.n_names
        version = f" {source.version}" if source.version else ""
        return f"{source.name}{version}: {len(source):,} sets of {self.n_names:,} genes, {known:.1%} of them known"


def match_sets(gene_sets: GeneSets, atlas: Atlas, taxon: str | int | None = None) -> MatchedSets:
    """Find the genes of sets among an atlas's gene texts, by the routes of `scvec.ingest.genes.identifiers`.

    Parameters
    ----------
    gene_sets
        The sets; their genes may be symbols, Ensembl ids or Entrez ids.
    atlas
        The atlas to match.
    taxon
        The species of the sets, if it is not the atlas's: each gene then stands for its best-supported ortholog.

    Raises
    ------
    GeneMatchError
        If no gene is known.
    NotInStoreError
        If the store has no texts of the taxon, and no identifiers of it are packaged.
    """
    table = atlas.gene_table
    own = table if taxon is None or taxon_id(taxon) == table.taxon_id else open_table(atlas.store, taxon)
    names = np.array(list(dict.fromkeys(gene for genes in gene_sets.sets.values() for gene in genes)), object)
    found = own.identifiers.resolve(names)
    gene_of = dict(zip(names[found.columns].tolist(), found.gene_ids.tolist(), strict=True))
    if own is not table:
        other = weighted_orthologs(atlas.store, own, table).best()
        gene_of = {name: other[gene] for name, gene in gene_of.items() if gene in other}
    if not gene_of:
        raise GeneMatchError(
            f"gene sets {gene_sets.name}: no gene (such as {', '.join(names[:3].tolist())}) is among the {own}",
            "symbols, Ensembl ids or Entrez ids of that species",
            "name another file, or give the species of the sets",
        )
    genes = {
        name: frozenset(gene_of[gene] for gene in members if gene in gene_of)
        for name, members in gene_sets.sets.items()
    }
    return MatchedSets(gene_sets, MappingProxyType(genes), len(names), len(gene_of))
