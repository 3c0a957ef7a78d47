"""What all verbs share: the application, output, and how an error becomes one line and an exit code."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from io import StringIO
from shutil import get_terminal_size
from time import monotonic
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer
import typer.core
import typer.main

from scvec._version import __version__
from scvec.errors import ScvecError, as_disk_full, printable

if TYPE_CHECKING:
    from scvec.store import Store

SECONDS_A_LINE = 20.0
BAD_INPUT = 2
INTERRUPTED = 130
UNBOUNDED = 100_000
"""Characters of a line that is not written to a terminal."""

_RULED = "\n".join(["    ", "    ", " -  ", "    ", "    ", "    ", "    ", "    "])
"""Rich's drawing of a table with a rule of dashes under the header, and nothing else."""

_WORDS: ContextVar[Sequence[str]] = ContextVar("words", default=())
"""The words of the command that runs."""

_USAGE_ERROR: type[Any] = typer.BadParameter.__mro__[1]
"""The error of words that make no command; which package has it depends on typer's release."""

START, PREPARE, LABEL = "Start here", "Prepare", "Label and understand"
"""Panels of verbs."""

ORDER = (
    *("demo", "genes", "ontology", "models", "embed", "atlas", "refine", "interpret", "store"),
    *("query", "name", "report", "explain", "search", "evaluate", "bench"),
)


FIRST_STEPS = f"""scvec {__version__} labels single cells by their nearest neighbours in a reference atlas.

  scvec demo                 try it on real blood cells, offline
  scvec atlas build --help   build an atlas from your labelled cells
  scvec query --help         label new cells with it
  scvec --help               all commands"""


class _InOrder(typer.core.TyperGroup):
    """Lists the verbs in the order one meets them."""

    def list_commands(self, ctx: Any) -> list[str]:
        return sorted(super().list_commands(ctx), key=ORDER.index)


app = typer.Typer(
    name="scvec",
    cls=_InOrder,
    help="Label single cells by retrieval from versioned reference atlases.",
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)


@app.callback(invoke_without_command=True)
def _start(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", is_eager=True, help="Show the version and exit.")] = False,
) -> None:
    if version:
        typer.echo(f"scvec {__version__}")
        raise typer.Exit
    if context.invoked_subcommand is None:
        typer.echo(FIRST_STEPS)


@dataclass(frozen=True, slots=True)
class Ui:
    """Where a verb's words go: results to standard output, notes and progress to standard error."""

    as_json: bool
    quiet: bool

    def note(self, text: str) -> None:
        """Print a note, unless quiet."""
        if not self.quiet:
            typer.echo(printable(with_options(text)), err=True)

    def result(self, values: dict[str, Any] | list[Any], text: str) -> None:
        """Print the result: `values` as JSON where that was asked for, else `text`."""
        # JSON escapes control characters, but for DEL.
        typer.echo(json.dumps(values, indent=1).replace("\x7f", "\\u007f") if self.as_json else printable(text))

    def device(self, asked: str) -> str:
        """Return the device to use, with a note where it is not the one asked for."""
        from scvec.core.device import choose

        device, said = choose(asked)
        if said:
            self.note(said)
        return device

    @contextmanager
    def progress(self, title: str, total: int) -> Iterator[Callable[[int], None]]:
        """Show a bar on a terminal; elsewhere a line now and then, if it takes long."""
        if self.quiet:
            yield lambda _step: None
            return
        if not sys.stderr.isatty():
            yield _lines(title, total, self.note)
            return
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeElapsedColumn,
            TimeRemainingColumn,
        )

        parts = (
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
        )
        with Progress(*parts, console=Console(stderr=True), transient=True) as bar:
            task = bar.add_task(printable(title, kept=""), total=total)
            yield lambda step: bar.advance(task, step)


def _lines(title: str, total: int, note: Callable[[str], None]) -> Callable[[int], None]:
    """Return what says how far it is, at most every `SECONDS_A_LINE`."""
    done, said = 0, monotonic()

    def advance(step: int) -> None:
        nonlocal done, said
        done += step
        if monotonic() - said > SECONDS_A_LINE:
            said = monotonic()
            note(f"{title}: {done:,} of {total:,}")

    return advance


def open_store(uri: str) -> Store:
    """Open the store a verb was given."""
    from scvec.store import Store

    return Store(uri)


def table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Return a plain table, numbers to the right; as wide as it needs to be, but for a terminal."""
    from rich.box import Box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    made = Table(box=Box(_RULED, ascii=True), show_edge=False, padding=(0, 1, 0, 0), pad_edge=False)
    for i, name in enumerate(header):
        right = bool(rows) and all(isinstance(row[i], (int, float)) for row in rows)
        made.add_column(Text(printable(name, kept="")), justify="right" if right else "left", overflow="fold")
    for row in rows:
        made.add_row(*(Text(_shown(one)) for one in row))
    width = get_terminal_size().columns if sys.stdout.isatty() else UNBOUNDED
    console = Console(file=StringIO(), width=width, color_system=None, force_terminal=False)
    with console.capture() as drawn:
        console.print(made)
    return "\n".join(line.rstrip() for line in drawn.get().splitlines())


def _shown(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.3f}"
    return f"{value:,}" if isinstance(value, int) else printable(str(value), kept="")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code: 0, 2 for bad input, 130 when interrupted."""
    words = sys.argv[1:] if arguments is None else list(arguments)
    _WORDS.set(words)
    try:
        code = app(args=words, prog_name="scvec", standalone_mode=False)
    except _USAGE_ERROR as error:
        said = " ".join(error.format_message().split()).rstrip(".").replace("Value error, ", "")
        # A group of verbs without one has shown its help by now, and says nothing more.
        return _fail(f"{said}. Fix: {_verb(words)[0]} --help.") if said else BAD_INPUT
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 1
    except ScvecError as error:
        return _fail(with_options(str(error)))
    except OSError as error:
        full = as_disk_full(error, error.filename or "the output")
        return _fail(str(full or error))
    if code == INTERRUPTED:
        return _fail("interrupted; the store is unchanged; run the command again to resume", INTERRUPTED)
    return code if isinstance(code, int) else 0


def _verb(words: Sequence[str]) -> tuple[str, Any]:
    """Return the verb that a command line begins with: how it is written, and what typer has made of it."""
    name, verb = "scvec", cast(Any, typer.main.get_command(app))
    for word in words:
        if word not in getattr(verb, "commands", {}):
            break
        name, verb = f"{name} {word}", verb.commands[word]
    # A group may have a verb that is meant where none is named.
    default = getattr(verb, "default_verb", None)
    if default is not None and words[-1:] != name.split()[-1:]:
        name, verb = f"{name} {default}", verb.commands[default]
    return name, verb


def with_options(message: str) -> str:
    """Return the message with the options of the verb that runs in place of the library's parameters.

    What the verb takes as an argument, or does not take, stays as it is.
    """
    if "`" not in message:
        return message
    options = [(one.name, one.opts[0]) for one in _verb(_WORDS.get())[1].params if one.opts[0].startswith("--")]
    names = {option.lstrip("-").replace("-", "_"): option for _, option in options} | dict(options)
    return re.sub(r"`(\w+)`", lambda found: names.get(found[1], found[0]), message)


@contextmanager
def renaming(**options: str) -> Iterator[None]:
    """Have errors name options whose parameter in the library is called otherwise: ``error="rerank_error"``."""

    def renamed(text: str) -> str:
        return re.sub(r"`(\w+)`", lambda found: f"`{options.get(found[1], found[1])}`", text)

    try:
        yield
    except ScvecError as error:
        raise type(error)(*map(renamed, (error.seen, error.expected, error.fix))) from error


def _fail(line: str, code: int = BAD_INPUT) -> int:
    typer.echo(f"scvec: {printable(line, kept='')}", err=True)
    return code
