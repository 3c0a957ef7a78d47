"""Keeping a table indexed, in few files, and without versions that nothing needs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from scvec.core.text import counted
from scvec.errors import ConflictError
from scvec.store.column_index import ColumnIndex
from scvec.store.snapshot import Snapshot
from scvec.store.store import Store
from scvec.store.table import ROWS_PER_FRAGMENT, Table

FEW_ROWS = ROWS_PER_FRAGMENT // 2
"""Files of fewer rows on average are worth being merged: a build writes twice as many."""


@dataclass(frozen=True, slots=True)
class Upkeep:
    """What was done to a table, or would be.

    Attributes
    ----------
    path
        Its path in the store.
    steps
        One line each; none if it is as it should be.
    bytes_before
        Size of all of its versions and indexes, and for an atlas of the files beside it, in bytes.
    bytes_after
        The same afterwards; of a dry run, what is known of it: files that would be written are not counted.
    """

    path: str
    steps: tuple[str, ...]
    bytes_before: int
    bytes_after: int

    def to_dict(self) -> dict[str, Any]:
        """Return the values as JSON has them."""
        return asdict(self)


def is_scattered(table: Snapshot) -> bool:
    """Whether a version of a table lies in many small files, or its files hold rows that were removed."""
    return table.n_deleted > 0 or (table.n_files > 1 and len(table) < FEW_ROWS * table.n_files)


def tidy(store: Store, path: str, indexes: Sequence[ColumnIndex] = (), *, dry_run: bool = False) -> Upkeep:
    """Index what lacks an index, merge what was written bit by bit, and remove the versions that no tag holds.

    The rows of a version that a tag holds stay as they are, and so do those of the newest.

    Parameters
    ----------
    store, path
        The store, and the path of a table in it.
    indexes
        The indexes that each version with a tag is to have.
    dry_run
        Change nothing, and return what would be done.
    """
    folder, table, steps = f"{path}.lance", store.table(path), []
    before, tags = store.n_bytes(folder), table.tags()
    lacking = [tag for tag, version in tags.items() if table.at(version).without(indexes)]
    if lacking:
        steps.append(f"make the indexes of {', '.join(lacking)}")
        if not dry_run:
            _index(table, tags, lacking[0], indexes)
    newest = table.latest()
    if newest.version not in table.tags().values() and is_scattered(newest):
        steps.append(f"merge {counted(newest.n_files, 'file')}")
        if not dry_run:
            table.compact(newest.version)
    kept = {*table.tags().values(), table.latest().version}
    old = [one for one in table.versions() if one not in kept]
    freed = table.drop(old, dry_run=dry_run)
    if old:
        steps.append(f"remove {counted(len(old), 'version')} without a tag")
    return Upkeep(path, tuple(steps), before, before - freed if dry_run else store.n_bytes(folder))


def _index(table: Table, tags: Mapping[str, int], first: str, indexes: Sequence[ColumnIndex]) -> None:
    """Commit the versions of tags again, with indexes: from a tag on, so that the order of releases stays.

    The last release is the default, so that the order has to hold at every moment, also if the process is killed: tags
    move when all versions are there, that of the last release first.
    """
    made = {
        version: table.index_columns(table.restore(version), indexes)
        for version in sorted({one for one in tags.values() if one >= tags[first]})
    }
    if table.tags() != tags:
        raise ConflictError(
            f"another process has published a version of {table.path}", "no other writer", "run the command again"
        )
    for tag, version in list(tags.items())[::-1]:
        if version in made:
            table.tag(tag, made[version])
