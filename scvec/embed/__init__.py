"""Vectors: of gene texts by encoders, of cells by projections fitted on the reference."""

from scvec.embed.gene_vectors import Bill, GeneVectors, bill, genes, open_genes

__all__ = ["Bill", "GeneVectors", "bill", "genes", "open_genes"]
