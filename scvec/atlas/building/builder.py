"""Building an atlas: fit on the reference, embed it shard by shard, index it; visible only once it is complete.

A build writes what it fits, then the shards of its cells, commits these as one version of the table
``atlases/<name>/cells``, makes the index of that version, and finally writes its manifest and moves the table's tag
``current``. Readers follow the tag, so that they never see an unfinished build.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Unpack

from scvec._version import __version__
from scvec.atlas.building.binding import bind, match_reference, on_panel, recipe_for, sentences_on
from scvec.atlas.building.job import Job, open_job
from scvec.atlas.building.options import BuildChanges, BuildOptions
from scvec.atlas.building.sources import Source, on_common_genes, read_sources, several
from scvec.atlas.building.steps import NewCells, described, embed_and_commit, label_ids, planned
from scvec.atlas.building.twins import note_twins
from scvec.atlas.engine import Compute, Engine, Local
from scvec.atlas.fitted import Fitted, keeping, load_fitted, save_fitted
from scvec.atlas.fitting import fit_reference
from scvec.atlas.indexing import filled_rows, index_folder, new_index, no_expression, with_table_index
from scvec.atlas.paths import CURRENT, LAYOUT, atlas_folder, cells_path, check_new_name
from scvec.atlas.publishing import publish
from scvec.atlas.reference import Atlas
from scvec.atlas.rows import Keys, table_schema
from scvec.core.logs import log_notes
from scvec.core.options import merged, spells_out
from scvec.core.progress import shown
from scvec.core.types import Floats, Progress
from scvec.embed.given import given_recipe
from scvec.embed.projection import aligner
from scvec.embed.recipe import Recipe
from scvec.embed.sample import Sample, draw
from scvec.errors import ExistsError, FileError, InputError
from scvec.index import IndexSpec
from scvec.ingest.cells import Cells, Matrix
from scvec.ingest.matching import GeneMatch
from scvec.store import Store, as_store


@spells_out(BuildOptions)
def build(
    store: Store | str | Path,
    name: str,
    reference: Cells | Sequence[Cells],
    options: BuildOptions | None = None,
    *,
    overwrite: bool = False,
    device: str = "cpu",
    engine: Engine | None = None,
    progress: Progress | None = None,
    **changes: Unpack[BuildChanges],
) -> Atlas:
    """Build an atlas from labelled cells. Readers see the store as before until the last step.

    A build that was interrupted or killed resumes when it is started again with the same cells and options; no shard
    is embedded twice.

    Parameters
    ----------
    store, name
        The store, or its folder or URI, and the name of the atlas.
    reference
        The labelled cells: an AnnData, or a file that `scvec.ingest.open_cells` reads; or several, or globs. They are
        not changed. Genes that one of several files lacks are left out.
    options, changes
        What the atlas is made of: a `scvec.BuildOptions`, or its fields as keywords; ``label_key`` must be given.
    overwrite
        Replace an atlas of that name; its old version is kept, see `checkout`.
    device
        Where vectors are computed and the index is trained.
    engine
        Embeds shards and makes the parts of the index, see `scvec.atlas.on_ray.ray_engine`; None: this process.
    progress
        Shows progress in cells.

    Raises
    ------
    InputError
        If the cells, a column, the matrix, the genes or the index factory are invalid.
    ExistsError
        If there is an atlas of that name and `overwrite` is not set.
    NotInStoreError
        If gene texts or vectors are missing.
    ConflictError
        If another process writes the atlas, or the cells are changed while they are read.
    """
    check_new_name(name)
    options, store = merged(BuildOptions, options, dict(changes)), as_store(store)
    keys = Keys(options.label, options.batch_key, options.label_id_key, tuple(options.obs_keys))
    recipe, genes = recipe_for(options.recipe, options.genes, options.encoder), options.genes
    compute = Compute(device, engine or Local(), shown(progress))
    progress = compute.progress
    table, folder = store.table(cells_path(name)), atlas_folder(name)

    def matched(matrix: Matrix) -> GeneMatch:
        match = match_reference(store, matrix, genes, options.gene_key, options.taxon, options.release)
        return match if options.panel is None else on_panel(store, match, matrix, options.panel, options.panel_taxon)

    base = table.tags().get(CURRENT)
    if base is not None and not overwrite:
        raise ExistsError(f"there is already an atlas {name!r}", fix="choose another name, or give `overwrite`")
    sources = on_common_genes(read_sources(several(reference), keys, options, compute.engine, matched))
    ids, found = label_ids(sources, options.ontology, options.label_map, {})
    notes = [*(note for source in sources for note in source.notes), *found]
    notes += dict.fromkeys(note for source in sources for note in source.match.coverage(source.sampled).told())
    if options.use_rep is not None:
        recipe = _of_given(options, sources)
    bound, vectors, match = bind(store, recipe, genes, sources[0].match, sources[0].sampled, progress)
    sources = [replace(source, match=source.match.only(match.genes)) for source in sources]
    plan = {"base": base, "recipe": bound.to_dict(), "keys": keys.to_dict(), "ids": ids, **planned(sources)}
    with store.only_writer(f"{folder}/writer"):
        job = open_job(store, table, f"{folder}/job", plan)
        with _removed_if_invalid(store, folder, base), job.carried_out():
            fitted, made, seen = _fitted(job, bound, match, vectors, sources, progress)
            about = _about(name, match, fitted)
            columns = [(aligner(source.match, fitted.embedding.gene_ids), None) for source in sources]
            schema = table_schema(keys, fitted.embedding.dimension, bound.dtype)
            new = NewCells(sources=sources, columns=columns, keys=keys, ids=ids, shard_cells=options.shard_cells)
            version, done = embed_and_commit(
                job, fitted.embedding, new, lambda staged: table.commit(staged, schema, about), compute
            )
            cells = table.at(version)
            rows = filled_rows(cells, name)
            spec = options.index or IndexSpec()
            place = index_folder(store, name, version, spec)
            cells = with_table_index(table, cells, rows, spec, progress)
            manifest = {
                **about,
                "labels": list(fitted.labels),
                "label_notes": [*notes, *seen],
                "keys": keys.to_dict(),
                "sources": described(sources, done),
                "next_row": len(cells),
                "fitted": made,
                "index": new_index(store, place, cells, rows, spec, compute),
            }
            atlas = publish(store, table, cells.version, base, manifest, "build")
    log_notes([*manifest["label_notes"], *manifest["index"]["notes"]], "build")
    return atlas


def _of_given(options: BuildOptions, sources: Sequence[Source]) -> Recipe:
    """Return the recipe of vectors that come with the cells."""
    if any(one is not None for one in (options.recipe, options.encoder, options.genes)):
        seen = "`use_rep` cannot be combined with `recipe`, `encoder` or `genes`"
        raise InputError(seen, fix="leave them out")
    found = sorted({one.given.shape[1] for one in sources if one.given is not None})
    if len(found) != 1:
        seen = f"obsm[{options.use_rep!r}] has {' and '.join(map(str, found))} dimensions in different files"
        raise InputError(seen, "one number", "make it by one model for all files")
    return given_recipe(str(options.use_rep), found[0])


@contextmanager
def _removed_if_invalid(store: Store, folder: str, base: int | None) -> Iterator[None]:
    """Remove the folder of a new atlas if its input turns out invalid."""
    try:
        yield
    except FileError:  # the file may be restored, and the build resumed
        raise
    except InputError:
        if base is None:
            store.remove(folder)
        raise


def _fitted(
    job: Job, recipe: Recipe, match: GeneMatch, vectors: Floats | None, sources: Sequence[Source], progress: Progress
) -> tuple[Fitted, dict[str, Any], list[str]]:
    """Return what is fitted on the reference, now or by a resumed run; its entry in the manifest; and notes."""
    noted = job.noted("fitted")
    if noted is not None:
        fitted = load_fitted(job.store, noted, recipe, noted["training"], noted["labels"])
        made = {"folder": noted["folder"], "hashes": noted["hashes"], "views": noted.get("views") or []}
        return fitted, made, noted["notes"]
    gene_ids = match.genes
    sample = draw(recipe, gene_ids, [source.sampled_file() for source in sources], progress)
    if not len(sample):
        raise no_expression(f"in {sources[0].file.path}")
    own = None
    if recipe.weights == "sentence":
        own = sentences_on(job.store, recipe, match).fitted(sample.logged, sum(map(len, sources)), progress)
    fitted = fit_reference(recipe, gene_ids, vectors, sample, progress, own)
    if recipe.refine is not None:
        fitted = keeping(fitted, sample)
    made = save_fitted(job.store, f"{Path(job.folder).parent.as_posix()}/fitted/{job.token}", fitted)
    notes = [
        *_note_one_label(fitted.labels),
        *_note_profiles(recipe, sample),
        *note_twins(sample.logged),
        *_notes_on_scale(sources),
    ]
    job.note("fitted", made | {"training": fitted.training, "labels": list(fitted.labels), "notes": notes})
    return fitted, made, notes


def _notes_on_scale(sources: Sequence[Source]) -> list[str]:
    doubtful = [one.file for one in sources if one.file.values.doubt]
    said = "calls by the atlas get no confidence"
    return [f"{file.layer} of {file.dataset} is taken as {file.values}: {said}" for file in doubtful]


def _note_one_label(labels: Sequence[str]) -> list[str]:
    said = f"all cells have the label {labels[0]}: the atlas can call nothing else"
    return [said] if len(labels) == 1 else []


def _note_profiles(recipe: Recipe, sample: Sample) -> list[str]:
    if not sample.is_of_profiles:
        return []
    said = "the reference's rows express more than half of the genes, as mean profiles do and cells do not"
    return [f"{said}: {'neighbours do not count in calls, and ' if recipe.views else ''}no error can be stated"]


def _about(name: str, match: GeneMatch, fitted: Fitted) -> dict[str, Any]:
    """Return what all versions of the atlas have in common: the manifest of its table."""
    recipe = fitted.embedding.recipe
    return {
        "kind": "atlas",
        "layout": LAYOUT,
        "name": name,
        "taxon_id": match.gene_table.taxon_id,
        "gene_texts_digest": match.gene_table.digest,
        "recipe": recipe.to_dict(),
        "recipe_sha256": recipe.sha256(),
        "dimension": fitted.embedding.dimension,
        "training": fitted.training,
        "written_by": f"scvec {__version__}",
    }
