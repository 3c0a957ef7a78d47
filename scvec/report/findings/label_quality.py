"""What stands behind each label: its reference cells, and what became of those that were held out."""

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
"""Share of held-out calls that were wrong, or of cells that were missed, above which a label is to be looked at."""

Named = tuple[str, int]


@dataclass(frozen=True, slots=True)
class LabelTrust:
    """What stands behind a label.

    Attributes
    ----------
    label
        Its name.
    n_called, n_doubted
        Cells of the query nearest to it, and how many of these are doubted.
    n_reference
        Its cells in the atlas.
    n_held, n_right
        Of the reference cells that were held out, how many were called so, and how many of these rightly.
    wrong
        What the others of these most often were, and how many; "" and 0 where there were none.
    n_own
        Its own cells among those held out; `n_right` of them were recognised.
    missed
        What the others of these were most often called, and how many.
    threshold
        The confidence below which its calls are doubted; infinity where all are, NaN without a calibration.
    n_below, n_wrong_below
        Of the held-out cells called so, how many are below the threshold, and how many of these are wrong.
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
        """Whether so few reference cells back it that a call of it is to be looked at."""
        return self.n_called > 0 and self.n_reference < FEW_CELLS

    @property
    def is_often_wrong(self) -> bool:
        """Whether held-out calls of it were wrong so often that all of its calls are to be looked at."""
        return self.n_called > 0 and self.n_held - self.n_right > OFTEN * self.n_held


@dataclass(frozen=True, slots=True)
class HeldOutCalls:
    """What the reference cells that were held out were called, by those that were not.

    Attributes
    ----------
    labels
        (L,) the labels of the cells and of the calls.
    counts
        (L, L) cells of each label by what they were called; those whose label nothing was left of are left out.
    """

    labels: Strings
    counts: Ints

    @property
    def n_cells(self) -> int:
        """How many."""
        return int(self.counts.sum())

    @property
    def accuracy(self) -> float:
        """The share that was called right."""
        return float(np.trace(self.counts) / max(1, self.n_cells))


def held_out_calls(atlas: Atlas) -> HeldOutCalls | None:
    """Return what held-out cells were called; None where the atlas has no calibration."""
    if atlas.calibration is None:
        return None
    held, n_labels = atlas.calibration.held, len(atlas.label_names)
    counts = np.zeros((n_labels, n_labels), np.int64)
    np.add.at(counts, (held.truth[held.known], held.called[held.known]), 1)
    some = counts.any(axis=0) | counts.any(axis=1)
    return HeldOutCalls(atlas.label_names[some], counts[np.ix_(some, some)])


def label_trust(calls: Annotation, atlas: Atlas, error: float, doubted: Mask) -> tuple[LabelTrust, ...]:
    """Return what stands behind each label, those that the query has most cells of first.

    Parameters
    ----------
    calls, atlas
        The calls, and the atlas that made them.
    error
        That of the thresholds.
    doubted
        (n,) which calls are doubted.
    """
    names = atlas.label_names
    reference = np.bincount(atlas.label_codes, minlength=len(names))
    called, in_doubt = (
        Counter(calls.label_before_rejection.tolist()),
        Counter(calls.label_before_rejection[doubted].tolist()),
    )
    held = _held(atlas, error)
    made = [
        LabelTrust(name, called[name], in_doubt[name], int(reference[i]), *held[i])
        for i, name in enumerate(names.tolist())
    ]
    return tuple(sorted(made, key=lambda one: (-one.n_called, one.label)))


def _held(atlas: Atlas, error: float) -> list[tuple[int, int, Named, int, Named, float, int, int]]:
    """Return what held-out cells say of each label, in the order of `LabelTrust`."""
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
