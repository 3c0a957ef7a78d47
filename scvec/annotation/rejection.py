"""From calls to trusted calls: those that are not become unknown, and all labels that may be right are named."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from scvec.annotation.result import LOW_CONFIDENCE, NOVEL, Annotation
from scvec.atlas import Atlas
from scvec.core.types import UNKNOWN
from scvec.errors import InputError
from scvec.knn.calibration import Calibration

TOO_NOVEL = 0.05
"""This share of the held-out cells of known types is at least as novel as a cell that is rejected as novel."""


def reject(calls: Annotation, atlas: Atlas, max_error: float | None) -> Annotation:
    """Reject calls that cannot be trusted: they become `UNKNOWN`, and `label_before_rejection` keeps their labels.

    A cell is `NOVEL` where it is more novel than all but `TOO_NOVEL` of the held-out cells of known types. Another cell
    has `LOW_CONFIDENCE` where its confidence is below the threshold of its label. None rejects no call.

    Raises
    ------
    InputError
        If `max_error` is no share, or the atlas has no calibration.
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
        f"{n_novel:,} cells are more novel than {1 - TOO_NOVEL:.0%} of those held out and {n_unsure:,} have too low a "
        f"confidence for an error of {max_error:g}"
    )
    return replace(
        calls,
        label=np.where(gone, UNKNOWN, calls.label).astype(object),
        label_id=np.where(gone, "", calls.label_id).astype(object),
        reason=reason,
        rejected=calls.rejected | gone,
        notes=(*calls.notes, f"{note}; they are labelled {UNKNOWN}"),
    )


def with_sets(calls: Annotation, atlas: Atlas, max_error: float) -> Annotation:
    """Return the calls with prediction sets: the labels whose share of the votes is one that right labels have.

    Of the held-out cells of a label, all but `max_error` give it that share; see `Calibration.set_shares`. A set has
    the nearest label at least, and no label without votes; that of a cell without expression is empty.
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
    """Raise `InputError` if an error cannot be kept: it is no share, or the atlas is not calibrated for these votes."""
    if not 0 < max_error < 1:
        raise InputError(f"max_error = {max_error!r}", "a share between 0 and 1, as 0.05", "give another --max-error")
    if other_votes:
        raise InputError(
            "an error, or sets, for other votes than those that were calibrated",
            "the usual votes of all labels",
            "leave out --max-error and --sets, or what changes the votes: -k, --weights, --where, --allow and so on",
        )
    _calibration(atlas)


def _calibration(atlas: Atlas) -> Calibration:
    if atlas.calibration is None:
        raise InputError(
            f"atlas {atlas.name!r} could not be calibrated",
            "cells that can be held out of their label",
            "leave out --max-error and --sets",
        )
    return atlas.calibration
