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
        if not lock.FREE.match(name):
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


def test_dev_brings_nothing_for_a_gpu_but_torch() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    todo, seen, names = ["dev"], {"dev"}, set[str]()
    while todo:
        for one in map(Requirement, extras[todo.pop()]):
            names.add(one.name)
            more = one.extras - seen if one.name == "scvec" else set()
            todo += more
            seen |= more
    assert "torch" in names
    assert "gpu" not in seen
    assert not {one for one in names if re.match(r"cuvs|faiss-(gpu|cuda)|cupy|nvidia", one)}


def test_the_gpu_extra_leaves_faiss_cpu_alone() -> None:
    """No wheel with the import name faiss; cuVS where it has wheels."""
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    asked = {one.name: one for one in map(Requirement, extras["gpu"])}
    assert set(asked) == {"torch", "cuda-toolkit", "cuvs-cu13"}
    marker = asked["cuvs-cu13"].marker
    assert marker is not None
    assert marker == asked["cuda-toolkit"].marker
    for system, machine, here in (
        ("Linux", "x86_64", True),
        ("Linux", "aarch64", True),
        ("Linux", "riscv64", False),
        ("Darwin", "arm64", False),
        ("Windows", "AMD64", False),
    ):
        assert marker.evaluate({"platform_system": system, "platform_machine": machine}) is here
