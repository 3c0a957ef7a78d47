"""Maintaining an atlas: removing cells, rebuilding its index, compacting its files, restoring an old version."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from scvec.atlas.engine import Compute
from scvec.atlas.fitted import load_fitted, save_fitted
from scvec.atlas.indexing import add_parts, filled_rows, index_folder, new_index, tuned, with_table_index
from scvec.atlas.label_table import without_labels
from scvec.atlas.opening import open_atlas, versions
from scvec.atlas.panel import panels_folder
from scvec.atlas.paths import CURRENT, atlas_folder, labels_path, version_folder
from scvec.atlas.publishing import publish
from scvec.atlas.reference import Atlas
from scvec.core.progress import shown
from scvec.core.types import Progress
from scvec.errors import InputError, StoreError
from scvec.index import IndexSpec, is_lance
from scvec.store import Store


def remove(atlas: Atlas, where: str, *, progress: Progress | None = None) -> Atlas:
    """Remove the cells that meet a condition, in one commit, and return the atlas without them.

    They are no longer found; their bytes are freed when the atlas is compacted. The row ids of other cells and what was
    fitted on the reference stay as they are.

    Parameters
    ----------
    atlas
        At its current version.
    where
        An SQL condition on the columns of `Atlas.obs`: ``"dataset = 'old'"``.
    progress
        Shows the steps.

    Raises
    ------
    InputError
        If the condition is invalid, or meets no cell, or all cells.
    """
    progress = shown(progress)
    gone = atlas.where(where)  # once: the rows that are counted are those that are deleted
    left = np.setdiff1d(atlas.filled, gone, assume_unique=True)
    if not len(gone) or not len(left):
        raise InputError(
            f"`where` {where!r} holds for {len(gone):,} of the {len(atlas.cells):,} cells of atlas {atlas.name!r}",
            "a condition that removes some cells and leaves some with expression",
        )
    with atlas.store.only_writer(f"{atlas_folder(atlas.name)}/writer"), progress("removing", 1) as advance:
        version = atlas.table.delete(atlas.at_head(), "row", gone)
        change = f"remove {len(gone):,} cells: {where}"
        manifest = without_labels(atlas.manifest)
        removed = publish(atlas.store, atlas.table, version, atlas.cells.version, manifest, change)
        advance(1)
    return removed


def rebuild(
    atlas: Atlas, spec: IndexSpec | None = None, *, device: str = "cpu", progress: Progress | None = None
) -> Atlas:
    """Rebuild the index from the cells' vectors: choose it for their number, train and tune it; nothing else changes.

    Useful to change the kind of index, and after extensions, whose parts use an index that was trained on other cells.

    Parameters
    ----------
    atlas
        At its current version.
    spec
        The index; None: the spec with which the atlas was built.
    device, progress
        As in `build`.

    Raises
    ------
    InputError
        If the index cannot be made of these cells.
    """
    progress = shown(progress)
    spec = IndexSpec(**atlas.manifest["index"]["spec"]) if spec is None else spec
    with atlas.store.only_writer(f"{atlas_folder(atlas.name)}/writer"):
        version = new_version(atlas)
        folder = index_folder(atlas.store, atlas.name, version, spec)
        cells = with_table_index(atlas.table, atlas.table.at(version), atlas.filled, spec, progress)
        made = new_index(atlas.store, folder, cells, atlas.filled, spec, Compute(device, progress=progress))
        return _republished(atlas, cells.version, made, f"rebuild the index: {made['factory']}")


def compact(atlas: Atlas, *, forget: bool = False, device: str = "cpu", progress: Progress | None = None) -> Atlas:
    """Rewrite the table as few files, the index as few parts, and the cells that it keeps, without removed cells.

    Parameters
    ----------
    atlas
        At its current version.
    forget
        Remove what only older versions need; they can no longer be opened.
    device, progress
        As in `build`.
    """
    progress = shown(progress)
    store, table, compute = atlas.store, atlas.table, Compute(device, progress=progress)
    with store.only_writer(f"{atlas_folder(atlas.name)}/writer"):
        version = table.compact(new_version(atlas))
        cells, made = table.at(version), atlas.manifest["index"]
        spec = IndexSpec(**made["spec"])
        rows = filled_rows(cells, atlas.name)
        cells = with_table_index(table, cells, rows, spec, progress)
        if is_lance(spec.factory):
            made = new_index(store, made["folder"], cells, rows, spec, compute)
        else:
            made = {**made, "parts": add_parts(store, made, cells, rows, spec, f"c{version}", compute)}
            made |= tuned(store, made, cells, rows, spec, compute)
        fitted = _without_removed(atlas, version)
        compacted = _republished(atlas, cells.version, made, "compact", fitted)
        if forget:
            _forget(compacted)
    return compacted


def checkout(store: Store, name: str, version: int) -> Atlas:
    """Make an old version the current one again, in one commit, and return it; later versions are kept.

    Raises
    ------
    NotInStoreError
        If the atlas has no such version.
    """
    old = open_atlas(store, name, version)
    with store.only_writer(f"{atlas_folder(name)}/writer"):
        current = old.table.tags()[CURRENT]  # which may be damaged: an old version may be the way to repair it
        restored = old.table.restore(version)
        return publish(store, old.table, restored, current, _labelled(old), f"check out version {version}")


def _labelled(atlas: Atlas) -> dict[str, Any]:
    """Return an atlas's manifest, without its table of labels if that is lost: it is then made again."""
    try:
        _ = atlas.label_table
    except StoreError:
        return without_labels(atlas.manifest)
    return atlas.manifest


def new_version(atlas: Atlas) -> int:
    """Commit a version of the table with the same rows as an atlas, its newest, and return its number.

    A change of the index alone is a new version too: the manifest of one that was published is never written again.

    Raises
    ------
    ConflictError
        If it is not the current version.
    """
    return atlas.table.restore(atlas.at_head())


def _without_removed(atlas: Atlas, version: int) -> dict[str, Any]:
    """Return the entry of what was fitted, whose kept cells are the sample's that are still in the atlas.

    Where some are not, all is written anew, with the others alone: nothing else that was fitted changes.
    """
    made: dict[str, Any] = atlas.manifest["fitted"]
    sample = atlas.kept_sample
    left = None if sample is None or sample.rows is None else np.flatnonzero(np.isin(sample.rows, atlas.rows))
    if sample is None or left is None or len(left) == len(sample):
        return made
    fitted = load_fitted(atlas.store, made, atlas.recipe, atlas.manifest["training"], atlas.manifest["labels"])
    fitted = replace(fitted, sample=sample.at(left) if len(left) else None)
    return save_fitted(atlas.store, f"{atlas_folder(atlas.name)}/fitted/v{version}", fitted)


def _republished(
    atlas: Atlas, version: int, index: dict[str, object], change: str, fitted: dict[str, Any] | None = None
) -> Atlas:
    manifest = {**atlas.manifest, "index": index, "fitted": fitted or atlas.manifest["fitted"]}
    return publish(atlas.store, atlas.table, version, atlas.cells.version, manifest, change)


def _forget(atlas: Atlas) -> None:
    """Remove everything that the current version does not need."""
    store, folder = atlas.store, atlas_folder(atlas.name)
    for one in versions(store, atlas.name):
        if one != atlas.cells.version:
            store.remove(version_folder(atlas.name, one))
    atlas.table.forget()
    store.table(labels_path(atlas.name)).forget()
    made = atlas.manifest["index"]
    _remove_others(store, f"{folder}/fitted", {atlas.manifest["fitted"]["folder"]})
    _remove_others(store, f"{folder}/panels", {panels_folder(atlas)})
    _remove_others(store, f"{folder}/index", {made["folder"]})
    _remove_others(store, made["folder"], {f"{made['folder']}/{part['name']}" for part in made["parts"]})


def _remove_others(store: Store, folder: str, kept: set[str]) -> None:
    for name in store.children(folder):
        if f"{folder}/{name}" not in kept:
            store.remove(f"{folder}/{name}")
