"""Labels that mean none: missing values, and what programs write in their place."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

import numpy as np

from scvec.core.types import Bools
from scvec.ingest.cells.frames import Column

MEAN_NONE = frozenset(
    {
        *("", "-", "--", "?", "??", ".", "nan", "na", "n/a", "#n/a", "none", "null", "<na>", "nat", "unknown"),
        *("unassigned", "not assigned", "unlabelled", "unlabeled", "not labelled", "not labeled", "no label"),
        *("unannotated", "not annotated", "unclassified", "unidentified", "undetermined", "not determined"),
        *("undefined", "not available", "not applicable"),
    }
)
"""Labels of no type, in lower case. A label with a further word, as "unknown epithelial", is a type's."""


def means_none(label: str, further: Sequence[str] = ()) -> bool:
    """Whether a label says that there is none; case, blanks and underscores at its ends or between words do not count.

    Parameters
    ----------
    label
        The label.
    further
        Labels that mean none in addition to `MEAN_NONE`.
    """
    return _plain(label) in MEAN_NONE or _plain(label) in {_plain(one) for one in further}


def _plain(label: str) -> str:
    return re.sub(r"[\s_]+", " ", label).strip().casefold()


def labelled(column: Column, further: Sequence[str] = ()) -> Bools:
    """Return (n,) whether each cell has a label."""
    has = np.array([not means_none(str(value), further) for value in column.values] + [False])
    return np.asarray(has[column.codes], bool)


def said_instead(column: Column, kept: Bools) -> dict[str, int]:
    """Return what the cells that are not kept have in place of a label, and how often; "" stands for missing."""
    labels, absent = column.labels()
    out = ~kept
    counts = Counter("" if gone else label for label, gone in zip(labels[out], absent[out], strict=True))
    return dict(sorted(counts.items(), key=lambda one: (-one[1], one[0])))


def in_words(instead: dict[str, int]) -> str:
    """Return the same as text: ``"40 'nan', 10 missing"``."""
    return ", ".join(f"{n:,} {label!r}" if label else f"{n:,} missing" for label, n in instead.items())
