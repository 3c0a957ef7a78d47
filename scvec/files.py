"""Local files: hashed, and written whole or not at all."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from scvec.errors import as_disk_full


def sha256(path: Path) -> str:
    """Return the hash of a file's bytes."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


@contextmanager
def placing(target: Path) -> Iterator[Path]:
    """Give a path to write to; when the context ends well it becomes `target`, otherwise it is removed.

    Raises
    ------
    DiskFullError
        If no space was left.
    """
    part = target.with_name(f".{target.name}.part")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        yield part
        part.replace(target)
    except OSError as error:
        raise (as_disk_full(error, str(target)) or error) from error
    finally:
        part.unlink(missing_ok=True)
