"""Listing the atlases of a store, and opening one."""

from __future__ import annotations

import re
from pathlib import Path

from scvec.atlas.manifests import read_manifest
from scvec.atlas.paths import CURRENT, atlas_folder, cells_path, check_name
from scvec.atlas.reference import Atlas
from scvec.errors import MismatchError, NotInStoreError
from scvec.index.engines import SearchEngine, check
from scvec.store import Store, as_store


def open_atlas(
    store: Store | str | Path,
    name: str,
    version: int | None = None,
    device: str = "cpu",
    search_engine: SearchEngine = "auto",
) -> Atlas:
    """Return an atlas at its current version, or at an older one; `scvec.atlas.open` is this function.

    Parameters
    ----------
    store, name
        The store, or its folder or URI, and the name of the atlas.
    version
        An older version; None: the current one.
    device
        Where it is searched: ``"cpu"``, ``"cuda"``, or one of several GPUs, such as ``"cuda:1"``.
    search_engine
        What searches it: ``"auto"``, by the rule of `scvec.index.engines.rule`; ``"cpu"``; or an engine of the GPU's:
        ``"torch"``, ``"faiss-gpu"``, ``"faiss-cagra"``, ``"cuvs-brute-force"``, ``"cuvs-cagra"``.

    Raises
    ------
    NotInStoreError
        If there is no such atlas, or it has no such version.
    MismatchError
        If its files do not belong to that version.
    InputError
        If there is no such engine. One that cannot search its index is refused at the first search.
    """
    check_name(name)
    check(search_engine)
    store = as_store(store)
    table = store.table(cells_path(name))
    if CURRENT not in table.tags():
        there = ", ".join(list_atlases(store))
        raise NotInStoreError(
            f"no atlas {name!r} in {store.uri}" + ("" if there else " (the store has none)"),
            f"one of: {there}" if there else "",
            f"scvec atlas build {name} REF.h5ad --label-key KEY",
        )
    if version is not None and version not in versions(store, name):
        raise NotInStoreError(
            f"atlas {name!r} has no version {version}",
            f"one of: {', '.join(map(str, versions(store, name)))}",
            f"scvec atlas info {name}",
        )
    cells = table.at(CURRENT if version is None else version)
    if "layout" not in cells.manifest:
        raise MismatchError(
            f"atlas {name!r} was built by {cells.manifest.get('written_by', 'another scvec')}, as a single file, which "
            "this version cannot read",
            fix=f"build it again: scvec atlas build {name} REF.h5ad --overwrite",
        )
    manifest = read_manifest(store, name, cells.version)
    atlas = Atlas(name, store, cells, manifest, device, search_engine)
    of_table = cells.manifest
    differing = [key for key in of_table if manifest.get(key) != of_table[key]]
    if manifest.get("version") != cells.version or manifest.get("n_cells") != len(cells) or differing:
        raise MismatchError(
            f"the manifest of atlas {name!r} does not belong to version {cells.version} of its cells",
            fix=atlas._rebuild(),
        )
    return atlas


def versions(store: Store, name: str) -> list[int]:
    """Return the versions of an atlas that can be opened, ascending."""
    kept = set(store.table(cells_path(name)).versions())
    found = [int(one[1:]) for one in store.children(atlas_folder(name)) if re.fullmatch(r"v\d+", one)]
    return sorted(kept & set(found))


def list_atlases(store: Store) -> list[str]:
    """Return the names of the atlases whose build is complete, sorted."""
    return [name for name in store.children("atlases") if CURRENT in store.table(cells_path(name)).tags()]
