"""Verbs on atlases: ``atlas build``, ``atlas list``, ``atlas info``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from scvec.cli.app import DEFAULT_STORE, JsonOption, QuietOption, StoreOption, Ui, app, open_store, table
from scvec.cli.cells import GeneKeyOption, LayerOption, ScaleOption

atlas_app = typer.Typer(help="Reference atlases: build, list, describe.", no_args_is_help=True)
app.add_typer(atlas_app, name="atlas")


@atlas_app.command(epilog="Example: scvec atlas build pancreas reference.h5ad --label-key cell_type --batch-key donor")
def build(
    name: Annotated[str, typer.Argument(help="What the atlas will be called.")],
    reference: Annotated[Path, typer.Argument(help="A labelled h5ad.", metavar="REF.h5ad")],
    label_key: Annotated[str, typer.Option(help="Column of obs with the label of each cell.")],
    batch_key: Annotated[str | None, typer.Option(help="Column of obs with its donor or batch.")] = None,
    label_id_key: Annotated[
        str | None, typer.Option(help="Column of obs with its label's id, such as a Cell Ontology id.")
    ] = None,
    obs_key: Annotated[
        list[str] | None, typer.Option(help="A further column of obs to keep, for scvec query --where; repeatable.")
    ] = None,
    encoder: Annotated[
        str | None, typer.Option(help="Encoder of the gene texts; default: the recipe's, minilm.")
    ] = None,
    recipe: Annotated[
        str, typer.Option(help="genept-w, topn, the controls expression and random, or a FILE.toml.")
    ] = "genept-w",
    layer: LayerOption = None,
    scale: ScaleOption = "auto",
    index: Annotated[str, typer.Option(help="exact, or a FAISS factory string: Flat, HNSW32, IVF64,Flat.")] = "Flat",
    gene_key: GeneKeyOption = None,
    taxon: Annotated[str | None, typer.Option(help="Whose genes; default: those in the store that fit best.")] = None,
    release: Annotated[str | None, typer.Option(help="Which gene texts; default: those imported last.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an atlas of that name.")] = False,
    store: StoreOption = DEFAULT_STORE,
    json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Build a reference atlas from a labelled h5ad."""
    from scvec import atlas
    from scvec.spec import IndexSpec
    from scvec.spec import recipe as find_recipe

    ui = Ui(json, quiet)
    built = atlas.build(
        open_store(store),
        name,
        reference,
        label_key=label_key,
        batch_key=batch_key,
        label_id_key=label_id_key,
        obs_keys=obs_key or (),
        recipe=find_recipe(recipe).with_encoder(encoder),
        layer=layer,
        scale=scale,
        index=IndexSpec(factory=index),
        gene_key=gene_key,
        taxon=taxon,
        release=release,
        overwrite=overwrite,
        progress=ui.progress,
    )
    ui.result(built.manifest, _describe(built.manifest))


@atlas_app.command("list", epilog="Example: scvec atlas list")
def list_(store: StoreOption = DEFAULT_STORE, json: JsonOption = False, quiet: QuietOption = False) -> None:
    """List the atlases in the store."""
    from scvec import atlas

    ui = Ui(json, quiet)
    opened = open_store(store)
    found = [atlas.open_atlas(opened, name).manifest for name in atlas.list_atlases(opened)]
    rows = [(one["name"], one["n_cells"], one["n_labels"], _recipe(one), one["index"]["factory"]) for one in found]
    if not rows:
        ui.note("no atlas yet: scvec atlas build --help")
    ui.result(found, table(("atlas", "cells", "labels", "recipe", "index"), rows))


@atlas_app.command(epilog="Example: scvec atlas info pancreas")
def info(
    name: Annotated[str, typer.Argument(help="The atlas.")],
    store: StoreOption = DEFAULT_STORE,
    json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Describe an atlas: what it was made from and how, and the recall of its index."""
    from scvec import atlas

    manifest = atlas.open_atlas(open_store(store), name).manifest
    Ui(json, quiet).result(manifest, _describe(manifest))


def _recipe(manifest: dict[str, Any]) -> str:
    recipe = manifest["recipe"]
    return f"{recipe['name']} ({recipe['encoder']})" if "encoder" in recipe else str(recipe["name"])


def _describe(manifest: dict[str, Any]) -> str:
    from scvec.ingest.genes.gene_texts import taxon_name

    coverage, index, matrix = manifest["coverage"], manifest["index"], manifest["matrix"]
    unmatched = ", ".join(f"{name} {share:.2%}" for name, share in coverage["unmatched"][:5])
    recall = f"recall@{index['k']} {index['recall']:.4f} against exact search ({index['queries']} queries)"
    matched = f"{coverage['n_matched']:,} of {coverage['n_genes']:,} matched"
    lines = {
        "atlas": f"{manifest['name']}, version {manifest['version']}",
        "cells": f"{manifest['n_cells']:,} of {manifest['n_labels']} labels, {manifest['n_empty']:,} empty",
        "source": f"{manifest['source']['file']}, {matrix['key']} taken as {matrix['scale']}",
        "kept": ", ".join(manifest["keys"].get("obs", ())) or "no further column of obs",
        "genes": f"{matched}, {coverage['share']:.1%} of the expression",
        "by": ", ".join(f"{route} {part['share']:.1%}" for route, part in coverage["routes"].items()),
        "texts of": ", ".join(f"{source} {part['share']:.1%}" for source, part in coverage["texts"].items()),
        "unmatched": unmatched or "none",
        "recipe": f"{_recipe(manifest)}, {manifest['dimension']} dimensions",
        "texts": f"{taxon_name(manifest['taxon_id'])}, release {manifest['recipe']['release']}",
        "index": f"{index['factory']}, {recall}",
    }
    return "\n".join(f"{key:<10}{value}" for key, value in lines.items())
