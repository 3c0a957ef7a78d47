"""Names that hold more than a gene's name: a second name of it (``INS_ENSG00000254647``), or a number (``INS-1``)."""

from __future__ import annotations

import re

ENSEMBL_WITHIN = re.compile(r"(?<![A-Za-z0-9])(ENS[A-Z]*G\d{11})(?:\.\d+)?(?:_PAR_Y)?(?![A-Za-z0-9])", re.IGNORECASE)
AROUND = " _-|:;,./()[]"

NUMBERED = re.compile(r"(.+)([-._])(\d{1,2})")
"""A name and the number that `make_unique` of anndata (``-1``) or of R (``.1``) adds to one that occurs again."""


def joined(name: str) -> tuple[str, str] | None:
    """Return the Ensembl id and the other name of a name that joins both; None for other names."""
    found = ENSEMBL_WITHIN.search(name)
    if found is None or found.span() == (0, len(name)):
        return None
    rest = name[: found.start()].strip(AROUND), name[found.end() :].strip(AROUND)
    return found[1], re.split(r"[|;]", rest[0] or rest[1])[0]


def numbered(name: str) -> tuple[str, str] | None:
    """Return a name without the number at its end, and what separates them; None for names without one."""
    found = NUMBERED.fullmatch(name)
    return None if found is None else (found[1], found[2])
