"""Locations of files: a local path, or a URI that fsspec knows."""

from __future__ import annotations

import hashlib
import io
import json
import re
import shutil
import sys
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import IO, Any, TypeAlias

from scvec.core.reading import reason
from scvec.errors import FileError, InputError, MissingDependencyError, ScvecError, as_disk_full, missing

BLOCK_BYTES, N_BLOCKS = 4 * 2**20, 16
"""Random access to a remote file reads blocks of this size, and keeps the last so many."""

OF_THE_EXTRA = ("s3fs", "aiohttp")
"""Packages of ``scvec[remote]``; those of other protocols are installed by their own names."""

OF_PROTOCOLS = (
    ("botocore.exceptions", "BotoCoreError"),
    ("aiohttp", "ClientError"),
    ("google.auth.exceptions", "GoogleAuthError"),
    ("gcsfs.retry", "HttpError"),
    ("azure.core.exceptions", "AzureError"),
)
"""Errors of protocol packages that are not `OSError`."""


@dataclass(frozen=True)
class Uri:
    """A file or folder that fsspec reaches, with the methods of `Path` that reading needs.

    Attributes
    ----------
    uri
        In fsspec's form: ``"s3://bucket/cells.h5ad"``.
    """

    uri: str

    def __str__(self) -> str:
        return self.uri

    def __truediv__(self, name: str) -> Uri:
        return Uri(f"{self.uri.rstrip('/')}/{name}")

    @property
    def name(self) -> str:
        """The last part, without the query of a URL."""
        return PurePosixPath(self.uri.split("?")[0] if self.is_http else self.uri).name

    @property
    def stem(self) -> str:
        """The name without its suffix."""
        return PurePosixPath(self.name).stem

    @property
    def suffix(self) -> str:
        """The suffix of the name."""
        return PurePosixPath(self.name).suffix

    @property
    def parent(self) -> Uri:
        """The folder."""
        return Uri(self.uri.rstrip("/").rpartition("/")[0])

    @property
    def is_http(self) -> bool:
        """Whether it is on a web server, where folders cannot be listed."""
        return self.uri.startswith(("http://", "https://"))

    @cached_property
    def fs(self) -> Any:
        """The file system of fsspec.

        Raises
        ------
        InputError
            If fsspec does not know the protocol.
        MissingDependencyError
            If the protocol's package is not installed.
        """
        import fsspec
        from fsspec.registry import known_implementations

        protocol = self.uri.partition("://")[0]
        try:
            return fsspec.filesystem(protocol)
        except ImportError as error:
            package = str(known_implementations[protocol]["class"]).split(".")[0]
            package = "aiohttp" if package == "fsspec" else package
            if package in OF_THE_EXTRA:
                raise missing(package, "remote", f"reading {protocol}:// addresses") from error
            raise MissingDependencyError(
                f"reading {protocol}:// addresses needs {package}", fix=f"pip install {package}"
            ) from error
        except ValueError as error:
            raise InputError(
                f"{self.uri}: unknown protocol {protocol!r}",
                "a path or a URI, such as s3://... or https://...",
                "check the address",
            ) from error

    def exists(self) -> bool:
        """Whether it exists."""
        with reading(str(self)):
            return bool(self.fs.exists(self.uri))

    def open(self, mode: str = "rb") -> IO[bytes]:
        """Open a file for sequential reading."""
        return io.BufferedReader(self.fs.open(self.uri, mode))

    def open_blocks(self) -> IO[bytes]:
        """Open a file for random access; its last `N_BLOCKS` blocks are kept."""
        kept = {"cache_type": "blockcache", "block_size": BLOCK_BYTES, "cache_options": {"maxblocks": N_BLOCKS}}
        stream: IO[bytes] = self.fs.open(self.uri, "rb", **kept)
        return stream


Place: TypeAlias = Path | Uri


def place(path: str | Path | Uri) -> Place:
    """Return the location of a path or URI; ``file://`` is a local path."""
    if isinstance(path, Uri):
        return path
    # pathlib.Path turns the two slashes of a URI into one.
    said = re.sub(r"^([a-z][a-z0-9+.-]+):/(?=[^/])", r"\1://", str(path)) if isinstance(path, Path) else path
    if "://" not in said:
        return Path(path)
    return Path(said.removeprefix("file://")) if said.startswith("file://") else Uri(said)


def absolute(path: str | Path) -> str:
    """Return a path or URI that means the same in any process, whatever its working folder."""
    where = place(path)
    return str(where.absolute() if isinstance(where, Path) else where)


@contextmanager
def reading(where: str) -> Iterator[None]:
    """Raise errors that name the part of the file that could not be read, as those of libraries do not.

    Raises
    ------
    FileError
        In place of any error of HDF5, zarr, decompression, parsers and protocols: what they raise for a file that was
        not made as they expect it is not a matter of a list. Errors of scvec pass.
    DiskFullError
        If there is no room for temporary files.
    """
    try:
        yield
    except ScvecError:
        raise
    except FileNotFoundError as error:
        if _unreachable(error.__cause__):
            raise _no_access(where, error.__cause__) from error
        raise FileError(f"{where} does not exist", "a file of cells", "check the path") from error
    except _denials() as error:
        raise _no_access(where, error) from error
    except Exception as error:  # by contract: see above
        full = as_disk_full(error, "the temporary files")
        fix = "download or write it again"
        raise full or FileError(f"{where} {reason(error)}", "a complete file", fix) from error


def _unreachable(error: BaseException | None) -> bool:
    """Whether a file was not found for another reason than its absence, to which a web server answers 404."""
    return isinstance(error, OSError) or getattr(error, "status", 404) != 404


def _no_access(where: str, error: BaseException | None) -> FileError:
    seen = f"{where} cannot be accessed ({_said(error)})"
    return FileError(seen, "a readable file", "check the address, the permissions and the credentials")


def _said(error: BaseException | None) -> str:
    return " ".join(str(error).split())[:100] or type(error).__name__


def _denials() -> tuple[type[BaseException], ...]:
    loaded = [getattr(sys.modules[module], name) for module, name in OF_PROTOCOLS if module in sys.modules]
    return (PermissionError, *loaded)


def fingerprint(places: Sequence[Place]) -> str:
    """Return a hash of the sizes and times of files, also of those in folders; of remote files, of the ETag if any.

    It changes when a file does; the contents are not read.
    """
    return hashlib.sha256(json.dumps([_states(one) for one in places]).encode()).hexdigest()


def _states(where: Place) -> list[tuple[str, int, str]]:
    """Return name, size and version of a file, or of all files in a folder."""
    with reading(str(where)):
        if isinstance(where, Uri):
            return _remote_states(where)
        where = where.absolute()  # a file is the same one, from whatever folder it is named
        files = sorted(one for one in where.rglob("*") if one.is_file()) if where.is_dir() else [where]
        states = [(one, one.stat()) for one in files]
        return [(str(one), state.st_size, str(state.st_mtime_ns)) for one, state in states]


def _remote_states(uri: Uri) -> list[tuple[str, int, str]]:
    uri.fs.invalidate_cache()
    if uri.is_http or not uri.fs.isdir(uri.uri):
        members = {uri.uri: uri.fs.info(uri.uri)}
    else:
        members = uri.fs.find(uri.uri, detail=True)
    return [(name, int(info.get("size") or 0), _version(info)) for name, info in sorted(members.items())]


def _version(info: dict[str, Any]) -> str:
    """Return a mark of the state of a remote file."""
    keys = ("ETag", "etag", "md5Hash", "LastModified", "Last-Modified", "last_modified", "modified", "mtime", "created")
    return next((str(info[key]) for key in keys if info.get(key)), "")


def copy_local(path: str | Path, target: Path) -> None:
    """Copy a file, local or remote, to a local path."""
    where = place(path)
    if isinstance(where, Path):
        shutil.copyfile(where, target)
        return
    with reading(str(where)):
        where.fs.get_file(where.uri, str(target))


def copy_local_folder(path: str | Path, target: Path) -> None:
    """Copy a folder, local or remote, or what is in a local zip archive, to a local path that does not exist yet."""
    where = place(path)
    if isinstance(where, Uri):
        with reading(str(where)):
            where.fs.get(where.uri, str(target), recursive=True)
    elif where.is_dir():
        # shutil.copytree goes on after an error, and its own error does not say that the disk is full.
        for file in (one for one in where.rglob("*") if one.is_file()):
            copied = target / file.relative_to(where)
            copied.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, copied)
    else:
        with zipfile.ZipFile(where) as archive:
            archive.extractall(target)


def expand(paths: Sequence[str | Path]) -> list[str | Path]:
    """Return the files that match paths and patterns, each once; those of a pattern are sorted.

    Parameters
    ----------
    paths
        Paths, URIs, and patterns with ``*``, ``?`` or ``[]``: ``"shards/*.h5ad"``, ``"s3://bucket/x*.h5ad"``. The name
        of an existing file is not a pattern.

    Raises
    ------
    FileError
        If a pattern matches nothing.
    """
    found: dict[str, str | Path] = {}
    for one in [paths] if isinstance(paths, str | Path) else paths:
        for file in _matches(one):
            found.setdefault(str(file), file)
    return list(found.values())


def _matches(path: str | Path) -> list[str | Path]:
    where = place(path)
    # A "?" begins the query of a URL.
    magic = "*[" if isinstance(where, Uri) else "*?["
    if not set(magic) & set(str(path)) or (isinstance(where, Path) and where.exists()):
        return [path]
    files: list[str | Path] = []
    if isinstance(where, Uri):
        with reading(str(where)):
            where.fs.invalidate_cache()
            files = sorted(str(where.fs.unstrip_protocol(one)) for one in where.fs.glob(where.uri))
    else:
        root = Path(where.anchor or ".")
        files = sorted(root.glob(str(where.relative_to(where.anchor))))
    if not files:
        raise FileError(f"{path} matches nothing", "files of cells", "check the pattern")
    return files
