"""The quality of each label: its reference cells, and what held-out cells of it were called."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np

from scvec.annotation.result import Annotation
from scvec.atlas import Atlas
from scvec.core.types import Ints, Strings
from scvec.embed.projection import Mask
from scvec.report.findings.unexpected_genes import FEW_CELLS

OFTEN = 0.2
"""A label is suspect if more than this share of its held-out calls were wrong, or of its held-out cells missed."""

Named = tuple[str, int]


@dataclass(frozen=True, slots=True)
class LabelQuality:
    """The evidence for a label.

    Attributes
    ----------
    label
        The label's name.
    n_called, n_doubted
        Number of the query's cells with the label, before rejection, and how many of these are doubtful.
    n_reference
        Number of its cells in the atlas.
    n_held, n_right
        Number of held-out reference cells that were called so, and how many of these were right.
    wrong
        The most frequent true label of the wrong ones, and their number; "" and 0 if there were none.
    n_own
        Number of its own cells among those held out; `n_right` of them were recognised.
    missed
        What the others of its own cells were most often called, and how many.
    threshold
        The confidence below which its calls are doubtful; infinity if all are, NaN without a calibration.
    n_below, n_wrong_below
        Number of held-out cells called so below the threshold, and how many of these were wrong.
    """

    label: str
    n_called: int
    n_doubted: int
    n_reference: int
    n_held: int
    n_right: int
    wrong: Named
    n_own: int
    missed: Named
    threshold: float
    n_below: int
    n_wrong_below: int

    @property
    def is_thin(self) -> bool:
        """Whether the label has so few reference cells that its calls need a check."""
        return self.n_called > 0 and self.n_reference < FEW_CELLS

    @property
    def is_often_wrong(self) -> bool:
        """Whether held-out calls of the label were wrong so often that all of its calls need a check."""
        return self.n_called > 0 and self.n_held - self.n_right > OFTEN * self.n_held


@dataclass(frozen=True, slots=True)
class HeldOutCalls:
    """What held-out reference cells were called, by the cells that were not held out with them.

    Attributes
    ----------
    labels
        (L,) the labels of cells and calls.
    counts
        (L, L) number of cells of each label by their call, without cells whose label had no other cells left.
    """

    labels: Strings
    counts: Ints

    @property
    def n_cells(self) -> int:
        """Number of cells."""
        return int(self.counts.sum())

    @property
    def accuracy(self) -> float:
        """Share of cells that were called right."""
        return float(np.trace(self.counts) / max(1, self.n_cells))


def held_out_calls(atlas: Atlas) -> HeldOutCalls | None:
    """Return what held-out cells were called; None if there are none of a label that the others have."""
    if atlas.calibration is None or not atlas.calibration.held.known.any():
        return None
    held, n_labels = atlas.calibration.held, len(atlas.label_names)
    counts = np.zeros((n_labels, n_labels), np.int64)
    np.add.at(counts, (held.truth[held.known], held.called[held.known]), 1)
    some = counts.any(axis=0) | counts.any(axis=1)
    return HeldOutCalls(atlas.label_names[some], counts[np.ix_(some, some)])


def label_qualities(calls: Annotation, atlas: Atlas, error: float, doubted: Mask) -> tuple[LabelQuality, ...]:
    """Return the quality of each label, those with most cells of the query first.

    Parameters
    ----------
    calls, atlas
        The calls, and the atlas that made them.
    error
        The error of the thresholds.
    doubted
        (n,) True for doubtful calls.
    """
    names = atlas.label_names
    reference = np.bincount(atlas.label_codes, minlength=len(names))
    called, in_doubt = (
        Counter(calls.label_before_rejection.tolist()),
        Counter(calls.label_before_rejection[doubted].tolist()),
    )
    held = _held(atlas, error)
    made = [
        LabelQuality(name, called[name], in_doubt[name], int(reference[i]), *held[i])
        for i, name in enumerate(names.tolist())
    ]
    return tuple(sorted(made, key=lambda one: (-one.n_called, one.label)))


def _held(atlas: Atlas, error: float) -> list[tuple[int, int, Named, int, Named, float, int, int]]:
    """Return what held-out cells show for each label, in the order of `LabelQuality`."""
    calibration, names = atlas.calibration, atlas.label_names
    if calibration is None:
        return [(0, 0, ("", 0), 0, ("", 0), float("nan"), 0, 0)] * len(names)
    held, confidence, made = calibration.held, calibration.held_confidence(), []
    for label, threshold in enumerate(calibration.thresholds(error, len(names)).tolist()):
        so, own = held.known & (held.called == label), held.truth == label
        below = so & (confidence < threshold)
        made.append(
            (
                int(so.sum()),
                int((so & held.right).sum()),
                _commonest(held.truth[so & ~held.right], names),
                int(own.sum()),
                _commonest(held.called[own & ~held.right], names),
                threshold,
                int(below.sum()),
                int((below & ~held.right).sum()),
            )
        )
    return made


def _commonest(codes: Ints, names: Strings) -> Named:
    if not len(codes):
        return "", 0
    counts = np.bincount(codes, minlength=len(names))
    return str(names[counts.argmax()]), int(counts.max())
