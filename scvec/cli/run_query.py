"""A query as the command line asks for it: retrieval, and beside it a readout and an LLM that reorders."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

from scvec.cli.app import open_store, renaming
from scvec.cli.options.common import NeighborFlags
from scvec.cli.options.query import NamesFlags, QueryFlags
from scvec.cli.options.rerank import RerankFlags
from scvec.core.text import counted
from scvec.errors import InputError

if TYPE_CHECKING:
    from scvec.annotation.result import Annotation
    from scvec.interpret import Readout
    from scvec.naming import Names, NamingOptions
    from scvec.report.findings import Overview


@dataclass(frozen=True, slots=True)
class QueryRun:
    """A query, an atlas, and all options of the verbs that label cells."""

    query: str
    atlas: str
    flags: QueryFlags
    rerank: RerankFlags
    common: NeighborFlags
    names: NamesFlags = field(default_factory=NamesFlags)

    def called(self) -> Annotation:
        """Return the calls with the second opinions that were asked for, after printing their notes."""
        ui, device = self.common.ui, self.common.ui.device(self.common.device)
        # What is invalid, or not there, is found before any work is done.
        asked = self.rerank.asked(self.flags, device, names=self.names.suggest_names)
        readout = self._readout(device)
        self._check_names()
        calls = self._retrieved(device)
        if readout is not None:
            from scvec.interpret import predict, second_opinion

            calls = second_opinion(calls, predict(calls.query, readout, progress=ui.progress))
        if asked is not None:
            from scvec.interpret import rerank

            calls = rerank(calls, asked, progress=ui.progress)
        for note in calls.notes:
            ui.note(note)
        return calls

    def named(self, calls: Annotation) -> tuple[Annotation, Names | None]:
        """Return the calls with names for their unknown cells, and these names, if they were asked for."""
        asked = self._naming()
        if asked is None:
            return calls, None
        from scvec.naming.run import name
        from scvec.naming.suggested import no_names, with_names

        try:
            names = name(calls, options=asked, progress=self.common.ui.progress)
        except InputError as error:
            if not calls.rejected.all():
                raise
            # Nothing to compare a single group with: the calls are worth writing all the same.
            names = no_names(calls, f"unknown cells are not named: {error}")
        seen = with_names(calls, names)
        for note in seen.notes[len(calls.notes) :]:
            self.common.ui.note(note)
        return seen, names

    def _naming(self) -> NamingOptions | None:
        """Return how unknown cells are named; None if they are not."""
        if not self.names.suggest_names:
            return None
        from scvec.naming import NamingOptions

        return NamingOptions(tissue=self.rerank.tissue, evidence=True)

    def _check_names(self) -> None:
        """Raise if there could be no names for unknown cells."""
        asked = self._naming()
        if asked is None:
            return
        from scvec.naming.run import require_texts

        if self.flags.max_error is None:
            raise InputError(
                "`suggest_names` without `max_error` has no unknown cells to name", fix="add --max-error 0.05"
            )
        asked.check()
        require_texts(open_store(self.common.store), asked)

    def reported(
        self,
        calls: Annotation,
        out: Path,
        names: Names | None = None,
        label_key: str | None = None,
        label_map: Mapping[str, str] | None = None,
    ) -> Overview:
        """Write the report of the calls, and return what it shows."""
        from scvec.report.findings import overview
        from scvec.report.page import write_report

        found = overview(
            calls,
            labels=label_key,
            label_map=label_map or {},
            names=names,
            command=shlex.join(["scvec", *sys.argv[1:]]),
            made_on=f"{date.today():%Y-%m-%d}",
            progress=self.common.ui.progress,
        )
        write_report(found, out)
        return found

    def show_bill(self) -> None:
        """Print what an LLM would be asked, and what that would cost."""
        ui, device = self.common.ui, self.common.ui.device(self.common.device)
        asked = self.rerank.asked(self.flags, device)
        if asked is None:
            raise InputError("--dry-run without --rerank has no effect", fix="add --rerank MODEL, or leave it out")
        calls = self._retrieved(device)
        from scvec.interpret import rerank_bill

        bill = rerank_bill(calls, asked, progress=ui.progress)
        cost = "unknown: no list price, give --price"
        if bill.usd is not None and bill.usd_at_most is not None:
            cost = f"about ${bill.usd:.4f}, ${bill.usd_at_most:.4f} at most" if bill.usd_at_most else "none"
        counted = f"{bill.calls:,} cases to ask, {bill.cached:,} answered before"
        tokens = f"about {bill.tokens_in:,} tokens in and {bill.tokens_out:,} out"
        ui.result(asdict(bill), f"{bill.model}: {counted}; {tokens}; cost: {cost}")

    def _retrieved(self, device: str) -> Annotation:
        """Return the calls by retrieval."""
        from scvec.annotation.query import annotate

        flags = self.flags
        atlas = self.common.atlas(self.atlas, device)
        atlas.expect(flags.recipe, flags.encoder)
        return annotate(self.query, atlas, flags.asked(self.rerank.cluster(flags)), progress=self.common.ui.progress)

    def _readout(self, device: str) -> Readout | None:
        """Open the readout that was asked for."""
        name, model = self.flags.readout, self.flags.readout_model
        if name is not None:
            from scvec.interpret import open_readout

            store = open_store(self.common.store)
            with renaming(model="readout_model"):
                return open_readout(store, name, model=model, device=device, download=self.rerank.download)
        if model is not None:
            raise InputError("--readout-model without --readout has no effect", fix="add --readout, or leave it out")
        return None


def check_reported(out: Path) -> None:
    """Raise if a query could not be reported to `out`: asked before it is called."""
    from scvec.report.page import check_report

    check_report(out)


def reordered(calls: Annotation) -> list[str]:
    """Return a line on what an LLM made of the calls; none where it was not asked."""
    if calls.reranked is None:
        return []
    asked = calls.provenance["rerank"]
    n_reordered = sum(one["status"] == "reordered" for one in asked["cases"])
    unsure = f"{n_reordered:,} of {len(asked['cases']):,} uncertain {asked['by']}s"
    return [f"{unsure} were reordered by {asked['model']}"]


def suggested(names: Names | None) -> list[str]:
    """Return a line for each group of unknown cells that has a name."""
    if names is None:
        return []
    from scvec.naming.suggested import titled

    found = [(names.clusters[i], int(names.n_cells[i]), names.first(i)) for i in range(len(names))]
    return [
        f"{titled(group)}, {counted(n, 'cell')}: looks like {one.name} ({one.term_id}), {one.shown_score}"
        for group, n, one in found
        if one is not None
    ]
