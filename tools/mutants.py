"""Break a module in one place after another, and say which breaks its tests do not see.

    python tools/mutants.py scvec/metrics.py tests/test_metrics.py

A mutant has another operator, number, name of a function, side of a branch, or lacks a statement. It is imported in
place of the module, in a process of its own; no file is changed. Hypothesis draws the same examples each time.
"""

from __future__ import annotations

import argparse
import ast
import copy
import os
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import spec_from_loader
from pathlib import Path
from types import ModuleType
from typing import Any, NoReturn

OPERATORS: dict[type[ast.AST], type[ast.AST]] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.And: ast.Or,
    ast.Or: ast.And,
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Pow: ast.Mult,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
    ast.MatMult: ast.Add,
}
NAMES = ("min max", "minimum maximum", "any all", "argmin argmax", "floor ceil", "sum mean", "zeros ones", "exp log")
SWAPPED = {one: other for pair in map(str.split, NAMES) for one, other in (pair, pair[::-1])}
NOT_BROKEN = (ast.Import, ast.ImportFrom, ast.Raise, ast.JoinedStr)
"""What holds nothing that a test should pin: imports, and the words of errors and notes."""

NOT_READ = ("decorator_list", "returns", "annotation", "type_params", "bases")
"""Fields of nodes that hold types."""

QUIET = ("-x", "-q", "--tb=line", "-p", "no:cacheprovider", "-W", "ignore::pytest.PytestAssertRewriteWarning")
"""What pytest is told: among others, that modules loaded before it are no matter."""

LOADED_ONCE = ("hypothesis", "scipy.stats", "sklearn.linear_model", "anndata", "polars", "numba", "typer", "rich")
"""What takes long to import, and may be there when a process forks."""


@dataclass(frozen=True, slots=True)
class Mutant:
    """A module with one break: where, what it says there now, and the whole of it."""

    line: int
    change: str
    tree: ast.Module

    def __str__(self) -> str:
        return f"{self.line}: {self.change}"


def mutants(tree: ast.Module) -> Iterator[Mutant]:
    """Yield all mutants of a module, in the order of its lines."""
    for path, node in _nodes(tree, ()):
        for other in _others(node):
            broken = copy.deepcopy(tree)
            _put(broken, path, other)
            ast.fix_missing_locations(broken)
            yield Mutant(getattr(node, "lineno", 0), f"{_text(node)}  ->  {_text(other)}", broken)


def _nodes(node: ast.AST, path: tuple[tuple[str, int | None], ...]) -> Iterator[tuple[Any, ast.AST]]:
    for field, value in ast.iter_fields(node):
        if field in NOT_READ:
            continue
        for i, one in enumerate(value) if isinstance(value, list) else [(None, value)]:
            if not isinstance(one, ast.AST) or isinstance(one, NOT_BROKEN) or _is_words(one):
                continue
            here = (*path, (field, i))
            yield here, one
            yield from _nodes(one, here)


def _is_words(node: ast.AST) -> bool:
    """Whether a statement is a docstring, or the name of a type."""
    if isinstance(node, ast.AnnAssign):
        return isinstance(node.annotation, ast.Name) and node.annotation.id == "TypeAlias"
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def _others(node: ast.AST) -> Iterator[ast.AST]:
    """Yield what may stand in the place of a node."""
    match node:
        case ast.Compare(ops=[op]) if type(op) in OPERATORS:
            yield _with(node, ops=[OPERATORS[type(op)]()])
        case ast.Compare(ops=ops):
            for i, op in enumerate(ops):
                yield _with(node, ops=[*ops[:i], OPERATORS[type(op)](), *ops[i + 1 :]])
        case ast.BinOp(op=op) | ast.BoolOp(op=op) | ast.AugAssign(op=op) if type(op) in OPERATORS:
            yield _with(node, op=OPERATORS[type(op)]())
        case ast.UnaryOp(operand=operand):
            yield operand
        case ast.Constant(value=bool(value)):
            yield ast.Constant(not value)
        case ast.Constant(value=int() | float() as number):
            yield ast.Constant(number + 1)
            yield ast.Constant(number / 2 if isinstance(number, float) and number else number - 1)
        case ast.IfExp(body=body, orelse=orelse):
            yield body
            yield orelse
        case ast.If(test=test):
            yield _with(node, test=ast.UnaryOp(ast.Not(), test))
        case ast.Call():
            yield from _calls(node)
        case ast.Slice() if node.lower or node.upper or node.step:
            yield ast.Slice()
        case ast.Continue():
            yield ast.Break()
    is_kept = isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)
    if isinstance(node, (ast.Expr, ast.AugAssign, ast.Assign, ast.If)) and not is_kept:
        yield ast.Pass()
    if isinstance(node, ast.Attribute | ast.Name) and isinstance(node.ctx, ast.Load):
        field = "attr" if isinstance(node, ast.Attribute) else "id"
        if getattr(node, field) in SWAPPED:
            yield _with(node, **{field: SWAPPED[getattr(node, field)]})


def _calls(node: ast.Call) -> Iterator[ast.AST]:
    """Yield a call without one of its keywords, `where` with its sides changed, and no call at all."""
    for i in range(len(node.keywords)):
        yield _with(node, keywords=node.keywords[:i] + node.keywords[i + 1 :])
    if not isinstance(node.func, ast.Attribute):
        return
    if node.func.attr == "where" and len(node.args) == 3:
        yield _with(node, args=[node.args[0], node.args[2], node.args[1]])
    if node.func.attr in ("astype", "copy"):
        yield node.func.value


def _with(node: ast.AST, **fields: Any) -> ast.AST:
    changed = copy.copy(node)
    for name, value in fields.items():
        setattr(changed, name, value)
    return changed


def _put(tree: ast.AST, path: tuple[tuple[str, int | None], ...], node: ast.AST) -> None:
    at: Any = tree
    for field, i in path[:-1]:
        at = getattr(at, field) if i is None else getattr(at, field)[i]
    field, i = path[-1]
    if i is None:
        setattr(at, field, node)
    else:
        getattr(at, field)[i] = node


def _text(node: ast.AST) -> str:
    text = " ".join(ast.unparse(node).split())
    return text if len(text) < 90 else f"{text[:87]}..."


class Instead(MetaPathFinder):
    """Imports a mutant in place of its module."""

    def __init__(self, name: str, tree: ast.Module) -> None:
        self.name, self.tree = name, tree

    def find_spec(self, fullname: str, path: Any = None, target: ModuleType | None = None) -> ModuleSpec | None:
        """Return how to import a module, if it is the one that is broken."""
        del path, target
        return spec_from_loader(fullname, self) if fullname == self.name else None  # type: ignore[arg-type]

    def create_module(self, spec: ModuleSpec) -> None:
        """Leave it to Python."""

    def exec_module(self, module: ModuleType) -> None:
        """Run the mutant; without a file, so that no cache of compiled loops takes it for the module."""
        exec(compile(self.tree, f"<mutant of {self.name}>", "exec"), module.__dict__)


class Plain:
    """A plugin for pytest: the same examples each time, and none is shrunk."""

    def pytest_configure(self) -> None:
        """Load the profile after the tests' own."""
        from hypothesis import Phase, settings

        phases = (Phase.explicit, Phase.generate)
        settings.register_profile("mutants", settings(), derandomize=True, database=None, phases=phases)
        settings.load_profile("mutants")


def survives(name: str, tree: ast.Module, tests: list[str], limit: float) -> tuple[bool, str]:
    """Return whether tests pass with a module so, in `limit` seconds; and the end of what pytest says."""
    with tempfile.NamedTemporaryFile() as said:
        child = os.fork()
        if not child:
            _run(name, tree, tests, said.fileno())
        end = time.monotonic() + limit
        while time.monotonic() < end:
            ended, status = os.waitpid(child, os.WNOHANG)
            if ended:
                return status == 0, Path(said.name).read_text(errors="replace")[-1500:]
            time.sleep(0.02)
        os.killpg(child, signal.SIGKILL)
        os.waitpid(child, 0)
        return False, "too slow"


def _run(name: str, tree: ast.Module, tests: list[str], out: int) -> NoReturn:
    """Run tests in this process, a fork, and end it with their exit code."""
    code = 3
    try:
        os.setsid()
        for number in (1, 2):
            os.dup2(out, number)
        sys.meta_path.insert(0, Instead(name, tree))
        import pytest

        code = int(pytest.main([*QUIET, *tests], plugins=[Plain()]))
    finally:
        sys.stdout.flush()
        os._exit(code)


def main() -> int:
    """Run the tests on every mutant, and name those that they do not see; some of these are no other module at all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("module", type=Path, help="file of the module")
    parser.add_argument("tests", nargs="+", help="its tests, as pytest takes them")
    parser.add_argument("--lines", help="FIRST-LAST: these lines alone")
    asked = parser.parse_args()
    name = ".".join(asked.module.with_suffix("").parts)
    for one in LOADED_ONCE:
        import_module(one)
    tree = ast.parse(asked.module.read_text())
    start = time.monotonic()
    passes, said = survives(name, tree, asked.tests, 600)
    if not passes:
        raise SystemExit(f"the tests fail on the module as it is:\n{said}")
    limit = 10 + 4 * (time.monotonic() - start)
    first, last = map(int, asked.lines.split("-")) if asked.lines else (0, sys.maxsize)
    n_all = n_alive = 0
    for mutant in mutants(tree):
        if not first <= mutant.line <= last:
            continue
        alive, _ = survives(name, mutant.tree, asked.tests, limit)
        n_all, n_alive = n_all + 1, n_alive + alive
        if alive:
            print(f"{asked.module}:{mutant}", flush=True)
    print(f"{asked.module}: {n_all} mutants, {n_alive} alive, {time.monotonic() - start:.0f} s")
    return n_alive > 0


if __name__ == "__main__":
    sys.exit(main())
