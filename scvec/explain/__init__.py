"""Why a call is what it is, and how groups of cells differ: the genes that make it."""

from scvec.explain.attribution import Attribution, attributions
from scvec.explain.contrasts import Contrast, contrast
from scvec.explain.enrichment import Enriched, Enrichment, Pathways, pathways
from scvec.explain.similar_texts import TextGroup, TextGroups, text_groups
from scvec.ingest.genes.gene_sets import GeneSets, read_gene_sets

__all__ = [
    "Attribution",
    "Contrast",
    "Enriched",
    "Enrichment",
    "GeneSets",
    "Pathways",
    "TextGroup",
    "TextGroups",
    "attributions",
    "contrast",
    "pathways",
    "read_gene_sets",
    "text_groups",
]
