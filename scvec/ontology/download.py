"""Downloading the Cell Ontology, from its publisher or a mirror, into the store."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from scvec.core.progress import shown
from scvec.core.types import Progress
from scvec.ingest.genes.download import POLITE, Fetched, Politeness, fetch, host_of
from scvec.ontology.read import read_ontology
from scvec.ontology.tables import import_ontology
from scvec.ontology.terms import Ontology
from scvec.store import Store

URL = "http://purl.obolibrary.org/obo/cl/cl-basic.obo"
"""Where the Cell Ontology is published: the edition with its own terms only, without those of other ontologies."""


@dataclass(frozen=True, slots=True)
class PulledOntology:
    """An imported ontology, and what the server reported about its file."""

    ontology: Ontology
    fetched: Fetched


def default_folder() -> Path:
    """Return where downloads are kept: ``ontology`` in $SCVEC_CACHE, or in the user's cache folder for scvec."""
    from platformdirs import user_cache_path

    own = os.environ.get("SCVEC_CACHE")
    return (Path(own) if own else user_cache_path("scvec")) / "ontology"


def pull(
    store: Store,
    *,
    url: str = URL,
    release: str | None = None,
    folder: Path | None = None,
    politeness: Politeness = POLITE,
    progress: Progress | None = None,
) -> PulledOntology:
    """Download the Cell Ontology and import it; an unchanged file is not downloaded again.

    Parameters
    ----------
    store
        The store to import into.
    url
        The file, in any format that `scvec.ontology.read.read_ontology` reads.
    release
        The release's tag; None: the one that `read_ontology` finds, else the day on which the server says the file was
        last modified.
    folder
        Where to keep the file, under ``HOST/path``; None: `default_folder`.
    politeness, progress
        As in `scvec.ingest.genes.download.fetch`.

    Raises
    ------
    InputError
        If `url` is not an http or https URL.
    ServiceError
        If the file cannot be downloaded or is not the Cell Ontology. An earlier download stays as it was.
    FileError
        If the release cannot be determined.
    ExistsError
        If the release is in the store with other terms.
    DiskFullError
        If the disk is full.
    """
    progress = shown(progress)
    host = host_of(url)
    target = (folder or default_folder()) / host / urlsplit(url).path.lstrip("/")
    fetched = fetch(url, target, check=_check, politeness=politeness, progress=progress)
    dated = fetched.last_modified.strftime("%Y-%m-%d") if fetched.last_modified else None
    return PulledOntology(import_ontology(store, fetched.path, release, date=dated), fetched)


def _check(path: Path) -> None:
    read_ontology(path, "any")
