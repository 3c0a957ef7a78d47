"""What is counted in single cells, of a query and of its reference: counts, genes, mitochondrial share, doublets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import scipy.sparse as sp

from scvec.annotation.result import NO_EXPRESSION, Annotation
from scvec.atlas import Atlas
from scvec.atlas.panel import PanelAtlas
from scvec.atlas.query_cells import OpenCells
from scvec.core.progress import shown
from scvec.core.tabular import Tabular
from scvec.core.types import Bools, Doubles, Ints, Progress, Strings
from scvec.embed.sample import Sample, counts_on
from scvec.report.findings.doublets import Mixing
from scvec.report.findings.unexpected_genes import FEW_CELLS, owners

if TYPE_CHECKING:
    import polars as pl

COUNTS, GENES, MITOCHONDRIAL, DOUBLET = "counts", "genes", "mitochondrial_share", "doublet_score"
MEASURES = (COUNTS, GENES, MITOCHONDRIAL, DOUBLET)

MITOCHONDRIAL_GENES = "MT-"
"""How symbols of genes of the mitochondrial genome start, in any case: MT-ND1, mt-Nd1."""

BESIDE, KEPT, TAKEN = 200, 500, 4096
"""For each label, at most so many cells of the query that are not doubtful, and of the reference; cells in a batch."""


@dataclass(frozen=True, slots=True)
class CellMeasures(Tabular):
    """Measures of n cells, on the genes that both the query and the reference have; NaN where not known.

    Attributes
    ----------
    cells
        (n,) their positions in the query, or in the sample of the reference, ascending.
    labels
        (n,) the label of each, before rejection.
    values
        By name, one of `MEASURES`: (n,) values.
    others
        (n,) the label that a cell would be a doublet with, beside its own; "" for none.
    owned
        (n, L) the share of each cell's expression that is on genes that each label of the atlas owns.
    """

    cells: Ints
    labels: Strings
    values: dict[str, Doubles]
    others: Strings
    owned: Doubles

    def to_polars(self) -> pl.DataFrame:
        """Return one row for each cell: its position, label, measures, and the label that it may be a doublet with."""
        import polars as pl

        values = {name: pl.Series(one, nan_to_null=True) for name, one in self.values.items()}
        return pl.DataFrame(
            {"cell": self.cells, "label": self.labels.astype(str), **values, "doublet_with": self.others.astype(str)}
        )

    @classmethod
    def joined(cls, parts: Sequence[CellMeasures]) -> CellMeasures:
        """Return one for the cells of several, in their order."""
        return cls(
            np.concatenate([one.cells for one in parts]),
            np.concatenate([one.labels for one in parts]),
            {name: np.concatenate([one.values[name] for one in parts]) for name in MEASURES},
            np.concatenate([one.others for one in parts]),
            np.concatenate([one.owned for one in parts]),
        )


@dataclass(frozen=True, slots=True)
class Measured:
    """The measures of a query's cells, and of its reference's; `names` are the labels of the atlas."""

    query: CellMeasures
    reference: CellMeasures
    names: Strings


def cell_measures(calls: Annotation, *, progress: Progress | None = None) -> CellMeasures | None:
    """Count genes, mitochondrial share and the doublet score of all cells with expression of a query, doubtful or not.

    Parameters
    ----------
    calls
        The calls; their query is read again.
    progress
        Shows progress in cells.

    Returns
    -------
    measures
        None if the atlas keeps no cells, as one of an earlier version.

    Raises
    ------
    InputError
        If the query was changed since it was annotated.
    """
    with calls.query.opened() as cells:
        found = measured_in(cells, calls, calls.reason != NO_EXPRESSION, 0, shown(progress))
    return None if found is None else found.query


def measured_in(
    cells: OpenCells, calls: Annotation, doubted: Bools, random_state: int, progress: Progress
) -> Measured | None:
    """Measure doubtful cells of an open query, some others of each label, and the cells that the atlas keeps.

    Parameters
    ----------
    cells, calls
        The query, and its calls.
    doubted
        (n,) the doubtful calls.
    random_state
        Chooses the others: at most `BESIDE` for each label.
    progress
        Shows progress in cells.

    Returns
    -------
    measured
        None if the atlas keeps no cells, as one of an earlier version.
    """
    atlas = cells.query.atlas
    sample = atlas.sample if isinstance(atlas, PanelAtlas) else atlas.kept_sample
    if sample is None:
        return None
    rng = np.random.default_rng(random_state)
    sample = sample.at(_some(sample.codes, KEPT, rng))
    reader = _Reader.of(atlas, sample, cells.measured)
    called = np.where(calls.reason == NO_EXPRESSION, "", calls.label_before_rejection)
    others = np.flatnonzero((called != "") & ~doubted)
    chosen = np.union1d(np.flatnonzero(doubted), others[_some(called[others], BESIDE, rng)])
    return Measured(reader.query(cells, calls, chosen, progress), reader.reference(sample), atlas.label_names)


def _some(labels: Ints | Strings, n: int, rng: np.random.Generator) -> Ints:
    """Return ascending positions of at most n cells of each label."""
    own = np.unique(labels.astype(str) if labels.dtype == object else labels, return_inverse=True)[1]
    kept = [rng.permutation(np.flatnonzero(own == one))[:n] for one in range(int(own.max(initial=-1)) + 1)]
    return np.sort(np.concatenate([np.zeros(0, np.int64), *kept]))


@dataclass(frozen=True, slots=True)
class _Reader:
    """What measures cells: which genes both sides have, which are mitochondrial, which label owns each."""

    names: Strings
    measured: Bools
    mitochondrial: Bools
    owner: sp.csr_matrix[np.float64]
    mixing: Mixing

    @classmethod
    def of(cls, atlas: Atlas, sample: Sample, measured: Bools) -> _Reader:
        symbols, names = atlas.gene_symbols.tolist(), atlas.label_names.tolist()
        owned, place = owners(atlas), {name: i for i, name in enumerate(names)}
        genes = [i for i, symbol in enumerate(symbols) if symbol in owned and measured[i]]
        at = [place[owned[symbols[i]]] for i in genes]
        owner = sp.csr_matrix((np.ones(len(genes)), (genes, at)), (len(symbols), len(names)))
        mitochondrial = np.array([one.upper().startswith(MITOCHONDRIAL_GENES) for one in symbols]) & measured
        return cls(atlas.label_names, measured, mitochondrial, owner, Mixing.of(sample, measured, FEW_CELLS))

    def reference(self, sample: Sample) -> CellMeasures:
        """Measure the cells that the atlas keeps, on the genes that the query has."""
        linear = sp.csr_matrix(sample.logged @ sp.diags_array(self.measured.astype(np.float32))).expm1()
        linear.eliminate_zeros()
        counts = np.full(len(sample), np.nan)
        if sample.n_counts is not None:
            counts = sample.n_counts * sample.share(self.measured)
        names = np.array(sample.names, object)
        return self._measures(np.arange(len(sample)), names[sample.codes], linear, counts)

    def query(self, cells: OpenCells, calls: Annotation, chosen: Ints, progress: Progress) -> CellMeasures:
        """Measure some cells of a query, given by ascending positions."""
        parts, matrix, labels = [], cells.matrix, calls.label_before_rejection
        with progress("looking for causes", len(chosen)) as advance:
            # The first batch may hold no cell, but knows the shapes.
            for first in range(0, max(len(chosen), 1), TAKEN):
                own = chosen[first : first + TAKEN]
                taken = matrix.take(own)
                counts = counts_on(taken, matrix.values, cells.columns)
                parts.append(self._measures(own, labels[own], sp.csr_matrix(taken @ cells.columns), counts))
                advance(len(own))
        return CellMeasures.joined(parts)

    def _measures(
        self, cells: Ints, labels: Strings, linear: sp.csr_matrix[np.float32], counts: Doubles
    ) -> CellMeasures:
        totals = np.asarray(linear.sum(axis=1, dtype=np.float64)).ravel()
        scale = np.divide(1.0, totals, out=np.full(len(totals), np.nan), where=totals > 0)
        mitochondrial = linear @ self.mitochondrial.astype(np.float64) * scale
        if not self.mitochondrial.any():
            mitochondrial = np.full(len(totals), np.nan)
        scores, pairs = self.mixing.scores(linear)
        values = dict(zip(MEASURES, (counts, np.diff(linear.indptr) * 1.0, mitochondrial, scores), strict=True))
        owned = sp.csr_matrix(linear @ self.owner).toarray() * scale[:, None]
        # The label that a cell is called need not be the nearer one of the two.
        names = np.where(pairs >= 0, self.names[pairs], "")
        others = np.where(names[:, 1] == labels, names[:, 0], names[:, 1])
        return CellMeasures(cells, labels, values, others.astype(object), owned)
