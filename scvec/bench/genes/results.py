"""The records of a suite of gene-level tasks as figures with intervals, verdicts, JSON and Markdown."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from math import isnan
from pathlib import Path
from shlex import quote
from typing import Any, TypeAlias, TypeVar

import numpy as np

from scvec._version import __version__
from scvec.bench import records
from scvec.bench.code import genes_digest
from scvec.bench.genes import models
from scvec.bench.genes.intervals import Interval, difference, interval
from scvec.bench.genes.measuring import MEASURES
from scvec.bench.genes.models import Kept, name_only
from scvec.bench.genes.suite import GeneSuite
from scvec.bench.genes.tasks import VARIANTS, Prepared, Variant
from scvec.bench.records import Record
from scvec.bench.results import RESULTS, TABLES, ResultTable
from scvec.core.files import placing
from scvec.core.types import Doubles
from scvec.embed.encoders import Address

VIEWS: tuple[Variant, ...] = ("masked", "plain")
"""The texts that tables are of; what reads no text, or names alone, stands in each."""

TFIDF = "tfidf"
COMMAND, DOWNLOAD = "scvec bench genes", "`download`"
FACTS = ("revision", "dimension", "tokens read", "tokens lost", "tokens/s", "s, plain texts", "USD, plain texts")
"""What is told of a model: `facts_shown`."""
Key: TypeAlias = tuple[str, str, Variant]
"""A row's name, a task's, and the texts."""
Found = TypeVar("Found")


@dataclass(frozen=True, slots=True)
class Figure:
    """How well a row does on a task.

    Attributes
    ----------
    task, texts, row, kind, measure
        Of what.
    value, low, high
        The mean over sets or genes, and its interval. Where no set has a right answer, there is no figure.
    against
        For a model: the interval of the mean difference to TF-IDF, and to its own names alone, where these stand.
    """

    task: str
    texts: Variant
    row: str
    kind: str
    measure: str
    value: float
    low: float
    high: float
    against: Mapping[str, Interval]

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Figure:
        """Return one of its JSON types."""
        against = {control: (mean, low, high) for control, (mean, low, high) in values["against"].items()}
        return cls(**{**values, "against": against})


@dataclass(frozen=True, slots=True)
class GeneResults:
    """The results of a suite so far.

    Attributes
    ----------
    suite, seeds
        Its name, and its seeds.
    tasks
        For each task ``name``, ``kind``, ``measures``, ``n_genes``, ``n_sets``, and the ``digest`` of texts and sets.
    rows
        For each row its name, its kind (``"model"``, ``"control"``) and what is known of it, or why it is ``missing``
        and the ``command`` that fills it.
    figures
        All figures.
    tables, brief
        Those of the Markdown file; those of a terminal, of the first measures and without intervals.
    files
        The files written.
    """

    suite: str
    seeds: tuple[int, ...]
    tasks: tuple[Record, ...]
    rows: tuple[Record, ...]
    figures: tuple[Figure, ...]
    tables: tuple[ResultTable, ...]
    brief: tuple[ResultTable, ...]
    files: tuple[Path, ...]

    @classmethod
    def write(
        cls, suite: GeneSuite, tasks: Sequence[Prepared], out: Path, asked: Collection[str] = (), command: str = ""
    ) -> GeneResults:
        """Summarise the records of the tasks, and write ``results.json`` and ``results.md``.

        Parameters
        ----------
        suite, tasks, out
            The suite, its tasks, and the folder with the records.
        asked
            Digests of records that count before others of the same row, task and texts.
        command
            What measures a model into the folder, if ``--encoder MODEL`` is added.
        """
        found = _found(suite, tasks, out, asked)
        rows = _rows(suite, found, models.read(out), command or f"{COMMAND} --out {quote(str(out))}")
        figures = tuple(_figures(tasks, [one["row"] for one in rows], found))
        files = (out / RESULTS, out / TABLES)
        made = cls._of(suite.name, suite.seeds, tuple(_about(one) for one in tasks), rows, figures, files)
        for path, words in zip(files, (json.dumps(made.to_dict(), indent=1), made.markdown()), strict=True):
            with placing(path) as part:
                part.write_text(words + "\n", encoding="utf-8")
        return made

    @classmethod
    def _of(
        cls,
        suite: str,
        seeds: Sequence[int],
        tasks: tuple[Record, ...],
        rows: tuple[Record, ...],
        figures: tuple[Figure, ...],
        files: tuple[Path, ...],
    ) -> GeneResults:
        tables = tuple(_tables(tasks, rows, figures))
        brief = tuple(_table(f"{one.capitalize()} texts:", one, 0, tasks, rows, figures, brief=True) for one in VIEWS)
        return cls(suite, tuple(seeds), tasks, rows, figures, tables, (*brief, tables[-1]), files)

    def beside(self, earlier: Mapping[str, Any]) -> GeneResults:
        """Return the results, with the models that only an earlier run of the same tasks by the same code measured.

        Parameters
        ----------
        earlier
            What `to_dict` returned then; of other tasks, seeds or code, nothing of it is taken.
        """
        mine = self.to_dict()
        if any(earlier.get(key) != mine[key] for key in ("tasks", "seeds", "code")):
            return self
        own = {one["row"] for one in self.rows if "missing" not in one}
        theirs = {one["row"]: one for one in earlier["rows"] if "missing" not in one and one["row"] not in own}
        listed = {one["row"]: theirs.get(one["row"], one) for one in self.rows} | theirs
        rows = tuple(sorted(listed.values(), key=lambda one: one["kind"] == "control"))
        figures = (*self.figures, *(Figure.of(one) for one in earlier["figures"] if one["row"] in theirs))
        return self._of(self.suite, self.seeds, self.tasks, rows, figures, self.files)

    def verdict(self, row: str, texts: Variant, control: str = TFIDF) -> tuple[int, int]:
        """Return on how many tasks a row is better than a control, and how many both stand on.

        Better is a mean difference of the task's first measure whose interval is above 0.
        """
        first = {one["name"]: one["measures"][0] for one in self.tasks}
        own = [
            one.against
            for one in self.figures
            if (one.row, one.texts) == (row, texts) and one.measure == first[one.task]
        ]
        return _better([against[control] for against in own if control in against])

    def markdown(self) -> str:
        """Return the tables as Markdown, with what they are of."""
        tables = (f"{one.title}\n\n{one.markdown()}" for one in self.tables)
        return "\n\n".join([f"# {self.suite}", _head(self.seeds), *tables])

    def to_dict(self) -> dict[str, Any]:
        """Return the results as JSON types."""
        made = {"genes": 1, "scvec": __version__, "code": genes_digest(), "seeds": list(self.seeds)}
        figures = [asdict(one) for one in self.figures]
        return made | {"suite": self.suite, "tasks": list(self.tasks), "rows": list(self.rows), "figures": figures}


def _better(differences: Sequence[Interval]) -> tuple[int, int]:
    return sum(low > 0 for _, low, _ in differences), len(differences)


def _found(suite: GeneSuite, tasks: Sequence[Prepared], out: Path, asked: Collection[str]) -> dict[Key, Record]:
    """Return the records of these tasks and seeds by this code; of two revisions, the one asked, or written last."""
    names = {one.digest: one.task.name for one in tasks}
    there = sorted(records.read(out).values(), key=lambda one: one["digest"] in asked)
    return {
        (one["row"], names[one["task_digest"]], one["texts"]): one
        for one in there
        if one.get("task_digest") in names
        and one.get("code") == genes_digest()
        and one.get("seeds") == list(suite.seeds)
    }


def _rows(suite: GeneSuite, found: Mapping[Key, Record], kept: Mapping[str, Kept], command: str) -> tuple[Record, ...]:
    """Return the rows in the order of the suite, models that are not in it after those that are, controls last."""
    kinds = {one["row"]: one["kind"] for one in found.values()}
    asked = [Address.parse(one).canonical() for one in suite.encoders]
    addresses = dict(zip(asked, suite.encoders, strict=True))
    others = [name for name in kept if kinds.get(name) == "model" or (name in kinds and name not in asked)]
    measured = [*asked, *sorted(one for one in others if one not in asked)]
    listed = dict.fromkeys([*measured, *(name for name, kind in kinds.items() if kind == "model")])
    rows = []
    for name in listed:
        if kinds.get(name) == "control":
            continue
        about = kept.get(name, {})
        address = about.get("address", addresses.get(name, name))
        row: Record = {"row": name, "kind": "model", "address": address, **about.get("facts", {})}
        if name not in kinds:
            row["missing"] = about.get("missing", "not run yet.")
            row["command"] = f"{command} --encoder {quote(address)}"
        rows.append(row)
    controls = [name for name, kind in kinds.items() if kind == "control"]
    order = [TFIDF, *(name_only(one) for one in listed), *sorted(controls)]
    return (
        *rows,
        *(
            {"row": name, "kind": "control", **kept.get(name, {}).get("facts", {})}
            for name in dict.fromkeys(order)
            if name in controls
        ),
    )


def _about(task: Prepared) -> Record:
    kind = task.task.kind
    n = {"n_genes": len(task.genes.gene_ids), "n_sets": len(task.set_names)}
    return {"name": task.task.name, "kind": kind, "measures": list(MEASURES[kind]), **n, "digest": task.digest}


def _figures(tasks: Sequence[Prepared], rows: Sequence[str], found: Mapping[Key, Record]) -> Iterable[Figure]:
    for task in tasks:
        for row in rows:
            for texts in VARIANTS:
                made = found.get((row, task.task.name, texts))
                if made is None:
                    continue
                for measure in MEASURES[task.task.kind]:
                    values = _values(made, measure)
                    against = {
                        control: difference(values, _values(other, measure))
                        for control in (TFIDF, name_only(row))
                        if made["kind"] == "model" and (other := _of(found, control, task.task.name, texts))
                    }
                    mean, low, high = interval(values)
                    if isnan(mean):
                        continue
                    yield Figure(task.task.name, texts, row, made["kind"], measure, mean, low, high, against)


def _of(found: Mapping[Key, Record], row: str, task: str, texts: Variant) -> Record | None:
    """Return a row's record of these texts, or else of those that it reads in their place."""
    return found.get((row, task, texts)) or found.get((row, task, "name"))


def _values(made: Record | None, measure: str) -> Doubles:
    values = [] if made is None else made["values"][measure]
    return np.array([np.nan if one is None else one for one in values], np.float64)


def figures_of_tables(values: Mapping[str, Any]) -> dict[Key, Record]:
    """Return the figures of each task's first measure, by row, task and texts, of `GeneResults.to_dict`."""
    first = {one["name"]: one["measures"][0] for one in values["tasks"]}
    own = (one for one in values["figures"] if first[one["task"]] == one["measure"])
    return {(one["row"], one["task"], one["texts"]): one for one in own}


def figure_in(row: Record, task: str, view: Variant, figures: Mapping[Key, Found]) -> Found | None:
    """Return a row's figure in a view: of a control that reads no such texts, that of the only ones that it reads."""
    name, texts = row["row"], [view]
    if row["kind"] == "control" and (name, task, "masked") not in figures:
        texts += ["name", "plain"]
    return next((figures[name, task, one] for one in texts if (name, task, one) in figures), None)


def _tables(about: Sequence[Record], rows: Sequence[Record], figures: Sequence[Figure]) -> Iterable[ResultTable]:
    for view in VIEWS:
        for place, words in ((0, ""), (1, ", second measure")):
            tasks = [one for one in about if len(one["measures"]) > place]
            if tasks:
                yield _table(f"{view.capitalize()} texts{words}:", view, place, tasks, rows, figures)
    yield _models(rows)


def _table(
    title: str,
    view: Variant,
    place: int,
    tasks: Sequence[Record],
    rows: Sequence[Record],
    figures: Sequence[Figure],
    *,
    brief: bool = False,
) -> ResultTable:
    by_key = {(one.row, one.task, one.texts): one for one in figures if _is(one, tasks, place)}
    header = ("row", *(f"{one['name']}, {one['measures'][place]}" for one in tasks), "better than TF-IDF")
    cells = []
    for row in rows:
        name, values = row["row"], []
        for task in tasks:
            found = figure_in(row, task["name"], view, by_key)
            values.append("" if found is None else _cell(found, brief))
        own = [one.against for one in by_key.values() if (one.row, one.texts) == (name, view)]
        better, n = _better([against[TFIDF] for against in own if TFIDF in against])
        said = f"{better} of {n}" if n else "not measured here" if "missing" in row else ""
        cells.append((f"*{name}*" if row["kind"] == "control" else name, *values, said))
    return ResultTable(title, header, tuple(cells))


def _is(figure: Figure, tasks: Sequence[Record], place: int) -> bool:
    return any(one["name"] == figure.task and one["measures"][place] == figure.measure for one in tasks)


def _cell(figure: Figure, brief: bool) -> str:
    if brief:
        return f"{figure.value:.3f}"
    return f"{figure.value:.3f} ({figure.low:.3f} to {figure.high:.3f})"


def _models(rows: Sequence[Record]) -> ResultTable:
    header = ("model", *FACTS, "note")
    cells = []
    for row in rows:
        if row["kind"] == "model" or "revision" in row:
            said = f"not measured here: {reason(row)} Then: `{command_for(row)}`" if "missing" in row else ""
            cells.append((row["row"], *facts_shown(row), said))
    return ResultTable("Models:", header, tuple(cells))


def command_for(row: Record) -> str:
    """Return the command that fills the row of a model that was not measured."""
    return f"{row['command']}{' --download' if DOWNLOAD in row['missing'] else ''}"


def reason(row: Record) -> str:
    """Return why a model was not measured, with the option in place of the parameter."""
    return str(row["missing"]).replace(DOWNLOAD, "--download")


def facts_shown(row: Record) -> tuple[str, ...]:
    """Return a row's revision, dimension, limit, tokens lost, tokens/s, and seconds and price of all plain texts."""
    if "revision" not in row:
        return ("",) * 7
    speed = row["timed_tokens"] / row["seconds"] if row["seconds"] and row["timed_tokens"] else None
    return (
        row["revision"],
        str(row["dimension"]),
        "all" if row["max_tokens"] is None else str(row["max_tokens"]),
        f"{row['tokens_lost']:.1%}" + ("" if row["counted"] or not row["n_tokens"] else " (estimated)"),
        "" if speed is None else f"{speed:,.0f}",
        "" if speed is None else f"{row['n_tokens'] / speed:.1f}",
        "unknown" if row["usd"] is None else f"{row['usd']:.4f}" if row["usd"] else "0",
    )


def _head(seeds: Sequence[int]) -> str:
    said = ", ".join(map(str, seeds))
    return (
        f"scvec {__version__}; seeds {said}. A figure is the mean over sets (of orthologs, over genes), with its "
        "95 % bootstrap interval. Masked texts lack the gene's own names and the words of all sets' names. Rows in "
        "italics are controls: they know no text, names alone, or words alone. Better than TF-IDF are the tasks on "
        "which the interval of the mean difference is above 0."
    )
