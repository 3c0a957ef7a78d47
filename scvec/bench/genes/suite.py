"""A suite of gene-level tasks: which models' vectors are measured on which sets of genes; read from TOML."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias, get_args

from scvec.bench.genes.probes import N_FOLDS
from scvec.bench.suite import FIX, check_lists, check_seeds, checker, each_once, expanded, slug
from scvec.core.files import placing
from scvec.core.limits import bounded_json, read_file
from scvec.core.reading import reading
from scvec.core.toml import check_keys, is_count, read_toml
from scvec.embed.encoders import Address
from scvec.errors import FileError, InputError, unknown

Kind: TypeAlias = Literal["same set", "probe", "orthologs"]
Control: TypeAlias = Literal["tfidf", "name", "length", "permuted", "random", "expression"]
CONTROLS: tuple[Control, ...] = get_args(Control)
KEPT = "suite.json"
"""The suite in the folder into which it was run."""
LISTS = ("encoders", "controls", "seeds", "expression")
OF_FILES = ("file", "static")
"""Kinds of encoders whose argument is a path."""
FAMILIES = "families"
"""The sets of a task that are not in a file: families of genes, as `families.families_of` finds them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GeneTask:
    """What vectors of genes are asked for.

    Attributes
    ----------
    name
        Its name.
    kind
        ``"same set"``: the nearest genes of a gene share a set with it. ``"probe"``: a linear model tells the members
        of a set from other genes. ``"orthologs"``: the nearest text of another species is that of the ortholog.
    sets
        A file of gene sets (see `sets.read_sets`), or ``"families"``; none for orthologs.
    n_sets
        At most so many sets are drawn.
    genes_per_set
        At most so many genes of each are drawn.
    min_genes, max_genes
        The sizes of sets that may be drawn, counted in genes that have a text.
    across_families
        Whether genes of a query's own family are left out of what is found for it: families share names and words.
    other
        The other species of orthologs.
    n_genes
        At most so many pairs of orthologs are drawn.
    sample
        The seed by which sets and genes are drawn: the same for all models.
    """

    name: str
    kind: Kind
    sets: str = ""
    n_sets: int = 40
    genes_per_set: int = 25
    min_genes: int = 5
    max_genes: int = 500
    across_families: bool = True
    other: str = "mouse"
    n_genes: int = 500
    sample: int = 0

    def __post_init__(self) -> None:
        check = checker(f"task {self.name!r}")
        check(self.kind in get_args(Kind), f"kind = {self.kind!r}", " or ".join(map(repr, get_args(Kind))))
        for key in ("n_sets", "genes_per_set", "min_genes", "max_genes", "n_genes"):
            check(is_count(getattr(self, key)), f"{key} = {getattr(self, key)!r}", "a whole number of at least 1")
        for key in ("name", "sets", "other"):
            check(isinstance(getattr(self, key), str), f"{key} = {getattr(self, key)!r}", "a string")
        check(
            type(self.sample) is int and self.sample >= 0, f"sample = {self.sample!r}", "a whole number of at least 0"
        )
        check(isinstance(self.across_families, bool), f"across_families = {self.across_families!r}", "true or false")
        check(bool(slug(self.name)), "no letter or digit in its name", "a name that a file can have")
        wants = self.kind != "orthologs"
        check(bool(self.sets) == wants, f"sets = {self.sets!r}", f"a file or {FAMILIES}" if wants else "no sets")
        alone = self.sets == FAMILIES and self.across_families
        check(not alone, "families across families", "across_families = false")
        check(2 <= self.min_genes <= self.max_genes, f"min_genes = {self.min_genes}", "from 2 to max_genes")
        least = max(self.min_genes, N_FOLDS if self.kind == "probe" else 0)
        check(self.genes_per_set >= least, f"genes_per_set = {self.genes_per_set}", f"at least {least}")


@dataclass(frozen=True, slots=True, kw_only=True)
class GeneSuite:
    """Models, controls and tasks.

    Attributes
    ----------
    name
        Its name.
    encoders
        The models: addresses of encoders of texts, or of files of vectors. One that is not here, or is unknown because
        the package that brings it is not installed, is not measured, and has a row that says so.
    tasks
        The tasks, in the order of the tables.
    controls
        What a model has to beat.
    seeds
        Random seeds of what is drawn when a model is measured: folds, negatives, vectors of controls.
    taxon
        The species whose genes are measured.
    expression
        Files of cells of that species, for the control of that name; only genes that all of them measure count.
    """

    name: str
    encoders: tuple[str, ...]
    tasks: tuple[GeneTask, ...]
    controls: tuple[Control, ...] = ("tfidf", "name", "length", "permuted", "random")
    seeds: tuple[int, ...] = (0, 1, 2)
    taxon: str = "human"
    expression: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check = checker(f"suite {self.name!r}")
        check(bool(self.tasks), "no tasks", "[[tasks]]")
        check_seeds(check, self.seeds)
        check(isinstance(self.taxon, str), f"taxon = {self.taxon!r}", "a string")
        for key in ("encoders", "expression"):
            good = all(isinstance(one, str) for one in getattr(self, key))
            check(good, f"{key} = {[*getattr(self, key)]}", "strings")
        for one in self.controls:
            if one not in CONTROLS:
                raise unknown("control", str(one), CONTROLS, f"suite {self.name!r}")
        check(
            "expression" not in self.controls or bool(self.expression), "expression without files", "expression = [..]"
        )
        each_once(check, "encoder", [Address.parse(one).canonical() for one in self.encoders])
        each_once(check, "control", self.controls)
        each_once(check, "task", [slug(one.name) for one in self.tasks])

    @classmethod
    def read(cls, path: str | Path) -> GeneSuite:
        """Read a suite; files are relative to its folder, and `$NAME` is an environment variable.

        Raises
        ------
        FileError
            If `path` is missing or not TOML.
        InputError
            If a key is unknown, or a value is invalid.
        """
        path = Path(path)
        values = {"name": path.stem, "encoders": [], **read_toml(path, "a suite", "check the path and the file")}
        check_keys(cls, values, "suite key", str(path))
        check_lists(values, ("tasks", *LISTS), path)
        lists: dict[str, Any] = {key: tuple(values[key]) for key in ("seeds", "controls") if key in values}
        return cls(
            name=str(values["name"]),
            encoders=tuple(_here(str(one), path) for one in values["encoders"]),
            tasks=tuple(_task(one, path) for one in values.get("tasks", [])),
            taxon=values.get("taxon", "human"),
            expression=tuple(_absolute(str(one), path) for one in values.get("expression", [])),
            **lists,
        )

    @classmethod
    def of(cls, out: str | Path) -> GeneSuite:
        """Return the suite that was run into a folder.

        Raises
        ------
        FileError
            If none was.
        InputError
            If a value is invalid.
        """
        path = Path(out) / KEPT
        if not path.is_file():
            raise FileError(f"no suite, and none was run into {out}", "a suite in TOML", "name one")
        with reading(str(path), "a suite that was run", "name the suite"):
            values = bounded_json(read_file(path))
            tasks = tuple(GeneTask(**one) for one in values.pop("tasks"))
            lists: dict[str, Any] = {key: tuple(values.pop(key)) for key in LISTS}
            return cls(tasks=tasks, **lists, **values)

    def keep(self, out: Path) -> None:
        """Write it into the folder into which it is run."""
        with placing(out / KEPT) as part:
            part.write_text(json.dumps(asdict(self), indent=1) + "\n", encoding="utf-8")


def _here(encoder: str, suite: Path) -> str:
    """Return the address of an encoder with its environment variables; a file's is relative to the suite."""
    text = expanded(encoder, suite)
    kind, _, path = text.partition(":")
    return f"{kind}:{_absolute(path, suite)}" if kind in OF_FILES and path else text


def _absolute(text: str, suite: Path) -> str:
    return str((suite.parent / Path(expanded(text, suite)).expanduser()).absolute())


def _task(values: Any, path: Path) -> GeneTask:
    if not isinstance(values, dict):
        raise InputError(f"{path}: {values!r} for a task", "a table", FIX)
    check_keys(GeneTask, values, "task key", str(path))
    lacking = next((key for key in ("name", "kind") if key not in values), None)
    if lacking is not None:
        raise InputError(f"{path}: a task lacks {lacking}", fix=f"add {lacking} = ... to it")
    sets = values.get("sets", "")
    if isinstance(sets, str) and sets not in ("", FAMILIES):
        values = {**values, "sets": _absolute(sets, path)}
    return GeneTask(**values)
