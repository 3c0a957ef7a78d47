"""How a file of cells is read, as a frozen value."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from scvec.ingest.cells import AskedScale


@dataclass(frozen=True, slots=True)
class ReadOptions:
    """How a query's file is read; the fields are parameters of `scvec.annotation.query.annotate`."""

    obs: str | Path | None = None
    layer: str | None = None
    scale: AskedScale = "auto"
    gene_key: str | None = None
    taxon: str | int | None = None
