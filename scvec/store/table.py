"""One table with all of its versions: rows are staged or streamed, and become visible in one commit."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from datetime import timedelta
from typing import Any

import numpy as np
import pyarrow as pa

from scvec.core.forks import computing
from scvec.core.limits import bounded_json
from scvec.core.reading import reading
from scvec.errors import ConflictError, MismatchError, NotInStoreError, StoreError
from scvec.store.column_index import ColumnIndex, create
from scvec.store.folder import Folder, is_name
from scvec.store.lance import lance
from scvec.store.snapshot import FUNCTIONS, MANIFEST, VECTOR, Snapshot

ROWS_PER_FRAGMENT = 32_768

FOLDERS = ("_versions", "data", "_deletions", "_indices", "_transactions")
"""Where Lance keeps the files of a table, and removes them."""

REPAIR = "restore it from a copy, or rebuild it"


class Table:
    """One Lance table with all of its versions.

    Parameters
    ----------
    folder
        The folder of the table.
    path
        The table's path in it, without suffix.
    before_writing
        Called before each commit: marks the folder as a store.
    published
        Called with the path when a version gets a tag, or rows are appended, which readers see at once: registers the
        table in LanceDB.
    """

    def __init__(
        self, folder: Folder, path: str, *, before_writing: Callable[[], None], published: Callable[[str], None]
    ) -> None:
        self.path, self._folder = path, folder
        self._before_writing, self._published = before_writing, published
        self._uri, self._options = f"{folder.location(path)}.lance", folder.storage_options.for_lance()

    def __repr__(self) -> str:
        return f"Table({self._uri!r})"

    @property
    def exists(self) -> bool:
        """Whether a version was committed."""
        return bool(self._folder.children(f"{self.path}.lance/_versions"))

    def write(self, batches: Iterable[pa.RecordBatch], schema: pa.Schema, manifest: Mapping[str, Any]) -> int:
        """Commit `batches` as the whole content of a new version, and return its number.

        Rows are written as they come, some tens of thousands at a time. If `batches` raises, nothing is committed, and
        a new table is removed.
        """
        try:
            staged = [one for shard in _shards(batches, schema) for one in self.stage(shard)]
            return self.commit(staged, schema, manifest)
        except BaseException:
            if not self.exists:
                self._folder.remove(f"{self.path}.lance")
            raise

    def append(self, rows: pa.Table, manifest: Mapping[str, Any]) -> int:
        """Commit `rows` after the existing ones; the first call creates the table with `manifest`."""
        version = (
            self._appended(rows, manifest) if self.exists else self.write(rows.to_batches(), rows.schema, manifest)
        )
        self._published(self.path)
        return version

    def _appended(self, rows: pa.Table, manifest: Mapping[str, Any]) -> int:
        latest = self.latest()
        if latest.manifest != json.loads(json.dumps(manifest)):
            raise MismatchError(
                f"{self.path} has another manifest", "rows made in the same way", "write to another table"
            )
        operation = lance().LanceOperation.Append(self._write_fragments(rows, "append"))
        try:
            return self._commit(operation, read_version=latest.version)
        except OSError:
            if latest.version in self.versions():
                raise
            # Another process has tidied the table meanwhile; the rows of its newest version are the same.
            return self._commit(operation, read_version=self.latest().version)

    def stage(self, rows: pa.Table, *, whole: bool = True) -> list[str]:
        """Write rows that are in no version yet, and return what `commit` or `commit_after` takes.

        Several processes may do so at once.

        Parameters
        ----------
        rows
            With the table's columns.
        whole
            Whether they will be the table's whole content; False: they will follow the rows of its newest version.
        """
        return [json.dumps(one.to_json()) for one in self._write_fragments(rows, "overwrite" if whole else "append")]

    def commit(self, staged: Sequence[str], schema: pa.Schema, manifest: Mapping[str, Any]) -> int:
        """Commit staged rows, in this order, as the whole content of a new version, and return its number."""
        operation = lance().LanceOperation.Overwrite(_with_manifest(schema, manifest), _fragments(staged))
        return self._commit(operation)

    def commit_after(self, base: int, staged: Sequence[str]) -> int:
        """Commit a version with the rows of `base`, the newest one, followed by staged rows; return its number.

        Raises
        ------
        ConflictError
            If `base` is no longer the newest version.
        """
        self._expect(base)
        return self._commit(lance().LanceOperation.Append(_fragments(staged)), read_version=base)

    def discard(self, staged: Iterable[str]) -> None:
        """Remove the files of staged rows that are in no version."""
        for one in staged:
            for path in _files(one):
                self._folder.remove_file(f"{self.path}.lance/data/{path}")

    def restore(self, version: int) -> int:
        """Commit a new version equal to an old one, and return its number."""
        with self._folder.writing():
            dataset = self._open(version)
            dataset.restore()
        return self.latest().version

    def delete(self, base: int, column: str, values: np.ndarray[Any, np.dtype[np.int64]]) -> int:
        """Commit a version of `base`, the newest one, without some rows; return its number.

        Parameters
        ----------
        base
            A version.
        column, values
            A column of unique whole numbers, and those of the rows to delete.
        """
        self._expect(base)
        with self._folder.writing():
            # By a join: a condition with as many numbers takes seconds to parse.
            self._open().merge_insert(column).when_matched_delete().execute(pa.table({column: values}))
        return self.latest().version

    def build_index(self, base: int, kind: str, n_lists: int, n_codes: int | None = None) -> int:
        """Commit a version of `base`, the newest one, with an index of its vectors by cosine; return its number.

        It replaces an existing index.

        Parameters
        ----------
        base
            A version.
        kind
            Lance's name of it: ``"IVF_FLAT"``, ``"IVF_PQ"``, ``"IVF_HNSW_SQ"``.
        n_lists
            Partitions.
        n_codes
            Bytes in a product quantizer's code; None for other kinds.
        """
        self._expect(base)
        codes = {} if n_codes is None else {"num_sub_vectors": n_codes}
        with self._folder.writing():
            self._open().create_index(
                VECTOR, kind, name=VECTOR, metric="cosine", replace=True, num_partitions=n_lists, **codes
            )
        return self.latest().version

    def index_columns(self, base: int, indexes: Sequence[ColumnIndex]) -> int:
        """Commit a version of `base` with indexes of its columns, and return its number: `base` if none is missing.

        A version that is not the newest one is committed again first, so that its tag has to be moved.

        Parameters
        ----------
        base
            A version.
        indexes
            The indexes to have; those that are there stay as they are.

        Raises
        ------
        ConflictError
            If another process writes to the table meanwhile.
        """
        left = self.at(base).without(indexes)
        if not left:
            return base
        version = base if self.latest().version == base else self.restore(base)
        with self._folder.writing():
            dataset = self._open(version)
            try:
                return create(dataset, left)
            except lance().commit.CommitConflictError as error:
                raise self._other_writer(f"version {version}") from error

    def compact(self, base: int) -> int:
        """Commit a version of `base`, the newest one, in few large files without deleted rows; return its number.

        It has no index: Lance does not merge the files of indexed rows with those of later rows, and puts the later
        ones first.
        """
        self._expect(base)
        self._refuse_links()
        with self._folder.writing():
            if self.latest().has_index:
                self._open().drop_index(VECTOR)
            self._open().optimize.compact_files(
                target_rows_per_fragment=16 * ROWS_PER_FRAGMENT, materialize_deletions_threshold=0.0
            )
        return self.latest().version

    def drop(self, versions: Sequence[int], *, dry_run: bool = False) -> int:
        """Remove versions, but for the newest and those with a tag, and what only they need; return the bytes freed.

        Rows that were staged within the last seven days stay: another process may be about to commit them.

        Parameters
        ----------
        versions
            Their numbers.
        dry_run
            Remove nothing, and return what would be freed.
        """
        if not versions:
            return 0
        table, chosen = self._open(), {"versions": list(versions), "error_if_tagged_old_versions": False}
        if dry_run:
            return int(table.explain_cleanup_old_versions(**chosen).stats.bytes_removed)
        self._refuse_links()
        with self._folder.writing():
            return int(table.cleanup_old_versions(**chosen).bytes_removed)

    def forget(self) -> int:
        """Remove all but the newest and the tagged versions, and what was never committed; return the bytes freed.

        No other process may write meanwhile.
        """
        self._refuse_links()
        with self._folder.writing():
            freed = self._open().cleanup_old_versions(
                older_than=timedelta(0), delete_unverified=True, error_if_tagged_old_versions=False
            )
        return int(freed.bytes_removed)

    def tag(self, name: str, version: int) -> None:
        """Make `name` the tag of `version`."""
        check_tag(name)
        tags = self._open().tags
        with self._folder.writing():
            (tags.update if name in tags.list() else tags.create)(name, version)
        self._published(self.path)

    def tags(self) -> dict[str, int]:
        """Return the version of each tag, the newest version last."""
        if not self.exists:
            return {}
        with self._reading():
            found = {name: int(tag["version"]) for name, tag in self._open().tags.list().items()}
        return dict(sorted(found.items(), key=lambda item: item[1]))

    def versions(self) -> list[int]:
        """Return the numbers of all versions, tagged or not, ascending."""
        if not self.exists:
            return []
        with self._reading():
            return sorted(int(one["version"]) for one in self._open().versions())

    def latest(self) -> Snapshot:
        """Return the newest version, tagged or not."""
        return Snapshot(self._open(), self.path)

    def at(self, version: int | str) -> Snapshot:
        """Return a version by number or tag.

        Raises
        ------
        NotInStoreError
            If the table, version or tag does not exist.
        """
        return Snapshot(self._open(version), self.path)

    def _reading(self) -> AbstractContextManager[None]:
        """Name the table that cannot be read, whatever Lance raises."""
        return reading(f"the table {self.path}", "complete files", REPAIR, raised=StoreError)

    def _refuse_links(self) -> None:
        """Raise `StoreError` if files of the table lie outside of the store: Lance would remove them there."""
        for one in FOLDERS:
            self._folder.refuse_links(f"{self.path}.lance/{one}/any")

    def _expect(self, base: int) -> None:
        if self.latest().version != base:
            raise self._other_writer(f"version {base}")

    def _other_writer(self, expected: str) -> ConflictError:
        newest = self.latest().version
        seen = f"{self.path} is at version {newest}, as another process has written to it"
        return ConflictError(seen, expected, "run the command again")

    def _open(self, version: int | str | None = None) -> Any:
        computing()
        if not self.exists:
            raise NotInStoreError(
                f"no table {self.path} in {self._folder.uri}",
                "one that was built",
                "check `store`, or build it",
            )
        try:
            with self._reading() if version is None else nullcontext():
                return lance().dataset(self._uri, version=version, storage_options=self._options)
        except ValueError as error:
            raise NotInStoreError(
                f"{self.path} has no version {version!r}",
                f"one of {list(self.tags())}",
                "name another, or build it",
            ) from error
        except OSError as error:
            raise StoreError(
                f"{self._uri}: {str(error)[:200]}",
                "a readable table",
                REPAIR,
            ) from error

    def _write_fragments(self, rows: pa.Table, mode: str) -> list[Any]:
        with self._folder.writing():
            self._before_writing()
            written: list[Any] = lance().fragment.write_fragments(
                rows, self._uri, schema=rows.schema, mode=mode, storage_options=self._options
            )
        return written

    def _commit(self, operation: Any, read_version: int | None = None) -> int:
        with self._folder.writing():
            self._before_writing()
            made = lance().LanceDataset.commit(
                self._uri, operation, read_version=read_version, storage_options=self._options
            )
        return int(made.version)


def check_tag(name: str) -> None:
    """Raise `StoreError` if `name` cannot be a tag."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name):
        raise StoreError(f"tag {name!r}", "letters, digits, '.', '-' and '_' only", "choose another name")


def _fragments(staged: Sequence[str]) -> list[Any]:
    for one in staged:
        _files(one)
    return [lance().fragment.FragmentMetadata.from_json(one) for one in staged]


def _files(staged: str) -> list[str]:
    """Return the names of the files of staged rows; raise `StoreError` if one is not in the table's own folder."""
    with reading("a note of staged rows", "what scvec wrote", "remove the atlas's folder job", raised=StoreError):
        fragment = bounded_json(staged)
        names = [file["path"] for file in fragment["files"]]
        deleted = fragment.get("deletion_file")
    wrong = next((one for one in names if not isinstance(one, str) or not is_name(one)), deleted)
    if wrong:
        raise StoreError(
            f"a note of staged rows names {wrong!r:.120}", "a file of its table", "remove the atlas's folder job"
        )
    return names


def _shards(batches: Iterable[pa.RecordBatch], schema: pa.Schema) -> Iterator[pa.Table]:
    held: list[pa.RecordBatch] = []
    n_rows = 0
    for batch in batches:
        held.append(batch)
        n_rows += batch.num_rows
        if n_rows >= ROWS_PER_FRAGMENT:
            yield pa.Table.from_batches(held, schema)
            held, n_rows = [], 0
    if held:
        yield pa.Table.from_batches(held, schema)


def _with_manifest(schema: pa.Schema, manifest: Mapping[str, Any]) -> pa.Schema:
    """Return a schema with the manifest, and with the functions that it names, but with no other metadata."""
    kept = {key: value for key, value in (schema.metadata or {}).items() if key == FUNCTIONS}
    return schema.with_metadata({**kept, MANIFEST: json.dumps(manifest, sort_keys=True).encode()})
