"""The last step of every change to an atlas: writing its manifest, and moving the tag that readers follow."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from scvec.atlas.label_table import ENTRY, write_labels
from scvec.atlas.opening import open_atlas
from scvec.atlas.paths import CURRENT, labels_path, version_folder
from scvec.atlas.reference import Atlas
from scvec.core.arrow import coded
from scvec.errors import ConflictError
from scvec.store import Snapshot, Store, Table


def publish(
    store: Store, table: Table, version: int, base: int | None, manifest: Mapping[str, Any], change: str
) -> Atlas:
    """Make a version of an atlas's table the current one, with its manifest.

    Parameters
    ----------
    store, table
        The store, and the atlas's table in it.
    version
        The version of the table.
    base
        The version that was current when the change began; None: there was none.
    manifest
        The manifest of the version, without the counts from its table. Without the entry of a table of labels, that is
        written: whoever changes the cells leaves the entry out.
    change
        Description of the change, for the history.

    Raises
    ------
    ConflictError
        If another process published a version in the meantime.
    """
    name = manifest["name"]
    cells = table.at(version)
    history = [*manifest.get("history", ()), {"version": version, "change": change, "n_cells": len(cells)}]
    if ENTRY not in manifest:
        manifest = {**manifest, ENTRY: write_labels(store, cells, manifest)}
    coverage = min((source["coverage"] for source in manifest["sources"]), key=lambda one: float(one["share"]))
    whole = {**manifest, "version": version, **tallied(cells), "coverage": coverage, "history": history}
    current = table.tags().get(CURRENT)
    if current != base:
        raise ConflictError(
            f"another process has changed atlas {name!r}: it is at version {current}",
            f"version {base}, from which this change started",
            "run the command again",
        )
    store.write_json(f"{version_folder(name, version)}/manifest.json", whole)
    # For readers that know no manifests; scvec's own take the version that the manifest names.
    store.table(labels_path(name)).tag(CURRENT, whole[ENTRY]["version"])
    table.tag(CURRENT, version)
    return open_atlas(store, name)


def tallied(cells: Snapshot) -> dict[str, int]:
    """Return the number of cells, labels and empty cells in a version of the table."""
    table = cells.read(["label", "empty"])
    n_empty = int(np.count_nonzero(np.asarray(table["empty"])))
    return {"n_cells": len(cells), "n_labels": len(coded(table["label"])[0]), "n_empty": n_empty}
