"""Verbs on atlases: ``atlas build``, ``atlas list``, ``atlas info``."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from scvec.cli.app import DEFAULT_STORE, JsonOption, QuietOption, StoreOption, Ui, app, open_store, table
from scvec.cli.options.build import Building, NameArgument, ReferenceArgument, build_atlas
from scvec.cli.options.cells import spreads

atlas_app = typer.Typer(help="Reference atlases: build, list, describe.", no_args_is_help=True)
app.add_typer(atlas_app, name="atlas")

AtlasArgument = Annotated[str, typer.Argument(help="The atlas.")]


@atlas_app.command(epilog="Example: scvec atlas build pancreas reference.h5ad --label-key cell_type --batch-key donor")
@spreads(building=Building)
def build(
    name: NameArgument,
    reference: ReferenceArgument,
    building: Building,
    recipe: Annotated[
        str, typer.Option(help="refined, genept-w, topn, the controls expression and random, or a FILE.toml.")
    ] = "refined",
    store: StoreOption = DEFAULT_STORE,
    json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Build a reference atlas from labelled cells; one that was interrupted goes on where it was."""
    from scvec.embed.recipe import recipe as find_recipe

    ui = Ui(json, quiet)
    manifest = build_atlas(ui, name, reference, building, find_recipe(recipe), store)
    ui.result(manifest, describe(manifest))


@atlas_app.command("list", epilog="Example: scvec atlas list")
def list_(store: StoreOption = DEFAULT_STORE, json: JsonOption = False, quiet: QuietOption = False) -> None:
    """List the atlases in the store."""
    from scvec import atlas
    from scvec.errors import MismatchError

    ui = Ui(json, quiet)
    opened = open_store(store)
    found = []
    for name in atlas.list_atlases(opened):
        try:
            found.append(atlas.open_atlas(opened, name).manifest)
        except MismatchError as error:
            ui.note(str(error))
    rows = [(one["name"], one["n_cells"], one["n_labels"], _recipe(one), one["index"]["factory"]) for one in found]
    if not rows:
        ui.note("no atlas yet: scvec atlas build --help")
    ui.result(found, table(("atlas", "cells", "labels", "recipe", "index"), rows))


@atlas_app.command(epilog="Example: scvec atlas info pancreas")
def info(
    name: AtlasArgument,
    version: Annotated[int | None, typer.Option(help="Which version; default: the current one.")] = None,
    store: StoreOption = DEFAULT_STORE,
    json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Describe an atlas: what it was made from and how, and the recall of its index."""
    from scvec import atlas

    manifest = atlas.open_atlas(open_store(store), name, version).manifest
    Ui(json, quiet).result(manifest, describe(manifest))


def _recipe(manifest: dict[str, Any]) -> str:
    recipe = manifest["recipe"]
    return f"{recipe['name']} ({recipe['encoder']})" if "encoder" in recipe else str(recipe["name"])


def describe(manifest: dict[str, Any]) -> str:
    """Return what an atlas was made from and how, in lines."""
    from scvec.ingest.genes.gene_texts import taxon_name

    index, sources, coverage = manifest["index"], manifest["sources"], manifest["coverage"]
    unmatched = ", ".join(f"{name} {share:.2%}" for name, share in coverage["unmatched"][:5])
    recall = f"recall@{index['k']} {index['recall']:.4f} against exact search ({index['queries']} queries)"
    matched = f"{coverage['n_matched']:,} of {coverage['n_genes']:,} matched"
    lines = {
        "atlas": f"{manifest['name']}, version {manifest['version']}",
        "cells": f"{manifest['n_cells']:,} of {manifest['n_labels']} labels, {manifest['n_empty']:,} empty",
        "source": _sources(sources),
        "kept": ", ".join(manifest["keys"].get("obs", ())) or "no further column of obs",
        "genes": f"{matched}, {coverage['share']:.1%} of the expression",
        "by": ", ".join(f"{route} {part['share']:.1%}" for route, part in coverage["routes"].items()),
        "texts of": ", ".join(f"{source} {part['share']:.1%}" for source, part in coverage["texts"].items()),
        "unmatched": unmatched or "none",
        "recipe": f"{_recipe(manifest)}, {manifest['dimension']} dimensions",
        "trained": _trained(manifest["training"]),
        "texts": f"{taxon_name(manifest['taxon_id'])}, release {manifest['recipe']['release']}",
        "index": f"{index['factory']}, {recall}",
        "versions": "; ".join(f"{one['version']} {one['change']}" for one in manifest["history"]),
    }
    return "\n".join(f"{key:<10}{value}" for key, value in lines.items())


def _sources(sources: list[dict[str, Any]]) -> str:
    first = sources[0]
    said = f"{first['file']}, {first['matrix']['key']} taken as {first['matrix']['scale']}"
    return said if len(sources) == 1 else f"{len(sources)} files; {said}; the genes below are of the least covered one"


def _trained(training: dict[str, Any] | None) -> str:
    if training is None:
        return "no head"
    if not training["folds"]:
        return f"{training['steps']} steps; nothing could be held out"
    score = training["held_out_macro_f1"][str(training["steps"])]
    return f"{training['steps']} steps, macro-F1 {score:.3f} on what was held out ({training['folds']} folds)"
