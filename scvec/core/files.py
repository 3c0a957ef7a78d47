"""Local files: hashing, writing whole or not at all, reading mappings."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from scvec.core.exchange import aside, replace_folder
from scvec.core.limits import bounded_json, read_file
from scvec.core.reading import reading
from scvec.core.spreadsheets import unguarded
from scvec.errors import InputError, as_disk_full


def sha256(path: Path) -> str:
    """Return the hash of a file's bytes."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def save_arrays(path: Path, arrays: Mapping[str, np.ndarray[Any, Any]], metadata: dict[str, str] | None = None) -> None:
    """Write arrays as safetensors; `metadata` may have one entry at most, as the order of several is not fixed."""
    from safetensors.numpy import save

    # The bytes are written here: when the library writes the file, a full disk raises an error type of its own.
    path.write_bytes(save({name: np.ascontiguousarray(array) for name, array in arrays.items()}, metadata))


def require_folder(out: Path, what: str) -> None:
    """Raise `InputError` if a parent of `out`, which errors call `what`, is not a folder."""
    above = next(one for one in out.absolute().parents if one.exists())
    if not above.is_dir():
        raise InputError(f"{what} {out}: {above} is a file", "a folder", "check the path")


@contextmanager
def placing(target: Path) -> Iterator[Path]:
    """Yield a path to write to; on success that file becomes `target`, on an error it is removed.

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
    except Exception as error:
        if (full := as_disk_full(error, str(target))) is not None:
            raise full from error
        raise
    finally:
        part.unlink(missing_ok=True)


@contextmanager
def placing_folder(target: Path) -> Iterator[Path]:
    """Yield the path of a folder to make; on success it becomes `target`, in place of an older one, else it is removed.

    Raises
    ------
    DiskFullError
        If no space was left.
    """
    part = target.with_name(f".{target.name}.part")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        if not target.exists() and aside(target).exists():  # by a process that was killed between two steps
            aside(target).rename(target)
        shutil.rmtree(part, ignore_errors=True)
        yield part
        replace_folder(part, target)
    except Exception as error:
        if (full := as_disk_full(error, str(target))) is not None:
            raise full from error
        raise
    finally:
        shutil.rmtree(part, ignore_errors=True)


def read_pairs(path: str | Path, key: str, value: str, what: str) -> dict[str, str | None]:
    """Read a mapping: a JSON object of strings, or the columns `key` and `value` of CSV or TSV; an empty value is None.

    Raises
    ------
    FileError
        If the file is missing or has neither form; the message calls it `what`.
    """
    import polars as pl

    path = Path(path)
    expected = f'a JSON object {{"{key}": "{value}"}}, or CSV or TSV with the columns {key} and {value}'
    with reading(f"{what} {path}", expected, "correct the file"):
        content = read_file(path)
        if path.suffix == ".json":
            found = bounded_json(content)
            if not isinstance(found, dict) or not all(isinstance(one, str) for one in found.values()):
                raise ValueError("not an object of strings")
            return found
        table = pl.read_csv(content, separator="\t" if path.suffix == ".tsv" else ",", infer_schema=False)
        return dict(unguarded(table).select(key, value).drop_nulls(key).iter_rows())
