"""The gene identifiers of human and mouse that come with scvec: names, no texts. ``tools/gene_table.py`` makes them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any, cast

import polars as pl
import pyarrow.parquet as pq

from scvec.ingest.genes.gene_texts import TAXA, taxon_name
from scvec.ingest.genes.identifiers import Identifiers

FOLDER = Path(__file__).parent / "data"
PREFIX = "packaged-"
"""Releases of packaged identifiers start with it, followed by the newest date in NCBI's ``gene_info``."""

ABOUT = b"scvec"
"""The key of the parquet metadata under which release, date, digest and sources are kept, as JSON."""

SOURCE = "identifiers only"


@dataclass(frozen=True)
class PackagedGenes:
    """The packaged identifiers of one taxon; a `scvec.ingest.genes.gene_table.GeneTable`.

    Attributes
    ----------
    taxon_id
        NCBI's number of the taxon.
    path
        The parquet file.
    """

    taxon_id: int
    path: Path

    @cached_property
    def manifest(self) -> dict[str, Any]:
        """The release, and the files of NCBI that the table was made from."""
        return cast(dict[str, Any], json.loads(pq.read_schema(self.path).metadata[ABOUT]))

    @property
    def release(self) -> str:
        """``packaged-`` and the newest date in NCBI's ``gene_info``."""
        return str(self.manifest["release"])

    @property
    def digest(self) -> str:
        """Hash of all rows."""
        return str(self.manifest["digest"])

    @cached_property
    def genes(self) -> pl.DataFrame:
        """One row per gene, sorted by gene id, columns `GENE_COLUMNS`."""
        return pl.read_parquet(self.path).with_columns(source=pl.lit(SOURCE))

    @cached_property
    def identifiers(self) -> Identifiers:
        """The names of its genes."""
        return Identifiers(self.genes)

    def __str__(self) -> str:
        return f"{taxon_name(self.taxon_id)} gene identifiers {self.release}"

    def __len__(self) -> int:
        return int(self.manifest["n_genes"])


@cache
def packaged(taxon_id: int) -> PackagedGenes | None:
    """Return the packaged identifiers of a taxon, read once per process; None if there are none."""
    path = FOLDER / f"{taxon_name(taxon_id)}.parquet"
    return PackagedGenes(taxon_id, path) if path.is_file() else None


def all_packaged() -> list[PackagedGenes]:
    """Return the packaged identifiers of every taxon that has them."""
    return [one for one in map(packaged, TAXA.values()) if one is not None]
