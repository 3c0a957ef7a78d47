"""The store: Lance tables under one folder or object-store URI. The only package that knows Lance.

A table is read at a version or a tag, whole or not at all; a write is one commit. Small files that belong to one
version of a table (an index, fitted statistics) lie beside it; a tag is moved only after they are written.
"""

from scvec.store.column_index import ColumnIndex
from scvec.store.folder import is_name
from scvec.store.snapshot import Snapshot
from scvec.store.store import FORMAT, MARKER, Store, as_store
from scvec.store.table import ROWS_PER_FRAGMENT, Table, check_tag

__all__ = [
    "FORMAT",
    "MARKER",
    "ROWS_PER_FRAGMENT",
    "ColumnIndex",
    "Snapshot",
    "Store",
    "Table",
    "as_store",
    "check_tag",
    "is_name",
]
