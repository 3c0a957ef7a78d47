"""The verb that says why: ``explain``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from scvec.cli.app import DEFAULT_STORE, JsonOption, QuietOption, StoreOption, Ui, app, open_store, table
from scvec.cli.contrast import Contrasting, check_alone, contrasted
from scvec.cli.options.cells import DeviceOption, Read, spreads
from scvec.cli.query import AtlasOption, QueryArgument

if TYPE_CHECKING:
    from scvec.explain import Attribution


@app.command(epilog="Example: scvec explain query.h5ad --atlas pancreas --against beta --out genes.csv")
@spreads(read=Read, contrasting=Contrasting)
def explain(
    query: QueryArgument,
    atlas: AtlasOption,
    *,
    cell: Annotated[list[str] | None, typer.Option(help="A cell to explain, by its name; repeatable.")] = None,
    group: Annotated[
        str | None,
        typer.Option(help="Column of the query's obs whose groups are explained; default: the labels called."),
    ] = None,
    against: Annotated[
        str | None, typer.Option(help="The label to compare with; default: the runner-up of each cell or group.")
    ] = None,
    genes: Annotated[int, typer.Option(min=1, help="Genes for each call, and as many against it.")] = 10,
    out: Annotated[Path | None, typer.Option(help="Where to: a name that ends in .parquet or .csv.")] = None,
    contrasting: Contrasting,
    read: Read,
    device: DeviceOption = "cpu",
    store: StoreOption = DEFAULT_STORE,
    json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Say which genes make the calls, against the runner-up; with --contrast, what tells two groups of cells apart.

    Cells are called as scvec query does it by default.
    """
    from dataclasses import asdict

    from scvec.annotation import writing
    from scvec.annotation.query import annotate
    from scvec.atlas import open_atlas
    from scvec.explain.attribution import attributions, check_asked

    ui = Ui(json, quiet)
    if out is not None:
        writing.check_target(out, query, writing.TABLES)
    check_alone(contrasting, cell, against)
    if contrasting.contrast is not None:
        contrasted(ui, query, atlas, contrasting, group, genes, out, read.reading(), device, store)
        return
    reference = open_atlas(open_store(store), atlas, device=ui.device(device))
    reading = read.reading()
    check_asked(query, reference, cell or (), group, against, reading)
    calls = annotate(query, reference, **asdict(reading), progress=ui.progress)
    for note in calls.notes:
        ui.note(note)
    found = attributions(
        calls,
        query,
        reference,
        cells=cell or (),
        group_key=group,
        against=against,
        reading=reading,
        progress=ui.progress,
    )
    frame = found.to_frame(genes)
    if out is not None:
        writing.write_frame(frame, out)
    ui.result(found.to_dict(genes), "\n".join(_lines(found, genes)) + (f"\nwritten to {out}" if out else ""))


def _lines(found: Attribution, n_genes: int) -> list[str]:
    """Return what is shown of each group: how similar it is to both labels, and the genes for and against."""
    frame, lines = found.to_frame(n_genes), []
    for i, name in enumerate(found.groups.tolist()):
        rows = [
            (symbol or str(gene_id), round(float(value), 4), where)
            for symbol, gene_id, value, where in frame.filter(group=name)
            .select("symbol", "gene_id", "contribution", "expressed")
            .iter_rows()
        ]
        n_cells = int(found.n_cells[i])
        said = f"{n_cells:,} cells, called {found.label[i]}" if n_cells > 1 else f"called {found.label[i]}"
        similarity = f"{found.similarity[i]:.3f} like it, {found.similarity_against[i]:.3f} like {found.against[i]}"
        lines += [f"{name}: {said}; {similarity}", table(("gene", "adds", "expressed"), rows), ""]
    return lines[:-1]
