"""Values of any kind as text for a page."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


def flat(values: Any, key: str = "") -> dict[str, str]:
    """Return nested values by their paths, without coverage, which has a section of its own."""
    if isinstance(values, dict):
        made: dict[str, str] = {}
        for name, value in values.items():
            made |= {} if name == "coverage" else flat(value, f"{key}.{name}" if key else str(name))
        return made
    if isinstance(values, (list, tuple)) and any(isinstance(one, dict) for one in values):
        made = {}
        for i, value in enumerate(values[:20]):
            made |= flat(value, f"{key}.{i + 1}")
        return made
    text = ", ".join(map(str, values)) if isinstance(values, (list, tuple)) else str(values)
    return {key: text}


def listed(parts: Sequence[str]) -> str:
    """Return words as a list in a sentence: ``"a, b and c"``."""
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"
