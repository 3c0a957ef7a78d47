"""The verb that shows a query on a page: ``report``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from scvec.cli.app import DEFAULT_STORE, JsonOption, QuietOption, StoreOption, Ui, app
from scvec.cli.options.cells import How, spreads
from scvec.cli.options.rerank import Reranking
from scvec.cli.query import AtlasOption, LabelMapOption, QueryArgument
from scvec.cli.run_query import called, check_reported, reported
from scvec.errors import InputError


@app.command(epilog="Example: scvec report query.h5ad --atlas pancreas --out report.html")
@spreads(how=How, reranking=Reranking)
def report(
    query: QueryArgument,
    atlas: AtlasOption,
    out: Annotated[Path, typer.Option(help="Where to: a name that ends in .html.")],
    *,
    label_key: Annotated[
        str | None, typer.Option(help="Column of obs with the author's labels, to be compared with.")
    ] = None,
    label_map: LabelMapOption = None,
    how: How,
    reranking: Reranking,
    store: StoreOption = DEFAULT_STORE,
    json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Label cells and show them on one page: what they are, which calls to doubt, why, and by which genes."""
    from scvec.evaluation.author_labels import read_author_labels
    from scvec.evaluation.writing import read_label_map

    ui = Ui(json, quiet)
    # What is wrong with these is found before any work is done.
    check_reported(out)
    if label_map is not None and label_key is None:
        raise InputError(f"--label-map {label_map}", "--label-key with it", "add it, or leave both out")
    mapping = read_label_map(label_map) if label_map else {}
    if label_key is not None:
        read_author_labels(query, label_key, obs=how.obs)
    calls = called(ui, query, atlas, how, reranking, store)
    found = reported(ui, calls, query, atlas, how, out, store, label_key, mapping)
    doubts = found.doubts.to_frame()
    values = {"out": str(out), "n_cells": len(calls), "doubts": doubts.to_dicts(), **calls.provenance}
    ui.result(values, f"{len(calls):,} cells, {int(doubts['n_cells'].sum()):,} to be doubted: look at {out}")
