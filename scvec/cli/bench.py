"""The verb that measures: ``bench``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from scvec.cli.app import LABEL, app, open_store, table
from scvec.cli.options.common import CommonFlags, spreads


@app.command(epilog="Example: scvec bench suite.toml --out bench-open", rich_help_panel=LABEL)
@spreads
def bench(
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
