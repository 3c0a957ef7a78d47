"""The store as a LanceDB database: each table is registered, so that ``lancedb.connect(uri)`` lists and opens it.

Tables stay where they are, under the names that scvec gives them. LanceDB's directory namespace keeps a table of its
own, ``__manifest``, with a row per namespace and table and the table's place in the store. Only LanceDB reads it: what
scvec opens, it finds by its path.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from typing import Any

import pyarrow as pa

from scvec.core.logs import logger
from scvec.core.reading import reading
from scvec.errors import StoreError
from scvec.store.folder import Folder
from scvec.store.lance import lance

REGISTRY = "__manifest"
"""The folder of LanceDB's table of tables."""

BETWEEN = "$"
"""Stands between the names of an id in it."""

REFUSED = ".."
"""Looks like a way out of the folder, wherever it stands."""

AGAIN = "scvec store register"

TRIES = 5
"""Writers that register at the same time conflict, and the later one tries again."""


def registered(folder: Folder) -> set[str]:
    """Return the paths of the tables that LanceDB lists, without suffix."""
    return {path for path, kind in _ids(folder).items() if kind == "table"}


def register(folder: Folder, paths: Iterable[str]) -> list[str]:
    """Register tables, and the namespaces above them, which LanceDB does not list yet; return their paths, sorted."""
    there = _ids(folder)
    missing = sorted(set(paths) - set(there))
    refused = [path for path in missing if REFUSED in path]
    if refused:  # one such name would keep all others from being registered
        logger.warning("LanceDB lists no table with %r in its name: %s", REFUSED, ", ".join(refused))
        missing = [path for path in missing if path not in refused]
    if not missing:
        return []
    from lance.namespace import CreateNamespaceRequest, RegisterTableRequest

    registry = _registry(folder)
    _refuse_links(folder)
    with _reading(folder):
        for path in sorted(_above(missing) - set(there)):
            _again(registry.create_namespace, CreateNamespaceRequest(id=path.split("/")))
        for path in missing:
            # A location relative to the store, so that it can be moved.
            _again(registry.register_table, RegisterTableRequest(id=path.split("/"), location=f"{path}.lance"))
    return missing


def lost(folder: Folder) -> list[str]:
    """Return the paths of tables that LanceDB lists and that are gone, wherever it has placed them.

    Tables that others have made with LanceDB in a namespace lie under names of its own.
    """
    if not folder.children(f"{REGISTRY}/_versions"):
        return []
    with _reading(folder):
        rows = _rows(folder, ["object_id", "object_type", "location"])
        return [
            one["object_id"].replace(BETWEEN, "/")
            for one in rows.to_pylist()
            if one["object_type"] == "table" and not folder.children(f"{one['location']}/_versions")
        ]


def deregister(folder: Folder, paths: Iterable[str]) -> list[str]:
    """Take tables out of LanceDB's list, and the namespaces that are then empty; return the tables, sorted."""
    there = _ids(folder)
    gone = sorted({path for path, kind in there.items() if kind == "table"} & set(paths))
    if not gone:
        return []
    from lance.namespace import DeregisterTableRequest, DropNamespaceRequest

    registry = _registry(folder)
    left = {path for path, kind in there.items() if kind == "table"} - set(gone)
    _refuse_links(folder)
    with _reading(folder):
        for path in gone:
            _again(registry.deregister_table, DeregisterTableRequest(id=path.split("/")))
        for path in sorted(_above(gone) - _above(left), key=len, reverse=True):
            _again(registry.drop_namespace, DropNamespaceRequest(id=path.split("/")))
    return gone


def _ids(folder: Folder) -> dict[str, str]:
    """Return the kind of each registered id, ``"table"`` or ``"namespace"``, by its path."""
    if not folder.children(f"{REGISTRY}/_versions"):
        return {}
    # Read as a table: the classes of the namespace take a second to import.
    with _reading(folder):
        rows = _rows(folder, ["object_id", "object_type"])
    names = (one.replace(BETWEEN, "/") for one in rows["object_id"].to_pylist())
    return dict(zip(names, rows["object_type"].to_pylist(), strict=True))


def _rows(folder: Folder, columns: list[str]) -> pa.Table:
    listed = lance().dataset(folder.location(REGISTRY), storage_options=folder.storage_options.for_lance())
    return listed.to_table(columns=columns)


def _refuse_links(folder: Folder) -> None:
    """Raise `StoreError` if the list is that of another folder, behind a symbolic link."""
    folder.refuse_links(f"{REGISTRY}/_versions/any")


def _reading(folder: Folder) -> AbstractContextManager[None]:
    return reading(
        f"LanceDB's list of tables, {folder.uri}/{REGISTRY},", "what LanceDB wrote", AGAIN, raised=StoreError
    )


def _registry(folder: Folder) -> Any:
    lance()
    from lance.namespace import DirectoryNamespace

    options = folder.storage_options.for_lance() or {}
    return DirectoryNamespace(root=folder.uri, **{f"storage.{name}": value for name, value in options.items()})


def _above(paths: Iterable[str]) -> set[str]:
    """Return the namespaces that tables lie in."""
    return {path.rsplit("/", depth)[0] for path in paths for depth in range(1, path.count("/") + 1)}


def _again(change: Callable[[Any], object], request: object) -> None:
    """Make a change that another writer may be making too."""
    from lance_namespace.errors import (
        ConcurrentModificationError,
        NamespaceAlreadyExistsError,
        NamespaceNotFoundError,
        TableAlreadyExistsError,
        TableNotFoundError,
    )

    done = (NamespaceAlreadyExistsError, NamespaceNotFoundError, TableAlreadyExistsError, TableNotFoundError)
    for left in range(TRIES - 1, -1, -1):
        try:
            change(request)
        except done:
            return
        except ConcurrentModificationError:
            if not left:
                raise
        else:
            return
