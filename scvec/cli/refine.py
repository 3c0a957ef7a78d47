"""The verb ``refine``: an atlas with a head trained on its labels, with the options that change what it learns."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Annotated

import typer

from scvec.cli.app import PREPARE, app, table
from scvec.cli.atlas import describe
from scvec.cli.options.build import (
    BuildFlags,
    EngineFlags,
    IndexFlags,
    NameArgument,
    RecipeOption,
    ReferenceArgument,
    build_atlas,
)
from scvec.cli.options.common import DeviceFlags, panel, spreads
from scvec.embed.recipe import Recipe, Refinement
from scvec.embed.recipe import recipe as find_recipe
from scvec.errors import InputError

TrainingOption = panel("Training")
OWN = Refinement()
Moved = Annotated[str | None, typer.Option(hidden=True)]


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingFlags:
    """How a head is trained; None is the recipe's own value. See `scvec.embed.recipe.Refinement`."""

    probe: Annotated[
        float | None, TrainingOption(help=f"Weight of a linear probe's logits; 0 for none (default: {OWN.probe:g}).")
    ] = None
    gene_dropout: Annotated[
        float | None,
        TrainingOption(help=f"Largest share of a cell's genes to drop (default: {OWN.gene_dropout:g})."),
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


@dataclass(frozen=True, slots=True, kw_only=True)
class MovedFlags:
    """Options of earlier versions that a recipe keeps: none changes calls (``benchmarks/results/refinement.md``)."""

    loss: Moved = None
    temperature: Moved = None
    margin: Moved = None
    dimension: Moved = None
    proxy: Moved = None
    thinning: Moved = None

    def refuse(self) -> None:
        """Raise `InputError` that says where an option went, if one is given."""
        for name, value in asdict(self).items():
            if value is not None:
                raise InputError(
                    f"`{name}` is a key of recipes, no longer an option",
                    fix=f"write {name} under [refine] into a FILE.toml, and give --recipe FILE.toml",
                )


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
    recipe: Annotated[str | None, RecipeOption(help="A FILE.toml with a head (default: refined).")] = None,
    training: TrainingFlags,
    moved: MovedFlags,
    index: IndexFlags,
    engine: EngineFlags,
    common: DeviceFlags,
) -> None:
    """Build an atlas with a head trained on its labels, and show macro-F1 on held-out donors during training.

    Like atlas build --recipe refined, with options of the training; a FILE.toml has them all.
    """
    moved.refuse()
    made = _trained(find_recipe(recipe or "refined"), training)
    manifest = build_atlas(name, reference, flags, index, engine, common, made)
    curve = [(int(step), score) for step, score in manifest["training"]["held_out_macro_f1"].items()]
    shown = table(("steps", "macro-F1 held out"), sorted(curve)) + "\n\n" if curve else ""
    common.ui.result(manifest, shown + describe(manifest))


def _trained(recipe: Recipe, training: TrainingFlags) -> Recipe:
    """Return the recipe with the options that were given in place of its own; raise `InputError` without a head."""
    if recipe.refine is None:
        raise InputError(f"`recipe` {recipe.name!r} has no head to train", fix="use scvec atlas build, or add [refine]")
    asked = {key: value for key, value in asdict(training).items() if value is not None}
    return replace(recipe, refine=replace(recipe.refine, **asked))
