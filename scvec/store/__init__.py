"""The store: Lance tables under one folder or object-store URI. The only package that knows Lance.

A table is read at a version or a tag, whole or not at all; a write is one commit. Small files that belong to one
version of a table (an index, fitted statistics) lie beside it; a tag is moved only after they are written.
"""

from scvec.store.column_index import ColumnIndex
from scvec.store.described import TableInfo, describe
from scvec.store.folder import is_name
from scvec.store.snapshot import FUNCTIONS, Snapshot
from scvec.store.store import FORMAT, MARKER, Address, Registration, Store, as_store
from scvec.store.table import ROWS_PER_FRAGMENT, Table, check_tag
from scvec.store.upkeep import Upkeep, is_scattered, tidy

__all__ = [
    "FORMAT",
    "FUNCTIONS",
    "MARKER",
    "ROWS_PER_FRAGMENT",
    "Address",
    "ColumnIndex",
    "Registration",
    "Snapshot",
    "Store",
    "Table",
    "TableInfo",
    "Upkeep",
    "as_store",
    "check_tag",
    "describe",
    "is_name",
    "is_scattered",
    "tidy",
]
