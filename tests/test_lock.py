"""The pins: they name what pyproject.toml asks for, once for each Python."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from tools import lock

ROOT = Path(__file__).parents[1]


def pins(python: str) -> list[Requirement]:
    """Return those that count under a Python."""
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    found = [Requirement(line) for line in lines if not line.startswith("#")]
    return [one for one in found if one.marker is None or one.marker.evaluate({"python_version": python})]


@pytest.mark.parametrize("python", lock.PYTHONS)
def test_all_that_is_asked_for_is_pinned_once_and_within_its_range(python: str) -> None:
    found = {one.name: one for one in pins(python)}
    assert len(found) == len(pins(python))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    asked = [
        Requirement(one)
        for some in (project["dependencies"], *project["optional-dependencies"].values())
        for one in some
    ]
    for one in asked:
        name = re.sub(r"[-_.]+", "-", one.name).lower()
        if name != "scvec":
            (version,) = found[name].specifier
            assert one.specifier.contains(version.version), str(one)
    for line in (ROOT / "constraints.in").read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            assert found[Requirement(line).name].specifier == Requirement(line).specifier


def test_where_pythons_differ_each_has_its_own_line() -> None:
    found = {"3.11": {"a": "1", "b": "1"}, "3.12": {"a": "1", "b": "2", "c": "3"}, "3.13": {"a": "1", "b": "2"}}
    assert lock.lines(found) == [
        "a==1",
        'b==1 ; python_version == "3.11"',
        'b==2 ; python_version == "3.12" or python_version == "3.13"',
        "c==3",
    ]
