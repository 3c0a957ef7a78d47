"""The verb ``refine``: an atlas with a head trained on its labels, every parameter of the training an option."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

import typer

from scvec.cli.app import DEFAULT_STORE, JsonOption, QuietOption, StoreOption, Ui, app, table
from scvec.cli.atlas import describe
from scvec.cli.building import Building, NameArgument, ReferenceArgument, build_atlas
from scvec.cli.cells import spreads


@dataclass(frozen=True, slots=True, kw_only=True)
class Training:
    """How a head is trained; None is the recipe's own value. See `scvec.spec.Refinement`."""

    loss: Annotated[Literal["supcon", "triplet"] | None, typer.Option(help="supcon (the default) or triplet.")] = None
    temperature: Annotated[float | None, typer.Option(help="Of the supcon loss; default 0.2.")] = None
    margin: Annotated[float | None, typer.Option(help="Of the triplet loss; default 0.2.")] = None
    dimension: Annotated[int | None, typer.Option(help="Of the contrastive part; default 32.")] = None
    proxy: Annotated[float | None, typer.Option(help="Weight of the cross-entropy beside the loss; default 1.")] = None
    probe: Annotated[float | None, typer.Option(help="Weight of a linear probe's logits; default 2; 0: none.")] = None
    gene_dropout: Annotated[
        float | None, typer.Option(help="Up to this share of a cell's genes is left out; default 0.6.")
    ] = None
    thinning: Annotated[
        float | None, typer.Option(help="Up to this share of a cell's counts is left out; default 0.")
    ] = None
    text_weight: Annotated[float | None, typer.Option(help="Of the text in a gene's weights; default 0.1.")] = None
    decay: Annotated[float | None, typer.Option(help="Of the weights; default 0.0001.")] = None
    learning_rate: Annotated[float | None, typer.Option(help="At the first step; default 0.5.")] = None
    steps: Annotated[int | None, typer.Option(help="At most; default 100.")] = None
    batch_cells: Annotated[int | None, typer.Option(help="Cells of a batch, each seen twice; default 128.")] = None
    folds: Annotated[int | None, typer.Option(help="Times that donors are held out, at most; default 5.")] = None


@app.command(epilog="Example: scvec refine pancreas reference.h5ad --label-key cell_type --batch-key donor --steps 200")
@spreads(building=Building, training=Training)
def refine(
    name: NameArgument,
    reference: ReferenceArgument,
    building: Building,
    training: Training,
    store: StoreOption = DEFAULT_STORE,
    json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Build an atlas with a head trained on its labels, and show how training went on donors held out.

    As atlas build --recipe refined, with the parameters of the training as options.
    """
    from dataclasses import asdict, replace

    from scvec.spec import RECIPES, Refinement

    ui = Ui(json, quiet)
    asked = {key: value for key, value in asdict(training).items() if value is not None}
    recipe = RECIPES["refined"]
    if asked:
        recipe = replace(recipe, refine=Refinement(**asked))
    manifest = build_atlas(ui, name, reference, building, recipe, store)
    curve = [(int(step), score) for step, score in manifest["training"]["held_out_macro_f1"].items()]
    shown = table(("steps", "macro-F1 held out"), sorted(curve)) + "\n\n" if curve else ""
    ui.result(manifest, shown + describe(manifest))
