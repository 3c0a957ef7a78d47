"""Label single cells by retrieval: cell vectors from gene texts, searched in versioned reference atlases.

    import scvec as sv

    store = sv.Store("atlas/")
    texts = sv.ingest.texts(store, taxon="human", gene_info="Homo_sapiens.gene_info.gz", gene_summary="gene_summary.gz")
    genes = sv.embed.genes(store, texts, encoder="minilm")
    atlas = sv.atlas.build(store, "pancreas", "reference.h5ad", genes=genes, label_key="cell_type")
    calls = sv.annotate("query.h5ad", atlas, k=15)

Names are imported when they are first used, so that ``import scvec`` costs nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from scvec._version import __version__ as __version__
from scvec.core.lazy import exporting

if TYPE_CHECKING:
    from scvec import annotation, atlas, embed, errors, explain, index, ingest, interpret, ontology, overview, search
    from scvec.annotation.query import annotate
    from scvec.annotation.result import Annotation
    from scvec.core.types import UNKNOWN, Neighbors
    from scvec.embed.recipe import RECIPES, Recipe
    from scvec.errors import ScvecError
    from scvec.evaluation.result import Evaluation, evaluate
    from scvec.index.spec import IndexSpec
    from scvec.ingest.cells.options import ReadOptions
    from scvec.ingest.gene_coverage import Coverage
    from scvec.knn.options import Voting
    from scvec.store import Store

__all__ = [
    "RECIPES",
    "UNKNOWN",
    "Annotation",
    "Coverage",
    "Evaluation",
    "IndexSpec",
    "Neighbors",
    "ReadOptions",
    "Recipe",
    "ScvecError",
    "Store",
    "Voting",
    "annotate",
    "annotation",
    "atlas",
    "embed",
    "errors",
    "evaluate",
    "explain",
    "index",
    "ingest",
    "interpret",
    "ontology",
    "overview",
    "search",
]

__getattr__ = exporting(
    __name__,
    {
        "RECIPES": "embed.recipe",
        "UNKNOWN": "core.types",
        "Annotation": "annotation.result",
        "Coverage": "ingest.gene_coverage",
        "Evaluation": "evaluation.result",
        "IndexSpec": "index.spec",
        "Neighbors": "core.types",
        "ReadOptions": "ingest.cells.options",
        "Recipe": "embed.recipe",
        "ScvecError": "errors",
        "Store": "store",
        "Voting": "knn.options",
        "annotate": "annotation.query",
        "annotation": "annotation",
        "atlas": "atlas",
        "embed": "embed",
        "errors": "errors",
        "evaluate": "evaluation.result",
        "explain": "explain",
        "index": "index",
        "ingest": "ingest",
        "interpret": "interpret",
        "ontology": "ontology",
        "overview": "overview",
        "search": "search",
    },
    renamed={"Reading": "ReadOptions"},
)


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
