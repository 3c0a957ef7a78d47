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

from importlib import import_module
from typing import TYPE_CHECKING, Any

from scvec._version import __version__ as __version__

if TYPE_CHECKING:
    from scvec import atlas, embed, errors, explain, index, ingest, interpret, ontology, overview, search
    from scvec.annotation import Annotation
    from scvec.errors import ScvecError
    from scvec.evaluation import Evaluation, evaluate
    from scvec.index.spec import IndexSpec
    from scvec.query import annotate
    from scvec.reading import Reading
    from scvec.spec import RECIPES, Recipe
    from scvec.store import Store
    from scvec.types import UNKNOWN, Coverage, Neighbors
    from scvec.voting import Voting

__all__ = [
    "RECIPES",
    "UNKNOWN",
    "Annotation",
    "Coverage",
    "Evaluation",
    "IndexSpec",
    "Neighbors",
    "Reading",
    "Recipe",
    "ScvecError",
    "Store",
    "Voting",
    "annotate",
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

_HOME = {
    "RECIPES": "spec",
    "UNKNOWN": "types",
    "Annotation": "annotation",
    "Coverage": "types",
    "Evaluation": "evaluation",
    "IndexSpec": "index.spec",
    "Neighbors": "types",
    "Reading": "reading",
    "Recipe": "spec",
    "ScvecError": "errors",
    "Store": "store",
    "Voting": "voting",
    "annotate": "query",
    "evaluate": "evaluation",
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'scvec' has no attribute {name!r}")
    home = _HOME.get(name)
    value = import_module(f"scvec.{name}") if home is None else getattr(import_module(f"scvec.{home}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
