"""Calls that get no confidence, as it is not known what the values of the query, or of the reference, are."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from scvec.annotation.result import Annotation
from scvec.atlas.query_cells import QueryCells
from scvec.errors import InputError

QUERY_FIX = "choose a matrix of counts with `layer`, or name the scale of this one with `scale`"
ATLAS_FIX = "build the atlas again of counts, or with `scale` named"


@dataclass(frozen=True, slots=True)
class Doubt:
    """Why calls get no confidence, and what would give it to them."""

    why: str
    fix: str

    def __str__(self) -> str:
        return f"no confidence is given, as {self.why}; to get it, {self.fix}"

    def refusal(self) -> InputError:
        """Return the error for those who ask for what needs a confidence."""
        fix = f"{self.fix}; or leave out `max_error` and `sets`"
        return InputError(f"`max_error` and `sets` need a confidence, and none is given, as {self.why}", fix=fix)


def doubt_of(query: QueryCells) -> Doubt | None:
    """Return why calls of a query get no confidence; None if they do."""
    if query.atlas.recipe.weights == "given":
        return None
    if query.values.doubt:
        return Doubt(f"{query.layer} of {query.name} was taken as {query.values}", QUERY_FIX)
    for source in query.atlas.manifest["sources"]:
        matrix = source["matrix"]
        if matrix.get("doubt"):  # atlases of earlier versions have none
            said = f"{matrix['key']} of {source['file']} was taken as {matrix['scale']}, but {matrix['doubt']}"
            return Doubt(f"in the atlas's reference, {said}", ATLAS_FIX)
    return None


def doubted(calls: Annotation) -> Annotation:
    """Return calls without confidence and novelty."""
    none = np.full(len(calls), np.nan, np.float32)
    return replace(calls, confidence=none, novelty=none)
