"""The author's labels of a query's cells."""

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
"""How similar two spellings must be, 0 to 1, for one to be suggested in place of the other."""


def read_author_labels(
    query: str | Path, label_key: str, parameter: str = "label_key", obs: str | Path | None = None
) -> Strings:
    """Return (n,) the author's labels, from a column of a query's ``obs``; raises as `scvec.evaluate` does."""
    with open_cells(query, obs) as file:
        return file.labels(label_key, parameter)


def read_author_ids(
    query: str | Path, label_key: str, label_id_key: str | None, obs: str | Path | None = None
) -> dict[str, str]:
    """Return the id of each of the author's labels, none if `label_id_key` is None; raises as `scvec.evaluate` does."""
    if label_id_key is None:
        return {}
    labels = read_author_labels(query, label_key, obs=obs)
    ids = read_author_labels(query, label_id_key, "label_id_key", obs)
    pairs = sorted(set(zip(labels.tolist(), ids.tolist(), strict=True)))
    for (label, one), (other, two) in pairwise(pairs):
        if label == other:
            raise LabelError(
                f"{query}: label {label!r} has ids {one!r} and {two!r}", "one id for each label", "fix obs"
            )
    return dict(pairs)


def note_lacking(lacking: Sequence[str], atlas_labels: Sequence[str]) -> tuple[str, ...]:
    """Return a note on the classes that the atlas lacks, with similar labels of the atlas; none if it lacks none."""
    shown = [or_near(one, atlas_labels) for one in lacking]
    fix = "; if the atlas has another name for one, map it with `label_map`" if shown != list(lacking) else ""
    return (f"the atlas has no cell of: {', '.join(shown)}; they cannot be called right{fix}",) if shown else ()


def or_near(label: str, others: Sequence[str]) -> str:
    """Return a label with the most similar one of `others`, if one is similar: ``"T_cell (t_cell?)"``."""
    spelled = {spelling(one): one for one in others}
    near = difflib.get_close_matches(spelling(label), spelled, n=1, cutoff=ALIKE)
    return f"{label} ({spelled[near[0]]}?)" if near else label
