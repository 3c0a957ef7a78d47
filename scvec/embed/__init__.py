"""Vectors: of gene texts by encoders, of cells by projections fitted on the reference."""

from scvec.embed.gene_vectors import GeneVectors, genes, open_genes

__all__ = ["GeneVectors", "genes", "open_genes"]
