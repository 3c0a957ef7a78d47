"""Options of the verbs that build and extend an atlas."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass, replace
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from scvec.cli.app import open_store, renaming
from scvec.cli.options.cells import CELLS, FileFlags, UseRepOption
from scvec.cli.options.common import DeviceFlags, InputOption, LabelsOption, keywords, panel
from scvec.errors import InputError, must_be

if TYPE_CHECKING:
    from scvec.atlas.engine import Engine
    from scvec.embed.recipe import Recipe
    from scvec.index import IndexSpec

RecipeOption = panel("Recipe and genes")
IndexOption = panel("Index")
EngineOption = panel("Engine")

NameArgument = Annotated[str, typer.Argument(help="Name of the atlas.", metavar="NAME")]
ReferenceArgument = Annotated[
    list[str],
    typer.Argument(help=f"Labelled cells ({CELLS}); several files, or globs in quotes.", metavar="REF..."),
]
ReferenceOnlyOption = Annotated[
    str | None,
    InputOption("--only", "--where", help="Read only cells that fulfil this, in SQL on obs: \"donor <> 'human3'\"."),
]
DatasetOption = Annotated[str | None, InputOption(help="Name of the dataset (default: the file's name).")]


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildFlags(FileFlags):
    """What an atlas is built from: the options that ``atlas build`` and ``refine`` share."""

    label_key: Annotated[str, LabelsOption(help="Column of obs with the cells' labels.")]
    batch_key: Annotated[
        str | None, LabelsOption(help="Column of obs with donors or batches; whole ones are held out to calibrate.")
    ] = None
    label_id_key: Annotated[str | None, LabelsOption(help="Column of obs with the labels' Cell Ontology ids.")] = None
    match_labels: Annotated[
        bool, LabelsOption("--match-labels", help="Find Cell Ontology ids by the labels' names.")
    ] = False
    label_map: Annotated[
        Path | None, LabelsOption(help="Your own ids for --match-labels, a file of scvec ontology match --out.")
    ] = None
    obs_keys: Annotated[
        list[str] | None, LabelsOption("--obs-key", help="Column of obs to keep, for scvec query --where; repeatable.")
    ] = None
    only: ReferenceOnlyOption = None
    dataset: DatasetOption = None
    use_rep: UseRepOption = None
    taxon: Annotated[str | None, RecipeOption(help="Species (default: the one in the store whose genes fit best).")] = (
        None
    )
    release: Annotated[str | None, RecipeOption(help="Release of the gene texts (default: the last import).")] = None
    encoder: Annotated[
        str | None,
        RecipeOption(help="Encoder of the gene texts (default: minilm; for refined, only if its vectors are there)."),
    ] = None
    panel: Annotated[
        str | None,
        RecipeOption(help="Use only the genes that this file of cells measures too, such as one of another species."),
    ] = None
    panel_taxon: Annotated[str | None, RecipeOption(help="Species of --panel, if not the reference's.")] = None
    random_state: Annotated[int | None, RecipeOption("--seed", help="Random seed (default: the recipe's, 0).")] = None
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an atlas of this name.")] = False


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexFlags:
    """How an atlas is searched."""

    factory: Annotated[
        str | None,
        IndexOption("--index", help="auto (by the number of cells and --memory), exact, or a FAISS factory string."),
    ] = None
    recall: Annotated[float | None, IndexOption(help="Share of the true neighbours to find (default: 0.99).")] = None
    memory: Annotated[str | None, IndexOption(help="Memory for the index at search (default: 2GB).")] = None

    def spec(self, default: IndexSpec) -> IndexSpec:
        """Return `default` with what was given in its place."""
        memory = None if self.memory is None else parse_bytes(self.memory)
        return replace(default, **(keywords(self, type(default)) | ({} if memory is None else {"memory": memory})))


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineFlags:
    """Where cells are embedded, and how many at once."""

    engine: Annotated[
        Literal["local", "ray"], EngineOption(help="Embed cells in this process, or on a Ray cluster.")
    ] = "local"
    address: Annotated[
        str | None,
        EngineOption(help="Ray cluster: auto, host:port or ray://host:port (default: started on this machine)."),
    ] = None
    shard_cells: Annotated[
        int | None, EngineOption(help="Cells embedded at once; fewer take less memory (default: 32,768).", min=1)
    ] = None

    @contextmanager
    def open(self) -> Iterator[Engine]:
        """Give the engine."""
        if self.engine == "local":
            from scvec.atlas.engine import Local

            if self.address is not None:
                raise InputError("--address needs --engine ray", fix="give both, or neither")
            yield Local()
            return
        from scvec.atlas.on_ray import ray_engine

        # Ray says on standard output, where results go, that a worker died; its logs have it too.
        with redirect_stdout(StringIO()), ray_engine(self.address) as cluster:
            yield cluster


def parse_bytes(text: str) -> int:
    """Return the bytes of a size such as ``500MB`` or ``1.5GB``; raise `InputError` if it is invalid."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?) *([KMGT]?)i?B?", text.strip(), re.IGNORECASE)
    n = int(float(found[1]) * 1024 ** " KMGT".index(found[2].upper() or " ")) if found else 0
    if not n:
        raise must_be("memory", "a size such as 500MB or 2GB", text)
    return n


def build_atlas(
    name: str,
    reference: list[str],
    flags: BuildFlags,
    index: IndexFlags,
    engine: EngineFlags,
    common: DeviceFlags,
    recipe: Recipe | None,
) -> dict[str, Any]:
    """Build as the options say, and return the atlas's manifest."""
    from scvec import atlas, ontology
    from scvec.embed.recipe import RECIPES
    from scvec.index import IndexSpec

    store, ui = open_store(common.store), common.ui
    if flags.random_state is not None:
        recipe = replace(recipe or RECIPES["refined"], random_state=flags.random_state)
    with engine.open() as where:
        given = keywords(flags, atlas.build) | {
            "ontology": ontology.open_ontology(store) if flags.match_labels else None,
            "label_map": ontology.read_map(flags.label_map) if flags.label_map else {},
            "recipe": recipe,
            "index": index.spec(IndexSpec()),
            "shard_cells": engine.shard_cells,
            "device": ui.device(common.device),
            "engine": where,
            "progress": ui.progress,
        }
        with renaming(ontology="match_labels"):
            built = atlas.build(store, name, reference, **given)
    for note in [*built.manifest["label_notes"], *built.manifest["index"]["notes"]]:
        ui.note(note)
    return built.manifest
