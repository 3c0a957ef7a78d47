"""What a reader should know about the calls of a query as a whole: empty droplets, cells of the atlas, one label."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from scvec.annotation.calls import Found
from scvec.annotation.rejection import TOO_NOVEL
from scvec.annotation.result import Annotation
from scvec.atlas import Atlas
from scvec.core.types import Bools
from scvec.core.vectors import SAME

FEW_GENES, FEW_OF_MEASURED = 20, 0.02
"""A cell with fewer expressed genes, or a smaller share of those that are measured, is taken for a droplet."""

WORTH_A_WORD = 0.2
"""The share of cells that are droplets, or novel, above which a note says so."""

WORTH_NAMING = 0.01
"""The share of cells that the atlas has, above which a note says so."""


def remarks(calls: Annotation, found: Found, atlas: Atlas, n_measured: int) -> Iterator[str]:
    """Yield notes on what is unusual about a query.

    Parameters
    ----------
    calls, found
        The calls, and what the search found for them.
    atlas
        The reference.
    n_measured
        Number of the atlas's genes that the query measures.
    """
    if len(atlas.label_names) == 1:
        yield f"the atlas has one label, {atlas.label_names[0]}: every cell is called that, whatever it is"
    shallow = (found.n_expressed < min(FEW_GENES, FEW_OF_MEASURED * n_measured)) & ~found.empty
    if shallow.mean() > WORTH_A_WORD:
        yield (
            f"{_of(shallow)} express fewer than {min(FEW_GENES, int(np.ceil(FEW_OF_MEASURED * n_measured)))} of the "
            "atlas's genes: if they are empty droplets, query the filtered matrix"
        )
    same = same_cells(calls) & ~shallow
    if same.mean() > WORTH_NAMING:
        yield f"{_of(same)} are cells of the atlas (at distance 0)"
    if atlas.calibration is not None and not np.isnan(calls.confidence).all():  # as it is without calibrated votes
        novel = ~found.empty & (calls.novelty > atlas.calibration.too_novel(TOO_NOVEL))
        if novel.mean() > WORTH_A_WORD:
            yield (
                f"{_of(novel)} are more novel than {1 - TOO_NOVEL:.0%} of the atlas's held-out cells: types that it "
                "lacks, another tissue or assay, or no cells; `max_error` rejects them"
            )


def same_cells(calls: Annotation) -> Bools:
    """Return (n,) whether a cell is one of the atlas's, by its distance."""
    return np.asarray(calls.distance <= SAME)


def _of(cells: Bools) -> str:
    return f"{int(cells.sum()):,} of {len(cells):,} cells"
