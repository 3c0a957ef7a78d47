"""The Cell Ontology in the store: one table, with one tag for each release."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa

from scvec._version import __version__
from scvec.core.files import sha256
from scvec.errors import ExistsError, NotInStoreError
from scvec.ontology.read import read_ontology
from scvec.ontology.terms import Obsolete, Ontology, Term
from scvec.store import ColumnIndex, Snapshot, Store, check_tag

TABLE = "ontology/CL"
COLUMNS = {
    "id": "the term's id, such as CL:0000236",
    "name": "its name; empty for an id that was merged into another",
    "description": "its definition; empty where the ontology has none",
    "synonyms": "its exact synonyms, sorted",
    "parents": "the ids of its direct parents (is_a), sorted",
    "obsolete": "whether the id is out of use",
    "replaced_by": "the id that replaces an obsolete one; empty if there is none",
}
SCHEMA = pa.schema(
    {
        "id": pa.string(),
        "name": pa.string(),
        "description": pa.string(),
        "synonyms": pa.list_(pa.string()),
        "parents": pa.list_(pa.string()),
        "obsolete": pa.bool_(),
        "replaced_by": pa.string(),
    }
)

INDEXES = (
    ColumnIndex("name", "text"),
    ColumnIndex("synonyms", "text"),
    ColumnIndex("description", "text"),
    ColumnIndex("id", "value"),
)
"""The indexes of every release."""


def import_ontology(store: Store, path: str | Path, release: str | None = None, *, date: str | None = None) -> Ontology:
    """Import a Cell Ontology file as one release.

    Importing the same terms again under the same release changes nothing.

    Parameters
    ----------
    store
        The store to import into.
    path, release, date
        As in `scvec.ontology.read.read_ontology`.

    Raises
    ------
    FileError
        If the file is missing, truncated or in another format, or its release cannot be determined.
    ExistsError
        If the store has this release with other terms.
    """
    ontology, file = read_ontology(path, release, date=date), Path(path)
    made_from = {"file": file.name, "bytes": file.stat().st_size, "sha256": sha256(file)}
    return write_ontology(store, ontology, {"origin": "Cell Ontology", "files": [made_from]})


def write_ontology(store: Store, ontology: Ontology, origin: Mapping[str, Any]) -> Ontology:
    """Commit an ontology under its release; `origin` goes into the manifest."""
    check_tag(ontology.release)
    rows = _rows(ontology)
    manifest = {
        "kind": "ontology",
        "ontology": "CL",
        "release": ontology.release,
        "digest": hashlib.sha256(repr([list(row.values()) for row in rows]).encode()).hexdigest(),
        "n_terms": len(ontology.terms),
        "n_obsolete": len(ontology.obsolete),
        "written_by": f"scvec {__version__}",
        **origin,
    }
    table = store.table(TABLE)
    if ontology.release not in table.tags():
        written = table.write(pa.Table.from_pylist(rows, schema=SCHEMA).to_batches(), SCHEMA, manifest)
        table.tag(ontology.release, table.index_columns(written, INDEXES))
    elif table.at(ontology.release).manifest["digest"] != manifest["digest"]:
        raise ExistsError(f"the store already has {ontology}, with other terms", fix="give this one another `release`")
    return open_ontology(store, ontology.release)


def open_ontology(store: Store, release: str | None = None) -> Ontology:
    """Return a release of the Cell Ontology; None: the latest import.

    Raises
    ------
    NotInStoreError
        If the store has no such release.
    """
    tags = store.table(TABLE).tags()
    if not tags:
        raise NotInStoreError(
            f"no Cell Ontology in {store.uri}", fix="run scvec ontology pull or scvec ontology import"
        )
    if release is not None and release not in tags:
        raise NotInStoreError(
            f"no release {release!r} of the Cell Ontology in {store.uri}",
            f"one of: {', '.join(tags)}",
            "choose one of these, or import it",
        )
    tag = release or list(tags)[-1]
    return _ontology(tag, store.table(TABLE).at(tag))


def list_ontologies(store: Store) -> list[dict[str, Any]]:
    """Return the manifest of every release, oldest first."""
    table = store.table(TABLE)
    return [table.at(tag).manifest for tag in table.tags()]


def _rows(ontology: Ontology) -> list[dict[str, Any]]:
    in_use: list[tuple[Any, ...]] = [
        (one.id, one.name, one.description, list(one.synonyms), list(one.parents), False, "")
        for one in ontology.terms.values()
    ]
    retired: list[tuple[Any, ...]] = [
        (one.id, one.name, "", [], [], True, one.replaced_by) for one in ontology.obsolete.values()
    ]
    return [dict(zip(SCHEMA.names, row, strict=True)) for row in sorted(in_use + retired)]


def _ontology(release: str, snapshot: Snapshot) -> Ontology:
    terms, obsolete = {}, {}
    for row in snapshot.read().to_pylist():
        if row["obsolete"]:
            obsolete[row["id"]] = Obsolete(row["id"], row["name"], row["replaced_by"])
        else:
            about = row["description"], tuple(row["synonyms"]), tuple(row["parents"])
            terms[row["id"]] = Term(row["id"], row["name"], *about)
    return Ontology(release, terms, obsolete)
