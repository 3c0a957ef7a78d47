"""Reading the manifest of a version of an atlas: all that the code relies on is there, and it names only its own files.

A store may come from elsewhere. What its files name is checked here, once, so that nothing outside of an atlas's folder
is read, replaced or removed for it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from scvec.atlas.paths import atlas_folder, version_folder
from scvec.core.shapes import Each, Maybe, fault
from scvec.errors import StoreError
from scvec.store import Store, is_name

PART = "part.json"
"""The entry of a part in the manifest, as a file in the part's folder: the last file to be written."""

OF_PART = {
    "name": str,
    "rows": int,
    "bytes": int,
    "first_row": int,
    "last_row": int,
    "files": Each({"bytes": int, "sha256": str}),
}
"""The entry of a part of an index."""

INDEX = {
    "factory": str,
    "folder": str,
    "spec": {"factory": str},
    "parts": (OF_PART,),
    "rows": int,
    "notes": (str,),
    "search": Each(int),
    "lists": Maybe(int),
    "trained": Maybe(str),
    "trained_sha256": Maybe(str),
}

FITTED = {"folder": str, "hashes": Each(str)}

MANIFEST = {
    "name": str,
    "version": int,
    "n_cells": int,
    "n_labels": int,
    "n_empty": int,
    "next_row": int,
    "dimension": int,
    "taxon_id": int,
    "gene_texts_digest": str,
    "labels": (str,),
    "label_notes": (str,),
    "recipe": Each(object),
    "keys": {"label": str, "batch": Maybe(str), "label_id": Maybe(str), "obs": (str,)},
    "sources": ({"dataset": str, "n_cells": int, "coverage": {"share": float}},),
    "coverage": {"share": float},
    "history": ({"version": int, "change": str, "n_cells": int},),
    "training": Maybe(Each(object)),
    "fitted": FITTED,
    "index": INDEX,
    "label_table": Maybe({"version": int, "ontology": Maybe(str), "n_labels": int}),
}
"""What a manifest has at least."""


def read_manifest(store: Store, name: str, version: int) -> dict[str, Any]:
    """Return the manifest of a version of an atlas.

    Raises
    ------
    StoreError
        If it is missing or incomplete, has values of other types, or names files outside of its atlas.
    """
    path = f"{version_folder(name, version)}/manifest.json"
    values = store.read_json(path)
    found = fault(values, MANIFEST) or _astray(name, values)
    if found:
        raise _damaged(f"{store.uri}/{path}", found, name)
    return values


def index_named(store: Store, path: str) -> str:
    """Return the folder of the index that a manifest names, whatever else is in it: "" if it names none."""
    index = store.read_json(path).get("index")
    return str(index.get("folder", "")) if isinstance(index, dict) else ""


def read_part(store: Store, folder: str) -> dict[str, Any]:
    """Return the entry of a part, as its own file has it; raise `StoreError` if it is not that of this part."""
    values = store.read_json(f"{folder}/{PART}")
    found = fault(values, OF_PART) or _not_names(values["files"])
    if found or values["name"] != folder.rpartition("/")[2]:
        raise StoreError(
            f"{store.uri}/{folder}/{PART}: {found or 'it is the entry of another part'}",
            "the entry that scvec wrote",
            f"remove the folder {store.uri}/{folder}, and run again",
        )
    return values


def check_fitted(name: str, values: Mapping[str, Any], where: str) -> None:
    """Raise `StoreError` if a job's note of its fitted files, at `where`, names files outside of its atlas."""
    found = fault(values, FITTED) or _fitted_astray(name, values)
    if found:
        raise StoreError(f"{where}: {found}", "a note that scvec wrote", f"remove {where}, and run again")


def _astray(name: str, values: Mapping[str, Any]) -> str:
    """Return what in a manifest names files that are not its atlas's own; "" for nothing."""
    if values["name"] != name:
        return f"it is the manifest of atlas {values['name']!r:.120}"
    index = values["index"]
    names = [name for part in index["parts"] for name in (part["name"], *part["files"])]
    trained = [] if index.get("trained") is None else [index["trained"]]
    return (
        _fitted_astray(name, values["fitted"])
        or _outside(index["folder"], f"{atlas_folder(name)}/index")
        or _not_names([*names, *trained])
    )


def _fitted_astray(name: str, made: Mapping[str, Any]) -> str:
    return _outside(made["folder"], f"{atlas_folder(name)}/fitted") or _not_names(made["hashes"])


def _outside(folder: str, parent: str) -> str:
    above, _, last = folder.rpartition("/")
    return "" if above == parent and is_name(last) else f"its folder {folder!r:.120} does not lie in {parent}"


def _not_names(names: Iterable[str]) -> str:
    wrong = next((one for one in names if not is_name(one)), None)
    return "" if wrong is None else f"{wrong!r:.120} is not the name of a file"


def _damaged(path: str, found: str, name: str) -> StoreError:
    return StoreError(
        f"{path}: {found}",
        "a manifest that scvec wrote for this atlas",
        f"restore it from a copy, or build it again: scvec atlas build {name} REF.h5ad --overwrite",
    )
