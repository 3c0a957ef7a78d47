"""Reading TOML files, and checking their keys."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

from scvec.core.limits import bounded_toml, read_file
from scvec.core.reading import reading
from scvec.errors import unknown


def read_toml(path: Path, expected: str, fix: str) -> dict[str, Any]:
    """Return the values of a TOML file; raise `FileError` if it is missing or invalid, with `expected` and `fix`."""
    with reading(str(path), f"{expected} in TOML", fix):
        return bounded_toml(read_file(path, "settings").decode("utf-8"))


def check_keys(kind: type[Any], values: dict[str, Any], what: str, where: str) -> None:
    """Raise `KeyNotFoundError` if a key is not a field of the dataclass `kind`."""
    known = [field.name for field in fields(kind)]
    for key in values:
        if key not in known:
            raise unknown(what, key, known, where)


def without_none(values: dict[str, Any]) -> dict[str, Any]:
    """Return the values without those that are None, which TOML cannot express."""
    nested = {key: without_none(value) if isinstance(value, dict) else value for key, value in values.items()}
    return {key: value for key, value in nested.items() if value is not None}


def is_count(value: object) -> bool:
    """Whether a value is a positive integer."""
    return isinstance(value, int) and not isinstance(value, bool) and value > 0
