"""What a table of the store is, to be shown: its rows, versions, tags, columns, indexes and size."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from scvec.store import registry
from scvec.store.store import Store


@dataclass(frozen=True, slots=True)
class TableInfo:
    """A table as it is now.

    Attributes
    ----------
    path
        Its path in the store, without suffix; in LanceDB, the names of its namespaces and its own.
    n_rows, version
        Rows of the newest version, and its number.
    n_versions
        The number of versions kept, tagged or not.
    tags
        The version of each tag.
    n_files
        Data files of the newest version.
    n_bytes
        Size of all versions with their indexes, in bytes.
    columns
        The type of each column, in Arrow's words.
    indexes
        Lance's names of the kinds of indexes, by their columns.
    in_lancedb
        Whether LanceDB lists it.
    """

    path: str
    n_rows: int
    version: int
    n_versions: int
    tags: dict[str, int]
    n_files: int
    n_bytes: int
    columns: dict[str, str]
    indexes: dict[str, list[str]]
    in_lancedb: bool

    def to_dict(self) -> dict[str, Any]:
        """Return the values as JSON has them."""
        return asdict(self)


def describe(store: Store) -> list[TableInfo]:
    """Return what each table of a store is, in the order of their paths.

    Raises
    ------
    StoreError
        If a table cannot be read.
    """
    listed = registry.registered(store)
    return [_described(store, path, in_lancedb=path in listed) for path in store.tables()]


def _described(store: Store, path: str, *, in_lancedb: bool) -> TableInfo:
    table = store.table(path)
    newest = table.latest()
    return TableInfo(
        path=path,
        n_rows=len(newest),
        version=newest.version,
        n_versions=len(table.versions()),
        tags=table.tags(),
        n_files=newest.n_files,
        n_bytes=store.n_bytes(f"{path}.lance"),
        columns={field.name: str(field.type) for field in newest.schema},
        indexes=newest.indexes,
        in_lancedb=in_lancedb,
    )
