"""A folder of small files, local or in an object store."""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
import tempfile
import weakref
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar
from uuid import uuid4

import pyarrow as pa
from pyarrow import fs

from scvec.core.exchange import aside, replace_folder
from scvec.core.files import placing
from scvec.core.limits import bounded_json, read_bounded
from scvec.core.reading import reading
from scvec.errors import StoreError, as_disk_full
from scvec.store.storage_options import StorageOptions

Made = TypeVar("Made")


def is_name(text: str) -> bool:
    """Whether a text is the name of one file or folder, on any system."""
    return text not in ("", ".", "..") and not re.search(r"[/\\\x00-\x1f\x7f]|^[A-Za-z]:", text)


class Values(dict[str, Any]):
    """The JSON object of a file in the store; a key that is missing is an error that names the file."""

    def __init__(self, values: Mapping[str, Any], where: str) -> None:
        super().__init__(values)
        self._where = where

    def __missing__(self, key: str) -> object:
        raise StoreError(f"{self._where} has no entry {key!r}", "a manifest that scvec wrote", AGAIN)

    def __reduce__(self) -> tuple[type[Values], tuple[dict[str, Any], str]]:
        # The items that pickle would set one by one come before the attribute.
        return type(self), (dict(self), self._where)


DENIED = (errno.EACCES, errno.EPERM, errno.EROFS)
"""What the system says where this user may not write; Lance says it only in its text."""

AGAIN = "restore it from a copy, or rebuild what it belongs to"


class Folder:
    """A local folder, or the one that an object-store URI points at; it need not exist yet.

    Paths within it may come from data, such as a manifest's. A path that leads out of the folder is refused wherever it
    is used, and nothing is removed through a symbolic link: the link is.

    Parameters
    ----------
    uri
        A path, or ``s3://``, ``gs://``, ``az://``, ``abfss://``.
    storage_options
        How an object store is reached, see `scvec.store.storage_options`; what is not given comes from the environment.

    Raises
    ------
    InputError
        If an option is unknown.
    StoreError
        If the URI is invalid, or is that of a file.
    """

    def __init__(self, uri: str | Path, storage_options: Mapping[str, object] | None = None) -> None:
        plain = str(uri).removeprefix("file://")
        self._copies: Path | None = None
        self.is_local = "://" not in plain
        self.uri = str(Path(plain).absolute()) if self.is_local else plain.rstrip("/")
        self.storage_options = StorageOptions(self.uri, storage_options)
        try:
            self._fs, self._root = self.storage_options.file_system()
            is_file = self.has_file("")
        except (OSError, ValueError, pa.ArrowException) as error:  # of a key that is none, a bare ArrowException
            fix = "give another `store`" if self.is_local else "check the URI, and the keys and endpoint for it"
            seen = f"{uri}: {str(error).partition(' Detail:')[0]:.300}"
            raise StoreError(seen, "a folder or an object-store URI", fix) from error
        if is_file:
            raise StoreError(f"{self.uri} is a file", "a folder for the store", "give a folder as `store`")

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.uri!r})"

    def location(self, path: str) -> str:
        """Return the local path or URI of something within the folder, for libraries that read and write it."""
        self._at(path)
        return f"{self.uri}/{path}"

    def children(self, path: str) -> list[str]:
        """Return the names under `path`, sorted; those of tables without their suffix."""
        return sorted(name.removesuffix(".lance") for name in self._entries(path))

    def folders(self, path: str) -> list[str]:
        """Return the names of the folders under `path`, sorted, with their suffix."""
        return sorted(name for name, is_folder in self._entries(path).items() if is_folder)

    def n_bytes(self, path: str) -> int:
        """Return the size in bytes of all files under `path`."""
        if self.is_local:  # pyarrow would follow links, out of the folder or in circles
            total = 0
            for above, _, names in os.walk(self._at(path)):
                for name in names:
                    with suppress(FileNotFoundError):  # another process has just removed it
                        total += Path(above, name).lstat().st_size
            return total
        selector = fs.FileSelector(self._at(path), recursive=True, allow_not_found=True)
        return sum(info.size or 0 for info in self._fs.get_file_info(selector) if info.type == fs.FileType.File)

    def has_file(self, path: str) -> bool:
        """Whether the file exists."""
        return bool(self._fs.get_file_info(self._found(path)).type == fs.FileType.File)

    def size(self, path: str) -> int:
        """Return the size of a file in bytes; 0 if it does not exist."""
        return int(self._fs.get_file_info(self._found(path)).size or 0)

    def read_json(self, path: str) -> Values:
        """Return the JSON object in a file; raise `StoreError` if it is missing or not a JSON object."""
        where = f"{self.uri}/{path}"
        with (
            reading(where, "a manifest", AGAIN, raised=StoreError),
            self._fs.open_input_stream(self._found(path)) as stream,
        ):
            values = bounded_json(read_bounded(stream, where, "manifest"))
        if not isinstance(values, dict):
            raise StoreError(f"{where} is not a JSON object", "a manifest", AGAIN)
        return Values(values, where)

    def write_json(self, path: str, values: Mapping[str, Any]) -> None:
        """Write a JSON object, whole or not at all."""
        text = json.dumps(values, indent=1, sort_keys=True) + "\n"
        self.put_file(path, lambda local: local.write_text(text, encoding="utf-8"))

    def put_file(self, path: str, write: Callable[[Path], object]) -> None:
        """Call `write` to fill a file, then place it at `path`, whole or not at all."""
        target = self._at(path)
        if self.is_local:
            with self.writing(), placing(Path(target)) as part:
                write(part)
            return
        with tempfile.TemporaryDirectory() as folder, self.writing():
            local = Path(folder, "file")
            write(local)
            self._upload(local, target)

    def put_folder(self, path: str, write: Callable[[Path], Made], last: str | None = None) -> Made:
        """Call `write` to fill a folder with files, place it at `path`, and return what `write` returned.

        An older folder is replaced. A local folder is placed whole or not at all, and at any moment the older or the
        new one is there. An object store takes one file after the other; the file called `last` is removed first and
        uploaded last, so that it marks a whole folder. So nothing that readers may open is replaced in this way: it is
        placed under a name of its own, and a manifest, which is one file, says which is the newest.
        """
        target = self._at(path)
        with self.writing():
            if not self.is_local:
                with tempfile.TemporaryDirectory() as folder:
                    made = write(Path(folder))
                    if last is not None:
                        self.remove_file(f"{path}/{last}")
                    self.remove(path)
                    for file in sorted(Path(folder).iterdir(), key=lambda file: file.name == last):
                        self._upload(file, f"{target}/{file.name}")
                return made
            self.refuse_links(path)
            # A unique name: a worker that was given up, and whose work is done again, may still be writing.
            part = Path(target).with_name(f".{Path(target).name}.{uuid4().hex[:8]}.part")
            try:
                part.mkdir(parents=True)
                made = write(part)
                replace_folder(part, Path(target))
            finally:
                shutil.rmtree(part, ignore_errors=True)
            return made

    def local_folder(self, path: str) -> Path:
        """Return a folder of files as a local path: itself, or a copy that lives as long as this object.

        The copy is renewed only after this object has changed the folder; changes by others are not seen.
        """
        found = self._found(path)
        if not self._is_folder(found):
            raise StoreError(f"{self.uri}/{path} is missing", "one beside its table", "rebuild what it belongs to")
        if self.is_local:
            return Path(found)
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
            yield Path(self._found(path))
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
        """Remove a folder and its contents, if it exists; of a symbolic link, only the link."""
        target = self._at(path)
        if self._copies is not None:
            shutil.rmtree(self._copies / path, ignore_errors=True)
        if not self.is_local:
            if self._is_folder(target) and self._has_implied_folders:
                self._fs.delete_dir_contents(target)
            if self._is_folder(target):
                self._fs.delete_dir(target)
            return
        self.refuse_links(path)
        for local in (Path(target), aside(Path(target))):
            if local.is_symlink():
                local.unlink()
            elif local.is_dir():
                shutil.rmtree(local)  # which does not follow links

    def remove_file(self, path: str) -> None:
        """Remove a file, if it exists; of a symbolic link, only the link."""
        target = self._at(path)
        if self._copies is not None:
            (self._copies / path).unlink(missing_ok=True)
        if self.is_local:
            self.refuse_links(path)
            if Path(target).is_symlink() or Path(target).is_file():
                Path(target).unlink()
        elif self.has_file(path):
            self._fs.delete_file(target)

    def _is_folder(self, at: str) -> bool:
        return bool(self._fs.get_file_info(at).type == fs.FileType.Directory)

    @property
    def _has_implied_folders(self) -> bool:
        """Whether pyarrow lists and deletes only folders that are objects of their own; Lance makes none."""
        return bool(self._fs.type_name == "gcs")

    def _entries(self, path: str) -> dict[str, bool]:
        """Return the names under a path, and whether each is that of a folder."""
        above = self._at(path)
        selector = fs.FileSelector(above, recursive=self._has_implied_folders, allow_not_found=True)
        found: dict[str, bool] = {}
        for info in self._fs.get_file_info(selector):
            name, _, below = info.path.removeprefix(f"{above}/").partition("/")
            found[name] = found.get(name, False) or bool(below) or info.type == fs.FileType.Directory
        return found

    def _upload(self, local: Path, target: str) -> None:
        fs.copy_files(str(local), target, source_filesystem=fs.LocalFileSystem(), destination_filesystem=self._fs)

    def _at(self, path: str) -> str:
        """Return where a path is; raise `StoreError` if it leads out of the folder. All paths come through here."""
        if not path:
            return str(self._root)
        if any(not is_name(one) for one in path.split("/")):
            raise StoreError(
                f"{self.uri}: the path {path[:200]!r} leads out of the store",
                "a path within it",
                "restore what names it from a copy; do not use a store that you do not trust",
            )
        return f"{self._root}/{path}"

    def _found(self, path: str) -> str:
        """Return where something is to be read: at its path, or in a folder that was set aside when it was replaced.

        A process that is killed between two steps leaves it there, on file systems that cannot exchange two folders.
        """
        target = self._at(path)
        if self.is_local and path and not (local := Path(target)).exists():
            other = aside(local) if local.parent.exists() else aside(local.parent) / local.name
            return str(other) if other.exists() else target
        return target

    def refuse_links(self, path: str) -> None:
        """Raise `StoreError` if a folder above a path is a symbolic link that leads out of this one."""
        if not self.is_local:
            return
        above, root = Path(self._at(path)).parent, Path(self._root)
        if not above.resolve().is_relative_to(root.resolve()):
            raise StoreError(
                f"{above} leads out of the store by a symbolic link: nothing was changed there",
                "a folder within the store",
                "remove the link, or put the folder in its place",
            )

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Raise `DiskFullError` where the disk is full, and `StoreError` where this user may not write."""
        try:
            yield
        except OSError as error:
            if error.errno in DENIED or any(f"os error {one})" in str(error) for one in DENIED):
                raise StoreError(
                    f"{self.uri} cannot be written (permission denied)",
                    "a store of your own, or the right to write in it",
                    "give another `store`, or ask its owner",
                ) from error
            raise (as_disk_full(error, self.uri) or error) from error
