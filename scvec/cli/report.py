"""The verb that shows a query on a page: ``report``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from scvec.cli.app import LABEL, app
from scvec.cli.options.common import LabelsOption, NeighborFlags, OutputOption, spreads
from scvec.cli.options.query import LABEL_KEY, AtlasOption, LabelMapOption, NamesFlags, QueryArgument, QueryFlags
from scvec.cli.options.rerank import RerankFlags
from scvec.cli.run_query import QueryRun, check_reported
from scvec.errors import InputError


@app.command(epilog="Example: scvec report query.h5ad --atlas pancreas --out report.html", rich_help_panel=LABEL)
@spreads
def report(
    query: QueryArgument,
    atlas: AtlasOption,
    out: Annotated[Path, OutputOption(help="Output file (.html).")],
    *,
    label_key: Annotated[str | None, LabelsOption(help=LABEL_KEY)] = None,
    label_map: LabelMapOption = None,
    flags: QueryFlags,
    names: NamesFlags,
    rerank: RerankFlags,
    common: NeighborFlags,
) -> None:
    """Label cells and write an HTML report: the calls, which of them to doubt, why, and by which genes."""
    from scvec.evaluation.author_labels import read_author_labels
    from scvec.evaluation.writing import read_label_map

    run = QueryRun(query, atlas, flags, rerank, common, names)
    # What is wrong with these is found before any work is done.
    check_reported(out)
    if label_map is not None and label_key is None:
        raise InputError("--label-map without --label-key has no effect", fix="add --label-key, or leave it out")
    mapping = read_label_map(label_map) if label_map else {}
    if label_key is not None:
        read_author_labels(query, label_key, read=flags.reading())
    calls, named = run.named(run.called())
    doubts = run.reported(calls, out, named, label_key, mapping).doubts.to_polars()
    values = {"out": str(out), "n_cells": len(calls), "doubts": doubts.to_dicts(), **calls.provenance}
    counted = f"{len(calls):,} cells, {int(doubts['n_cells'].sum()):,} doubtful calls"
    common.ui.result(values, f"{counted}; HTML report written to {out}")
