"""The names of a taxon's genes: those of the store's gene texts or, where it has none, the packaged identifiers."""

from __future__ import annotations

from typing import Protocol

import polars as pl

from scvec.ingest.genes.gene_texts import GeneTexts, newest_texts, open_texts, taxon_id
from scvec.ingest.genes.identifiers import Identifiers
from scvec.ingest.genes.packaged import PREFIX, all_packaged, packaged
from scvec.store import Store


class GeneTable(Protocol):
    """The names and orthologs of a taxon's genes at one release: `GeneTexts`, or `PackagedGenes`, which has no texts.

    A gene's id is its Entrez id in every table.
    """

    @property
    def taxon_id(self) -> int:
        """NCBI's number of the taxon."""
        ...

    @property
    def release(self) -> str:
        """The release's name."""
        ...

    @property
    def digest(self) -> str:
        """Hash of all rows."""
        ...

    @property
    def genes(self) -> pl.DataFrame:
        """One row per gene, sorted by gene id, columns `GENE_COLUMNS` of `scvec.ingest.genes.gene_texts`."""
        ...

    @property
    def identifiers(self) -> Identifiers:
        """The names of its genes."""
        ...


def is_packaged(release: str | None) -> bool:
    """Whether a release is one of packaged identifiers."""
    return release is not None and release.startswith(PREFIX)


def open_table(store: Store, taxon: str | int, release: str | None = None) -> GeneTable:
    """Return the texts of a taxon in the store, or else its packaged identifiers.

    Parameters
    ----------
    store, taxon
        As for `open_texts`.
    release
        A release of the store's texts; None: the last one imported, or else the packaged identifiers. Any packaged
        release stands for the one that is packaged now, as gene ids do not change.

    Raises
    ------
    NotInStoreError
        If the store has no such texts, and there are no such identifiers.
    """
    number = taxon_id(taxon)
    ours = packaged(number)
    if ours is not None and (is_packaged(release) or (release is None and not _has_texts(store, number))):
        return ours
    return open_texts(store, number, release)


def offered_tables(store: Store, taxon: str | int | None, release: str | None = None) -> list[GeneTable]:
    """Return the table of `taxon`; None: of every taxon in the store or packaged.

    Raises
    ------
    NotInStoreError
        If there is none.
    """
    if taxon is not None:
        return [open_table(store, taxon, release)]
    return newest_tables(store, release) or [open_texts(store, "human", release)]  # raises the error


def newest_tables(store: Store, release: str | None = None) -> list[GeneTable]:
    """Return the last release of every taxon's texts in the store, then the packaged identifiers of other taxa.

    With `release`, that release of the taxa that have it.
    """
    if is_packaged(release):
        return [*all_packaged()]
    found: list[GeneTable] = [*newest_texts(store, release)]
    if release is None:
        there = {one.taxon_id for one in found}
        found += [one for one in all_packaged() if one.taxon_id not in there]
    return found


def texts_of(store: Store, table: GeneTable) -> GeneTexts:
    """Return the texts of a table's genes: the table itself, or for packaged identifiers the store's last release.

    Raises
    ------
    NotInStoreError
        If the store has no texts of the taxon.
    """
    return table if isinstance(table, GeneTexts) else open_texts(store, table.taxon_id)


def _has_texts(store: Store, number: int) -> bool:
    return bool(store.table(f"gene_texts/{number}").tags())
