"""A query that is unlike the donors that were held out: a note says so, and its novelty is counted from there."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from scvec.annotation.calls import Found
from scvec.annotation.result import Annotation
from scvec.atlas import Atlas
from scvec.knn.unlike import shift_of


def meet_shift(calls: Annotation, found: Found, atlas: Atlas, *, adapt: bool) -> Annotation:
    """Say where a query is unlike the donors that were held out; with `adapt`, count its novelty from there.

    Another study or platform makes all cells more novel, whatever their type: without this, most are called unknown.
    The novelty then depends on the query's other cells.
    """
    some = np.isfinite(calls.novelty) & ~found.empty
    if atlas.calibration is None or np.isnan(calls.confidence).all():
        return calls
    shift = shift_of(atlas.calibration, calls.novelty[some], calls.confidence[some], found.votes.winner[some])
    if shift is None or not shift.is_unlike:
        return calls
    note = (
        f"this query is unlike the reference's cells that were held out: in the median of {shift.n_labels} labels its "
        f"cells are more novel by {shift.shift:.1f} (parts of the reference by {max(shift.usual, 0.0):.1f} at most); "
        "errors may be higher than `max_error` says: check some labels that you know"
    )
    if not adapt or not shift.excess:
        return replace(calls, notes=(*calls.notes, note))
    counted = f"novelty is counted from there, by {shift.excess:.1f} less, which depends on the query's other cells"
    novelty = np.maximum(calls.novelty - np.float32(shift.excess), 0)
    return replace(calls, novelty=novelty, notes=(*calls.notes, note, counted))
