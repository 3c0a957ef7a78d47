"""The code that makes calls, as a hash: a record of other code is not this code's record."""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Sequence
from functools import cache
from pathlib import Path

LOOKED_AT = ("bench/tasks.py", "bench/running.py", "evaluation/baselines.py", "interpret/readout")
ROOMS = ("annotation", "atlas", "core", "embed", "index", "ingest", "knn", "store")
"""Rooms whose code decides calls."""
GENES = (
    *("bench/genes/expression.py", "bench/genes/intervals.py", "bench/genes/measuring.py", "bench/genes/probes.py"),
    *("bench/genes/retrieval.py", "bench/genes/sources.py", "core/vectors.py", "embed/projection.py"),
)
"""Code that decides how well vectors of genes do on a task; texts and sets are known by their hashes."""
VIEWS = "views"
"""A room whose code decides calls where a recipe has further views."""


@cache
def code_digest(root: Path = Path(__file__).parents[1], *, views: bool = True) -> str:
    """Return a hash of the code that decides calls; comments, docstrings and layout do not change it."""
    return _digest(root, (*ROOMS, *LOOKED_AT, *((VIEWS,) if views else ())))


@cache
def genes_digest(root: Path = Path(__file__).parents[1]) -> str:
    """Return a hash of the code that measures vectors of genes, as `code_digest` does of calls."""
    return _digest(root, GENES)


def _digest(root: Path, looked_at: Sequence[str]) -> str:
    found = hashlib.sha256()
    for path in sorted({one for name in looked_at for one in _sources(root / name)}):
        found.update(f"{path.relative_to(root).as_posix()}\n{_meaning(path)}\n".encode())
    return found.hexdigest()


def _sources(place: Path) -> list[Path]:
    return [place] if place.is_file() else sorted(place.rglob("*.py"))


def _meaning(path: Path) -> str:
    """Return the syntax tree of a module as text, without the docstrings."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for one in ast.walk(tree):
        # A string that stands alone is a docstring, of a function or of a constant.
        if isinstance(one, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            one.body = [line for line in one.body if not _is_text(line)] or [ast.Pass()]
    return ast.dump(tree)


def _is_text(line: ast.stmt) -> bool:
    return isinstance(line, ast.Expr) and isinstance(line.value, ast.Constant) and isinstance(line.value.value, str)
