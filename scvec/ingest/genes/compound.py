"""Names that hold more than a gene's name: a second name of it (``INS_ENSG00000254647``), or a number (``INS-1``)."""

from __future__ import annotations

import re

ENSEMBL_WITHIN = re.compile(r"(?<![A-Za-z0-9])(ENS[A-Z]*G\d{11})(?:\.\d+)?(?:_PAR_Y)?(?![A-Za-z0-9])", re.IGNORECASE)
AROUND = " _-|:;,./()[]"

NUMBERED = re.compile(r"(.+)([-._])(\d{1,2})")
"""A name and the number that `make_unique` of anndata (``-1``) or of R (``.1``) adds to one that occurs again."""


def joined(name: str) -> list[str]:
    """Return the names that a name joins, its Ensembl id first; none for a name that joins none."""
    found = ENSEMBL_WITHIN.search(name)
    if found is None or found.span() == (0, len(name)):
        return []
    rest = (name[: found.start()], *name[found.end() :].split("|"))
    others = [one.strip(AROUND) for part in rest for one in re.split(r"[|;]", part)]
    return [found[1], *(one for one in others if one and not one.isdigit())]


def numbered(name: str) -> tuple[str, str] | None:
    """Return a name without the number at its end, and what separates them; None for names without one."""
    found = NUMBERED.fullmatch(name)
    return None if found is None else (found[1], found[2])
