"""What is done to an atlas that is there: cells removed, its index made anew, its files tidied, an old version back."""

from __future__ import annotations

import numpy as np

from scvec.atlas.engine import Local
from scvec.atlas.indexing import add_parts, filled_rows, index_folder, new_index, tuned, with_table_index
from scvec.atlas.opening import open_atlas, versions
from scvec.atlas.paths import CURRENT, atlas_folder, version_folder
from scvec.atlas.publishing import publish
from scvec.atlas.reference import Atlas
from scvec.core.types import Progress, silent
from scvec.errors import InputError
from scvec.index import IndexSpec, is_lance
from scvec.store import Store


def remove(atlas: Atlas, where: str, *, progress: Progress = silent) -> Atlas:
    """Remove the cells for which a condition holds, in one commit, and return the atlas without them.

    They are not found from then on; their bytes go when the atlas is compacted. Row ids of the others stay. What was
    fitted on them stays too.

    Parameters
    ----------
    atlas
        At its current version.
    where
        A condition in SQL on the columns of `Atlas.obs`: ``"dataset = 'old'"``.
    progress
        Shows the steps.

    Raises
    ------
    InputError
        If it is no such condition, or holds for no cell, or for all.
    """
    gone = atlas.where(where)
    left = np.setdiff1d(atlas.filled, gone, assume_unique=True)
    if not len(gone) or not len(left):
        raise InputError(
            f"{where!r} holds for {len(gone):,} of the {len(atlas.cells):,} cells of atlas {atlas.name!r}",
            "some cells, and some left that are not empty",
            "give another condition",
        )
    with atlas.store.only_writer(f"{atlas_folder(atlas.name)}/writer"), progress("removing", 1) as advance:
        version = atlas.table.delete(atlas.at_head(), where)
        change = f"remove {len(gone):,} cells: {where}"
        removed = publish(atlas.store, atlas.table, version, atlas.cells.version, atlas.manifest, change)
        advance(1)
    return removed


def rebuild(atlas: Atlas, spec: IndexSpec | None = None, *, device: str = "cpu", progress: Progress = silent) -> Atlas:
    """Make the index anew from the cells' vectors: chosen for their number, trained, tuned; nothing else changes.

    After extensions, whose parts are searched by an index trained on other cells, and to change its kind.

    Parameters
    ----------
    atlas
        At its current version.
    spec
        How it is to be searched; None: as it was asked for when it was built.
    device, progress
        As in `build`.

    Raises
    ------
    InputError
        If the index cannot be made of these cells.
    """
    spec = IndexSpec(**atlas.manifest["index"]["spec"]) if spec is None else spec
    with atlas.store.only_writer(f"{atlas_folder(atlas.name)}/writer"):
        version = atlas.at_head()
        folder = index_folder(atlas.store, atlas.name, version, spec)
        cells = with_table_index(atlas.table, atlas.table.at(version), atlas.filled, spec, progress)
        made = new_index(atlas.store, folder, cells, atlas.filled, spec, device, Local(), progress)
        return _republished(atlas, cells.version, made, f"rebuild the index: {made['factory']}")


def compact(atlas: Atlas, *, forget: bool = False, device: str = "cpu", progress: Progress = silent) -> Atlas:
    """Write the table into few files and the index into as few parts as its size asks for, without removed cells.

    Parameters
    ----------
    atlas
        At its current version.
    forget
        Remove what only older versions need; they cannot be opened any more.
    device, progress
        As in `build`.
    """
    store, table = atlas.store, atlas.table
    with store.only_writer(f"{atlas_folder(atlas.name)}/writer"):
        version = table.compact(atlas.at_head())
        cells, made = table.at(version), atlas.manifest["index"]
        spec = IndexSpec(**made["spec"])
        rows = filled_rows(cells, atlas.name)
        cells = with_table_index(table, cells, rows, spec, progress)
        if is_lance(spec.factory):
            made = new_index(store, made["folder"], cells, rows, spec, device, Local(), progress)
        else:
            made = {**made, "parts": add_parts(store, made, cells, rows, spec, f"c{version}", Local(), progress)}
            made |= tuned(store, made, cells, rows, spec, device, progress)
        compacted = _republished(atlas, cells.version, made, "compact")
        if forget:
            _forget(compacted)
    return compacted


def checkout(store: Store, name: str, version: int) -> Atlas:
    """Make an old version the current one again, in one commit, and return it; the versions since then stay.

    Raises
    ------
    NotInStoreError
        If the atlas has no such version.
    """
    old = open_atlas(store, name, version)
    with store.only_writer(f"{atlas_folder(name)}/writer"):
        current = old.table.tags()[CURRENT]  # which need not be whole: an old version may be the way back
        restored = old.table.restore(version)
        return publish(store, old.table, restored, current, old.manifest, f"check out version {version}")


def _republished(atlas: Atlas, version: int, index: dict[str, object], change: str) -> Atlas:
    manifest = {**atlas.manifest, "index": index}
    return publish(atlas.store, atlas.table, version, atlas.cells.version, manifest, change)


def _forget(atlas: Atlas) -> None:
    """Remove all that the current version does not need."""
    store, folder = atlas.store, atlas_folder(atlas.name)
    for one in versions(store, atlas.name):
        if one != atlas.cells.version:
            store.remove(version_folder(atlas.name, one))
    atlas.table.forget()
    made = atlas.manifest["index"]
    _remove_others(store, f"{folder}/fitted", {atlas.manifest["fitted"]["folder"]})
    _remove_others(store, f"{folder}/index", {made["folder"]})
    _remove_others(store, made["folder"], {f"{made['folder']}/{part['name']}" for part in made["parts"]})


def _remove_others(store: Store, folder: str, kept: set[str]) -> None:
    for name in store.children(folder):
        if f"{folder}/{name}" not in kept:
            store.remove(f"{folder}/{name}")
