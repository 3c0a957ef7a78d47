"""Label single cells by retrieval from versioned reference atlases.

    import anndata as ad
    import scvec as sv

    atlas = sv.atlas.build("my-store", "pancreas", "reference.h5ad", label_key="cell_type", batch_key="donor")
    adata = ad.read_h5ad("query.h5ad")
    calls = sv.annotate(adata, atlas, max_error=0.05)
    calls.write(adata, key_added="pancreas")

Names are imported when they are first used, so that ``import scvec`` costs nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from scvec._version import __version__ as __version__
from scvec.core.lazy import exporting

if TYPE_CHECKING:
    from scvec import (
        annotation,
        atlas,
        embed,
        errors,
        explain,
        index,
        ingest,
        interpret,
        lancedb,
        naming,
        ontology,
        overview,
        report,
        search,
        tl,
    )
    from scvec.annotation.options import QueryOptions
    from scvec.annotation.query import annotate
    from scvec.annotation.result import Annotation
    from scvec.atlas.building.options import BuildOptions, ExtendOptions
    from scvec.atlas.query_cells import QueryCells, query_cells
    from scvec.atlas.reference import Atlas
    from scvec.core.types import UNKNOWN, Neighbors
    from scvec.embed.recipe import RECIPES, Recipe, Refinement
    from scvec.errors import InputError, ScvecError
    from scvec.evaluation.result import Evaluation, evaluate
    from scvec.index.spec import IndexSpec
    from scvec.ingest.cells.options import ReadOptions
    from scvec.ingest.gene_coverage import Coverage
    from scvec.knn.options import Voting
    from scvec.naming.result import Names
    from scvec.naming.run import name
    from scvec.store import Store

_HOMES = {
    "Annotation": "annotation.result",
    "Atlas": "atlas.reference",
    "BuildOptions": "atlas.building.options",
    "Coverage": "ingest.gene_coverage",
    "Evaluation": "evaluation.result",
    "ExtendOptions": "atlas.building.options",
    "IndexSpec": "index.spec",
    "InputError": "errors",
    "Names": "naming.result",
    "Neighbors": "core.types",
    "QueryCells": "atlas.query_cells",
    "QueryOptions": "annotation.options",
    "RECIPES": "embed.recipe",
    "ReadOptions": "ingest.cells.options",
    "Recipe": "embed.recipe",
    "Refinement": "embed.recipe",
    "ScvecError": "errors",
    "Store": "store",
    "UNKNOWN": "core.types",
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
    "lancedb": "lancedb",
    "name": "naming.run",
    "naming": "naming",
    "ontology": "ontology",
    "overview": "overview",
    "query_cells": "atlas.query_cells",
    "report": "report",
    "search": "search",
    "tl": "tl",
}

__all__ = [
    "RECIPES",
    "UNKNOWN",
    "Annotation",
    "Atlas",
    "BuildOptions",
    "Coverage",
    "Evaluation",
    "ExtendOptions",
    "IndexSpec",
    "InputError",
    "Names",
    "Neighbors",
    "QueryCells",
    "QueryOptions",
    "ReadOptions",
    "Recipe",
    "Refinement",
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
    "lancedb",
    "name",
    "naming",
    "ontology",
    "overview",
    "query_cells",
    "report",
    "search",
    "tl",
]

__getattr__ = exporting(__name__, _HOMES, renamed={"Reading": "ReadOptions"})


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
