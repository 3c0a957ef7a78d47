"""Names of atlases, and the paths of their parts in a store."""

from __future__ import annotations

import re

from scvec.errors import InputError

CURRENT = "current"
"""The tag that readers follow."""

LAYOUT = 1
"""The version of the layout of an atlas's table and the files beside it."""


def check_name(name: str, what: str = "atlas") -> None:
    """Raise `InputError` if `name` is not a valid name for an atlas, or for `what`."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", name):
        raise InputError(
            f"invalid {what} name {name!r}",
            "at most 100 letters, digits, '.', '-' and '_', starting with a letter or a digit",
        )


def check_new_name(name: str) -> None:
    """Raise `InputError` if a new atlas cannot be called so: LanceDB would take the name for another."""
    check_name(name)
    if ".." in name or name.endswith(".lance"):
        raise InputError(f"invalid atlas name {name!r}", "one without '..' that does not end in .lance")


def cells_path(name: str) -> str:
    """Return the path of an atlas's table in its store."""
    return f"atlases/{name}/cells"


def labels_path(name: str) -> str:
    """Return the path of the table of an atlas's labels in its store."""
    return f"atlases/{name}/labels"


def atlas_folder(name: str) -> str:
    """Return the folder of an atlas in its store."""
    return f"atlases/{name}"


def version_folder(name: str, version: int) -> str:
    """Return the folder of one version of an atlas in its store."""
    return f"atlases/{name}/v{version}"
