"""Verbs on readouts of language models: ``interpret train``, ``interpret predict``."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from scvec.cli.app import PREPARE, app, open_store, table
from scvec.cli.options.cells import CellsArgument, FileFlags, ReadFlags
from scvec.cli.options.common import DeviceFlags, InputOption, LabelsOption, OutputOption, keywords, panel, spreads
from scvec.errors import InputError

if TYPE_CHECKING:
    from scvec.interpret import ReadoutSpec

interpret_app = typer.Typer(
    help="Readouts: a frozen language model reads a cell's genes, and a small trained part names its type.",
    no_args_is_help=True,
)
app.add_typer(interpret_app, name="interpret", rich_help_panel=PREPARE)

ModelOption = panel("Language model")
TrainingOption = panel("Training")

DownloadOption = Annotated[bool, ModelOption("--download", help="Download the language model if it is missing.")]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadoutFlags:
    """How a readout is made; None is the spec's own value. See `scvec.interpret.ReadoutSpec`."""

    model: Annotated[
        str | None, ModelOption(help="Language model: a Hugging Face folder, a .gguf file or a name on the hub.")
    ] = None
    encoder: Annotated[str | None, ModelOption(help="Encoder of the gene texts (default: minilm).")] = None
    n_genes: Annotated[
        int | None, ModelOption(help="Number of a cell's most expressed genes to read (default: 2048).")
    ] = None
    instruction: Annotated[
        str | None, ModelOption(help="Instruction that the model reads first (default: a sentence).")
    ] = None
    precision: Annotated[
        Literal["float32", "bfloat16"] | None, ModelOption(help="Precision of the language model (default: float32).")
    ] = None
    hidden: Annotated[int | None, TrainingOption(help="Hidden width of the gene MLP (default: 512).")] = None
    readout_hidden: Annotated[int | None, TrainingOption(help="Hidden width of the readout MLP (default: 256).")] = None
    width: Annotated[int | None, TrainingOption(help="Width of a gene with --ablation no-llm (default: 256).")] = None
    learning_rate: Annotated[float | None, TrainingOption(help="Learning rate at the first step (default: 0.001).")] = (
        None
    )
    weight_decay: Annotated[float | None, TrainingOption(help="Weight decay of AdamW (default: 0.01).")] = None
    epochs: Annotated[int | None, TrainingOption(help="Number of epochs (default: 10).")] = None
    batch_cells: Annotated[int | None, TrainingOption(help="Cells per batch (default: 8).")] = None
    validation: Annotated[float | None, TrainingOption(help="Share of the cells to hold out (default: 0.1).")] = None
    random_state: Annotated[int | None, TrainingOption("--seed", help="Random seed (default: 0).")] = None
    ablation: Annotated[
        Literal["none", "random-llm", "no-llm", "shuffled-order", "random-vectors"] | None,
        TrainingOption(help="What to leave out or make random, as a control (default: none)."),
    ] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainFlags(FileFlags):
    """What a readout is trained on."""

    label_key: Annotated[str, LabelsOption(help="Column of obs with the cells' labels.")]
    batch_key: Annotated[
        str | None, LabelsOption(help="Column of obs with donors or batches; whole ones are held out.")
    ] = None
    taxon: Annotated[
        str | None, InputOption(help="Species: human, mouse, rat or an NCBI taxon id (default: the best fit).")
    ] = None
    release: Annotated[str | None, InputOption(help="Release of the gene texts (default: the last import).")] = None
    overwrite: Annotated[bool, OutputOption("--overwrite", help="Replace a readout of this name.")] = False
    download: DownloadOption = False


@interpret_app.command(
    epilog="Example: scvec interpret train cells.h5ad --name islets --label-key cell_type --model ./llm"
)
@spreads
def train(
    cells: CellsArgument,
    name: Annotated[str, OutputOption(help="Name of the readout.")],
    *,
    plot: Annotated[Path | None, OutputOption(help="Also draw the learning curve to this file (PNG).")] = None,
    flags: TrainFlags,
    readout: ReadoutFlags,
    spec: Annotated[
        Path | None, TrainingOption(help="TOML file of these options; those given here take precedence.")
    ] = None,
    common: DeviceFlags,
) -> None:
    """Train a readout of a frozen language model on labelled cells; resumes if interrupted."""
    from scvec import interpret
    from scvec.evaluation import plots

    ui = common.ui
    if plot is not None and plot.is_dir():
        raise InputError(f"--plot {plot} is a folder", "a file", f"--plot {plot}/learning.png")
    trained = interpret.train(
        open_store(common.store),
        name,
        cells,
        spec=_spec(spec, readout),
        **keywords(flags, interpret.train),
        device=ui.device(common.device),
        progress=ui.progress,
    )
    if plot is not None:
        plots.learning(trained.history, plot, f"readout {name}")
    rows = [
        (int(one["epoch"]), *(one[key] for key in ("loss", "validation_loss", "accuracy", "macro_f1", "seconds")))
        for one in trained.history
    ]
    header = ("epoch", "loss", "loss held out", "accuracy", "macro-F1", "seconds")
    best = trained.best
    kept = f"epoch {best['epoch']:.0f} kept: macro-F1 {best['macro_f1']:.3f} over {len(trained.labels)} labels"
    drawn = f"\n{plot}" if plot is not None else ""
    ui.result(dict(trained.manifest), f"{table(header, rows)}\n\n{kept}{drawn}")


@interpret_app.command(epilog="Example: scvec interpret predict query.h5ad --readout islets --out labels.csv")
@spreads
def predict(
    cells: CellsArgument,
    readout: Annotated[str, typer.Option(help="Name of the readout.")],
    out: Annotated[Path, OutputOption(help="Output file (.parquet or .csv).")],
    *,
    model: Annotated[
        str | None, ModelOption(help="Language model of the readout, if it is no longer where it was.")
    ] = None,
    download: DownloadOption = False,
    read: ReadFlags,
    common: DeviceFlags,
) -> None:
    """Label cells by a readout alone, with the probability of each label."""
    from scvec import interpret
    from scvec.annotation import writing

    ui = common.ui
    writing.check_target(out, cells, writing.TABLES)
    opened = interpret.open_readout(
        open_store(common.store), readout, model=model, device=ui.device(common.device), download=download
    )
    found = interpret.predict(cells, opened, **asdict(read), progress=ui.progress)
    for note in found.notes:
        ui.note(note)
    frame = found.to_polars()
    writing.write_frame(frame, out)
    counts = frame["label"].value_counts().sort("count", "label", descending=[True, False]).rows()
    rows = [(label, count, count / len(found)) for label, count in counts]
    values = {"out": str(out), "n_cells": len(found), "calls": dict(counts), **found.provenance}
    ui.result(values, f"{table(('label', 'cells', 'share'), rows)}\n\n{len(found):,} cells written to {out}")


def _spec(path: Path | None, readout: ReadoutFlags) -> ReadoutSpec:
    """Return what a file says, or the defaults, with what was given in its place."""
    from scvec.interpret import ReadoutSpec

    given = keywords(readout, ReadoutSpec)
    return ReadoutSpec(**given) if path is None else ReadoutSpec.from_toml(path, **given)
