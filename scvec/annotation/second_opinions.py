"""Second opinions on a cell, beside its neighbours' votes: an LLM's order, a readout's label, a name by texts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scvec.core.types import Floats, Strings

STATUSES = ("", "confirmed", "reordered", "abstained", "rejected", "unasked")
"""Outcomes of asking an LLM; see `Reranked.status`."""

WORDS = ("status", "reason", "genes", "case")
"""Fields of an LLM's opinion that may be empty for a cell."""


@dataclass(frozen=True, slots=True)
class Reranked:
    """The labels that were retrieved, reordered by an LLM.

    Attributes
    ----------
    label
        (n,) the label after reordering, one of those retrieved: the LLM's first where `status` is ``"confirmed"`` or
        ``"reordered"``, else that of the retrieval.
    status
        (n,) "" where the call was confident enough not to ask; ``"confirmed"`` or ``"reordered"``, the LLM's first
        label is the retrieval's, or another; ``"abstained"``; ``"rejected"``, no answer was valid; ``"unasked"``, the
        budget was spent.
    reason
        (n,) the LLM's reason in one sentence, or why its answer was rejected; "" elsewhere.
    genes
        (n,) symbols of the genes that the LLM cites, joined by ``", "``; all of them were in what it was shown.
    case
        (n,) what the question was about: the name of the cell's cluster, or of the cell; "" where nothing was asked.
    """

    label: Strings
    status: Strings
    reason: Strings
    genes: Strings
    case: Strings

    def frame_columns(self) -> dict[str, Any]:
        """Return its columns in the frame of the calls."""
        words = {f"rerank_{key}": [one or None for one in getattr(self, key).tolist()] for key in WORDS}
        return {"reranked_label": self.label.tolist(), **words}

    def obs_columns(self) -> dict[str, Any]:
        """Return its columns in ``obs``, by the rest of their names."""
        import pandas as pd

        columns = self.frame_columns()
        return {key: pd.Categorical(values) for key, values in columns.items()}


@dataclass(frozen=True, slots=True)
class SecondOpinion:
    """What a readout calls the same cells.

    Attributes
    ----------
    label
        (n,) the label with its highest probability; `scvec.UNKNOWN` for a cell that expresses none of its genes.
    score
        (n,) the probability of `label`; NaN where there is none.
    agrees
        (n,) whether `label` is `Annotation.label_before_rejection`; False where neither has one.
    """

    label: Strings
    score: Floats
    agrees: NDArray[np.bool_]

    def frame_columns(self) -> dict[str, Any]:
        """Return its columns in the frame of the calls."""
        import polars as pl

        score = pl.Series(self.score, nan_to_null=True)
        return {"readout_label": self.label.tolist(), "readout_score": score, "readout_agrees": self.agrees}

    def obs_columns(self) -> dict[str, Any]:
        """Return its columns in ``obs``, by the rest of their names."""
        import pandas as pd

        return {
            "readout_label": pd.Categorical(self.label.tolist()),
            "readout_score": self.score,
            "readout_agrees": self.agrees,
        }


@dataclass(frozen=True, slots=True)
class Suggested:
    """Names from the Cell Ontology for unknown cells, by the texts of the genes that their group expresses.

    Attributes
    ----------
    term_id, name
        (n,) the term; "" for a cell that has a label, and where no name stands out.
    score
        (n,) the chance that the term, its parent or its child is right; NaN where there is none.
    genes
        (n,) symbols of the genes that speak most for it, joined by ``", "``; "" where there is none.
    """

    term_id: Strings
    name: Strings
    score: Floats
    genes: Strings

    def frame_columns(self) -> dict[str, Any]:
        """Return its columns in the frame of the calls."""
        import polars as pl

        words = {"term": self.term_id, "name": self.name, "genes": self.genes}
        made = {
            key: pl.Series([one or None for one in found.tolist()], dtype=pl.String) for key, found in words.items()
        }
        made["score"] = pl.Series(self.score, nan_to_null=True)
        return {f"suggested_{key}": made[key] for key in ("term", "name", "score", "genes")}

    def obs_columns(self) -> dict[str, Any]:
        """Return its columns in ``obs``, by the rest of their names."""
        import pandas as pd

        words = {"term": self.term_id, "name": self.name, "genes": self.genes}
        made: dict[str, Any] = {
            key: pd.Categorical([one or None for one in found.tolist()]) for key, found in words.items()
        }
        made["score"] = self.score
        return {f"suggested_{key}": made[key] for key in ("term", "name", "score", "genes")}
