"""The Cell Ontology from where it is published, or a mirror, into the store."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from scvec.core.types import Progress, silent
from scvec.ingest.genes.download import POLITE, Fetched, Politeness, fetch, host_of
from scvec.ontology.read import read_ontology
from scvec.ontology.tables import import_ontology
from scvec.ontology.terms import Ontology
from scvec.store import Store

URL = "http://purl.obolibrary.org/obo/cl/cl-basic.obo"
"""Where the Cell Ontology's authors publish it: the edition of its own terms, without those of other ontologies."""


@dataclass(frozen=True, slots=True)
class PulledOntology:
    """An ontology that is in the store now, and what the server said of its file."""

    ontology: Ontology
    fetched: Fetched


def default_folder() -> Path:
    """Return where the file is kept: ``ontology`` in $SCVEC_CACHE, or in the user's cache folder of scvec."""
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
    progress: Progress = silent,
) -> PulledOntology:
    """Fetch the Cell Ontology and import it; a file that is here and has not changed is not fetched again.

    Parameters
    ----------
    store
        Where to.
    url
        The file, in any form that `scvec.ontology.read.read_ontology` knows.
    release
        The release's tag; None: as that function tells it, or else the day the server says the file was changed.
    folder
        Where to keep the file, at ``HOST/path``; None: `default_folder`.
    politeness, progress
        As in `scvec.ingest.genes.download.fetch`.

    Raises
    ------
    InputError
        If `url` is not one of http or https.
    ServiceError
        If the file cannot be had or is no Cell Ontology. One that was here stays as it was.
    FileError
        If nothing tells the release.
    ExistsError
        If the release is in the store with other terms.
    DiskFullError
        If no space was left.
    """
    host = host_of(url)
    target = (folder or default_folder()) / host / urlsplit(url).path.lstrip("/")
    fetched = fetch(url, target, check=_check, politeness=politeness, progress=progress)
    dated = fetched.last_modified.strftime("%Y-%m-%d") if fetched.last_modified else None
    return PulledOntology(import_ontology(store, fetched.path, release, date=dated), fetched)


def _check(path: Path) -> None:
    read_ontology(path, "any")
