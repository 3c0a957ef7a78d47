"""A folder of small files, local or in an object store."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pyarrow import fs

from scvec.errors import StoreError, as_disk_full
from scvec.files import placing


class Folder:
    """A local folder, or what an object-store URI points at; it need not exist yet.

    Parameters
    ----------
    uri
        A path, or ``s3://``, ``gs://`` ... as pyarrow knows them.

    Raises
    ------
    StoreError
        If it is no such URI, or a file.
    """

    def __init__(self, uri: str | Path) -> None:
        plain = str(uri).removeprefix("file://")
        self.is_local = "://" not in plain
        self.uri = str(Path(plain).absolute()) if self.is_local else plain.rstrip("/")
        try:
            self._fs, self._root = fs.FileSystem.from_uri(self.uri)
        except (OSError, ValueError) as error:
            raise StoreError(f"{uri}: {error}", "a folder or an object-store URI", "name another store") from error
        if self.has_file(""):
            raise StoreError(f"{self.uri} is a file", "a folder for the store", "name a folder with --store")

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.uri!r})"

    def children(self, path: str) -> list[str]:
        """Return the names under `path`, sorted, tables without their ending."""
        selector = fs.FileSelector(self._at(path), allow_not_found=True)
        return sorted(info.base_name.removesuffix(".lance") for info in self._fs.get_file_info(selector))

    def has_file(self, path: str) -> bool:
        """Whether the file is there."""
        return bool(self._fs.get_file_info(self._at(path)).type == fs.FileType.File)

    def read_json(self, path: str) -> dict[str, Any]:
        """Return the JSON object in a file; raise `StoreError` if it is missing or no JSON object."""
        try:
            with self._fs.open_input_stream(self._at(path)) as stream:
                values = json.loads(stream.read())
        except (OSError, ValueError) as error:
            raise StoreError(f"{self.uri}/{path}: {error}", "a manifest", "build again what it belongs to") from error
        if not isinstance(values, dict):
            raise StoreError(f"{self.uri}/{path} holds no JSON object", "a manifest", "build again what it belongs to")
        return values

    def write_json(self, path: str, values: Mapping[str, Any]) -> None:
        """Write a JSON object, whole or not at all."""
        text = json.dumps(values, indent=1, sort_keys=True) + "\n"
        self.put_file(path, lambda local: local.write_text(text, encoding="utf-8"))

    def put_file(self, path: str, write: Callable[[Path], object]) -> None:
        """Have `write` fill a file, then place it at `path`, whole or not at all."""
        target = self._at(path)
        if self.is_local:
            with placing(Path(target)) as part:
                write(part)
            return
        with tempfile.TemporaryDirectory() as folder, self.writing():
            local = Path(folder, "file")
            write(local)
            fs.copy_files(str(local), target, source_filesystem=fs.LocalFileSystem(), destination_filesystem=self._fs)

    @contextmanager
    def local_file(self, path: str) -> Iterator[Path]:
        """Give the file as a local path: itself, or a copy that goes when the context ends."""
        if not self.has_file(path):
            raise StoreError(f"{self.uri}/{path} is missing", "it beside its table", "build again what it belongs to")
        if self.is_local:
            yield Path(self._at(path))
            return
        with tempfile.TemporaryDirectory() as folder:
            local = Path(folder, "file")
            fs.copy_files(
                self._at(path),
                str(local),
                source_filesystem=self._fs,
                destination_filesystem=fs.LocalFileSystem(),
            )
            yield local

    def remove(self, path: str) -> None:
        """Remove a folder and what is in it, if it is there."""
        if self._fs.get_file_info(self._at(path)).type == fs.FileType.Directory:
            self._fs.delete_dir(self._at(path))

    def _at(self, path: str) -> str:
        return f"{self._root}/{path}" if path else self._root

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Turn a full disk into its own error."""
        try:
            yield
        except OSError as error:
            raise (as_disk_full(error, self.uri) or error) from error
