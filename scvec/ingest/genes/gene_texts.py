"""Gene texts in the store: one table per taxon, one tag per release."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import chain, count
from pathlib import Path
from types import MappingProxyType
from typing import Any, cast

import polars as pl

from scvec._version import __version__
from scvec.core.files import sha256
from scvec.errors import ExistsError, NotInStoreError, unknown
from scvec.ingest.genes.identifiers import Identifiers
from scvec.ingest.genes.ncbi import read_info, read_orthologs, read_summaries
from scvec.ingest.genes.template import TEXT_COLUMNS, TEXT_INDEXES, with_texts
from scvec.store import Snapshot, Store, check_tag

TAXA: MappingProxyType[str, int] = MappingProxyType({"human": 9606, "mouse": 10090, "rat": 10116})
"""NCBI taxon id by name. A gene without a summary borrows that of its ortholog in the first of these species that has
one."""

HUMAN = TAXA["human"]
GENE_COLUMNS = ("gene_id", "symbol", "aliases", "ensembl_ids", "gene_type", "human_ortholog", "source")


def taxon_id(taxon: str | int) -> int:
    """Return the NCBI id of a taxon given by name or number; raise `KeyNotFoundError` for an unknown name."""
    if taxon in TAXA:
        return TAXA[cast(str, taxon)]
    if re.fullmatch("[0-9]{1,9}", str(taxon)):
        return int(taxon)
    raise unknown("taxon", str(taxon), [*TAXA, "an NCBI taxon id"])


def taxon_name(number: int) -> str:
    """Return the taxon's name in `TAXA`, or else its number."""
    return next((name for name, one in TAXA.items() if one == number), str(number))


@dataclass(frozen=True)
class GeneTexts:
    """The gene texts of one taxon at one release.

    Attributes
    ----------
    taxon_id
        NCBI's number of the taxon.
    release
        The release's tag.
    snapshot
        The version of the table.
    """

    taxon_id: int
    release: str
    snapshot: Snapshot

    @property
    def manifest(self) -> dict[str, Any]:
        """The sources of the texts."""
        return self.snapshot.manifest

    @property
    def digest(self) -> str:
        """Hash of all rows."""
        return str(self.manifest["digest"])

    @cached_property
    def frame(self) -> pl.DataFrame:
        """One row per gene, columns `TEXT_COLUMNS`, sorted by gene id."""
        return cast(pl.DataFrame, pl.from_arrow(self.snapshot.read(list(TEXT_COLUMNS))))

    @cached_property
    def genes(self) -> pl.DataFrame:
        """One row per gene, sorted by gene id: names and orthologs, without the prose."""
        return cast(pl.DataFrame, pl.from_arrow(self.snapshot.read(GENE_COLUMNS)))

    @cached_property
    def identifiers(self) -> Identifiers:
        """The names of its genes."""
        return Identifiers(self.genes)

    def __str__(self) -> str:
        return f"{taxon_name(self.taxon_id)} gene texts {self.release}"

    def __len__(self) -> int:
        return len(self.snapshot)


def texts(
    store: Store,
    *,
    taxon: str | int,
    gene_info: str | Path,
    gene_summary: str | Path,
    gene_orthologs: str | Path | None = None,
    release: str | None = None,
    date: str | None = None,
) -> GeneTexts:
    """Import NCBI's gene texts of one taxon as one release.

    Importing the same texts under the same release again changes nothing. `scvec.ingest.genes.template` describes the
    texts.

    Parameters
    ----------
    store
        The store to import into.
    taxon
        ``"human"``, ``"mouse"``, ``"rat"`` or an NCBI taxon id.
    gene_info, gene_summary, gene_orthologs
        NCBI's files, plain or gzipped, of this taxon or of many. Without orthologs, no gene borrows a summary, and no
        query of this taxon can be matched to an atlas of another.
    release
        The release's tag; None: `date`, followed by .2, .3 and so on if there are other texts of that date.
    date
        ``YYYY-MM-DD``; None: the newest modification date in `gene_info`.

    Raises
    ------
    FileError
        If a file is missing, truncated, of another format, or has no gene of the taxon.
    ExistsError
        If the release exists with other texts.
    """
    number = taxon_id(taxon)
    files = [Path(one) for one in (gene_info, gene_summary, gene_orthologs) if one is not None]
    genes, newest = read_info(files[0], number)
    lenders = list(TAXA.values())
    # A taxon without summaries at NCBI is not an error: its genes have names.
    summaries = read_summaries(files[1], [number, *lenders], [number] if number in lenders else [number, *lenders])
    own = summaries.filter(pl.col("taxon_id") == number).select("gene_id", "summary")
    genes = genes.join(own, on="gene_id", how="left", maintain_order="left")
    if gene_orthologs is not None:
        genes = _with_orthologs(genes, number, summaries, files[2])
    made_from = [{"file": one.name, "bytes": one.stat().st_size, "sha256": sha256(one)} for one in files]
    origin = {"origin": "NCBI Gene", "files": made_from}
    if release is not None:
        return write_texts(store, number, with_texts(genes), release, origin)
    return _write_dated(store, number, with_texts(genes), date or newest, origin)


def _write_dated(store: Store, number: int, genes: pl.DataFrame, date: str, origin: Mapping[str, Any]) -> GeneTexts:
    """Commit `genes` under the first tag of that date that is free or already has them."""
    for tag in chain([date], (f"{date}.{i}" for i in count(2))):
        try:
            return write_texts(store, number, genes, tag, origin)
        except ExistsError:
            continue
    raise AssertionError("there is always a free tag")


def _with_orthologs(genes: pl.DataFrame, number: int, summaries: pl.DataFrame, path: Path) -> pl.DataFrame:
    """Add `human_ortholog`, and a gene's borrowed summary: of its ortholog in the first species of `TAXA` with one."""
    lent = []
    for species, other in TAXA.items():
        if other == number:
            continue
        pairs = read_orthologs(path, number, other)
        if other == HUMAN:
            genes = genes.join(pairs.rename({"other_id": "human_ortholog"}), on="gene_id", how="left")
        its = summaries.filter(pl.col("taxon_id") == other).select(other_id="gene_id", ortholog_summary="summary")
        lent.append(pairs.join(its, on="other_id").select("gene_id", "ortholog_summary", ortholog=pl.lit(species)))
    first = pl.concat(lent).unique("gene_id", keep="first", maintain_order=True)
    return genes.join(first, on="gene_id", how="left")


def write_texts(store: Store, number: int, genes: pl.DataFrame, release: str, origin: Mapping[str, Any]) -> GeneTexts:
    """Commit `genes` (columns `TEXT_COLUMNS`) as `release`; `origin` goes into the manifest."""
    genes = genes.sort("gene_id")
    digest = hashlib.sha256()
    for row in genes.iter_rows():
        digest.update(repr(row).encode())
    manifest = {
        "kind": "gene_texts",
        "taxon_id": number,
        "release": release,
        "digest": digest.hexdigest(),
        "n_genes": len(genes),
        "n_by_source": dict(sorted(genes["source"].value_counts().iter_rows())),
        "written_by": f"scvec {__version__}",
        **origin,
    }
    check_tag(release)
    table = store.table(f"gene_texts/{number}")
    if release in table.tags():
        there = table.at(release)
        if there.manifest["digest"] == manifest["digest"]:
            return GeneTexts(number, release, there)
        raise ExistsError(
            f"release {release} of {taxon_name(number)} is in the store with other texts",
            "another tag for these texts",
            "give one as `release`",
        )
    rows = genes.to_arrow(compat_level=pl.CompatLevel.oldest())
    # Indexes first: readers of the tag find the whole release.
    table.tag(release, table.index_columns(table.write(rows.to_batches(), rows.schema, manifest), TEXT_INDEXES))
    return open_texts(store, number, release)


def open_texts(store: Store, taxon: str | int, release: str | None = None) -> GeneTexts:
    """Return a release of a taxon's texts; None: the last one imported.

    Raises
    ------
    NotInStoreError
        If the store has no such release.
    """
    number = taxon_id(taxon)
    table = store.table(f"gene_texts/{number}")
    tags = table.tags()
    if not tags or (release is not None and release not in tags):
        raise NotInStoreError(
            f"{store.uri} has no gene texts of {taxon_name(number)}" + (f" tagged {release}" if release else ""),
            f"one of the releases {', '.join(tags)}" if tags else "an imported release",
            "choose one of these"
            if tags
            else f"scvec genes pull --taxon {taxon_name(number)}, or scvec genes import with your own files",
        )
    tag = release or list(tags)[-1]
    return GeneTexts(number, tag, table.at(tag))


def offered_texts(store: Store, taxon: str | int | None, release: str | None = None) -> list[GeneTexts]:
    """Return the texts of `taxon`; None: those of every taxon in the store, which must have one."""
    if taxon is not None:
        return [open_texts(store, taxon, release)]
    return newest_texts(store, release) or [open_texts(store, "human", release)]  # raises the error


def newest_texts(store: Store, release: str | None = None) -> list[GeneTexts]:
    """Return the last release of every taxon's texts; with `release`, that release of the taxa that have it."""
    return [
        open_texts(store, number, release)
        for number, tags in _releases(store).items()
        if release is None or release in tags
    ]


def list_texts(store: Store) -> list[GeneTexts]:
    """Return every release of every taxon, oldest first."""
    return [open_texts(store, number, tag) for number, tags in _releases(store).items() for tag in tags]


def _releases(store: Store) -> dict[int, list[str]]:
    """Return the releases of each taxon that has one, oldest first."""
    numbers = sorted(int(name) for name in store.children("gene_texts") if name.isdigit())
    found = {number: list(store.table(f"gene_texts/{number}").tags()) for number in numbers}
    return {number: tags for number, tags in found.items() if tags}
