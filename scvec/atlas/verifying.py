"""Verifying that all files of an atlas are unchanged and consistent, and repairing those that are derived."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from scvec import index as indexes
from scvec.atlas.engine import Compute
from scvec.atlas.fitted import faulty_files
from scvec.atlas.indexing import faulty_part, index_folder, make_part, new_index
from scvec.atlas.label_table import ENTRY, without_labels
from scvec.atlas.maintenance import new_version, rebuild
from scvec.atlas.paths import atlas_folder, labels_path
from scvec.atlas.publishing import publish
from scvec.atlas.reference import Atlas
from scvec.core.arrow import vectors_from_arrow
from scvec.core.files import sha256
from scvec.core.progress import shown
from scvec.core.text import counted
from scvec.core.types import Ints, Progress
from scvec.errors import StoreError
from scvec.index import IndexSpec
from scvec.store import Store


@dataclass(frozen=True, slots=True)
class Fault:
    """Something in an atlas that is missing, changed or inconsistent.

    Attributes
    ----------
    what
        The file or table, and what is wrong with it.
    fix
        How to fix it.
    derived
        Whether it can be made again from the table.
    part
        The name of the faulty part of the index; ``"label_table"`` for the table of labels; "" for the whole index, or
        for anything else.
    """

    what: str
    fix: str
    derived: bool = False
    part: str = ""


def verify(atlas: Atlas, progress: Progress | None = None) -> list[Fault]:
    """Read all of an atlas and return its faults: an empty list if it is intact.

    Row ids and numbers of cells are compared with the manifest, files with their hashes, and the rows and vectors of
    the index with those of the table.
    """
    progress = shown(progress)
    faults = [
        Fault(f"{path} is missing or has changed", _restore(atlas))
        for path in faulty_files(atlas.store, atlas.manifest["fitted"])
    ]
    made = atlas.manifest["index"]
    if "trained" in made:
        path = f"{made['folder']}/{made['trained']}"
        if not _is(atlas, path, made["trained_sha256"]):
            faults.append(Fault(f"{path} is missing or has changed", _repair(atlas), derived=True))
    try:
        found = list(_against_table(atlas, progress))
    except (StoreError, OSError) as error:
        found = [Fault(f"the table {atlas.cells.path}: {str(error)[:200]}", _restore(atlas))]
    return faults + found + list(_of_labels(atlas))


def repair(atlas: Atlas, faults: list[Fault], *, device: str = "cpu", progress: Progress | None = None) -> Atlas:
    """Make what is faulty again from the table, be it parts of the index or all of it, and return the new version.

    Raises
    ------
    StoreError
        If something is faulty that cannot be made from the table.
    """
    progress = shown(progress)
    lasting = [fault for fault in faults if not fault.derived]
    if lasting:
        raise StoreError(lasting[0].what, fix=lasting[0].fix)
    if not faults:
        return atlas
    store, made = atlas.store, atlas.manifest["index"]
    if indexes.is_lance(made["factory"]):
        # Its index is in the table, so that there is a new version.
        return rebuild(atlas, device=device, progress=progress)
    with store.only_writer(f"{atlas_folder(atlas.name)}/writer"):
        version = new_version(atlas)
        index, of_index = made, [fault for fault in faults if fault.part != ENTRY]
        if any(not fault.part for fault in of_index):
            spec = IndexSpec(**made["spec"])
            folder = index_folder(store, atlas.name, version, spec)
            index = new_index(store, folder, atlas.cells, atlas.filled, spec, Compute(device, progress=progress))
        elif of_index:
            repaired = [_repaired(atlas, part, version, faults, progress) for part in made["parts"]]
            index = {**made, "parts": [part for part in repaired if part is not None]}
            index["rows"] = sum(part["rows"] for part in index["parts"])
        whole = atlas.manifest
        if len(of_index) < len(faults):
            whole = without_labels(whole)
            _make_room(store, labels_path(atlas.name))
        manifest = {**whole, "index": index}
        change = f"repair: {counted(len(faults), 'fault')}"
        published = publish(store, atlas.table, version, atlas.cells.version, manifest, change)
    return replace(published, device=atlas.device, search_engine=atlas.search_engine)


def _make_room(store: Store, path: str) -> None:
    """Remove a table of labels that is too damaged to take another version."""
    try:
        if store.table(path).tags():
            store.table(path).latest()
    except StoreError:
        store.remove(f"{path}.lance")


def _repaired(
    atlas: Atlas, part: dict[str, Any], version: int, faults: list[Fault], progress: Progress
) -> dict[str, Any] | None:
    """Return a part, made again if it is faulty from the cells that the table still has; None if there are none.

    It has a name of its own: older versions, which readers may have open, keep theirs.
    """
    if part["name"] not in {fault.part for fault in faults}:
        return part
    rows = atlas.filled[(atlas.filled >= part["first_row"]) & (atlas.filled <= part["last_row"])]
    if not len(rows):
        return None
    with progress("indexing", len(rows)) as advance:
        name = f"{part['name'].partition('.r')[0]}.r{version}"
        repaired = make_part(atlas.store, atlas.manifest["index"], name, atlas.cells, rows)
        advance(len(rows))
    return repaired


def _against_table(atlas: Atlas, progress: Progress) -> Iterator[Fault]:
    rows = atlas.rows
    if len(rows) != atlas.manifest["n_cells"] or (np.diff(rows) <= 0).any():
        yield Fault(f"the table {atlas.cells.path} has other rows than its manifest says", _restore(atlas))
        return
    made, held = atlas.manifest["index"], []
    if indexes.is_lance(made["factory"]):
        yield from _of_lance(atlas)
        return
    with progress("verifying", sum(part["rows"] for part in made["parts"])) as advance:
        for part in made["parts"]:
            folder = f"{made['folder']}/{part['name']}"
            faulty = faulty_part(atlas.store, folder, part, whole=True)
            advance(part["rows"])
            if faulty:
                own = atlas.filled[(atlas.filled >= part["first_row"]) & (atlas.filled <= part["last_row"])]
                held.append(own)
                yield Fault(f"{', '.join(faulty)}: missing or changed", _repair(atlas), True, part["name"])
                continue
            stored = indexes.open_parts("exact", [atlas.store.local_folder(folder)], {})
            held.append(stored.rows)
            wrong = _other_vectors(atlas, stored, part)
            if wrong:
                # The part has its original hash, so it is the table that has changed.
                yield Fault(
                    f"the table {atlas.cells.path} has other vectors than the index for {wrong:,} cells",
                    _restore(atlas),
                )
    if not np.isin(atlas.filled, np.concatenate(held)).all():
        yield Fault(f"the index {made['folder']} lacks cells of the table", _repair(atlas), derived=True)


def _of_lance(atlas: Atlas) -> Iterator[Fault]:
    """Yield what is wrong with a Lance index; a search in all of its lists reads all of its files."""
    try:
        there = atlas.cells.has_index
        atlas.cells.nearest(atlas.vectors(atlas.filled[:1]), 1, nprobes=atlas.manifest["index"]["lists"])
    except (StoreError, OSError) as error:
        yield Fault(f"Lance's index of {atlas.cells.path}: {str(error)[:200]}", _repair(atlas), derived=True)
        return
    if not there:
        yield Fault(f"the table {atlas.cells.path} lacks its index", _repair(atlas), derived=True)


def _of_labels(atlas: Atlas) -> Iterator[Fault]:
    """Yield what is wrong with the table of labels: it cannot be read, or is not that of the cells."""
    try:
        labels = atlas.label_table
        if labels is None:
            return
        atlas.store.table(labels.path).tags()  # which the next change moves
        rows = labels.read()
        labels.matching("cell", "text", ["label"])
    except (StoreError, OSError, ValueError) as error:
        yield Fault(f"the table of labels: {str(error)[:200]}", _repair(atlas), True, ENTRY)
        return
    counts = dict(zip(*np.unique(atlas.labels.astype(str), return_counts=True), strict=True))
    if dict(zip(rows["label"].to_pylist(), rows["n_cells"].to_pylist(), strict=True)) != counts:
        yield Fault("the table of labels has other labels than the cells", _repair(atlas), True, ENTRY)


def _other_vectors(atlas: Atlas, stored: indexes.Index, part: Mapping[str, Any]) -> int:
    """Return the number of cells in a part whose vector differs from that in the table."""
    wrong = 0
    condition = f"row >= {part['first_row']} AND row <= {part['last_row']} AND NOT empty"
    for block in atlas.cells.batches(["row", "vector"], condition):
        own: Ints = np.asarray(block["row"], np.int64)
        wrong += int((stored.vectors(own) != vectors_from_arrow(block["vector"])).any(axis=1).sum())
    return wrong


def _is(atlas: Atlas, path: str, digest: str) -> bool:
    if not atlas.store.has_file(path):
        return False
    with atlas.store.local_file(path) as local:
        return sha256(local) == digest


def _repair(atlas: Atlas) -> str:
    return f"scvec atlas verify {atlas.name} --repair"


def _restore(atlas: Atlas) -> str:
    return f"restore it from a copy, or build again: scvec atlas build {atlas.name} REF.h5ad --overwrite"
