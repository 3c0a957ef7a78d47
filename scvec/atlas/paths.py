"""What atlases are called, and where in a store their parts are."""

from __future__ import annotations

import re

from scvec.errors import InputError

CURRENT = "current"
"""The tag that readers follow."""

LAYOUT = 1
"""Of an atlas's table and the files beside it."""


def check_name(name: str, what: str = "atlas") -> None:
    """Raise `InputError` if `name` cannot name an atlas, or whatever else `what` says."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", name):
        raise InputError(
            f"{what} name {name!r}", "letters, digits, '.', '-' and '_', at most 100", "choose another name"
        )


def cells_path(name: str) -> str:
    """Return where an atlas's table is in its store."""
    return f"atlases/{name}/cells"


def atlas_folder(name: str) -> str:
    """Return where all of an atlas is in its store."""
    return f"atlases/{name}"


def version_folder(name: str, version: int) -> str:
    """Return where the files of one version of an atlas are in its store."""
    return f"atlases/{name}/v{version}"
