"""Extending an atlas: new cells are embedded by its fitted recipe; existing cells stay as they are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Unpack

from scvec.atlas.building.job import open_job
from scvec.atlas.building.options import ExtendChanges, ExtendOptions
from scvec.atlas.building.sources import Source, read_sources, several
from scvec.atlas.building.steps import NewCells, described, embed_and_commit, label_ids, planned
from scvec.atlas.building.twins import note_known
from scvec.atlas.engine import Compute, Engine, Local
from scvec.atlas.indexing import add_parts, filled_rows, tuned
from scvec.atlas.label_table import without_labels
from scvec.atlas.paths import atlas_folder
from scvec.atlas.publishing import publish
from scvec.atlas.query_cells import given_key, match_to, placed
from scvec.atlas.reference import Atlas, check_atlas
from scvec.atlas.rows import Keys
from scvec.core.logs import log_notes
from scvec.core.options import merged, spells_out
from scvec.core.progress import shown
from scvec.core.types import Progress
from scvec.errors import InputError
from scvec.index import IndexSpec
from scvec.ingest.cells import Cells, Matrix
from scvec.ingest.matching import GeneMatch


@spells_out(ExtendOptions)
def extend(
    atlas: Atlas,
    cells: Cells | Sequence[Cells],
    options: ExtendOptions | None = None,
    *,
    device: str = "cpu",
    engine: Engine | None = None,
    progress: Progress | None = None,
    **changes: Unpack[ExtendChanges],
) -> Atlas:
    """Add labelled cells to an atlas, in one commit, and return the extended atlas.

    Nothing is fitted again: the head, the profiles and the calibration are those of the cells from which it was built.
    A new label can be called, but has neither a profile nor a threshold of its own until the atlas is built again.

    Parameters
    ----------
    atlas
        At its current version.
    cells
        An AnnData, or a file that `scvec.ingest.open_cells` reads; or several, or globs.
    options, changes
        How they are read: a `scvec.ExtendOptions`, or its fields as keywords. Columns that are not given are those with
        which the atlas was built. Cells of another species are matched through orthologs.
    device, engine, progress
        As in `build`.

    Raises
    ------
    InputError
        If the cells, a column, a matrix or its genes are invalid, or the atlas already has the dataset.
    LabelError
        If a label has another id than in the atlas.
    ConflictError
        If another process writes the atlas, or the cells are changed while they are read.
    """
    check_atlas(atlas)
    store, name, table = atlas.store, atlas.name, atlas.table
    options = merged(ExtendOptions, options, dict(changes))
    options = replace(options, use_rep=given_key(atlas, options))
    compute = Compute(device, engine or Local(), shown(progress))
    keys = Keys(
        options.label_key or atlas.keys.label,
        options.batch_key or atlas.keys.batch,
        options.label_id_key or atlas.keys.label_id,
        atlas.keys.obs,
    )
    notes: list[str] = []

    def matched(matrix: Matrix) -> GeneMatch:
        match, said = match_to(
            matrix, store, atlas.gene_table, atlas.embedding.gene_ids, options.gene_key, options.taxon
        )
        notes.extend([*atlas.gene_notes, *said, *match.coverage(matrix.sampled_totals).told()])
        return match

    sources = read_sources(several(cells), keys, options, compute.engine, matched)
    notes.extend(note for source in sources for note in source.notes)
    log_notes(notes, "extend")
    _refuse_known(atlas, sources)
    ids, found = label_ids(sources, options.ontology, options.label_map, atlas.label_ids)
    folder, made = atlas_folder(name), atlas.manifest["index"]
    plan = {"base": atlas.cells.version, "keys": keys.to_dict(), "ids": ids, **planned(sources)}
    with store.only_writer(f"{folder}/writer"):
        job = open_job(store, table, f"{folder}/job", plan)
        base = atlas.cells.version if job.is_committed() else atlas.at_head()
        first_row = atlas.manifest["next_row"]
        with job.carried_out():
            columns = [(place[0], place[2]) for place in (placed(source.match, atlas) for source in sources)]
            new = NewCells(
                sources=sources,
                columns=columns,
                keys=keys,
                ids=ids,
                first_row=first_row,
                whole=False,
                shard_cells=options.shard_cells,
            )
            version, done = embed_and_commit(
                job, atlas.embedding, new, lambda staged: table.commit_after(base, staged), compute
            )
            there = table.at(version)
            rows = filled_rows(there, name)
            new_rows = rows[rows >= first_row]
            known = note_known(atlas, there, new_rows)
            log_notes(known, "extend")
            spec = IndexSpec(**made["spec"])
            added = add_parts(store, made, there, new_rows, spec, f"v{version}", compute)
            index = {**made, "parts": [*made["parts"], *added]}
            manifest = {
                **without_labels(atlas.manifest),
                "label_notes": [*atlas.manifest["label_notes"], *notes, *found, *known],
                "sources": [*atlas.manifest["sources"], *described(sources, done)],
                "next_row": first_row + sum(map(len, sources)),
                "index": index | tuned(store, index, there, rows, spec, compute),
            }
            extended = publish(store, table, version, atlas.cells.version, manifest, f"extend by {_named(sources)}")
    return extended


def _refuse_known(atlas: Atlas, sources: Sequence[Source]) -> None:
    """Raise `InputError` if the atlas has a dataset of the same name, most likely with the same cells."""
    there = set(atlas.obs["dataset"].unique().to_pylist())
    for source in sources:
        dataset = source.file.dataset
        if dataset in there:
            raise InputError(
                f"atlas {atlas.name!r} already has cells of dataset {dataset!r}",
                fix=f"leave out {source.file.path}, or give it another `dataset`",
            )


def _named(sources: Sequence[Source]) -> str:
    names = [source.file.dataset for source in sources]
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
