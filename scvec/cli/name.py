"""The verb that names clusters that no reference has: ``name``."""

from __future__ import annotations

import shlex
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from scvec.cli.app import LABEL, app, open_store, table
from scvec.cli.name_order import OrderFlags, ordered
from scvec.cli.options.cells import ReadFlags, UseRepOption
from scvec.cli.options.common import NeighborFlags, OutputOption, keywords, panel, spreads
from scvec.cli.options.query import QueryArgument
from scvec.cli.run_query import check_reported
from scvec.errors import InputError

if TYPE_CHECKING:
    from scvec.annotation.result import Annotation
    from scvec.naming import Names, NamingOptions

ClustersOption = panel("Clusters")
NamesOption = panel("Names")
UnknownOption = panel("Unknown cells of an atlas")

USUAL_ERROR = 0.05
SHOWN_GENES = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class NameFlags(ReadFlags):
    """What is named, by what."""

    use_rep: UseRepOption = None
    cluster_key: Annotated[
        str | None, ClustersOption(help="Column of obs with clusters (default: Leiden clusters are made).")
    ] = None
    cluster: Annotated[
        str | None, ClustersOption(help="Make clusters: leiden (of resolution 0.5), or leiden:RESOLUTION.")
    ] = None
    atlas: Annotated[
        str | None,
        UnknownOption(help="Label the cells by this reference atlas first, and name those it leaves unknown."),
    ] = None
    max_error: Annotated[
        float | None,
        UnknownOption(help="Accepted share of wrong calls; less certain ones are unknown (default: 0.05)."),
    ] = None
    tissue: Annotated[str | None, NamesOption(help='Tissue of the cells, in words: "retina".')] = None
    background: Annotated[
        Path | None, NamesOption(help="Profiles of other types to compare with, such as a folder of many tissues.")
    ] = None
    markers: Annotated[
        list[Path] | None,
        NamesOption(help="GMT file of marker sets named by cell types, which speak for names too; repeatable."),
    ] = None
    encoder: Annotated[
        str | None,
        NamesOption(help="Encoder of the texts (default: a model whose vectors the store has, else tfidf)."),
    ] = None
    candidates: Annotated[
        str | None,
        NamesOption(help='Call clusters and cells among these types only: "beta, alpha" or ids, or a file of them.'),
    ] = None
    n: Annotated[int, OutputOption("--n", "-n", min=1, help="Number of names for each cluster.")] = 5
    evidence: Annotated[
        bool, OutputOption("--evidence", help="Also show what the text of each gene behind the first name says.")
    ] = False
    report: Annotated[
        Path | None, OutputOption(help="Also write an HTML report to this file; finds what --evidence shows.")
    ] = None

    def asked(self) -> NamingOptions:
        """Return the same as the library's value."""
        from scvec.naming import NamingOptions

        return NamingOptions(**keywords(self, NamingOptions) | {"evidence": self.needs_evidence})

    def of_calls(self) -> NamingOptions:
        """Return it for calls, which have read the cells and made the clusters."""
        from scvec.naming import NamingOptions

        names = ("tissue", "background", "encoder", "n", "candidates")
        given = {one: getattr(self, one) for one in names}
        return NamingOptions(**given, markers=self.markers or (), evidence=self.needs_evidence)

    @property
    def needs_evidence(self) -> bool:
        """Whether sentences are shown, here or in the report."""
        return self.evidence or self.report is not None


@app.command(epilog="Example: scvec name query.h5ad --cluster-key leiden --tissue retina", rich_help_panel=LABEL)
@spreads
def name(
    query: QueryArgument,
    out: Annotated[Path | None, OutputOption(help="Output file (.parquet or .csv).")] = None,
    *,
    flags: NameFlags,
    order: OrderFlags,
    common: NeighborFlags,
) -> None:
    """Rank Cell Ontology terms as names for clusters, by what texts say of their genes; no reference is needed."""
    from scvec.annotation import writing
    from scvec.naming import name as rank_names

    ui, asked = common.ui, flags.asked() if flags.atlas is None else flags.of_calls()
    asked.check()
    if flags.max_error is not None and flags.atlas is None:
        raise InputError("--max-error without --atlas has no effect", fix="add --atlas NAME, or leave it out")
    if out is not None:
        writing.check_name(out)
    if flags.report is not None:
        check_reported(flags.report)
    llm = order.asked(flags.n, flags.tissue, ui.device(common.device) if order.rerank else "cpu")
    if flags.atlas is None:
        names = rank_names(query, open_store(common.store), asked, progress=ui.progress)
    else:
        names = rank_names(_called(query, flags, common), options=asked, progress=ui.progress)
    if llm is not None:
        names = ordered(names, llm, open_store(common.store), ui)
    for note in names.notes:
        ui.note(note)
    if out is not None:
        writing.write_frame(names.to_polars() if names.cells is None else names.cells_to_polars(), out)
    if flags.report is not None:
        _report(names, flags.report)
    said = [_table(names), *_called_cells(names), *(_evidence(names) if flags.evidence else [])]
    ui.result(_values(names, out, flags.report), "\n".join([*said, *_written(out, flags.report)]))


def _report(names: Names, out: Path) -> None:
    from scvec.report import write_names

    write_names(names, out, command=shlex.join(["scvec", *sys.argv[1:]]))


def _written(out: Path | None, report: Path | None) -> list[str]:
    """Return which files were written, after an empty line."""
    said = [] if out is None else [f"written to {out}"]
    said += [] if report is None else [f"HTML report written to {report}"]
    return ["", *said] if said else []


def _called(query: str, flags: NameFlags, common: NeighborFlags) -> Annotation:
    """Return the calls by the atlas, after printing their notes."""
    from scvec.annotation.options import QueryOptions
    from scvec.annotation.query import annotate
    from scvec.naming.run import require_texts

    atlas = common.atlas(flags.atlas or "")
    require_texts(atlas.store, flags.of_calls())
    given = keywords(flags, QueryOptions) | {"max_error": USUAL_ERROR if flags.max_error is None else flags.max_error}
    calls = annotate(query, atlas, QueryOptions(**given), progress=common.ui.progress)
    for note in calls.notes:
        common.ui.note(note)
    return calls


def _table(names: Names) -> str:
    """Return a row for each name; what a cluster's rows have in common stands in the first."""
    from scvec.naming.result import NO_NAME

    rows: list[tuple[object, ...]] = []
    for i, cluster in enumerate(names.clusters.tolist()):
        about: tuple[object, ...] = (cluster, f"{int(names.n_cells[i]):,}")
        if names.first(i) is None:
            rows.append((*about, NO_NAME, "", "", "", ""))
            about = ("", "")
        ranks = iter(() if names.llm_ranks is None else names.llm_ranks[i])
        for one in names.suggestions[i]:
            because = ", ".join(one.genes[:SHOWN_GENES])
            rows.append((*about, one.name, one.term_id, one.shown_score, because, str(next(ranks, ""))))
            about = ("", "")
    header = ("cluster", "cells", "name", "term", "score", "because", "LLM's rank")
    width = len(header) - (names.llm_ranks is None)
    return table(header[:width], [row[:width] for row in rows])


def _called_cells(names: Names) -> list[str]:
    """Return how many single cells were called, if any were to be."""
    if names.cells is None:
        return []
    called = names.cells.label[names.cells.label != ""]
    found = Counter(called.tolist()).most_common()
    shown = ", ".join(f"{label} {n:,}" for label, n in found)
    return ["", f"{len(called):,} of {len(names.cells):,} cells called" + (f": {shown}" if shown else "")]


def _evidence(names: Names) -> list[str]:
    """Return what the texts say of the genes behind each cluster's first name."""
    lines = []
    for i, cluster in enumerate(names.clusters.tolist()):
        first = names.first(i)
        if first is not None:
            lines += ["", f"{cluster}: {first.name}"]
            lines += [f"  {gene}: {said}" for gene, said in zip(first.genes, first.evidence, strict=True) if said]
    return lines


def _values(names: Names, out: Path | None, report: Path | None) -> dict[str, Any]:
    clusters = [
        {
            "cluster": str(cluster),
            "cells": int(names.n_cells[i]),
            "stands_out": bool(names.stands_out[i]),
            "names": [
                {
                    "rank": rank,
                    "term_id": one.term_id,
                    "name": one.name,
                    "score": round(one.score, 4),
                    "genes": list(one.genes),
                    **({"evidence": list(one.evidence)} if one.evidence else {}),
                    **({"llm_rank": names.llm_ranks[i][rank - 1]} if names.llm_ranks and names.llm_ranks[i] else {}),
                }
                for rank, one in enumerate(names.suggestions[i], 1)
            ],
        }
        for i, cluster in enumerate(names.clusters.tolist())
    ]
    called = {} if names.cells is None else {"cells_called": int((names.cells.label != "").sum())}
    files = {key: None if one is None else str(one) for key, one in (("out", out), ("report", report))}
    return {**files, "clusters": clusters, **called, **names.provenance}
