"""Verbs on readouts of language models: ``interpret train``, ``interpret predict``."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from scvec.cli.app import DEFAULT_STORE, JsonOption, QuietOption, StoreOption, Ui, app, open_store, table
from scvec.cli.options.cells import (
    CellsArgument,
    DeviceOption,
    GeneKeyOption,
    LayerOption,
    ObsOption,
    ScaleOption,
    spreads,
)
from scvec.errors import InputError

if TYPE_CHECKING:
    from scvec.interpret import ReadoutSpec

interpret_app = typer.Typer(
    help="Readouts: a frozen language model reads a cell's genes, and a small part is trained to say its type.",
    no_args_is_help=True,
)
app.add_typer(interpret_app, name="interpret")

DownloadOption = Annotated[bool, typer.Option("--download", help="Fetch the language model if it is not here.")]
MODEL_HELP = "A folder of Hugging Face's form, a .gguf file, or a name on the hub"


@dataclass(frozen=True, slots=True, kw_only=True)
class Training:
    """How a readout is made; None is the spec's own value. See `scvec.interpret.ReadoutSpec`."""

    model: Annotated[str | None, typer.Option(help=f"The language model: {MODEL_HELP.lower()}.")] = None
    encoder: Annotated[str | None, typer.Option(help="Encoder of the gene texts; default minilm.")] = None
    n_genes: Annotated[int | None, typer.Option(help="Most expressed genes of a cell that are read; default 2048.")] = (
        None
    )
    instruction: Annotated[str | None, typer.Option(help="What the model reads first; default: a sentence.")] = None
    hidden: Annotated[int | None, typer.Option(help="Hidden width of the gene MLP; default 512.")] = None
    readout_hidden: Annotated[int | None, typer.Option(help="Hidden width of the readout MLP; default 256.")] = None
    width: Annotated[int | None, typer.Option(help="Of a gene with --ablation no-llm; default 256.")] = None
    learning_rate: Annotated[float | None, typer.Option(help="At the first step; default 0.001.")] = None
    weight_decay: Annotated[float | None, typer.Option(help="Of AdamW; default 0.01.")] = None
    epochs: Annotated[int | None, typer.Option(help="How often each cell is seen; default 10.")] = None
    batch_cells: Annotated[int | None, typer.Option(help="Cells read at once; default 8.")] = None
    validation: Annotated[float | None, typer.Option(help="Share of the cells held out; default 0.1.")] = None
    precision: Annotated[
        Literal["float32", "bfloat16"] | None, typer.Option(help="Of the language model; default float32.")
    ] = None
    random_state: Annotated[int | None, typer.Option("--seed", help="Of all that is drawn; default 0.")] = None
    ablation: Annotated[
        Literal["none", "random-llm", "no-llm", "shuffled-order", "random-vectors"] | None,
        typer.Option(help="What is left out or made random, to see what it is worth; default none."),
    ] = None


@interpret_app.command(
    epilog="Example: scvec interpret train cells.h5ad --name islets --label-key cell_type --model ./llm"
)
@spreads(training=Training)
def train(
    cells: CellsArgument,
    name: Annotated[str, typer.Option(help="What the readout will be called.")],
    label_key: Annotated[str, typer.Option(help="Column of obs with the label of each cell.")],
    *,
    batch_key: Annotated[
        str | None, typer.Option(help="Column of obs with its donor or batch; whole ones are held out.")
    ] = None,
    spec: Annotated[
        Path | None, typer.Option(help="A TOML file of the options below; those that are given go before it.")
    ] = None,
    training: Training,
    plot: Annotated[Path | None, typer.Option(help="Where to draw the learning curve, as PNG.")] = None,
    taxon: Annotated[
        str | None, typer.Option(help="human, mouse, rat or a taxon id; default: that whose genes fit best.")
    ] = None,
    release: Annotated[str | None, typer.Option(help="Which gene texts; default: those imported last.")] = None,
    obs: ObsOption = None,
    layer: LayerOption = None,
    scale: ScaleOption = "auto",
    gene_key: GeneKeyOption = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a readout of that name.")] = False,
    download: DownloadOption = False,
    device: DeviceOption = "cpu",
    store: StoreOption = DEFAULT_STORE,
    json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Train a readout of a frozen language model on labelled cells; what was interrupted goes on when run again."""
    from scvec import interpret
    from scvec.evaluation import plots

    ui = Ui(json, quiet)
    if plot is not None:
        plots.require()
        if plot.is_dir():
            raise InputError(f"--plot {plot} is a folder", "a file", f"--plot {plot}/learning.png")
    readout = interpret.train(
        open_store(store),
        name,
        cells,
        label_key=label_key,
        spec=_spec(spec, training),
        batch_key=batch_key,
        taxon=taxon,
        release=release,
        layer=layer,
        scale=scale,
        gene_key=gene_key,
        obs=obs,
        overwrite=overwrite,
        download=download,
        device=ui.device(device),
        progress=ui.progress,
    )
    if plot is not None:
        plots.learning(readout.history, plot, f"readout {name}")
    rows = [
        (int(one["epoch"]), *(one[key] for key in ("loss", "validation_loss", "accuracy", "macro_f1", "seconds")))
        for one in readout.history
    ]
    header = ("epoch", "loss", "loss held out", "accuracy", "macro-F1", "seconds")
    best = readout.best
    kept = f"epoch {best['epoch']:.0f} kept: macro-F1 {best['macro_f1']:.3f} over {len(readout.labels)} labels"
    drawn = f"\n{plot}" if plot is not None else ""
    ui.result(dict(readout.manifest), f"{table(header, rows)}\n\n{kept}{drawn}")


@interpret_app.command(epilog="Example: scvec interpret predict query.h5ad --readout islets --out labels.csv")
def predict(
    cells: CellsArgument,
    readout: Annotated[str, typer.Option(help="The readout.")],
    out: Annotated[Path, typer.Option(help="Where to: a name that ends in .parquet or .csv.")],
    *,
    model: Annotated[str | None, typer.Option(help="Where its language model is now; default: where it was.")] = None,
    taxon: Annotated[
        str | None, typer.Option(help="The cells' species, where it is another: human, mouse, rat or a taxon id.")
    ] = None,
    obs: ObsOption = None,
    layer: LayerOption = None,
    scale: ScaleOption = "auto",
    gene_key: GeneKeyOption = None,
    download: DownloadOption = False,
    device: DeviceOption = "cpu",
    store: StoreOption = DEFAULT_STORE,
    json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Label cells by a readout alone, with the probability of each label."""
    from scvec import interpret
    from scvec.annotation import writing

    ui = Ui(json, quiet)
    writing.check_target(out, cells, writing.TABLES)
    opened = interpret.open_readout(
        open_store(store), readout, model=model, device=ui.device(device), download=download
    )
    found = interpret.predict(
        cells,
        opened,
        obs=obs,
        layer=layer,
        scale=scale,
        gene_key=gene_key,
        taxon=taxon,
        progress=ui.progress,
    )
    for note in found.notes:
        ui.note(note)
    frame = found.to_frame()
    writing.write_frame(frame, out)
    counts = frame["label"].value_counts().sort("count", "label", descending=[True, False]).rows()
    rows = [(label, count, count / len(found)) for label, count in counts]
    values = {"out": str(out), "n_cells": len(found), "calls": dict(counts), **found.provenance}
    ui.result(values, f"{table(('label', 'cells', 'share'), rows)}\n\n{len(found):,} cells written to {out}")


def _spec(path: Path | None, training: Training) -> ReadoutSpec:
    """Return what a file says, or the defaults, with what was given in its place."""
    from scvec.interpret import ReadoutSpec

    given = {key: value for key, value in asdict(training).items() if value is not None}
    if path is None:
        return ReadoutSpec(**given)
    return ReadoutSpec.from_toml(path, **given)
