"""Rejection: calls that cannot be trusted become unknown. Prediction sets: all labels that may be right."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from scvec.annotation.result import LOW_CONFIDENCE, NOVEL, Annotation
from scvec.atlas import Atlas
from scvec.core.text import counted
from scvec.core.types import UNKNOWN
from scvec.errors import InputError, must_be
from scvec.knn.calibration import Calibration

TOO_NOVEL = 0.05
"""A cell is rejected as novel if at most this share of the held-out cells of known types is as novel."""


def reject(calls: Annotation, atlas: Atlas, max_error: float | None) -> Annotation:
    """Reject calls that cannot be trusted: they become `UNKNOWN`, and `label_before_rejection` keeps their labels.

    A cell is `NOVEL` where it is more novel than all but `TOO_NOVEL` of the held-out cells of known types. Another cell
    has `LOW_CONFIDENCE` where its confidence is below the threshold of its label. None rejects no call.

    Raises
    ------
    InputError
        If `max_error` is not between 0 and 1, or the atlas has no calibration.
    """
    if max_error is None:
        return calls
    check(atlas, max_error)
    calibration = _calibration(atlas)
    thresholds = calibration.thresholds(max_error, len(calls.labels))
    limit = calibration.too_novel(TOO_NOVEL)
    called = ~calls.rejected
    place = {label: i for i, label in enumerate(calls.labels)}
    code = np.array([place.get(label, 0) for label in calls.label_before_rejection.tolist()], np.int64)
    novel = called & (calls.novelty > limit)
    unsure = called & ~novel & (calls.confidence < thresholds[code])
    reason = calls.reason.copy()
    reason[novel], reason[unsure] = NOVEL, LOW_CONFIDENCE
    gone = novel | unsure
    n_novel, n_unsure = int(novel.sum()), int(unsure.sum())
    note = (
        f"labelled {UNKNOWN}: {counted(n_novel, 'cell')} more novel than {1 - TOO_NOVEL:.0%} of the held-out cells, "
        f"{n_unsure:,} of too low a confidence for an error of {max_error:g}"
    )
    return replace(
        calls,
        label=np.where(gone, UNKNOWN, calls.label).astype(object),
        label_id=np.where(gone, "", calls.label_id).astype(object),
        reason=reason,
        rejected=calls.rejected | gone,
        notes=(*calls.notes, note),
    )


def with_sets(calls: Annotation, atlas: Atlas, max_error: float) -> Annotation:
    """Add prediction sets: of each cell, the labels whose share is high enough for a right label.

    A label needs the share that all but `max_error` of its own held-out cells give it; see `Calibration.set_shares`. A
    set has at least the label with the largest share, and none with a share of 0; the set of a cell without expression
    is empty. Further views give every label a share: held-out cells too few for the error make sets of all labels.
    """
    check(atlas, max_error)
    least = _calibration(atlas).set_shares(max_error, len(calls.labels))
    names = np.array(calls.labels, dtype=object)
    order = np.argsort(-calls.scores, axis=1, kind="stable")
    chosen = (calls.scores >= least) & (calls.scores > 0)
    chosen |= names == calls.label_before_rejection[:, None]
    sets = tuple(tuple(names[row[chosen[i, row]]].tolist()) for i, row in enumerate(order))
    return replace(calls, sets=sets)


def check(atlas: Atlas, max_error: float, other_votes: bool = False) -> None:
    """Raise `InputError` if `max_error` is not between 0 and 1, or the atlas is not calibrated for these votes."""
    if not 0 < max_error < 1:
        raise must_be("max_error", "between 0 and 1, as 0.05", max_error)
    if other_votes:
        raise InputError(
            "`max_error` and `sets` are calibrated for the default votes of all labels only",
            fix="leave out `max_error` and `sets`, or what changes the votes (`k`, `weights`, `temperature`, "
            "`frequency`, `where`, `allow`, `block`)",
        )
    _calibration(atlas)


def _calibration(atlas: Atlas) -> Calibration:
    if atlas.calibration is None:
        raise InputError(
            f"atlas {atlas.name!r} has no calibration, which `max_error` and `sets` need",
            "labels with enough cells to hold some out",
            "leave out `max_error` and `sets`",
        )
    return atlas.calibration
