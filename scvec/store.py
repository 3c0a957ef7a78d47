"""The store: Lance tables under one folder or object-store URI. The only module that knows Lance.

A table is read at a version or a tag, whole or not at all; a write is one commit. Beside the tables stand small
files that belong to one version of a table (an index, fitted statistics); a tag is moved only after they are there.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

import scvec
from scvec.errors import InputError, MismatchError, NotInStoreError, StoreError, StoreFormatError
from scvec.folder import Folder

if TYPE_CHECKING:
    import lance

FORMAT = 2
"""The version of the layout below; a store of another one is refused."""

MARKER = "scvec-store.json"
MANIFEST = b"scvec"
ROWS_PER_FRAGMENT = 32_768


class Store(Folder):
    """A folder or object-store URI of tables, and of the files that belong to them.

    Nothing is made before the first write.

    Parameters
    ----------
    uri
        A local path, or ``s3://``, ``gs://`` ... as pyarrow and Lance know them; credentials and endpoint come from the
        environment (``AWS_ENDPOINT_URL`` and so on).

    Raises
    ------
    StoreFormatError
        If a scvec of another format wrote it.
    StoreError
        If it is no such URI, or a file.
    """

    def __init__(self, uri: str | Path) -> None:
        super().__init__(uri)
        found = self.read_json(MARKER).get("format") if self.exists else FORMAT
        if not isinstance(found, int) or found > FORMAT:
            raise StoreFormatError(
                f"{self.uri} has store format {found}", f"{FORMAT}", "upgrade scvec: pip install -U scvec"
            )
        if found < FORMAT:
            raise StoreFormatError(
                f"{self.uri} has store format {found}, of an earlier scvec",
                f"{FORMAT}",
                "import gene texts and build atlases again in a new --store",
            )

    @property
    def exists(self) -> bool:
        """Whether something was ever written here."""
        return self.has_file(MARKER)

    def table(self, path: str) -> Table:
        """Return a handle on the table at `path` (``"gene_texts/9606"``), which may not exist yet."""
        return Table(self, path)

    def mark(self) -> None:
        """Write the marker, before the first table."""
        if not self.exists:
            self.write_json(MARKER, {"format": FORMAT, "written_by": f"scvec {scvec.__version__}"})


class Table:
    """One Lance table of a store, at all of its versions."""

    def __init__(self, store: Store, path: str) -> None:
        self.store, self.path = store, path
        self._uri = f"{store.uri}/{path}.lance"

    def __repr__(self) -> str:
        return f"Table({self._uri!r})"

    @property
    def exists(self) -> bool:
        """Whether any version was committed."""
        return bool(self.store.children(f"{self.path}.lance/_versions"))

    def write(self, batches: Iterable[pa.RecordBatch], schema: pa.Schema, manifest: Mapping[str, Any]) -> int:
        """Commit `batches` as the whole content of a new version, and return its number.

        Rows are written as they come, some tens of thousands at a time. If `batches` raises, nothing is committed and
        a table that did not exist still does not.
        """
        operation = _lance().LanceOperation.Overwrite
        try:
            fragments = [one for shard in _shards(batches, schema) for one in self._write_fragments(shard, "overwrite")]
            return self._commit(operation(_with_manifest(schema, manifest), fragments))
        except BaseException:
            if not self.exists:
                self.store.remove(f"{self.path}.lance")
            raise

    def append(self, rows: pa.Table, manifest: Mapping[str, Any]) -> int:
        """Commit `rows` after those that are there; the first append makes the table with `manifest`."""
        if not self.exists:
            return self.write(rows.to_batches(), rows.schema, manifest)
        latest = self.latest()
        if latest.manifest != json.loads(json.dumps(manifest)):
            raise MismatchError(f"{self.path} has another manifest", "rows made the same way", "write to another table")
        fragments = self._write_fragments(rows, "append")
        return self._commit(_lance().LanceOperation.Append(fragments), read_version=latest.version)

    def tag(self, name: str, version: int) -> None:
        """Have `name` mean `version` from now on."""
        check_tag(name)
        tags = self._open().tags
        with self.store.writing():
            (tags.update if name in tags.list() else tags.create)(name, version)

    def tags(self) -> dict[str, int]:
        """Return version by tag, the newest version last."""
        if not self.exists:
            return {}
        found = {name: int(tag["version"]) for name, tag in self._open().tags.list().items()}
        return dict(sorted(found.items(), key=lambda item: item[1]))

    def latest(self) -> Snapshot:
        """Return the newest version, tagged or not."""
        return Snapshot(self._open(), self.path)

    def at(self, version: int | str) -> Snapshot:
        """Return a version by number or tag.

        Raises
        ------
        NotInStoreError
            If there is no such table, version or tag.
        """
        return Snapshot(self._open(version), self.path)

    def _open(self, version: int | str | None = None) -> lance.LanceDataset:
        if not self.exists:
            raise NotInStoreError(
                f"no table {self.path} in {self.store.uri}",
                "one that was built",
                "check --store, or build it",
            )
        try:
            return _lance().dataset(self._uri, version=version)
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
                "restore it from a copy, or build it again",
            ) from error

    def _write_fragments(self, rows: pa.Table, mode: str) -> list[Any]:
        write_fragments = _lance().fragment.write_fragments
        with self.store.writing():
            self.store.mark()
            written: list[Any] = write_fragments(rows, self._uri, schema=rows.schema, mode=mode)
        return written

    def _commit(self, operation: Any, read_version: int | None = None) -> int:
        with self.store.writing():
            self.store.mark()
            return int(_lance().LanceDataset.commit(self._uri, operation, read_version=read_version).version)


@dataclass(frozen=True)
class Snapshot:
    """One version of a table; what is read from it never changes."""

    _dataset: lance.LanceDataset
    path: str

    @property
    def version(self) -> int:
        """The version's number."""
        return int(self._dataset.version)

    @cached_property
    def manifest(self) -> dict[str, Any]:
        """What the table was made from."""
        raw = (self._dataset.schema.metadata or {}).get(MANIFEST)
        if raw is None:
            raise StoreError(f"{self.path} carries no manifest", "a table that scvec wrote", "build it again")
        values: dict[str, Any] = json.loads(raw)
        return values

    def __len__(self) -> int:
        return int(self._dataset.count_rows())

    def read(self, columns: Sequence[str] | None = None) -> pa.Table:
        """Return all rows, in the order written."""
        return self._dataset.to_table(columns=None if columns is None else list(columns))

    def where(self, expression: str, columns: Sequence[str]) -> pa.Table:
        """Return the rows for which a SQL `expression` holds, in the order written.

        Raises
        ------
        InputError
            If it is no condition on the table's columns.
        """
        names = [field.name for field in self._dataset.schema if not pa.types.is_nested(field.type)]
        fault = _fault(expression, names)
        # In brackets, as Lance does not read what follows a whole expression.
        condition = f"({expression}\n)"
        try:
            # Nothing is true and false: rows here mean that a bracket of the expression's own closed ours.
            if not fault and self._dataset.count_rows(f"{condition} AND false"):
                fault = "its brackets do not match"
            if not fault:
                return self._dataset.to_table(columns=list(columns), filter=condition)
        except (ValueError, OSError) as error:
            fault = _reason(error)
        raise InputError(
            f"condition {expression!r}: {fault}",
            f"SQL on the columns {', '.join(names)}",
            "write text in single quotes, and in backticks a name that is not one plain word",
        )

    def batches(self, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        """Yield all rows in the order written, some thousands at a time."""
        yield from self._dataset.to_batches(columns=list(columns), scan_in_order=True)

    def take(self, rows: Sequence[int] | np.ndarray[Any, Any], columns: Sequence[str]) -> pa.Table:
        """Return the rows at these positions, in the order asked for."""
        return self._dataset.take(np.asarray(rows, np.int64).tolist(), columns=list(columns))


def _fault(expression: str, names: Iterable[str]) -> str:
    """Return what is wrong with a condition and Lance would not say: it misreads the one, breaks off at the other."""
    for name in names:
        if f'"{name}"' in expression:
            return f'"{name}" in double quotes is read as text'
    bare = re.sub(r"'[^']*'|`[^`]*`|\"[^\"]*\"", "", expression)
    return "it has a placeholder" if re.search(r"[?$]|(?<!:):(?!:)", bare) else ""


def _reason(error: Exception) -> str:
    """Return what Lance has to say of a condition, less the place in its code and the statement it made of it."""
    said = re.sub(r",? *\S*\.rs:\d+.*$| Valid fields are.*$", "", str(error), flags=re.DOTALL).replace("\n", " ")
    said = re.sub(r"^.*(AND false \(|AND false: |user input: )", "", said)
    return said[:150].removesuffix(")")


def check_tag(name: str) -> None:
    """Raise `StoreError` if `name` cannot be a tag."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name):
        raise StoreError(f"tag {name!r}", "letters, digits, '.', '-' and '_'", "choose another name")


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
    return schema.with_metadata({MANIFEST: json.dumps(manifest, sort_keys=True).encode()})


def _lance() -> Any:
    # Its log calls the making of a table a warning. Must be set before the import.
    os.environ.setdefault("LANCE_LOG", "error")
    import lance

    return lance
