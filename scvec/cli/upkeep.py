"""Verbs on an atlas that is there: ``extend``, ``remove``, ``rebuild``, ``compact``, ``checkout``, ``verify``."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from scvec.cli.app import DEFAULT_STORE, JsonOption, QuietOption, StoreOption, Ui, open_store
from scvec.cli.atlas import AtlasArgument, atlas_app, describe
from scvec.cli.options.build import (
    AddressOption,
    EngineOption,
    IndexOption,
    MemoryOption,
    RecallOption,
    ReferenceArgument,
    ShardCellsOption,
    engine_of,
    index_spec,
)
from scvec.cli.options.cells import DeviceOption, GeneKeyOption, LayerOption, ObsOption, ScaleOption


@atlas_app.command(epilog="Example: scvec atlas extend pancreas 'new/*.h5ad'")
def extend(
    name: AtlasArgument,
    reference: ReferenceArgument,
    label_key: Annotated[str | None, typer.Option(help="Column of obs with the labels; default: as built.")] = None,
    batch_key: Annotated[str | None, typer.Option(help="Column of obs with the batches; default: as built.")] = None,
    label_id_key: Annotated[str | None, typer.Option(help="Column of obs with the ids; default: as built.")] = None,
    match_labels: Annotated[
        bool, typer.Option("--match-labels", help="Find the ids of new labels by their names.")
    ] = False,
    label_map: Annotated[Path | None, typer.Option(help="With --match-labels: your own ids of labels.")] = None,
    obs: ObsOption = None,
    dataset: Annotated[str | None, typer.Option(help="Name of the dataset; default: the file's.")] = None,
    layer: LayerOption = None,
    scale: ScaleOption = "auto",
    gene_key: GeneKeyOption = None,
    taxon: Annotated[str | None, typer.Option(help="Species of the cells, where it is not the atlas's.")] = None,
    device: DeviceOption = "auto",
    engine: EngineOption = "local",
    address: AddressOption = None,
    shard_cells: ShardCellsOption = None,
    store: StoreOption = DEFAULT_STORE,
    json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Add labelled cells to an atlas, by its own recipe; those that it has are not embedded again."""
    from scvec import atlas, ontology

    ui, opened = Ui(json, quiet), open_store(store)
    there = atlas.open_atlas(opened, name)
    asked: dict[str, Any] = {"label": label_key, "batch": batch_key, "label_id": label_id_key}
    with engine_of(engine, address) as where:
        extended = atlas.extend(
            there,
            reference,
            keys=replace(there.keys, **{key: value for key, value in asked.items() if value is not None}),
            ontology=ontology.open_ontology(opened) if match_labels else None,
            label_map=ontology.read_map(label_map) if label_map else {},
            layer=layer,
            scale=scale,
            obs=obs,
            dataset=dataset,
            gene_key=gene_key,
            taxon=taxon,
            shard_cells=shard_cells,
            device=ui.device(device),
            engine=where,
            progress=ui.progress,
        )
    added = extended.manifest["label_notes"][len(there.manifest["label_notes"]) :]
    for note in [*added, *extended.manifest["index"]["notes"]]:
        ui.note(note)
    ui.result(extended.manifest, describe(extended.manifest))


@atlas_app.command(epilog="Example: scvec atlas remove pancreas --where \"dataset = 'old'\"")
def remove(
    name: AtlasArgument,
    where: Annotated[str, typer.Option(help="Which cells, in SQL on the columns that the atlas keeps.")],
    store: StoreOption = DEFAULT_STORE,
    json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Remove cells from an atlas; they are not found from then on."""
    from scvec import atlas

    ui = Ui(json, quiet)
    manifest = atlas.remove(atlas.open_atlas(open_store(store), name), where, progress=ui.progress).manifest
    ui.result(manifest, describe(manifest))


@atlas_app.command(epilog="Example: scvec atlas rebuild pancreas --recall 0.99")
def rebuild(
    name: AtlasArgument,
    index: IndexOption = None,
    recall: RecallOption = None,
    memory: MemoryOption = None,
    device: DeviceOption = "auto",
    store: StoreOption = DEFAULT_STORE,
    json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Make an atlas's index anew, for the cells that it has now; their vectors stay."""
    from scvec import atlas
    from scvec.index import IndexSpec

    ui = Ui(json, quiet)
    there = atlas.open_atlas(open_store(store), name)
    spec = index_spec(index, recall, memory, IndexSpec(**there.manifest["index"]["spec"]))
    manifest = atlas.rebuild(there, spec, device=ui.device(device), progress=ui.progress).manifest
    for note in manifest["index"]["notes"]:
        ui.note(note)
    ui.result(manifest, describe(manifest))


@atlas_app.command(epilog="Example: scvec atlas compact pancreas --forget")
def compact(
    name: AtlasArgument,
    forget: Annotated[
        bool, typer.Option("--forget", help="Remove older versions; they cannot be checked out any more.")
    ] = False,
    store: StoreOption = DEFAULT_STORE,
    json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Write an atlas that was extended and removed from into few files again."""
    from scvec import atlas

    ui = Ui(json, quiet)
    there = atlas.open_atlas(open_store(store), name)
    manifest = atlas.compact(there, forget=forget, progress=ui.progress).manifest
    ui.result(manifest, describe(manifest))


@atlas_app.command(epilog="Example: scvec atlas checkout pancreas 3")
def checkout(
    name: AtlasArgument,
    version: Annotated[int, typer.Argument(help="One of those that scvec atlas info shows.")],
    store: StoreOption = DEFAULT_STORE,
    json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Make an old version of an atlas the current one again; the versions since then stay."""
    from scvec import atlas

    manifest = atlas.checkout(open_store(store), name, version).manifest
    Ui(json, quiet).result(manifest, describe(manifest))


@atlas_app.command(epilog="Example: scvec atlas verify pancreas --repair")
def verify(
    name: AtlasArgument,
    repair: Annotated[bool, typer.Option("--repair", help="Make again what is faulty and can be made again.")] = False,
    store: StoreOption = DEFAULT_STORE,
    json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Read all of an atlas and say what is not as it was made; exit code 2 if something is."""
    from dataclasses import asdict

    from scvec import atlas
    from scvec.errors import MismatchError

    ui = Ui(json, quiet)
    there = atlas.open_atlas(open_store(store), name)
    faults = atlas.verify(there, ui.progress)
    for fault in faults:
        ui.note(f"{fault.what}. Fix: {fault.cure}")
    if faults and repair:
        atlas.repair(there, faults, progress=ui.progress)
    elif faults:
        raise MismatchError(f"atlas {name!r} has {len(faults)} faults: {faults[0].what}", "none", faults[0].cure)
    said = f"{len(faults)} faults mended" if faults else f"all of its {there.manifest['n_cells']:,} cells are whole"
    ui.result({"faults": [asdict(fault) for fault in faults], "repaired": bool(faults)}, f"{name}: {said}")
