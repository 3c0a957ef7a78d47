"""The verb that measures: ``bench``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from scvec.cli.app import DEFAULT_STORE, JsonOption, QuietOption, StoreOption, Ui, app, open_store, table


@app.command(epilog="Example: scvec bench suite.toml --out bench-open")
def bench(
    suite: Annotated[Path, typer.Argument(help="Recipes, tasks and seeds.", metavar="SUITE.toml")],
    out: Annotated[Path, typer.Option(help="A folder for the tasks' files, the records and the tables.")] = Path(
        "scvec-bench"
    ),
    store: StoreOption = DEFAULT_STORE,
    json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Measure recipes and the controls they have to beat on a suite of tasks; what was done is not done again."""
    from scvec.bench import Suite, run

    ui = Ui(json, quiet)
    results = run(Suite.read(suite), out, open_store(store), progress=ui.progress)
    for row in results.rows:
        for why in row["failed"]:
            ui.note(f"{row['method']} failed on {row['task']}: {why}")
    parts = [f"{name}\n\n{table(tables[0].header, tables[0].rows)}" for name, tables in results.groups.items()]
    files = "\n".join(str(path) for path in results.files)
    ui.result(results.to_dict(), "\n\n".join([*parts, f"Median accuracy / macro-F1. Written:\n{files}"]))
