"""Gene texts and cells become vectors: encoders, recipes, projection, trained heads.

Names are imported when they are first used, so that a recipe can be read without NumPy.
"""

from typing import TYPE_CHECKING

from scvec.core.lazy import exporting

if TYPE_CHECKING:
    from scvec.embed.gene_vectors import (
        Bill,
        GeneVectors,
        bill,
        encoder_for,
        encoders_there,
        ensure_genes,
        genes,
        open_genes,
    )

__all__ = ["Bill", "GeneVectors", "bill", "encoder_for", "encoders_there", "ensure_genes", "genes", "open_genes"]

__getattr__ = exporting(__name__, dict.fromkeys(__all__, "gene_vectors"))
