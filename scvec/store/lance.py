"""Lance, imported where it is first used."""

from __future__ import annotations

import os
from typing import Any


def lance() -> Any:
    """Return the package."""
    # Its log warns of every new table. Must be set before the import.
    os.environ.setdefault("LANCE_LOG", "error")
    import lance as package

    return package
