"""A folder of small files, local or in an object store."""

from __future__ import annotations

import json
import shutil
import tempfile
import weakref
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar
from uuid import uuid4

from pyarrow import fs

from scvec.core.files import placing
from scvec.errors import StoreError, as_disk_full

Made = TypeVar("Made")


class Folder:
    """A local folder, or the one that an object-store URI points at; it need not exist yet.

    Parameters
    ----------
    uri
        A path, or ``s3://``, ``gs://`` ... as pyarrow knows them.

    Raises
    ------
    StoreError
        If the URI is invalid, or is that of a file.
    """

    def __init__(self, uri: str | Path) -> None:
        plain = str(uri).removeprefix("file://")
        self._copies: Path | None = None
        self.is_local = "://" not in plain
        self.uri = str(Path(plain).absolute()) if self.is_local else plain.rstrip("/")
        try:
            self._fs, self._root = fs.FileSystem.from_uri(self.uri)
        except (OSError, ValueError) as error:
            raise StoreError(f"{uri}: {error}", "a folder or an object-store URI", "give another `store`") from error
        if self.has_file(""):
            raise StoreError(f"{self.uri} is a file", "a folder for the store", "give a folder as `store`")

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.uri!r})"

    def children(self, path: str) -> list[str]:
        """Return the names under `path`, sorted; those of tables without their suffix."""
        selector = fs.FileSelector(self._at(path), allow_not_found=True)
        return sorted(info.base_name.removesuffix(".lance") for info in self._fs.get_file_info(selector))

    def has_file(self, path: str) -> bool:
        """Whether the file exists."""
        return bool(self._fs.get_file_info(self._at(path)).type == fs.FileType.File)

    def size(self, path: str) -> int:
        """Return the size of a file in bytes; 0 if it does not exist."""
        return int(self._fs.get_file_info(self._at(path)).size or 0)

    def read_json(self, path: str) -> dict[str, Any]:
        """Return the JSON object in a file; raise `StoreError` if it is missing or not a JSON object."""
        try:
            with self._fs.open_input_stream(self._at(path)) as stream:
                values = json.loads(stream.read())
        except (OSError, ValueError) as error:
            raise StoreError(f"{self.uri}/{path}: {error}", "a manifest", "rebuild what it belongs to") from error
        if not isinstance(values, dict):
            raise StoreError(f"{self.uri}/{path} is not a JSON object", "a manifest", "rebuild what it belongs to")
        return values

    def write_json(self, path: str, values: Mapping[str, Any]) -> None:
        """Write a JSON object, whole or not at all."""
        text = json.dumps(values, indent=1, sort_keys=True) + "\n"
        self.put_file(path, lambda local: local.write_text(text, encoding="utf-8"))

    def put_file(self, path: str, write: Callable[[Path], object]) -> None:
        """Call `write` to fill a file, then place it at `path`, whole or not at all."""
        target = self._at(path)
        if self.is_local:
            with placing(Path(target)) as part:
                write(part)
            return
        with tempfile.TemporaryDirectory() as folder, self.writing():
            local = Path(folder, "file")
            write(local)
            self._upload(local, target)

    def put_folder(self, path: str, write: Callable[[Path], Made], last: str | None = None) -> Made:
        """Call `write` to fill a folder with files, place it at `path`, and return what `write` returned.

        An older folder is replaced. A local folder is placed whole or not at all. An object store takes one file after
        the other; the file called `last` is uploaded last, so that it marks a whole folder.
        """
        target = self._at(path)
        with self.writing():
            if not self.is_local:
                with tempfile.TemporaryDirectory() as folder:
                    made = write(Path(folder))
                    self.remove(path)
                    for file in sorted(Path(folder).iterdir(), key=lambda file: file.name == last):
                        self._upload(file, f"{target}/{file.name}")
                return made
            # A unique name: a worker that was given up, and whose work is done again, may still be writing.
            part = Path(target).with_name(f".{Path(target).name}.{uuid4().hex[:8]}.part")
            try:
                part.mkdir(parents=True)
                made = write(part)
                shutil.rmtree(target, ignore_errors=True)
                part.replace(target)
            finally:
                shutil.rmtree(part, ignore_errors=True)
            return made

    def local_folder(self, path: str) -> Path:
        """Return a folder of files as a local path: itself, or a copy that lives as long as this object.

        The copy is renewed only after this object has changed the folder; changes by others are not seen.
        """
        if not self._fs.get_file_info(self._at(path)).type == fs.FileType.Directory:
            raise StoreError(f"{self.uri}/{path} is missing", "one beside its table", "rebuild what it belongs to")
        if self.is_local:
            return Path(self._at(path))
        if self._copies is None:
            self._copies = Path(tempfile.mkdtemp(prefix="scvec-"))
            weakref.finalize(self, shutil.rmtree, self._copies, ignore_errors=True)
        local = self._copies / path
        if not local.exists():
            part = local.with_name(f".{local.name}.part")
            part.mkdir(parents=True, exist_ok=True)
            fs.copy_files(
                self._at(path), str(part), source_filesystem=self._fs, destination_filesystem=fs.LocalFileSystem()
            )
            part.replace(local)
        return local

    @contextmanager
    def local_file(self, path: str) -> Iterator[Path]:
        """Yield the file as a local path: itself, or a copy that is removed when the context ends."""
        if not self.has_file(path):
            raise StoreError(f"{self.uri}/{path} is missing", "one beside its table", "rebuild what it belongs to")
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
        """Remove a folder and its contents, if it exists."""
        if self._copies is not None:
            shutil.rmtree(self._copies / path, ignore_errors=True)
        if self._fs.get_file_info(self._at(path)).type == fs.FileType.Directory:
            self._fs.delete_dir(self._at(path))

    def remove_file(self, path: str) -> None:
        """Remove a file, if it exists."""
        if self._copies is not None:
            (self._copies / path).unlink(missing_ok=True)
        if self.has_file(path):
            self._fs.delete_file(self._at(path))

    def _upload(self, local: Path, target: str) -> None:
        fs.copy_files(str(local), target, source_filesystem=fs.LocalFileSystem(), destination_filesystem=self._fs)

    def _at(self, path: str) -> str:
        return f"{self._root}/{path}" if path else self._root

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Raise `DiskFullError` where the disk is full."""
        try:
            yield
        except OSError as error:
            raise (as_disk_full(error, self.uri) or error) from error
