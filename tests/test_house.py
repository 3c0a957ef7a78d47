"""The package as a house: few loose modules, no circle, no module out of reach, a public face that is whole."""

from __future__ import annotations

import ast
import graphlib
import subprocess
import sys
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

import grimp
import pytest

import scvec

PACKAGE = Path(scvec.__file__).parent
LOOSE = {"_version", "errors", "overview", "tl"}
OPTIONAL = {"scvec.index.block_maxima": "triton"}
"""Modules that import what no extra brings for every machine: torch's wheels for GPUs bring Triton."""


@pytest.fixture(scope="module")
def modules() -> list[str]:
    paths = (path.relative_to(PACKAGE.parent).with_suffix("") for path in PACKAGE.rglob("*.py"))
    names = (".".join(path.parts).removesuffix(".__init__") for path in paths)
    return sorted(name for name in names if not name.endswith("__main__"))


def test_few_modules_stand_loose_at_the_root() -> None:
    loose = {path.stem for path in PACKAGE.glob("*.py")} - {"__init__", "__main__"}
    assert loose == LOOSE


def test_no_circle() -> None:
    graph = grimp.build_graph("scvec")
    sorter = graphlib.TopologicalSorter({one: graph.find_modules_directly_imported_by(one) for one in graph.modules})
    sorter.prepare()  # raises CycleError, which names the circle


def test_imports_go_down_only() -> None:
    done = subprocess.run(
        [Path(sys.executable).with_name("lint-imports")],
        cwd=PACKAGE.parent,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout


def test_no_module_hides_behind_a_name_that_its_package_exports(modules: list[str]) -> None:
    here = [name for name in modules if find_spec(OPTIONAL.get(name, "scvec"))]
    for name in here:
        import_module(name)
    hidden = []
    for name in here[1:]:
        package, _, leaf = name.rpartition(".")
        if not isinstance(getattr(sys.modules[package], leaf), ModuleType):
            hidden.append(name)
    assert not hidden


def test_all_is_complete() -> None:
    """What a type checker sees is what is exported, and each name imports."""
    tree = ast.parse((PACKAGE / "__init__.py").read_text())
    (checked,) = (node for node in tree.body if isinstance(node, ast.If))
    seen = {
        alias.asname or alias.name for node in checked.body if isinstance(node, ast.ImportFrom) for alias in node.names
    }
    assert seen == set(scvec.__all__)
    assert list(scvec.__all__) == sorted(scvec.__all__, key=lambda name: (not name.isupper(), name.islower(), name))
    for name in scvec.__all__:
        assert getattr(scvec, name) is not None


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("scvec.overview", "overview"),
        ("scvec.report", "figures"),
        ("scvec.explain", "attributions"),
        ("scvec.atlas.on_ray", "ray_engine"),
        ("scvec.annotation", "write"),
        ("scvec.interpret", "rerank"),
    ],
)
def test_documented_paths_work(module: str, name: str) -> None:
    code = f"from {module} import {name}; print({name}.__name__)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
