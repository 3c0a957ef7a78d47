"""Text for people: numbers in sentences."""

from __future__ import annotations


def counted(n: int, noun: str) -> str:
    """Return a number with its noun, which is given in the singular: ``"1 cell"``, ``"2,000 cells"``."""
    return f"{n:,} {noun}" if n == 1 else f"{n:,} {noun}s"
