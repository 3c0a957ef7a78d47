"""NCBI's gene files of one taxon, from NCBI or a mirror, kept up to date in a folder."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from scvec.core.progress import shown
from scvec.core.types import Progress
from scvec.errors import ServiceError
from scvec.ingest.genes.download import POLITE, Fetched, Politeness, check_gzip, fetch, host_of

BASE_URL = "https://ftp.ncbi.nlm.nih.gov/gene/DATA"
"""NCBI's folder of gene files."""

GENE_INFO = MappingProxyType(
    {
        9606: "GENE_INFO/Mammalia/Homo_sapiens.gene_info.gz",
        10090: "GENE_INFO/Mammalia/Mus_musculus.gene_info.gz",
        10116: "GENE_INFO/Mammalia/Rattus_norvegicus.gene_info.gz",
    }
)
"""The path of ``gene_info`` for taxa with a file of their own at NCBI."""

ALL_TAXA_INFO = "gene_info.gz"
"""The ``gene_info`` of every taxon, more than a gigabyte."""

SUMMARY = "gene_summary.gz"
ORTHOLOGS = "gene_orthologs.gz"


@dataclass(frozen=True, slots=True)
class Pulled:
    """NCBI's files for one taxon.

    Attributes
    ----------
    gene_info, gene_summary, gene_orthologs
        Paths of the files.
    release
        The date of the newest file, ``YYYY-MM-DD`` in UTC, or the name that the caller gave.
    changed
        Whether a file differs from the one that was here.
    fetched
        The server's answer for each file, in this order.
    """

    gene_info: Path
    gene_summary: Path
    gene_orthologs: Path
    release: str
    changed: bool
    fetched: tuple[Fetched, ...]


def default_folder() -> Path:
    """Return the folder of NCBI's files: ``ncbi`` in $SCVEC_CACHE, or in scvec's folder of the user's cache."""
    from platformdirs import user_cache_path

    own = os.environ.get("SCVEC_CACHE")
    return (Path(own) if own else user_cache_path("scvec")) / "ncbi"


def files_of(taxon_id: int) -> tuple[str, str, str]:
    """Return the paths of a taxon's gene_info, gene_summary and gene_orthologs under the base URL."""
    return GENE_INFO.get(taxon_id, ALL_TAXA_INFO), SUMMARY, ORTHOLOGS


def pull(
    taxon_id: int,
    folder: Path,
    *,
    base_url: str = BASE_URL,
    release: str | None = None,
    politeness: Politeness = POLITE,
    progress: Progress | None = None,
) -> Pulled:
    """Download NCBI's files for one taxon into a folder; files that have not changed are not downloaded again.

    Parameters
    ----------
    taxon_id
        NCBI's number of the taxon.
    folder
        Where to keep the files, under ``HOST/path``, so that mirrors do not mix.
    base_url
        NCBI's ``gene/DATA``, or a mirror of it.
    release
        The release's name; None: the date of the newest file.
    politeness, progress
        As for `scvec.ingest.genes.download.fetch`.

    Raises
    ------
    InputError
        If `base_url` is not an http or https URL.
    ServiceError
        If a file cannot be downloaded or is not a gzipped NCBI table, or if no date is known for the release. Older
        files are kept.
    DiskFullError
        If no space was left.
    """
    progress = shown(progress)
    base, home = base_url.rstrip("/"), folder / host_of(base_url)
    fetched = tuple(
        fetch(f"{base}/{one}", home / one, check=check_gzip, politeness=politeness, progress=progress)
        for one in files_of(taxon_id)
    )
    info, summary, orthologs = (one.path for one in fetched)
    changed = any(one.changed for one in fetched)
    return Pulled(info, summary, orthologs, release or _newest(fetched, base), changed, fetched)


def _newest(fetched: tuple[Fetched, ...], base: str) -> str:
    dates = [one.last_modified for one in fetched if one.last_modified is not None]
    if not dates:
        seen = f"{base} does not say when its files were last modified"
        raise ServiceError(seen, "a date to name the release by", "give a name as `release`")
    return max(dates).strftime("%Y-%m-%d")
