"""Extending an atlas: new cells are embedded by its fitted recipe; existing cells stay as they are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from scvec.atlas.building.job import open_job
from scvec.atlas.building.sources import Files, Source
from scvec.atlas.building.steps import NewCells, described, embed_and_commit, label_ids, planned
from scvec.atlas.engine import Compute, Engine, Local
from scvec.atlas.indexing import add_parts, filled_rows, tuned
from scvec.atlas.paths import atlas_folder
from scvec.atlas.publishing import publish
from scvec.atlas.query_cells import match_to, placed
from scvec.atlas.reference import Atlas
from scvec.atlas.rows import Keys
from scvec.core.types import Progress, silent
from scvec.errors import InputError
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
    """Add labelled cells from files to an atlas, in one commit, and return the extended atlas.

    Nothing is fitted again: the head, the profiles and the calibration are those of the cells from which it was built.
    A new label can be called, but has neither a profile nor a threshold of its own until the atlas is built again.

    Parameters
    ----------
    atlas
        At its current version.
    files
        A file that `scvec.ingest.cells.open_cells` reads, or several, or globs.
    keys
        Columns of ``obs``; None: those with which the atlas was built. `Keys.obs` must be the same.
    ontology, label_map
        As in `build`, for new labels.
    layer, scale, obs, dataset, gene_key
        As in `build`.
    taxon
        Species of the cells; if it is not the atlas's, genes are matched through one-to-one orthologs.
    shard_cells, device, engine, progress
        As in `build`.

    Raises
    ------
    InputError
        If a file, a column, a matrix or its genes are invalid, or the atlas already has the dataset.
    LabelError
        If a label has another id than in the atlas.
    ConflictError
        If another process writes the atlas, or a file is changed while it is read.
    """
    store, name, table = atlas.store, atlas.name, atlas.table
    compute = Compute(device, engine or Local(), progress)
    keys = atlas.keys if keys is None else keys
    if keys.obs != atlas.keys.obs:
        raise InputError(
            f"`keys` has the further columns {', '.join(keys.obs) or 'none'}",
            f"those of atlas {name!r}: {', '.join(atlas.keys.obs) or 'none'}",
        )
    notes: list[str] = []

    def matched(matrix: Matrix) -> GeneMatch:
        match, said = match_to(matrix, store, atlas.texts, atlas.embedding.gene_ids, gene_key, taxon)
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
        with job.carried_out():
            columns = [(place[0], place[2]) for place in (placed(source.match, atlas) for source in sources)]
            new = NewCells(
                sources=sources,
                columns=columns,
                keys=keys,
                ids=ids,
                first_row=first_row,
                whole=False,
                shard_cells=shard_cells,
            )
            version, done = embed_and_commit(
                job, atlas.embedding, new, lambda staged: table.commit_after(base, staged), compute
            )
            cells = table.at(version)
            rows = filled_rows(cells, name)
            spec = IndexSpec(**made["spec"])
            added = add_parts(store, made, cells, rows[rows >= first_row], spec, f"v{version}", compute)
            index = {**made, "parts": [*made["parts"], *added]}
            manifest = {
                **atlas.manifest,
                "label_notes": [*atlas.manifest["label_notes"], *notes, *found],
                "sources": [*atlas.manifest["sources"], *described(sources, done)],
                "next_row": first_row + sum(map(len, sources)),
                "index": index | tuned(store, index, cells, rows, spec, compute),
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
