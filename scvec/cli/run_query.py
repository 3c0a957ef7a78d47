"""A query as the command line asks for it: retrieval, and beside it a readout and an LLM that reorders."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping
from dataclasses import asdict
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

from scvec.cli.app import Ui, open_store, renaming
from scvec.cli.options.cells import How
from scvec.cli.options.rerank import Reranking
from scvec.errors import InputError

if TYPE_CHECKING:
    from scvec.annotation.result import Annotation
    from scvec.atlas import Atlas
    from scvec.interpret import Readout
    from scvec.report.findings import Overview


def called(ui: Ui, path: str, atlas_name: str, how: How, reranking: Reranking, store: str) -> Annotation:
    """Return the calls with the opinions that were asked for, their notes said."""
    device = ui.device(how.device)
    # What is of no use, or not there, is found before any work is done.
    asked = reranking.asked(how, device)
    readout = _readout(how, store, device, reranking.download)
    calls, atlas = _retrieved(ui, path, atlas_name, how, reranking, store, device)
    reading = how.reading()
    if readout is not None:
        from scvec.interpret import predict, second_opinion

        calls = second_opinion(calls, predict(path, readout, **asdict(reading), progress=ui.progress))
    if asked is not None:
        from scvec.interpret import rerank

        calls = rerank(calls, path, atlas, asked, reading=reading, progress=ui.progress)
    for note in calls.notes:
        ui.note(note)
    return calls


def check_reported(out: Path) -> None:
    """Raise if a query could not be reported to `out`: asked before it is called."""
    from scvec.report.findings.map import require_umap
    from scvec.report.page import check_report

    check_report(out)
    require_umap()


def reported(
    ui: Ui,
    calls: Annotation,
    path: str,
    atlas_name: str,
    how: How,
    out: Path,
    store: str,
    label_key: str | None = None,
    label_map: Mapping[str, str] | None = None,
) -> Overview:
    """Write the report of a query that was called, and return what it says."""
    from scvec.atlas import open_atlas
    from scvec.report.findings import overview
    from scvec.report.page import write_report

    found = overview(
        calls,
        path,
        open_atlas(open_store(store), atlas_name),
        label_key=label_key,
        label_map=label_map,
        reading=how.reading(),
        command=shlex.join(["scvec", *sys.argv[1:]]),
        made_on=f"{date.today():%Y-%m-%d}",
        progress=ui.progress,
    )
    write_report(found, out)
    return found


def show_bill(ui: Ui, path: str, atlas_name: str, how: How, reranking: Reranking, store: str) -> None:
    """Say what an LLM would be asked, and what that would cost."""
    device = ui.device(how.device)
    asked = reranking.asked(how, device)
    if asked is None:
        raise InputError("--dry-run without --rerank", "a model to ask", "--rerank MODEL, or leave it out")
    calls, atlas = _retrieved(ui, path, atlas_name, how, reranking, store, device)
    from scvec.interpret import rerank_bill

    bill = rerank_bill(calls, path, atlas, asked, reading=how.reading(), progress=ui.progress)
    cost = "unknown: no list price, give --price"
    if bill.usd is not None and bill.usd_at_most is not None:
        cost = f"about ${bill.usd:.4f}, ${bill.usd_at_most:.4f} at most" if bill.usd_at_most else "none"
    counted = f"{bill.calls:,} cases to ask, {bill.cached:,} answered before"
    tokens = f"about {bill.tokens_in:,} tokens in and {bill.tokens_out:,} out"
    ui.result(asdict(bill), f"{bill.model}: {counted}; {tokens}; cost: {cost}")


def reordered(calls: Annotation) -> list[str]:
    """Return a line on what an LLM made of the calls; none where it was not asked."""
    if calls.reranked is None:
        return []
    asked = calls.provenance["rerank"]
    n_reordered = sum(one["status"] == "reordered" for one in asked["cases"])
    unsure = f"{n_reordered:,} of {len(asked['cases']):,} unsure {asked['by']}s"
    return [f"{unsure} were reordered by {asked['model']}"]


def _retrieved(
    ui: Ui, path: str, atlas_name: str, how: How, reranking: Reranking, store: str, device: str
) -> tuple[Annotation, Atlas]:
    """Return what retrieval calls, and the atlas."""
    from scvec.annotation.query import annotate
    from scvec.atlas import open_atlas
    from scvec.knn.options import Voting

    atlas = open_atlas(open_store(store), atlas_name, device=device)
    atlas.expect(how.recipe, how.encoder)
    calls = annotate(
        path,
        atlas,
        voting=Voting(k=how.k, weights=how.weights, temperature=how.temperature, frequency=how.frequency),
        where=how.where,
        allow=how.allow or (),
        block=how.block or (),
        cluster_key=how.cluster_key,
        cluster=reranking.cluster(how),
        max_error=how.max_error,
        sets=how.sets,
        roll_up=how.roll_up,
        obs=how.obs,
        layer=how.layer,
        scale=how.scale,
        gene_key=how.gene_key,
        taxon=how.taxon,
        progress=ui.progress,
    )
    return calls, atlas


def _readout(how: How, store: str, device: str, download: bool) -> Readout | None:
    """Open the readout that was asked for."""
    if how.readout is not None:
        from scvec.interpret import open_readout

        with renaming(model="readout_model"):
            return open_readout(
                open_store(store), how.readout, model=how.readout_model, device=device, download=download
            )
    if how.readout_model is not None:
        raise InputError(f"--readout-model {how.readout_model}", "--readout with it", "add it, or leave both out")
    return None
