"""Options of the verbs that build an atlas."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass, replace
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from scvec.cli.app import Ui, open_store
from scvec.cli.options.cells import CELLS, DeviceOption, GeneKeyOption, LayerOption, ObsOption, ScaleOption
from scvec.errors import InputError

if TYPE_CHECKING:
    from scvec.atlas.engine import Engine
    from scvec.embed.recipe import Recipe
    from scvec.index import IndexSpec

NameArgument = Annotated[str, typer.Argument(help="What the atlas will be called.")]
ReferenceArgument = Annotated[
    list[str],
    typer.Argument(help=f"Labelled cells: {CELLS}; several, or globs in quotes.", metavar="REF..."),
]

IndexOption = Annotated[
    str | None,
    typer.Option(help="auto (by the number of cells and --memory), exact, or a FAISS factory string: IVF64,SQ8."),
]
RecallOption = Annotated[
    float | None, typer.Option(help="Share of the true neighbours that search is to find; default 0.99.")
]
MemoryOption = Annotated[str | None, typer.Option(help="What the index may take at search, as 2GB, the default.")]
EngineOption = Annotated[
    Literal["local", "ray"], typer.Option(help="Where cells are embedded: in this process, or by a Ray cluster.")
]

AddressOption = Annotated[
    str | None,
    typer.Option(help="With --engine ray: auto, host:port or ray://host:port of a cluster; default: one made here."),
]
ShardCellsOption = Annotated[
    int | None,
    typer.Option(help="Cells read, embedded and written at once; fewer take less memory. Default: 32,768.", min=1),
]


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
    obs: ObsOption = None
    dataset: Annotated[str | None, typer.Option(help="Name of the dataset; default: the file's.")] = None
    layer: LayerOption = None
    scale: ScaleOption = "auto"
    index: IndexOption = None
    recall: RecallOption = None
    memory: MemoryOption = None
    gene_key: GeneKeyOption = None
    panel: Annotated[
        str | None, typer.Option(help="Cells that measure few genes: use only genes that they have too.")
    ] = None
    panel_taxon: Annotated[
        str | None, typer.Option(help="Its species, where that is another than the reference's.")
    ] = None
    taxon: Annotated[str | None, typer.Option(help="Whose genes; default: those in the store that fit best.")] = None
    release: Annotated[str | None, typer.Option(help="Which gene texts; default: those imported last.")] = None
    device: DeviceOption = "auto"
    engine: EngineOption = "local"
    address: AddressOption = None
    shard_cells: ShardCellsOption = None
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an atlas of that name.")] = False


def index_spec(index: str | None, recall: float | None, memory: str | None, default: IndexSpec) -> IndexSpec:
    """Return how an atlas is to be searched: as `default`, but for what was asked for."""
    asked: dict[str, Any] = {"factory": index, "recall": recall, "memory": memory and parse_bytes(memory)}
    return replace(default, **{key: value for key, value in asked.items() if value is not None})


def parse_bytes(text: str) -> int:
    """Return the bytes of a size such as ``500MB`` or ``1.5GB``; raise `InputError` if it is none."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?) *([KMGT]?)i?B?", text.strip(), re.IGNORECASE)
    n = int(float(found[1]) * 1024 ** " KMGT".index(found[2].upper() or " ")) if found else 0
    if not n:
        raise InputError(f"--memory {text}", "a number of bytes, as 500MB or 2GB", "give --memory 2GB")
    return n


@contextmanager
def engine_of(engine: str, address: str | None) -> Iterator[Engine]:
    """Give the engine asked for."""
    if engine == "local":
        from scvec.atlas.engine import Local

        if address is not None:
            raise InputError(f"--address {address} with --engine local", "--engine ray", "give both, or neither")
        yield Local()
        return
    from scvec.atlas.on_ray import ray_engine

    # Ray says on standard output, where results go, that a worker died; its logs have it too.
    with redirect_stdout(StringIO()), ray_engine(address) as cluster:
        yield cluster


def build_atlas(
    ui: Ui, name: str, reference: list[str], building: Building, recipe: Recipe, store_uri: str
) -> dict[str, Any]:
    """Build as the options say, and return the atlas's manifest."""
    from scvec import atlas, ontology
    from scvec.index import IndexSpec

    store = open_store(store_uri)
    recipe = recipe.with_encoder(building.encoder)
    with engine_of(building.engine, building.address) as engine:
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
            obs=building.obs,
            dataset=building.dataset,
            layer=building.layer,
            scale=building.scale,
            index=index_spec(building.index, building.recall, building.memory, IndexSpec()),
            gene_key=building.gene_key,
            taxon=building.taxon,
            release=building.release,
            panel=building.panel,
            panel_taxon=building.panel_taxon,
            overwrite=building.overwrite,
            shard_cells=building.shard_cells,
            device=ui.device(building.device),
            engine=engine,
            progress=ui.progress,
        )
    for note in [*built.manifest["label_notes"], *built.manifest["index"]["notes"]]:
        ui.note(note)
    return built.manifest
