"""Adding cells to an atlas: embedded by its own recipe as it was fitted; the cells that it has stay as they are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from scvec.atlas.building.job import open_job
from scvec.atlas.building.sources import Source
from scvec.atlas.building.steps import Files, described, embed_and_commit, label_ids, planned
from scvec.atlas.engine import Engine, Local
from scvec.atlas.indexing import add_parts, filled_rows, tuned
from scvec.atlas.paths import atlas_folder
from scvec.atlas.publishing import publish
from scvec.atlas.query_cells import match_to_atlas, placed
from scvec.atlas.reference import Atlas
from scvec.atlas.rows import Keys
from scvec.core.types import Progress, silent
from scvec.errors import FileError, InputError
from scvec.index import IndexSpec
from scvec.ingest.cells import AskedScale, Matrix
from scvec.ingest.matching import GeneMatch
from scvec.ontology import Ontology
from scvec.ontology.matching import NO_MAP


def extend(
    atlas: Atlas,
    files: str | Path | Sequence[str | Path],
    *,
    keys: Keys | None = None,
    ontology: Ontology | None = None,
    label_map: Mapping[str, str] = NO_MAP,
    layer: str | None = None,
    scale: AskedScale = "auto",
    obs: str | Path | None = None,
    dataset: str | None = None,
    gene_key: str | None = None,
    taxon: str | int | None = None,
    shard_cells: int | None = None,
    device: str = "cpu",
    engine: Engine | None = None,
    progress: Progress = silent,
) -> Atlas:
    """Add the labelled cells of files to an atlas, in one commit, and return the atlas with them.

    Nothing is fitted anew: the head, the profiles and the calibration are those of the cells that it was built from. A
    label that is new to it can be called, and has no profile and no threshold of its own until a build.

    Parameters
    ----------
    atlas
        At its current version.
    files
        A file that `scvec.ingest.cells.open_cells` reads, or several, globs among them.
    keys
        Columns of ``obs``; None: those that the atlas was built with. Further ones must be the same.
    ontology, label_map
        As in `build`, for labels that are new to the atlas.
    layer, scale, obs, dataset, gene_key
        As in `build`.
    taxon
        Species of the cells: another than the atlas's meets it through one-to-one orthologs.
    shard_cells, device, engine, progress
        As in `build`.

    Raises
    ------
    InputError
        If a file, a column, a matrix or its genes are of no use, or a dataset is in the atlas already.
    LabelError
        If a label has another id than in the atlas.
    ConflictError
        If another process writes the atlas, or a file is changed while it is read.
    """
    store, name, table, engine = atlas.store, atlas.name, atlas.table, engine or Local()
    keys = atlas.keys if keys is None else keys
    if keys.obs != atlas.keys.obs:
        raise InputError(
            f"further columns {', '.join(keys.obs) or 'none'}",
            f"{', '.join(atlas.keys.obs) or 'none'}, as atlas {name!r} has",
            "give the same --obs-key",
        )
    notes: list[str] = []

    def matched(matrix: Matrix) -> GeneMatch:
        match, said = match_to_atlas(matrix, atlas, gene_key, taxon)
        notes.extend(said)
        return match

    paths = [files] if isinstance(files, (str, Path)) else files
    sources = Files(paths=paths, keys=keys, obs=obs, dataset=dataset, layer=layer, scale=scale).read(matched)
    _refuse_known(atlas, sources)
    ids, found = label_ids(sources, ontology, label_map, atlas.label_ids)
    folder, made = atlas_folder(name), atlas.manifest["index"]
    plan = {"base": atlas.cells.version, "keys": keys.to_dict(), "ids": ids, **planned(sources)}
    with store.only_writer(f"{folder}/writer"):
        job = open_job(store, table, f"{folder}/job", plan)
        base = atlas.cells.version if job.is_committed() else atlas.at_head()
        first_row = atlas.manifest["next_row"]
        try:
            columns = [(place[0], place[2]) for place in (placed(source.match, atlas) for source in sources)]
            version, done = embed_and_commit(
                job,
                atlas.embedding,
                sources,
                columns,
                keys,
                ids,
                first_row,
                lambda staged: table.commit_after(base, staged),
                False,
                shard_cells,
                device,
                engine,
                progress,
            )
            cells = table.at(version)
            rows = filled_rows(cells, name)
            spec = IndexSpec(**made["spec"])
            added = add_parts(store, made, cells, rows[rows >= first_row], spec, f"v{version}", engine, progress)
            index = {**made, "parts": [*made["parts"], *added]}
            manifest = {
                **atlas.manifest,
                "label_notes": [*atlas.manifest["label_notes"], *notes, *found],
                "sources": [*atlas.manifest["sources"], *described(sources, done)],
                "next_row": first_row + sum(map(len, sources)),
                "index": index | tuned(store, index, cells, rows, spec, device, progress),
            }
            extended = publish(store, table, version, atlas.cells.version, manifest, f"extend by {_named(sources)}")
        except FileError:
            raise
        except InputError:
            job.discard()
            raise
        job.end()
    return extended


def _refuse_known(atlas: Atlas, sources: Sequence[Source]) -> None:
    """Raise `InputError` if the atlas has a dataset of the same name: most likely, these very cells."""
    there = set(atlas.obs["dataset"].unique().to_pylist())
    for source in sources:
        if source.dataset in there:
            raise InputError(
                f"atlas {atlas.name!r} has cells of a dataset {source.dataset!r} already",
                "cells that it does not have",
                f"leave {source.path} out, or name these another way with --dataset",
            )


def _named(sources: Sequence[Source]) -> str:
    names = [source.dataset for source in sources]
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
