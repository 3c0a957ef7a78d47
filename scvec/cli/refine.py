"""The verb ``refine``: an atlas with a head trained on its labels, every parameter of the training an option."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Annotated, Literal

from scvec.cli.app import PREPARE, app, table
from scvec.cli.atlas import describe
from scvec.cli.options.build import BuildFlags, EngineFlags, IndexFlags, NameArgument, ReferenceArgument, build_atlas
from scvec.cli.options.common import DeviceFlags, panel, spreads
from scvec.embed.recipe import RECIPES, Refinement

TrainingOption = panel("Training")
OWN, TRIPLET = Refinement(), Refinement(loss="triplet")


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingFlags:
    """How a head is trained; None is the recipe's own value. See `scvec.embed.recipe.Refinement`."""

    loss: Annotated[Literal["supcon", "triplet"] | None, TrainingOption(help="Contrastive loss (default: supcon).")] = (
        None
    )
    temperature: Annotated[
        float | None, TrainingOption(help=f"Temperature of the supcon loss (default: {OWN.temperature:g}).")
    ] = None
    margin: Annotated[
        float | None, TrainingOption(help=f"Margin of the triplet loss (default: {TRIPLET.margin:g}).")
    ] = None
    dimension: Annotated[
        int | None, TrainingOption(help=f"Dimensions of the contrastive part (default: {OWN.dimension:g}).")
    ] = None
    proxy: Annotated[
        float | None, TrainingOption(help=f"Weight of the added cross-entropy loss (default: {OWN.proxy:g}).")
    ] = None
    probe: Annotated[
        float | None, TrainingOption(help=f"Weight of a linear probe's logits; 0 for none (default: {OWN.probe:g}).")
    ] = None
    gene_dropout: Annotated[
        float | None,
        TrainingOption(help=f"Largest share of a cell's genes to drop (default: {OWN.gene_dropout:g})."),
    ] = None
    thinning: Annotated[
        float | None, TrainingOption(help=f"Largest share of a cell's counts to drop (default: {OWN.thinning:g}).")
    ] = None
    text_weight: Annotated[
        float | None, TrainingOption(help=f"Share of the text in a gene's weights (default: {OWN.text_weight:g}).")
    ] = None
    decay: Annotated[float | None, TrainingOption(help=f"Weight decay (default: {OWN.decay:g}).")] = None
    learning_rate: Annotated[
        float | None, TrainingOption(help=f"Learning rate at the first step (default: {OWN.learning_rate:g}).")
    ] = None
    steps: Annotated[int | None, TrainingOption(help=f"Largest number of steps (default: {OWN.steps:g}).")] = None
    batch_cells: Annotated[
        int | None, TrainingOption(help=f"Cells per batch, each seen twice (default: {OWN.batch_cells:g}).")
    ] = None
    folds: Annotated[
        int | None, TrainingOption(help=f"Largest number of folds of held-out donors (default: {OWN.folds:g}).")
    ] = None


@app.command(
    epilog="Example: scvec refine pancreas reference.h5ad --label-key cell_type --batch-key donor --steps 200",
    rich_help_panel=PREPARE,
)
@spreads
def refine(
    name: NameArgument,
    reference: ReferenceArgument,
    *,
    flags: BuildFlags,
    training: TrainingFlags,
    index: IndexFlags,
    engine: EngineFlags,
    common: DeviceFlags,
) -> None:
    """Build an atlas with a head trained on its labels, and show macro-F1 on held-out donors during training.

    Like atlas build --recipe refined, with the parameters of the training as options.
    """
    asked = {key: value for key, value in asdict(training).items() if value is not None}
    recipe = RECIPES["refined"]
    if asked:
        recipe = replace(recipe, refine=Refinement(**asked))
    manifest = build_atlas(name, reference, flags, index, engine, common, recipe)
    curve = [(int(step), score) for step, score in manifest["training"]["held_out_macro_f1"].items()]
    shown = table(("steps", "macro-F1 held out"), sorted(curve)) + "\n\n" if curve else ""
    common.ui.result(manifest, shown + describe(manifest))
