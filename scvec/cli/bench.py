"""Verbs that measure, and show it: ``bench cells``, which is meant where none is named, ``genes``, ``show``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
import typer.core

from scvec.cli.app import LABEL, app, open_store, table
from scvec.cli.options.common import CommonFlags, OutputFlags, spreads

if TYPE_CHECKING:
    from scvec.bench.genes import GeneResults


class _Suites(typer.core.TyperGroup):
    """Takes a suite in place of a verb: ``scvec bench SUITE.toml`` is ``scvec bench cells SUITE.toml``."""

    default_verb = "cells"

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if args and args[0] not in self.commands and args[0] not in ctx.help_option_names:
            args = [self.default_verb, *args]
        return super().parse_args(ctx, args)


bench_app = typer.Typer(
    cls=_Suites,
    help="Measure recipes on cells, or text models on genes; scvec bench SUITE.toml is scvec bench cells SUITE.toml.",
    no_args_is_help=True,
)
app.add_typer(bench_app, name="bench", rich_help_panel=LABEL)


@bench_app.command(epilog="Example: scvec bench cells suite.toml --out bench-open")
@spreads
def cells(
    suite: Annotated[Path, typer.Argument(help="Recipes, tasks and seeds.", metavar="SUITE.toml")],
    out: Annotated[Path, typer.Option(help="Folder for the tasks' files, the records and the tables.")] = Path(
        "scvec-bench"
    ),
    *,
    common: CommonFlags,
) -> None:
    """Measure recipes and their baselines on a suite of tasks; resumes if interrupted."""
    from scvec.bench import Suite, run

    ui = common.ui
    results = run(Suite.read(suite), out, open_store(common.store), progress=ui.progress)
    for row in results.rows:
        for why in row["failed"]:
            ui.note(f"{row['method']} failed on {row['task']}: {why}")
    parts = [f"{name}\n\n{table(tables[0].header, tables[0].rows)}" for name, tables in results.groups.items()]
    files = "\n".join(str(path) for path in results.files)
    ui.result(results.to_dict(), "\n\n".join([*parts, f"Median accuracy / macro-F1. Written:\n{files}"]))


@bench_app.command(epilog="Example: scvec bench genes suite.toml --encoder minilm")
@spreads
def genes(
    suite: Annotated[
        Path | None,
        typer.Argument(help="Models, controls and tasks (default: the suite of --out).", metavar="SUITE.toml"),
    ] = None,
    encoder: Annotated[
        list[str] | None,
        typer.Option(help="Measure only this model, which need not be in the suite; repeatable."),
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder for the records and the tables.")] = Path("scvec-bench-genes"),
    download: Annotated[
        bool, typer.Option("--download", help="Download the models' weights from a model hub if they are missing.")
    ] = False,
    *,
    common: CommonFlags,
) -> None:
    """Measure text models on gene-level tasks, beside their controls; resumes if interrupted."""
    from scvec.bench.genes import GeneSuite, run
    from scvec.bench.genes.results import reason

    ui = common.ui
    asked = GeneSuite.of(out) if suite is None else GeneSuite.read(suite)
    store = open_store(common.store)
    results = run(asked, out, store, encoders=encoder or None, download=download, progress=ui.progress)
    for row in results.rows:
        if "missing" in row:
            ui.note(f"{row['row']} was not measured here: {reason(row)}")
    ui.result(results.to_dict(), _shown(results))


@bench_app.command(epilog="Example: scvec bench show scvec-bench-genes --out leaderboard.html")
@spreads
def show(
    places: Annotated[
        list[Path],
        typer.Argument(help="Folders into which suites were run, or with such folders; files.", metavar="PLACE..."),
    ],
    out: Annotated[Path, typer.Option(help="The page; Markdown is written beside it.")] = Path("leaderboard.html"),
    *,
    common: OutputFlags,
) -> None:
    """Write results of suites as one page: models by tasks, controls as lines, verdicts in words."""
    from dataclasses import asdict
    from shlex import join

    from scvec.bench.board import read_boards, write_board
    from scvec.report.page import check_report

    check_report(out)
    boards = read_boards(places)
    command = join(["scvec", "bench", "show", *map(str, places), "--out", str(out)])
    files = write_board(boards, out, command=command)
    said = [
        f"{board.name}: {row.name}: {row.verdict}" for board in boards for row in board.tables[0].rows if row.verdict
    ]
    values = {"boards": [asdict(one) for one in boards], "files": [str(one) for one in files]}
    common.ui.result(values, "\n".join([*said, f"Written: {files[0]}, {files[1]}"]))


def _shown(results: GeneResults) -> str:
    files = "\n".join(str(path) for path in results.files)
    parts = [f"{one.title}\n\n{table(one.header, one.rows)}" for one in results.brief]
    return "\n\n".join([*parts, f"Written:\n{files}"])
