"""A suite: which recipes run on which tasks with which seeds; a frozen value, read from TOML."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from itertools import product
from math import prod
from pathlib import Path
from typing import Any, Literal, TypeAlias, get_args

from scvec.core.toml import read_toml
from scvec.embed.recipe import Recipe
from scvec.embed.recipe import recipe as find_recipe
from scvec.errors import InputError, KeyNotFoundError, unknown
from scvec.interpret.readout import ReadoutSpec

FIX = "correct the suite"

GenesFrom: TypeAlias = Literal["variable", "all", "top"]

WORDS = (
    "name",
    "group",
    "label_key",
    "batch_key",
    "label_id_key",
    "query_label_key",
    "layer",
    "query_taxon",
    "remove_class",
)
"""The keys of a task that hold a string."""

MOST_VARIED = 1_000
"""Tasks that `vary` makes of one; their number is the product of the lengths of its lists."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HoldOut:
    """Which of the reference's cells are held out as the query.

    Attributes
    ----------
    key, values
        Those with one of these values in this column of ``obs``: a donor, say.
    share
        Or this share of each label's cells, drawn by the seed.
    """

    key: str = ""
    values: tuple[str, ...] = ()
    share: float | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "values", tuple(map(str, self.values)))
        by_value = bool(self.key and self.values) and self.share is None
        by_share = not self.key and not self.values and isinstance(self.share, float) and 0 < self.share < 1
        if not (by_value or by_share):
            raise InputError(
                f"hold_out has key {self.key!r}, values {list(self.values)}, share {self.share!r}",
                "either a key and values, or a share between 0 and 1",
                FIX,
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """Cells to label, and the reference to label them with.

    Attributes
    ----------
    name, group
        Its name, and the table that it is listed in.
    reference, query
        Files; no query: it is `hold_out` of the reference.
    hold_out
        Which of the reference's cells are the query; None if the query is another file.
    label_key, batch_key, label_id_key
        Columns of ``obs``.
    query_label_key
        The query's column of labels, if it has another name there.
    compare_ids
        Compare calls and author labels by `label_id_key`, for files that name their labels differently.
    layer
        The matrix in both files; None: X.
    query_taxon
        Species of the query, if it differs from the reference's.
    cells_per_class
        At most this many reference cells of each label, drawn by the seed.
    query_genes
        Keep only this many of the query's genes.
    genes_from
        Which ones: ``"variable"``, drawn by the seed from the reference's most variable genes; ``"all"``, drawn from
        all that the query has; ``"top"``, the reference's most variable genes themselves.
    remove_class
        A label that is removed from the reference.
    panel
        Whether what is fitted on the reference is also fitted on the query's genes only; needs `query_genes` or
        `query_taxon`.
    """

    name: str
    reference: Path
    label_key: str
    group: str = ""
    query: Path | None = None
    hold_out: HoldOut | None = None
    batch_key: str | None = None
    label_id_key: str | None = None
    query_label_key: str | None = None
    compare_ids: bool = False
    layer: str | None = None
    query_taxon: str | None = None
    cells_per_class: int | None = None
    query_genes: int | None = None
    genes_from: GenesFrom = "variable"
    remove_class: str | None = None
    panel: bool = False

    def __post_init__(self) -> None:
        check = checker(f"task {self.name!r}")
        for key in WORDS:
            value = getattr(self, key)
            check(value is None or isinstance(value, str), f"{key} = {value!r}", "a string")
        for key in ("cells_per_class", "query_genes"):
            value = getattr(self, key)
            good = value is None or (type(value) is int and value > 0)
            check(good, f"{key} = {value!r}", "a whole number of at least 1")
        for key in ("compare_ids", "panel"):
            check(isinstance(getattr(self, key), bool), f"{key} = {getattr(self, key)!r}", "true or false")
        check(bool(slug(self.name)), "no letter or digit in its name", "a name that a folder can have")
        check((self.query is None) != (self.hold_out is None), "both or neither of query and hold_out", "one of them")
        check(not self.compare_ids or self.label_id_key is not None, "compare_ids alone", "also label_id_key")
        check(self.query_label_key is None or self.query is not None, "query_label_key alone", "also query")
        check(self.genes_from in get_args(GenesFrom), f"genes_from = {self.genes_from!r}", "variable, all or top")
        narrow = self.query_genes is not None or self.query_taxon is not None
        check(not self.panel or narrow, "panel alone", "also query_genes or query_taxon")
        cut_abroad = self.query_genes is not None and self.query_taxon is not None
        check(not cut_abroad, "both query_genes and query_taxon", "one of them, because genes are drawn by name")

    @property
    def is_random_split(self) -> bool:
        """Whether query and reference are from the same samples, which is easy."""
        return self.hold_out is not None and self.hold_out.share is not None

    @property
    def draws_reference(self) -> bool:
        """Whether the reference depends on the seed."""
        return self.is_random_split or self.cells_per_class is not None

    @property
    def draws(self) -> bool:
        """Whether anything in the task depends on the seed."""
        return self.draws_reference or (self.query_genes is not None and self.genes_from != "top")


@dataclass(frozen=True, slots=True, kw_only=True)
class Suite:
    """What to measure. The controls are not listed: they always run.

    Attributes
    ----------
    name
        Its name.
    seeds
        Random seeds, of tasks and methods alike.
    encoders
        Encoders for each recipe that reads text; none: the one that the recipe names.
    recipes
        Recipes to compare with the controls.
    readouts
        Readouts of language models, each with its ablations.
    tasks
        The tasks, in the order of the tables.
    """

    name: str
    seeds: tuple[int, ...]
    encoders: tuple[str, ...]
    recipes: tuple[Recipe, ...]
    readouts: tuple[ReadoutSpec, ...] = ()
    tasks: tuple[Task, ...]

    def __post_init__(self) -> None:
        check = checker(f"suite {self.name!r}")
        check_seeds(check, self.seeds)
        check(all(isinstance(one, str) for one in self.encoders), f"encoders = {[*self.encoders]}", "their names")
        check(bool(self.tasks), "no tasks", "[[tasks]]")
        ablated = next((one.ablation for one in self.readouts if one.ablation != "none"), None)
        check(ablated is None, f"a readout with ablation {ablated}", "ablation none, because a suite adds all others")
        each_once(check, "encoder", self.encoders)
        each_once(check, "recipe", [one.name for one in self.recipes])
        each_once(check, "task", [slug(one.name) for one in self.tasks])

    @classmethod
    def read(cls, path: str | Path) -> Suite:
        """Read a suite; files are relative to its folder, and `$NAME` is an environment variable.

        Raises
        ------
        FileError
            If `path` is missing or not TOML.
        InputError
            If a key is unknown, or a value is invalid.
        """
        path = Path(path)
        values = read_toml(path, "a suite", "check the path and the file")
        tasks = values.get("tasks")
        if isinstance(tasks, list) and any(isinstance(one, dict) and "kind" in one for one in tasks):
            raise InputError(f"{path} has gene-level tasks", "tasks of cells", f"scvec bench genes {path}")
        _known("suite key", values, [one.name for one in fields(cls)], path)
        check_lists(values, ("seeds", "encoders", "recipes", "readouts", "tasks"), path)
        return cls(
            name=str(values.get("name", path.stem)),
            seeds=tuple(values.get("seeds", [0])),
            encoders=tuple(values.get("encoders", [])),
            recipes=tuple(_recipe(str(one), path) for one in values.get("recipes", [])),
            readouts=tuple(_readout(str(one), path) for one in values.get("readouts", [])),
            tasks=tuple(_task(one, path) for entry in values.get("tasks", []) for one in _varied(entry, path)),
        )


Check: TypeAlias = Callable[[bool, str, str], None]
"""Raises `InputError` if a value is invalid: whether it is good, what was seen, and what is expected."""


def check_seeds(check: Check, seeds: Sequence[object]) -> None:
    """Raise `InputError` unless there are seeds, which are whole numbers, each once."""
    check(bool(seeds), "no seeds", "seeds = [0]")
    good = all(type(one) is int and one >= 0 for one in seeds)
    check(good, f"seeds = {[*seeds]}", "whole numbers of at least 0")
    each_once(check, "seed", [str(one) for one in seeds])


def each_once(check: Check, kind: str, names: Sequence[str]) -> None:
    """Raise `InputError` if a name occurs twice."""
    twice = next((one for one in names if list(names).count(one) > 1), None)
    check(twice is None, f"the {kind} {twice} twice", "each once")


def check_lists(values: Mapping[str, Any], keys: Iterable[str], path: Path) -> None:
    """Raise `InputError` if one of these keys of a suite has other than a list."""
    for key in keys:
        if not isinstance(values.get(key, []), list):
            raise InputError(f"{path}: {key} = {values[key]!r}", "a list", FIX)


def slug(name: str) -> str:
    """Return a name in a form that a file can have."""
    return re.sub("[^a-z0-9]+", "-", name.lower()).strip("-")


def checker(owner: str) -> Callable[[bool, str, str], None]:
    """Return the function that raises `InputError` if a value of a suite or a task is invalid."""

    def check(good: bool, seen: str, expected: str) -> None:
        if not good:
            raise InputError(f"{owner} has {seen}", expected, FIX)

    return check


def _known(kind: str, values: object, known: Collection[str], where: Path) -> None:
    if not isinstance(values, dict):
        raise InputError(f"{where}: {values!r} for a {kind.split()[0]}", "a table", FIX)
    for key in values:
        if key not in known:
            raise unknown(kind, key, known, where)


def _recipe(name: str, path: Path) -> Recipe:
    return Recipe.from_toml(_path(name, path)) if name.endswith(".toml") else find_recipe(name)


def _readout(name: str, path: Path) -> ReadoutSpec:
    """Read a readout; its model, a path or a name, may contain an environment variable."""
    spec = ReadoutSpec.from_toml(_path(name, path))
    return spec if spec.model is None else replace(spec, model=expanded(spec.model, path))


def _path(text: object, suite: Path) -> Path:
    return suite.parent / expanded(str(text), suite)


def expanded(text: str, suite: Path) -> str:
    """Return a text of a suite with its environment variables; raise `KeyNotFoundError` if one is not set."""
    found = os.path.expandvars(text)
    if "$" in found:
        raise KeyNotFoundError(f"{suite}: the environment variable in {text} is not set", fix="export it")
    return found


def _varied(entry: Any, path: Path) -> Iterator[dict[str, Any]]:
    """Yield the entry once for each combination of `vary`, every ``{name}`` in it filled in."""
    _known("task key", entry, [*(one.name for one in fields(Task)), "vary"], path)
    vary = entry.get("vary", {})
    if not isinstance(vary, dict) or not all(isinstance(one, list) for one in vary.values()):
        raise InputError(f"{path}: vary = {vary!r}", "lists of values by name, such as vary = { n = [5, 10] }", FIX)
    n = prod(map(len, vary.values()))
    if n > MOST_VARIED:
        raise InputError(f"{path}: vary makes {n:,} tasks of one", f"at most {MOST_VARIED:,}", FIX)
    rest = {key: value for key, value in entry.items() if key != "vary"}
    for chosen in product(*vary.values()):
        yield {key: _filled(value, dict(zip(vary, chosen, strict=True))) for key, value in rest.items()}


def _filled(value: Any, chosen: Mapping[str, Any]) -> Any:
    if isinstance(value, dict):
        return {key: _filled(one, chosen) for key, one in value.items()}
    if isinstance(value, list):
        return [_filled(one, chosen) for one in value]
    if not isinstance(value, str):
        return value
    for name, one in chosen.items():
        if value == f"{{{name}}}":
            return one
        value = value.replace(f"{{{name}}}", str(one))
    return value


def _task(values: dict[str, Any], path: Path) -> Task:
    lacking = next((key for key in ("name", "reference", "label_key") if key not in values), None)
    if lacking is not None:
        raise InputError(f"{path}: a task lacks {lacking}", fix=f"add {lacking} = ... to it")
    made: dict[str, Any] = {
        key: _path(value, path) if key in ("reference", "query") else value for key, value in values.items()
    }
    if "hold_out" in values:
        _known("hold_out key", values["hold_out"], [one.name for one in fields(HoldOut)], path)
        if not isinstance(values["hold_out"].get("values", []), list):
            raise InputError(f"{path}: hold_out has values = {values['hold_out']['values']!r}", "a list", FIX)
        made["hold_out"] = HoldOut(**values["hold_out"])
    return Task(**made)
