"""The verb ``refine``: an atlas with a head trained on its labels, every parameter of the training an option."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

import typer

from scvec.cli.app import DEFAULT_STORE, JsonOption, QuietOption, StoreOption, Ui, app, table
from scvec.cli.atlas import describe
from scvec.cli.options.build import Building, NameArgument, ReferenceArgument, build_atlas
from scvec.cli.options.cells import spreads
from scvec.embed.recipe import RECIPES, Refinement

OWN, TRIPLET = Refinement(), Refinement(loss="triplet")


@dataclass(frozen=True, slots=True, kw_only=True)
class Training:
    """How a head is trained; None is the recipe's own value. See `scvec.embed.recipe.Refinement`."""

    loss: Annotated[Literal["supcon", "triplet"] | None, typer.Option(help="supcon (the default) or triplet.")] = None
    temperature: Annotated[float | None, typer.Option(help=f"Of the supcon loss; default {OWN.temperature:g}.")] = None
    margin: Annotated[float | None, typer.Option(help=f"Of the triplet loss; default {TRIPLET.margin:g}.")] = None
    dimension: Annotated[int | None, typer.Option(help=f"Of the contrastive part; default {OWN.dimension:g}.")] = None
    proxy: Annotated[
        float | None, typer.Option(help=f"Weight of the cross-entropy beside the loss; default {OWN.proxy:g}.")
    ] = None
    probe: Annotated[
        float | None, typer.Option(help=f"Weight of a linear probe's logits; default {OWN.probe:g}; 0: none.")
    ] = None
    gene_dropout: Annotated[
        float | None,
        typer.Option(help=f"Up to this share of a cell's genes is left out; default {OWN.gene_dropout:g}."),
    ] = None
    thinning: Annotated[
        float | None, typer.Option(help=f"Up to this share of a cell's counts is left out; default {OWN.thinning:g}.")
    ] = None
    text_weight: Annotated[
        float | None, typer.Option(help=f"Of the text in a gene's weights; default {OWN.text_weight:g}.")
    ] = None
    decay: Annotated[float | None, typer.Option(help=f"Of the weights; default {OWN.decay:g}.")] = None
    learning_rate: Annotated[float | None, typer.Option(help=f"At the first step; default {OWN.learning_rate:g}.")] = (
        None
    )
    steps: Annotated[int | None, typer.Option(help=f"At most; default {OWN.steps:g}.")] = None
    batch_cells: Annotated[
        int | None, typer.Option(help=f"Cells of a batch, each seen twice; default {OWN.batch_cells:g}.")
    ] = None
    folds: Annotated[
        int | None, typer.Option(help=f"Times that donors are held out, at most; default {OWN.folds:g}.")
    ] = None


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

    ui = Ui(json, quiet)
    asked = {key: value for key, value in asdict(training).items() if value is not None}
    recipe = RECIPES["refined"]
    if asked:
        recipe = replace(recipe, refine=Refinement(**asked))
    manifest = build_atlas(ui, name, reference, building, recipe, store)
    curve = [(int(step), score) for step, score in manifest["training"]["held_out_macro_f1"].items()]
    shown = table(("steps", "macro-F1 held out"), sorted(curve)) + "\n\n" if curve else ""
    ui.result(manifest, shown + describe(manifest))
