"""What an author says that a query's cells are."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

from scvec.errors import LabelError
from scvec.ingest.cells import open_cells
from scvec.types import Strings


def given_labels(
    query: str | Path, label_key: str, option: str = "--label-key", obs: str | Path | None = None
) -> Strings:
    """Return (n,) the author's labels in a column of a query's ``obs``; raises as `scvec.evaluate` does."""
    with open_cells(query, obs) as file:
        return file.labels(label_key, option)


def given_ids(
    query: str | Path, label_key: str, label_id_key: str | None, obs: str | Path | None = None
) -> dict[str, str]:
    """Return the ids of the author's labels, none without a column of them; raises as `scvec.evaluate` does."""
    if label_id_key is None:
        return {}
    labels = given_labels(query, label_key, obs=obs)
    ids = given_labels(query, label_id_key, "--label-id-key", obs)
    pairs = sorted(set(zip(labels.tolist(), ids.tolist(), strict=True)))
    for (label, one), (other, two) in pairwise(pairs):
        if label == other:
            raise LabelError(f"{query}: label {label!r} has ids {one!r} and {two!r}", "one id for a label", "mend obs")
    return dict(pairs)
