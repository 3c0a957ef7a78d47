"""Verbs on atlases: building and describing one, and what is done with one that is there."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from scvec.cli.app import PREPARE, app, open_store, renaming, table
from scvec.cli.options.build import (
    BuildFlags,
    DatasetOption,
    EngineFlags,
    IndexFlags,
    NameArgument,
    RecipeOption,
    ReferenceArgument,
    ReferenceOnlyOption,
    build_atlas,
)
from scvec.cli.options.cells import FileFlags, UseRepOption
from scvec.cli.options.common import CommonFlags, DeviceFlags, LabelsOption, keywords, spreads

atlas_app = typer.Typer(help="Reference atlases: build, describe, extend, check.", no_args_is_help=True)
app.add_typer(atlas_app, name="atlas", rich_help_panel=PREPARE)


@atlas_app.command(epilog="Example: scvec atlas build pancreas reference.h5ad --label-key cell_type --batch-key donor")
@spreads
def build(
    name: NameArgument,
    reference: ReferenceArgument,
    *,
    flags: BuildFlags,
    recipe: Annotated[
        str | None,
        RecipeOption(
            help="refined (default), genept-w, topn, genept-s, the baselines expression and random, or a FILE.toml."
        ),
    ] = None,
    index: IndexFlags,
    engine: EngineFlags,
    common: DeviceFlags,
) -> None:
    """Build a reference atlas from labelled cells; resumes if interrupted."""
    from scvec.embed.recipe import recipe as find_recipe

    manifest = build_atlas(name, reference, flags, index, engine, common, find_recipe(recipe) if recipe else None)
    common.ui.result(manifest, describe(manifest))


@atlas_app.command("list", epilog="Example: scvec atlas list")
@spreads
def list_(common: CommonFlags) -> None:
    """List the atlases in the store."""
    from scvec import atlas
    from scvec.errors import MismatchError

    opened = open_store(common.store)
    found = []
    for name in atlas.list_atlases(opened):
        try:
            found.append(atlas.open_atlas(opened, name).manifest)
        except MismatchError as error:
            common.ui.note(str(error))
    rows = [(one["name"], one["n_cells"], one["n_labels"], _recipe(one), one["index"]["factory"]) for one in found]
    if not rows:
        common.ui.note("no atlas yet: scvec atlas build --help")
    common.ui.result(found, table(("atlas", "cells", "labels", "recipe", "index"), rows))


@atlas_app.command(epilog="Example: scvec atlas info pancreas")
@spreads
def info(
    name: NameArgument,
    version: Annotated[int | None, typer.Option(help="Version to describe (default: the current one).")] = None,
    *,
    common: CommonFlags,
) -> None:
    """Describe an atlas: its cells, genes and recipe, and the recall of its index."""
    from scvec import atlas

    manifest = atlas.open_atlas(open_store(common.store), name, version).manifest
    common.ui.result(manifest, describe(manifest))


@dataclass(frozen=True, slots=True, kw_only=True)
class ExtendFlags(FileFlags):
    """How the files of new cells are read."""

    label_key: Annotated[str | None, LabelsOption(help="Column of obs with labels (default: as built).")] = None
    batch_key: Annotated[str | None, LabelsOption(help="Column of obs with batches (default: as built).")] = None
    label_id_key: Annotated[
        str | None, LabelsOption(help="Column of obs with Cell Ontology ids (default: as built).")
    ] = None
    match_labels: Annotated[
        bool, LabelsOption("--match-labels", help="Find Cell Ontology ids of new labels by their names.")
    ] = False
    label_map: Annotated[Path | None, LabelsOption(help="Your own ids for --match-labels.")] = None
    only: ReferenceOnlyOption = None
    dataset: DatasetOption = None
    use_rep: UseRepOption = None
    taxon: Annotated[str | None, RecipeOption(help="Species of the cells, if not the atlas's.")] = None


@atlas_app.command(epilog="Example: scvec atlas extend pancreas 'new/*.h5ad'")
@spreads
def extend(
    name: NameArgument, reference: ReferenceArgument, *, flags: ExtendFlags, engine: EngineFlags, common: DeviceFlags
) -> None:
    """Add labelled cells to an atlas, by its own recipe; resumes if interrupted."""
    from scvec import atlas, ontology

    opened = open_store(common.store)
    there = atlas.open_atlas(opened, name)
    with engine.open() as where:
        given = keywords(flags, atlas.extend) | {
            "ontology": ontology.open_ontology(opened) if flags.match_labels else None,
            "label_map": ontology.read_map(flags.label_map) if flags.label_map else {},
            "shard_cells": engine.shard_cells,
            "device": common.ui.device(common.device),
            "engine": where,
            "progress": common.ui.progress,
        }
        with renaming(ontology="match_labels"):
            extended = atlas.extend(there, reference, **given)
    added = extended.manifest["label_notes"][len(there.manifest["label_notes"]) :]
    for note in [*added, *extended.manifest["index"]["notes"]]:
        common.ui.note(note)
    common.ui.result(extended.manifest, describe(extended.manifest))


@dataclass(frozen=True, slots=True, kw_only=True)
class RefitFlags(FileFlags):
    """How the files of an atlas are read again: as they were when it was built."""

    label_key: Annotated[str | None, LabelsOption(help="Column of obs with labels (default: as built).")] = None
    batch_key: Annotated[str | None, LabelsOption(help="Column of obs with batches (default: as built).")] = None
    only: ReferenceOnlyOption = None
    taxon: Annotated[str | None, RecipeOption(help="Species of the cells, if not the atlas's.")] = None


@atlas_app.command(epilog="Example: scvec atlas refit pancreas reference.h5ad")
@spreads
def refit(name: NameArgument, reference: ReferenceArgument, *, flags: RefitFlags, common: CommonFlags) -> None:
    """Fit an atlas of an earlier version again on its own files; its vectors stay."""
    from scvec import atlas

    there = atlas.open_atlas(open_store(common.store), name)
    given = keywords(flags, atlas.refit) | {"progress": common.ui.progress}
    manifest = atlas.refit(there, reference, **given).manifest
    common.ui.result(manifest, describe(manifest))


@atlas_app.command(epilog="Example: scvec atlas remove pancreas --where \"dataset = 'old'\"")
@spreads
def remove(
    name: NameArgument,
    where: Annotated[str, typer.Option(help="Cells to remove, in SQL on the atlas's columns.")],
    *,
    common: CommonFlags,
) -> None:
    """Remove cells from an atlas; searches no longer find them."""
    from scvec import atlas

    there = atlas.open_atlas(open_store(common.store), name)
    manifest = atlas.remove(there, where, progress=common.ui.progress).manifest
    common.ui.result(manifest, describe(manifest))


@atlas_app.command(epilog="Example: scvec atlas rebuild pancreas --recall 0.99")
@spreads
def rebuild(name: NameArgument, *, index: IndexFlags, common: DeviceFlags) -> None:
    """Rebuild an atlas's index for the cells that it has now; the cells' vectors stay."""
    from scvec import atlas
    from scvec.index import IndexSpec

    ui = common.ui
    there = atlas.open_atlas(open_store(common.store), name)
    spec = index.spec(IndexSpec(**there.manifest["index"]["spec"]))
    manifest = atlas.rebuild(there, spec, device=ui.device(common.device), progress=ui.progress).manifest
    for note in manifest["index"]["notes"]:
        ui.note(note)
    ui.result(manifest, describe(manifest))


@atlas_app.command(epilog="Example: scvec atlas compact pancreas --forget")
@spreads
def compact(
    name: NameArgument,
    forget: Annotated[
        bool, typer.Option("--forget", help="Remove older versions too; checkout cannot bring them back.")
    ] = False,
    *,
    common: CommonFlags,
) -> None:
    """Rewrite an atlas that was extended or reduced into few files."""
    from scvec import atlas

    there = atlas.open_atlas(open_store(common.store), name)
    manifest = atlas.compact(there, forget=forget, progress=common.ui.progress).manifest
    common.ui.result(manifest, describe(manifest))


@atlas_app.command(epilog="Example: scvec atlas checkout pancreas 3")
@spreads
def checkout(
    name: NameArgument,
    version: Annotated[
        int, typer.Argument(help="Version to bring back; scvec atlas info lists them.", metavar="VERSION")
    ],
    *,
    common: CommonFlags,
) -> None:
    """Make an old version of an atlas the current one; later versions stay."""
    from scvec import atlas

    manifest = atlas.checkout(open_store(common.store), name, version).manifest
    common.ui.result(manifest, describe(manifest))


@atlas_app.command(epilog="Example: scvec atlas verify pancreas --repair")
@spreads
def verify(
    name: NameArgument,
    repair: Annotated[bool, typer.Option("--repair", help="Rebuild the faulty parts that can be rebuilt.")] = False,
    *,
    common: CommonFlags,
) -> None:
    """Read all of an atlas and list its faults; exit code 2 if there are any."""
    from scvec import atlas
    from scvec.errors import MismatchError

    there = atlas.open_atlas(open_store(common.store), name)
    faults = atlas.verify(there, common.ui.progress)
    for fault in faults:
        common.ui.note(f"{fault.what}. Fix: {fault.fix}")
    if faults and repair:
        atlas.repair(there, faults, progress=common.ui.progress)
    elif faults:
        counted = "1 fault" if len(faults) == 1 else f"{len(faults)} faults; the first"
        raise MismatchError(f"atlas {name!r} has {counted}: {faults[0].what}", fix=faults[0].fix)
    said = f"faults repaired: {len(faults)}" if faults else f"all of its {there.manifest['n_cells']:,} cells are intact"
    common.ui.result({"faults": [asdict(fault) for fault in faults], "repaired": bool(faults)}, f"{name}: {said}")


def _recipe(manifest: dict[str, Any]) -> str:
    recipe = manifest["recipe"]
    read = "no text" if recipe["weights"] == "free" else recipe.get("encoder")
    return f"{recipe['name']} ({read})" if read else str(recipe["name"])


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
        "views": _views(manifest),
        "texts": f"{taxon_name(manifest['taxon_id'])}, release {manifest['recipe']['release']}",
        "index": f"{index['factory']}, {recall}",
        "versions": "; ".join(f"{one['version']} {one['change']}" for one in manifest["history"]),
    }
    return "\n".join(f"{key:<10}{value}" for key, value in lines.items())


def _sources(sources: list[dict[str, Any]]) -> str:
    first = sources[0]
    said = f"{first['file']}, {first['matrix']['key']} taken as {first['matrix']['scale']}"
    return said if len(sources) == 1 else f"{len(sources)} files; {said}; the genes below are of the least covered one"


def _views(manifest: dict[str, Any]) -> str:
    """Return the views by which an atlas calls."""
    further = manifest["fitted"].get("views", [])
    return ", ".join(["neighbors", *further]) if further else "neighbors alone"


def _trained(training: dict[str, Any] | None) -> str:
    if training is None:
        return "no head"
    if not training["folds"]:
        return f"{training['steps']} steps; nothing could be held out"
    score = training["held_out_macro_f1"][str(training["steps"])]
    return f"{training['steps']} steps, macro-F1 {score:.3f} on what was held out ({training['folds']} folds)"
