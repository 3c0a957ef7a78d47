"""Mapping genes between species by one-to-one orthologs, through the human gene."""

from __future__ import annotations

from collections.abc import Mapping

from scvec.errors import GeneMatchError
from scvec.ingest.genes.gene_table import GeneTable
from scvec.ingest.genes.gene_texts import HUMAN, taxon_name


def orthologs(own: GeneTable, other: GeneTable) -> Mapping[int, int]:
    """Return the gene of `other` for each gene of `own`; the gene itself if both are of one taxon.

    Raises
    ------
    GeneMatchError
        If they were imported without orthologs.
    """
    if own.taxon_id == other.taxon_id:
        return {gene: gene for gene in own.genes["gene_id"].to_list()}
    to_human, from_human = _to_human(own), {human: gene for gene, human in _to_human(other).items()}
    return {gene: from_human[human] for gene, human in to_human.items() if human in from_human}


def _to_human(table: GeneTable) -> Mapping[int, int]:
    if table.taxon_id == HUMAN:
        return {gene: gene for gene in table.genes["gene_id"].to_list()}
    pairs = dict(table.genes.select("gene_id", "human_ortholog").drop_nulls().iter_rows())
    if not pairs:
        raise GeneMatchError(
            f"the {table} have no orthologs",
            "the human ortholog of each gene",
            f"scvec genes pull --taxon {taxon_name(table.taxon_id)}, or import again with `gene_orthologs`, and "
            "rebuild the atlases of these texts",
        )
    return pairs
