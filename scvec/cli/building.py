"""Options of the verbs that build an atlas."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from scvec.cli.app import Ui, open_store
from scvec.cli.cells import GeneKeyOption, LayerOption, ScaleOption

if TYPE_CHECKING:
    from scvec.spec import Recipe

NameArgument = Annotated[str, typer.Argument(help="What the atlas will be called.")]
ReferenceArgument = Annotated[Path, typer.Argument(help="A labelled h5ad.", metavar="REF.h5ad")]


@dataclass(frozen=True, slots=True, kw_only=True)
class Building:
    """What an atlas is built from: the options that ``atlas build`` and ``refine`` share."""

    label_key: Annotated[str, typer.Option(help="Column of obs with the label of each cell.")]
    batch_key: Annotated[
        str | None, typer.Option(help="Column of obs with its donor or batch; whole ones are held out to calibrate.")
    ] = None
    label_id_key: Annotated[str | None, typer.Option(help="Column of obs with its label's Cell Ontology id.")] = None
    match_labels: Annotated[
        bool, typer.Option("--match-labels", help="Find the ids by the labels' names; see scvec ontology match.")
    ] = False
    label_map: Annotated[
        Path | None, typer.Option(help="With --match-labels: your own ids, as scvec ontology match --out writes them.")
    ] = None
    obs_key: Annotated[
        list[str] | None, typer.Option(help="A further column of obs to keep, for scvec query --where; repeatable.")
    ] = None
    encoder: Annotated[str | None, typer.Option(help="Encoder of the gene texts; default: the recipe's, minilm.")] = (
        None
    )
    seed: Annotated[int | None, typer.Option(help="Of all that is drawn; default: the recipe's, 0.")] = None
    layer: LayerOption = None
    scale: ScaleOption = "auto"
    index: Annotated[str, typer.Option(help="exact, or a FAISS factory string: Flat, HNSW32, IVF64,Flat.")] = "Flat"
    gene_key: GeneKeyOption = None
    panel: Annotated[
        Path | None, typer.Option(help="An h5ad that measures few genes: use only genes that it has too.")
    ] = None
    panel_taxon: Annotated[
        str | None, typer.Option(help="Its species, where that is another than the reference's.")
    ] = None
    taxon: Annotated[str | None, typer.Option(help="Whose genes; default: those in the store that fit best.")] = None
    release: Annotated[str | None, typer.Option(help="Which gene texts; default: those imported last.")] = None
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an atlas of that name.")] = False


def build_atlas(
    ui: Ui, name: str, reference: Path, building: Building, recipe: Recipe, store_uri: str
) -> dict[str, Any]:
    """Build as the options say, and return the atlas's manifest."""
    from scvec import atlas, ontology
    from scvec.spec import IndexSpec

    store = open_store(store_uri)
    recipe = recipe.with_encoder(building.encoder)
    built = atlas.build(
        store,
        name,
        reference,
        label_key=building.label_key,
        batch_key=building.batch_key,
        label_id_key=building.label_id_key,
        ontology=ontology.open_ontology(store) if building.match_labels else None,
        label_map=ontology.read_map(building.label_map) if building.label_map else {},
        obs_keys=building.obs_key or (),
        recipe=recipe if building.seed is None else replace(recipe, random_state=building.seed),
        layer=building.layer,
        scale=building.scale,
        index=IndexSpec(factory=building.index),
        gene_key=building.gene_key,
        taxon=building.taxon,
        release=building.release,
        panel=building.panel,
        panel_taxon=building.panel_taxon,
        overwrite=building.overwrite,
        progress=ui.progress,
    )
    for note in built.manifest["label_notes"]:
        ui.note(note)
    return built.manifest
