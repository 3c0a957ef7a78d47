"""Local files: hashed, written whole or not at all; maps read from them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from scvec.errors import FileError, as_disk_full


def sha256(path: Path) -> str:
    """Return the hash of a file's bytes."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def save_arrays(path: Path, arrays: Mapping[str, np.ndarray[Any, Any]], metadata: dict[str, str] | None = None) -> None:
    """Write arrays as safetensors; give `metadata` one entry at most, as of several the order is not the same twice."""
    from safetensors.numpy import save

    # Through bytes: a full disk is an error of the library's own where it writes the file itself.
    path.write_bytes(save({name: np.ascontiguousarray(array) for name, array in arrays.items()}, metadata))


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


def read_pairs(path: str | Path, key: str, value: str, what: str) -> dict[str, str | None]:
    """Read a map: a JSON object of strings, or CSV or TSV with the columns `key` and `value`; None where that is empty.

    Raises
    ------
    FileError
        If it is missing or neither; `what` says which map it is.
    """
    import polars as pl

    path = Path(path)
    try:
        if path.suffix == ".json":
            found = json.loads(path.read_text(encoding="utf-8"))
            if not isinstance(found, dict) or not all(isinstance(one, str) for one in found.values()):
                raise ValueError("no object of strings")
            return found
        table = pl.read_csv(path, separator="\t" if path.suffix == ".tsv" else ",", infer_schema=False)
        return dict(table.select(key, value).drop_nulls(key).iter_rows())
    except (OSError, ValueError, pl.exceptions.PolarsError) as error:
        wanted = f'a JSON object {{"{key}": "{value}"}}, or CSV or TSV with the columns {key} and {value}'
        raise FileError(f"{what} {path}: {str(error)[:100]}", wanted, "mend the file") from error
