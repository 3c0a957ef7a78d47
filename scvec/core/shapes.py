"""Checking that values of JSON have the shape that the code relies on, in one pass and before they are used."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias


@dataclass(frozen=True, slots=True)
class Each:
    """An object with any keys, whose values have one shape."""

    shape: Shape


@dataclass(frozen=True, slots=True)
class Maybe:
    """A key that may be missing or null; else its value has this shape."""

    shape: Shape


Shape: TypeAlias = Any
"""A type (float takes whole numbers too, `object` takes all), a tuple of one shape for a list, a mapping of keys to
shapes, `Each`, or in a mapping `Maybe`."""


def fault(value: Any, shape: Shape, at: str = "it") -> str:
    """Return the first fault of a value: ``"index.parts[0].rows is 'many', not int"``; "" for none."""
    if isinstance(shape, Maybe):
        return "" if value is None else fault(value, shape.shape, at)
    if isinstance(shape, Each):
        if not isinstance(value, dict):
            return _is_not(value, "an object", at)
        return _first(fault(one, shape.shape, f"{at}[{key!r:.40}]") for key, one in value.items())
    if isinstance(shape, tuple):
        if not isinstance(value, list):
            return _is_not(value, "a list", at)
        return _first(fault(one, shape[0], f"{at}[{i}]") for i, one in enumerate(value))
    if isinstance(shape, Mapping):
        return _of_object(value, shape, at)
    accepted = (int, float) if shape is float else shape
    good = isinstance(value, accepted) and (shape in (bool, object) or not isinstance(value, bool))
    return "" if good else _is_not(value, shape.__name__, at)


def _of_object(value: Any, shape: Mapping[str, Shape], at: str) -> str:
    if not isinstance(value, dict):
        return _is_not(value, "an object", at)
    before = "" if at == "it" else f"{at}."
    for key, one in shape.items():
        if key not in value and not isinstance(one, Maybe):
            return f"{at} has no entry {key!r}"
        found = fault(value.get(key), one, f"{before}{key}")
        if found:
            return found
    return ""


def _is_not(value: Any, wanted: str, at: str) -> str:
    return f"{at} is {value!r:.60}, not {wanted}"


def _first(faults: Any) -> str:
    return next(filter(None, faults), "")
