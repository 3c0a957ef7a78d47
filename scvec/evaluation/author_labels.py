"""What an author says that a query's cells are."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

from scvec.core.types import Strings
from scvec.errors import LabelError
from scvec.ingest.cells import open_cells
from scvec.ontology.spelling import spelling

ALIKE = 0.8
"""How alike two spellings are, 0 to 1, for one to be named where the other was meant."""


def read_author_labels(
    query: str | Path, label_key: str, option: str = "--label-key", obs: str | Path | None = None
) -> Strings:
    """Return (n,) the author's labels in a column of a query's ``obs``; raises as `scvec.evaluate` does."""
    with open_cells(query, obs) as file:
        return file.labels(label_key, option)


def read_author_ids(
    query: str | Path, label_key: str, label_id_key: str | None, obs: str | Path | None = None
) -> dict[str, str]:
    """Return the ids of the author's labels, none without a column of them; raises as `scvec.evaluate` does."""
    if label_id_key is None:
        return {}
    labels = read_author_labels(query, label_key, obs=obs)
    ids = read_author_labels(query, label_id_key, "--label-id-key", obs)
    pairs = sorted(set(zip(labels.tolist(), ids.tolist(), strict=True)))
    for (label, one), (other, two) in pairwise(pairs):
        if label == other:
            raise LabelError(f"{query}: label {label!r} has ids {one!r} and {two!r}", "one id for a label", "mend obs")
    return dict(pairs)


def note_lacking(lacking: Sequence[str], atlas_labels: Sequence[str]) -> tuple[str, ...]:
    """Return a note on the classes that the atlas lacks, with the labels that may be meant; none where it has all."""
    shown = [or_near(one, atlas_labels) for one in lacking]
    mend = "; map what it calls otherwise with --label-map FILE" if shown != list(lacking) else ""
    return (f"the atlas has no cell of: {', '.join(shown)}; they cannot be called right{mend}",) if shown else ()


def or_near(label: str, others: Sequence[str]) -> str:
    """Return a label, and the one of `others` that may be meant, as ``"T_cell (t_cell?)"``."""
    spelled = {spelling(one): one for one in others}
    near = difflib.get_close_matches(spelling(label), spelled, n=1, cutoff=ALIKE)
    return f"{label} ({spelled[near[0]]}?)" if near else label
