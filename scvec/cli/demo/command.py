"""The verb that shows what scvec does: ``demo``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from scvec.cli.app import START, app, table
from scvec.cli.options.common import OutputFlags, spreads


@app.command(epilog="Example: scvec demo --out scvec-demo", rich_help_panel=START)
@spreads
def demo(
    out: Annotated[Path, typer.Option(help="Folder for all that the demo makes.")] = Path("scvec-demo"),
    store: Annotated[str | None, typer.Option(help="Store to use (default: one in the folder).")] = None,
    *,
    common: OutputFlags,
) -> None:
    """Label 210 real blood cells by 490 others, offline, and compare with baselines."""
    from scvec.cli.demo import run

    made = run.run(out, store=store, progress=common.ui.progress)
    files = "\n".join(f"  {path}" for path in made.to_dict()["files"])
    asked = f"{out}/query.h5ad --store {made.store} --atlas {run.SHOWN_ATLAS}"
    text = f"""
{table(("method", "accuracy", "macro-F1"), made.rows)}

{made.split}.
Gene texts: {made.to_dict()["gene_texts"]}.
{run.READING}

{"Found from an earlier run" if made.reused else "Written"}:
{files}

Look at {out}/report.html in a browser, then try on the demo's own files:
  scvec query {asked} --out my_calls.csv
  scvec explain {asked} --out genes.csv
  scvec evaluate {asked} --label-key {run.LABEL_KEY} --out report
and on yours: scvec atlas build --help, scvec query --help"""
    common.ui.result(made.to_dict(), text.strip("\n"))
