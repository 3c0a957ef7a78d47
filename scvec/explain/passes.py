"""Two groups of a file's cells, gone through batch by batch: what they express, and what each gene contributes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

from scvec.atlas import Atlas
from scvec.atlas.query_cells import log_normalised
from scvec.core.types import Doubles, Floats, Ints, Progress
from scvec.embed.projection import Mask
from scvec.explain.moments import Moments
from scvec.ingest.cells import Matrix


@dataclass(frozen=True, slots=True)
class TwoGroups:
    """The cells of both groups, read batch by batch; `codes` is (n,), 0 for A, 1 for B and -1 for others."""

    matrix: Matrix
    atlas: Atlas
    columns: sp.csr_matrix[np.float32]
    measured: Mask
    share: float | None
    codes: Ints

    def batches(self, title: str, progress: Progress) -> Iterator[tuple[Ints, sp.csr_matrix[np.float32]]]:
        """Yield which cells of the file, and these on the atlas's genes."""
        for first, _, known in log_normalised(self.matrix, self.columns, self.share, self.atlas, title, progress):
            rows = np.flatnonzero(self.codes[first : first + known.shape[0]] >= 0)
            if len(rows):
                yield first + rows, known[rows]


def compared(cells: TwoGroups, progress: Progress) -> tuple[Moments, Floats]:
    """Return what the groups express, and (d,) the direction of length one from B to A; empty cells leave `codes`."""
    embedding = cells.atlas.embedding
    moments, sums = Moments.none(len(cells.measured)), np.zeros((2, embedding.dimension))
    for rows, known in cells.batches("comparing expression", progress):
        vectors, empty = embedding.vectors(known, cells.measured, cells.atlas.device)
        cells.codes[rows[empty]] = -1
        codes = cells.codes[rows]
        np.add.at(sums, codes[~empty], vectors[~empty])
        moments = moments.add(known, codes)
    first, second = sums / np.maximum(moments.n_cells, 1)[:, None]
    way = first - second
    return moments, np.asarray(way / (np.linalg.norm(way) or 1.0), np.float32)


def attributed(cells: TwoGroups, towards: Floats, progress: Progress) -> tuple[Doubles, Doubles, Doubles, Doubles]:
    """Return each group's mean of genes' contributions and amounts, (2, g), and of similarity and baseline, (2,)."""
    n_genes = len(cells.measured)
    added, amounts = np.zeros((2, n_genes)), np.zeros((2, n_genes))
    along, baseline = np.zeros(2), np.zeros(2)
    for rows, known in cells.batches("attributing", progress):
        codes = cells.codes[rows]
        made = cells.atlas.embedding.contributions(known, cells.measured, np.tile(towards, (len(rows), 1)))
        added += made.of_groups(codes, 2)
        amounts += made.excess_of_groups(codes, 2)
        along += np.bincount(codes, made.total, 2)
        baseline += np.bincount(codes, made.baseline, 2)
    size = np.bincount(cells.codes[cells.codes >= 0], minlength=2)
    return added / size[:, None], amounts / size[:, None], along / size, baseline / size
