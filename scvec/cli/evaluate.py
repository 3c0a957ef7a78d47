"""The verb that compares calls with an author's labels: ``evaluate``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from scvec.cli.app import LABEL, app, open_store, table
from scvec.cli.options.common import LabelsOption, NeighborFlags, OutputOption, spreads
from scvec.cli.options.query import LABEL_KEY, AtlasOption, LabelMapOption, QueryArgument, QueryFlags
from scvec.cli.options.rerank import RerankFlags
from scvec.cli.run_query import QueryRun


@dataclass(frozen=True, slots=True, kw_only=True)
class AuthorFlags:
    """The labels that the calls are compared with, and how."""

    label_key: Annotated[str, LabelsOption(help=LABEL_KEY)]
    label_map: LabelMapOption = None
    by_ontology: Annotated[
        bool,
        LabelsOption("--by-ontology", help="Compare Cell Ontology ids; a subtype of the author's label is right too."),
    ] = False
    label_id_key: Annotated[
        str | None,
        LabelsOption(help="Column of obs with the labels' Cell Ontology ids (default: matched by name)."),
    ] = None


@app.command(
    epilog="Example: scvec evaluate query.h5ad --atlas pancreas --label-key cell_type --out report/",
    rich_help_panel=LABEL,
)
@spreads
def evaluate(
    query: QueryArgument,
    atlas: AtlasOption,
    *,
    author: AuthorFlags,
    out: Annotated[Path | None, OutputOption(help="Folder for metrics, tables and plots (PNG).")] = None,
    flags: QueryFlags,
    rerank: RerankFlags,
    common: NeighborFlags,
) -> None:
    """Label cells and compare the calls with the author's labels."""
    from scvec import evaluation
    from scvec.evaluation.author_labels import ids_by_label, read_author_labels
    from scvec.evaluation.writing import check_folder, read_label_map, summary, write_evaluation
    from scvec.ingest.cells import place
    from scvec.ontology import open_ontology

    # What is wrong with these is found before any work is done.
    mapping = read_label_map(author.label_map) if author.label_map else {}
    ontology = open_ontology(open_store(common.store)) if author.by_ontology or author.label_id_key else None
    labels = read_author_labels(query, author.label_key, read=flags.reading())
    label_ids = None
    if author.label_id_key is not None:
        label_ids = read_author_labels(query, author.label_id_key, "label_id_key", flags.reading())
        ids_by_label(labels[labels != ""], label_ids[labels != ""])
    if out is not None:
        check_folder(out)
    calls = QueryRun(query, atlas, flags, rerank, common).called()
    result = evaluation.evaluate(calls, labels, label_map=mapping, label_ids=label_ids, ontology=ontology)
    files = write_evaluation(result, out, f"{place(query).name} by atlas {atlas}") if out else []
    for note in result.notes:
        common.ui.note(note)
    per_class = result.per_class()
    header = ("label", "cells", "precision", "recall", "F1", "called")[: per_class.width]
    written = "".join(f"\n{path}" for path in files)
    common.ui.result(
        {**result.to_dict(), "files": [str(path) for path in files], **calls.provenance},
        f"{summary(result)}\n\n{table(header, per_class.rows())}" + ("\n" + written if written else ""),
    )
