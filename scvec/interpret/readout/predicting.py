"""Labels cells by a readout, alone or as a second opinion on calls by retrieval."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Unpack

import numpy as np

from scvec._version import __version__
from scvec.annotation.result import Annotation
from scvec.annotation.second_opinions import SecondOpinion
from scvec.atlas.query_cells import QueryCells, match_to
from scvec.core.options import merged
from scvec.core.progress import shown
from scvec.core.tabular import Tabular
from scvec.core.types import UNKNOWN, Floats, Progress, Strings
from scvec.embed.projection import aligner
from scvec.ingest.cells import Cells, open_cells
from scvec.ingest.cells.options import ReadChanges, ReadOptions
from scvec.ingest.cells.scale import expression
from scvec.interpret.readout.modules import probabilities
from scvec.interpret.readout.readout import Readout
from scvec.interpret.readout.sentences import sentences
from scvec.models.weights import all_threads

if TYPE_CHECKING:
    import polars as pl


@dataclass(frozen=True, slots=True)
class Predicted(Tabular):
    """A readout's labels for the cells of a file, in the file's order.

    Attributes
    ----------
    obs_names
        (n,) names of the cells.
    labels
        (L,) the readout's labels.
    label
        (n,) the label with the highest probability; `scvec.UNKNOWN` for a cell that expresses none of the genes.
    probabilities
        (n, L) probability of each label; NaN where the label is unknown.
    provenance
        The readout, the matrix used, the coverage; JSON types.
    notes
        What a reader should know.
    """

    obs_names: Strings
    labels: tuple[str, ...]
    label: Strings
    probabilities: Floats
    provenance: Mapping[str, Any]
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.obs_names)

    @property
    def score(self) -> Floats:
        """(n,) the highest probability of each cell; NaN where its label is unknown."""
        best: Floats = self.probabilities.max(axis=1)
        return best

    def to_polars(self) -> pl.DataFrame:
        """Return one row per cell: its label, that label's probability, and those of all labels."""
        import polars as pl

        columns: dict[str, Any] = {"obs_name": self.obs_names.tolist(), "label": self.label.tolist()}
        columns["score"] = pl.Series(self.score, nan_to_null=True)
        for i, name in enumerate(self.labels):
            columns[f"probability {name}"] = pl.Series(self.probabilities[:, i], nan_to_null=True)
        return pl.DataFrame(columns)


def predict(
    cells: Cells | QueryCells,
    readout: Readout,
    options: ReadOptions | None = None,
    *,
    progress: Progress | None = None,
    **changes: Unpack[ReadChanges],
) -> Predicted:
    """Label cells by a readout.

    Parameters
    ----------
    cells
        An AnnData, or a file that `scvec.ingest.open_cells` reads; or the query of calls, `Annotation.query`, which is
        read as it was.
    readout
        The trained readout.
    options, changes
        How the cells are read: a `scvec.ReadOptions`, or its fields as keywords.
    progress
        Shows the cells done.

    Raises
    ------
    InputError
        If the file, the matrix or the genes are invalid.
    """
    read, progress = merged(ReadOptions, options, dict(changes)), shown(progress)
    given, read = (cells.cells, cells.read) if isinstance(cells, QueryCells) else (cells, read)
    with open_cells(given, read.obs, read.selection) as file, file.matrix(read.layer, read.scale) as matrix:
        own = readout.genes
        match, notes = match_to(matrix, readout.store, own.texts, own.ids, read.gene_key, read.taxon)
        columns = aligner(match, readout.genes.ids)
        totals, found = np.zeros(matrix.n_genes), []
        with all_threads(), progress("reading the cells out", len(file.obs_names)) as advance:
            for first, batch in matrix.batches("reading"):
                totals += expression(batch)
                rows = sentences(batch, matrix.values, columns, readout.spec, first)
                chances = probabilities(
                    readout.modules, readout.backbone, readout.vectors, rows, readout.spec.batch_cells, advance
                )
                found.append(chances.astype(np.float32))
        coverage = match.coverage(totals)
        whole = np.concatenate(found)
        best = np.where(np.isnan(whole[:, 0]), len(readout.labels), np.nan_to_num(whole).argmax(axis=1))
        return Predicted(
            obs_names=file.obs_names,
            labels=readout.labels,
            label=np.array([*readout.labels, UNKNOWN], dtype=object)[best],
            probabilities=whole,
            provenance={
                "scvec": __version__,
                "readout": readout.to_dict(),
                "query": {"file": file.path.name, "matrix": matrix.to_dict(), "coverage": coverage.to_dict()},
            },
            notes=(f"{matrix.key} taken as {matrix.values}", *file.notes, *coverage.notes(), *notes),
        )


def second_opinion(calls: Annotation, found: Predicted) -> Annotation:
    """Return the calls with a readout's labels of the same cells as a second opinion; no call changes.

    Raises
    ------
    InputError
        If the cells differ.
    """
    calls.check_cells(found.obs_names.tolist(), "the readout's file")
    said = found.label != UNKNOWN
    second = SecondOpinion(
        found.label, found.score, np.asarray(said & (found.label == calls.label_before_rejection), bool)
    )
    named = f"readout {found.provenance['readout']['name']}".rstrip()
    notes = [f"{named}: no cell expresses a gene that it reads"]
    if said.any():
        notes = [f"{named} agrees with the retrieval on {second.agrees[said].mean():.1%} of the cells"]
    if not set(found.labels) & set(calls.labels):
        notes.append(
            f"{named} and the atlas have no label in common: {found.labels[0]}, ... and {calls.labels[0]}, ..."
        )
    # Notes on the file that the calls have too are not repeated.
    notes += [f"{named}: {one}" for one in found.notes if one not in calls.notes]
    return replace(
        calls,
        second=second,
        notes=(*calls.notes, *notes),
        provenance={**calls.provenance, "readout": found.provenance["readout"]},
    )
