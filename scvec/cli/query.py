"""The verb that labels cells: ``query``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from scvec.cli.app import LABEL, app, table
from scvec.cli.options.common import NeighborFlags, OutputOption, spreads
from scvec.cli.options.query import AtlasOption, NamesFlags, QueryArgument, QueryFlags
from scvec.cli.options.rerank import LlmOption, RerankFlags
from scvec.cli.run_query import QueryRun, check_reported, reordered, suggested

if TYPE_CHECKING:
    from scvec.annotation.result import Annotation


@app.command(epilog="Example: scvec query query.h5ad --atlas pancreas --out calls.parquet", rich_help_panel=LABEL)
@spreads
def query(
    query: QueryArgument,
    atlas: AtlasOption,
    out: Annotated[Path, OutputOption(help="Output file (.parquet, .csv, .h5ad or .zarr).")],
    *,
    key_added: Annotated[
        str, OutputOption(help="In an h5ad or zarr: the column of labels, and the beginning of all other names.")
    ] = "scvec",
    report: Annotated[Path | None, OutputOption(help="Also write an HTML report to this file.")] = None,
    flags: QueryFlags,
    names: NamesFlags,
    rerank: RerankFlags,
    dry_run: Annotated[
        bool, LlmOption("--dry-run", help="Only say what --rerank would ask, and what that would cost.")
    ] = False,
    common: NeighborFlags,
) -> None:
    """Label cells by their nearest neighbours in an atlas."""
    from scvec.annotation import writing

    run = QueryRun(query, atlas, flags, rerank, common, names)
    writing.check_target(out, query, key_added=key_added)
    if report is not None:
        check_reported(report)
    if dry_run:
        run.show_bill()
        return
    calls, named = run.named(run.called())
    writing.write(calls, out, query, key_added=key_added)
    if report is not None:
        run.reported(calls, report, named)
    labels, counts = _counts(calls)
    values = {
        "out": str(out),
        "n_cells": len(calls),
        "calls": dict(zip(labels, counts, strict=True)),
        **calls.provenance,
    }
    rows = [(name, count, count / len(calls)) for name, count in zip(labels, counts, strict=True)]
    said = [
        table(("label", "cells", "share"), rows),
        "",
        *suggested(named),
        *reordered(calls),
        f"{len(calls):,} cells written to {out}",
    ]
    said += [] if report is None else [f"HTML report written to {report}"]
    common.ui.result(values, "\n".join(said))


def _counts(calls: Annotation) -> tuple[list[str], list[int]]:
    counted = calls.to_polars(0)["label"].value_counts(sort=True).sort("count", "label", descending=[True, False])
    return counted["label"].to_list(), counted["count"].to_list()
