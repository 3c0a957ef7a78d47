"""Verbs on queries: ``query``, ``evaluate``, and the ``demo``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from scvec.cli.app import DEFAULT_STORE, JsonOption, QuietOption, StoreOption, Ui, app, open_store, table
from scvec.cli.options.cells import CELLS, How, spreads
from scvec.cli.options.rerank import Reranking
from scvec.cli.run_query import called, check_reported, reordered, reported, show_bill

if TYPE_CHECKING:
    from scvec.annotation.result import Annotation

QueryArgument = Annotated[str, typer.Argument(help=f"Cells, which are not changed: {CELLS}.", metavar="QUERY")]
OUT_HELP = "Where to: a name that ends in .parquet or .csv; or in .h5ad, for a copy of a query that is one."
AtlasOption = Annotated[str, typer.Option(help="The reference.")]
LabelMapOption = Annotated[
    Path | None,
    typer.Option(
        help="The atlas's label by the query's: a JSON object, or CSV or TSV with the columns query and atlas."
    ),
]


@app.command(epilog="Example: scvec query query.h5ad --atlas pancreas --out calls.parquet")
@spreads(how=How, reranking=Reranking)
def query(
    query: QueryArgument,
    atlas: AtlasOption,
    out: Annotated[
        Path,
        typer.Option(help=OUT_HELP),
    ],
    *,
    how: How,
    reranking: Reranking,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what --rerank would ask and cost; ask and write nothing.")
    ] = False,
    report: Annotated[
        Path | None, typer.Option(help="A page to look at, beside: a name that ends in .html. See scvec report.")
    ] = None,
    store: StoreOption = DEFAULT_STORE,
    json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Label cells by their nearest cells in an atlas."""
    from scvec.annotation import writing

    ui = Ui(json, quiet)
    writing.check_target(out, query)
    if report is not None:
        check_reported(report)
    if dry_run:
        show_bill(ui, query, atlas, how, reranking, store)
        return
    calls = called(ui, query, atlas, how, reranking, store)
    writing.write(calls, out, query)
    if report is not None:
        reported(ui, calls, query, atlas, how, report, store)
    names, counts = _counts(calls)
    values = {
        "out": str(out),
        "n_cells": len(calls),
        "calls": dict(zip(names, counts, strict=True)),
        **calls.provenance,
    }
    rows = [(name, count, count / len(calls)) for name, count in zip(names, counts, strict=True)]
    said = [table(("label", "cells", "share"), rows), "", *reordered(calls), f"{len(calls):,} cells written to {out}"]
    said += [] if report is None else [f"look at {report}"]
    ui.result(values, "\n".join(said))


@app.command(epilog="Example: scvec evaluate query.h5ad --atlas pancreas --label-key cell_type --out report/")
@spreads(how=How, reranking=Reranking)
def evaluate(
    query: QueryArgument,
    atlas: AtlasOption,
    label_key: Annotated[str, typer.Option(help="Column of obs with the author's labels.")],
    *,
    label_map: LabelMapOption = None,
    by_ontology: Annotated[
        bool,
        typer.Option(
            "--by-ontology", help="A call that is a kind of what the author says is right too; by terms' ids."
        ),
    ] = False,
    label_id_key: Annotated[
        str | None,
        typer.Option(help="Column of obs with the labels' ids, for --by-ontology; default: matched by their names."),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="A folder for metrics, tables, and pictures as PNG.")] = None,
    how: How,
    reranking: Reranking,
    store: StoreOption = DEFAULT_STORE,
    json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Label cells and compare the calls with the author's labels."""
    from scvec import evaluation
    from scvec.atlas import open_atlas
    from scvec.evaluation.author_labels import read_author_ids, read_author_labels
    from scvec.evaluation.writing import check_folder, read_label_map, summary, write_evaluation
    from scvec.ingest.cells import place
    from scvec.ontology import open_ontology

    ui = Ui(json, quiet)
    # What is wrong with these is found before any work is done.
    mapping = read_label_map(label_map) if label_map else {}
    ontology = open_ontology(open_store(store)) if by_ontology or label_id_key else None
    read_author_labels(query, label_key, obs=how.obs)
    read_author_ids(query, label_key, label_id_key, how.obs)
    if out is not None:
        check_folder(out)
    calls = called(ui, query, atlas, how, reranking, store)
    ids: dict[str, str] = {}
    if ontology is not None:
        obs = open_atlas(open_store(store), atlas).obs
        ids = dict(zip(obs["label"].to_pylist(), obs["label_id"].to_pylist(), strict=True))
    result = evaluation.evaluate(
        calls,
        query,
        label_key=label_key,
        label_map=mapping,
        label_id_key=label_id_key,
        ontology=ontology,
        atlas_ids=ids,
        obs=how.obs,
    )
    files = write_evaluation(result, out, f"{place(query).name} by atlas {atlas}") if out else []
    for note in result.notes:
        ui.note(note)
    per_class = result.per_class()
    header = ("label", "cells", "precision", "recall", "F1", "called")[: per_class.width]
    written = "".join(f"\n{path}" for path in files)
    ui.result(
        {**result.to_dict(), "files": [str(path) for path in files], **calls.provenance},
        f"{summary(result)}\n\n{table(header, per_class.rows())}" + ("\n" + written if written else ""),
    )


@app.command(epilog="Example: scvec demo --out scvec-demo")
def demo(
    out: Annotated[Path, typer.Option(help="A folder for all that the demo makes.")] = Path("scvec-demo"),
    store: Annotated[str | None, typer.Option(help="Another store than the demo's own, in its folder.")] = None,
    json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Label 700 real blood cells, offline, with the controls beside the answer."""
    from scvec.cli.demo import run

    ui = Ui(json, quiet)
    made = run.run(out, store=store, progress=ui.progress)
    files = "\n".join(f"  {path}" for path in made.to_dict()["files"])
    asked = f"{out}/query.h5ad --store {made.store} --atlas {run.SHOWN_ATLAS}"
    text = f"""
{table(("method", "accuracy", "macro-F1"), made.rows)}

{made.split}.
Gene texts: {made.to_dict()["gene_texts"]}.
{run.READING}

{"Found from an earlier run" if made.reused else "Written"}:
{files}

Look at {out}/report.html in a browser, then try on the demo's own files:
  scvec query {asked} --out my_calls.csv
  scvec explain {asked} --out genes.csv
  scvec evaluate {asked} --label-key {run.LABEL_KEY} --out report
and on yours: scvec genes pull --help, scvec atlas build --help"""
    ui.result(made.to_dict(), text.strip("\n"))


def _counts(calls: Annotation) -> tuple[list[str], list[int]]:
    counted = calls.to_frame(0)["label"].value_counts(sort=True).sort("count", "label", descending=[True, False])
    return counted["label"].to_list(), counted["count"].to_list()
