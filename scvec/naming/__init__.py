"""Names for clusters that no reference has: the terms of the Cell Ontology whose texts fit what the cells express."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scvec.core.lazy import exporting

if TYPE_CHECKING:
    from scvec.naming.result import Names, Suggestion
    from scvec.naming.suggested import with_names

_HOMES = {"Names": "result", "Suggestion": "result", "with_names": "suggested"}

__all__ = ["Names", "Suggestion", "with_names"]

__getattr__ = exporting(__name__, _HOMES)


def __dir__() -> list[str]:
    return sorted(__all__)
