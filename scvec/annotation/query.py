"""`annotate`: from a query file and an atlas through batches, vectors and neighbours to the calls."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Unpack

import numpy as np

from scvec._version import __version__
from scvec.annotation.calls import Found, call
from scvec.annotation.candidates import candidates_of
from scvec.annotation.clusters import Clusters, Leiden, call_clusters
from scvec.annotation.doubts import doubt_of, doubted
from scvec.annotation.options import QueryChanges, QueryOptions
from scvec.annotation.rejection import check, reject, with_sets
from scvec.annotation.remarks import remarks
from scvec.annotation.result import Annotation
from scvec.annotation.rollup import roll_up_of, with_terms
from scvec.annotation.searching import Asked, Sums, found_for
from scvec.annotation.shifted import meet_shift
from scvec.atlas import Atlas
from scvec.atlas.panel import is_few
from scvec.atlas.query_cells import OpenCells, QueryCells, check_given, open_query
from scvec.core.logs import log_notes
from scvec.core.options import merged, spells_out
from scvec.core.progress import shown
from scvec.core.text import counted
from scvec.core.types import Progress
from scvec.embed.projection import aligner, measured
from scvec.errors import InputError
from scvec.ingest.cells import CellFile, Cells
from scvec.ingest.gene_coverage import Coverage
from scvec.knn.options import DEFAULT

USUAL_ERROR = 0.05
"""The error of prediction sets where `max_error` is None."""

OTHER_VOTES = (
    "confidence and novelty are calibrated for the default votes of all labels, and these votes get no confidence"
)


@spells_out(QueryOptions)
def annotate(
    query: Cells,
    atlas: Atlas,
    options: QueryOptions | None = None,
    *,
    progress: Progress | None = None,
    **changes: Unpack[QueryChanges],
) -> Annotation:
    """Label cells by a weighted vote of their k nearest cells in an atlas.

    The cells become vectors by the atlas's own recipe. A cell that expresses none of the atlas's genes is kept and
    labelled `scvec.UNKNOWN`. The result is deterministic and does not depend on the size of the batches read.

    Parameters
    ----------
    query
        The cells: an AnnData, or a file that `scvec.ingest.open_cells` reads (h5ad, zarr, 10x), as a path or URI. They
        are not changed.
    atlas
        The reference.
    options, changes
        How the cells are read and called: a `scvec.QueryOptions`, or its fields as keywords.
    progress
        Shows how many cells are done.

    Returns
    -------
    Annotation
        The calls. They know their query: what explains, evaluates or reports them reads the cells again.

    Raises
    ------
    InputError
        If an argument is out of its range; if a condition is invalid or leaves no cell; if a label or a column is not
        there; or if the cells, the matrix or the genes cannot be used.
    MissingDependencyError
        If `cluster` is given and igraph is not installed.
    """
    check_given(query, atlas)
    options = merged(QueryOptions, options, dict(changes))
    voting, error = options.votes, USUAL_ERROR if options.max_error is None else options.max_error
    whole, how = atlas, roll_up_of(atlas, options.roll_up)  # this and `max_error` are checked before any work is done
    others = voting != DEFAULT or options.selects
    trusted = options.max_error is not None or options.sets
    if trusted:
        check(atlas, error, others)
    with open_query(query, atlas, options) as cells:
        doubt = doubt_of(cells.query)
        if doubt is not None and trusted:
            raise doubt.refusal()
        clusters = _clusters(cells.file, options)
        atlas = cells.query.atlas  # which may be one on the query's genes alone
        chosen = candidates_of(atlas, options.where, options.allow, options.block)
        summed = Sums(cells.query.match, cells.matrix)
        # Views know all labels and cells. Who asks for certain neighbours, or certain votes, asks for neighbours alone.
        views = atlas.views if voting == DEFAULT and options.where is None else None
        asked = Asked(voting, views, options.adapt == "auto" and not options.selects)
        found = found_for(cells, chosen, asked, summed, shown(progress))
    coverage = cells.query.match.coverage(summed.totals)
    calls = call(found, cells.file.obs_names, chosen, voting)
    if others:
        calls = replace(calls, confidence=np.full(len(calls), np.nan, np.float32))
    calls = meet_shift(calls, found, atlas, adapt=asked.adapt)
    calls = calls if doubt is None else doubted(calls)
    calls = reject(calls, atlas, options.max_error)
    calls = with_sets(calls, atlas, error) if options.sets else calls
    calls = with_terms(calls, how)
    calls = call_clusters(calls, clusters)
    notes = (
        f"{cells.query.layer} taken as {cells.query.values}",
        *coverage.notes(),
        *cells.query.notes,
        *summed.notes(len(calls)),
        *_panel_notes(cells.query, whole),
        *_adapted_notes(found),
        *([OTHER_VOTES] if others else []),
        *([] if doubt is None else [str(doubt)]),
        *atlas.index.notes,
        *remarks(calls, found, atlas, int(cells.measured.sum())),
        *calls.notes,
    )
    log_notes(notes, "annotate")
    return replace(
        calls,
        source=cells.query,
        notes=notes,
        provenance=_provenance(cells, coverage)
        | {"vote": voting.to_dict(), "n_searched": len(chosen)}
        | {"where": options.where, "allow": list(options.allow), "block": list(options.block)}
        | {"clusters": options.cluster or options.cluster_key, "max_error": options.max_error}
        | {"sets": options.sets, "roll_up": options.roll_up, "adapt": options.adapt},
    )


def _clusters(file: CellFile, options: QueryOptions) -> Clusters | None:
    """Return the clusters in the file, or how to make them; None for no clusters."""
    key, method = options.cluster_key, options.cluster
    if key is not None and method is not None:
        raise InputError("`cluster_key` and `cluster` exclude each other", fix="leave one out")
    if key is not None:
        return file.groups(key, "cluster_key")
    return None if method is None else Leiden.parse(method)


def _panel_notes(query: QueryCells, atlas: Atlas) -> list[str]:
    """Return a note if the query measures so few genes that they have an atlas of their own, or should have one."""
    if atlas.recipe.weights == "given":
        return []
    profiles = atlas.profiles
    has = measured(aligner(query.match, profiles.gene_ids))
    share = profiles.share(has) / profiles.share(profiles.composition > 0)
    if not is_few(atlas, has):
        return []
    here = (
        f"the genes that the query measures carry {share:.0%} of the expression of the atlas's genes in the reference"
    )
    if query.atlas.is_panel:
        return [f"{here}: it is called by a fit on these {int(has.sum()):,} genes", *_later_notes(query.atlas)]
    if atlas.recipe.refine is None:
        what = f"recipe {atlas.recipe.name} has no head, which that needs: build it by one that has, such as refined"
    elif atlas.kept_sample is None:
        what = f"it keeps no cells, which that needs: scvec atlas refit {atlas.name} REF.h5ad"
    else:
        what = "too few of the cells that it keeps have expression on them"
    return [f"{here}, and the atlas cannot be fitted on these: {what}"]


def _later_notes(atlas: Atlas) -> list[str]:
    """Return a note if labels came after the atlas was fitted: a fit on a query's genes has no cell of theirs."""
    later = atlas.label_names[len(atlas.manifest["labels"]) :].tolist()
    if not later:
        return []
    return [
        f"{counted(len(later), 'label')} that came after the atlas was fitted, such as {later[0]}, cannot be called"
    ]


def _adapted_notes(found: Found) -> list[str]:
    """Return a note if calls depend on the query's other cells."""
    if found.depends is None or not found.depends.any():
        return []
    n, of = int(found.depends.sum()), len(found.depends)
    return [f"the calls of {n:,} of {of:,} cells depend on the query's other cells; with `adapt` off, none does"]


def _provenance(cells: OpenCells, coverage: Coverage) -> dict[str, Any]:
    query, made = cells.query, cells.query.atlas.manifest
    return {
        "scvec": __version__,
        "atlas": {key: made[key] for key in ("name", "version", "recipe", "recipe_sha256", "sources", "index")},
        "query": {"file": query.name, "matrix": cells.matrix.to_dict(), "coverage": coverage.to_dict()}
        | ({"fitted_on_its_genes": len(cells.query.atlas.embedding.gene_ids)} if cells.query.atlas.is_panel else {})
        | ({"selection": dict(cells.file.left_out)} if cells.file.left_out else {}),
    }
