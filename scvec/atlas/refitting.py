"""Fitting an atlas again, on the cells that it was built from: for what earlier versions of scvec did not fit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Unpack

import numpy as np

from scvec.atlas.building.options import ExtendChanges, ExtendOptions
from scvec.atlas.building.sources import Source, read_sources, several
from scvec.atlas.engine import Local
from scvec.atlas.fitted import keeping, save_fitted
from scvec.atlas.fitting import fit_reference, likeness_of
from scvec.atlas.maintenance import new_version
from scvec.atlas.paths import atlas_folder
from scvec.atlas.publishing import publish
from scvec.atlas.query_cells import match_to, placed
from scvec.atlas.reference import Atlas, check_atlas
from scvec.atlas.rows import Keys
from scvec.core.options import merged, spells_out
from scvec.core.progress import shown
from scvec.core.text import counted
from scvec.core.types import Progress
from scvec.embed.given import cell_vectors
from scvec.embed.projection import normalise
from scvec.embed.recipe import RECIPES
from scvec.embed.sample import draw
from scvec.errors import InputError, MismatchError
from scvec.ingest.cells import Cells, Matrix
from scvec.ingest.matching import GeneMatch
from scvec.views import check_names

COMPARED, NEAR = 100, 0.01
"""At most so many cells of a file that was moved are compared with the atlas's, by vectors that differ by no more."""


@spells_out(ExtendOptions)
def refit(
    atlas: Atlas,
    reference: Cells | Sequence[Cells],
    options: ExtendOptions | None = None,
    *,
    views: Sequence[str] | None = None,
    progress: Progress | None = None,
    **changes: Unpack[ExtendChanges],
) -> Atlas:
    """Fit the views, the profiles and the calibration again, in one commit; the cells' vectors and the index stay.

    It gives an atlas of an earlier version the views by which calls are made today, and the sample on which they are
    fitted again for a query of few genes. Without further cells, a second fit changes nothing.

    Parameters
    ----------
    atlas
        At its current version, of a recipe with a head.
    reference
        The cells from which it was built: the same files or AnnData, or copies of them, read in the same way.
    options, changes
        How they are read, as they were for `build`: a `scvec.ExtendOptions`, or its fields as keywords. Columns that
        are not given are those with which the atlas was built.
    views
        The names of the views, see `scvec.views.VIEWS`; None: those of the recipe ``refined``; empty: neighbours alone.
    progress
        Shows progress in cells and steps.

    Raises
    ------
    InputError
        If the recipe has no head, there is no such view, or a label of the atlas came later.
    MismatchError
        If the cells are not those from which the atlas was built.
    ConflictError
        If another process writes the atlas.
    """
    check_atlas(atlas)
    options = merged(ExtendOptions, options, dict(changes))
    names = RECIPES["refined"].views if views is None else tuple(views)
    progress = shown(progress)
    _check(atlas, names)
    sources = _sources(atlas, reference, options)
    gene_ids = atlas.embedding.gene_ids
    store, folder = atlas.store, atlas_folder(atlas.name)
    # Without texts: the head that is trained is not kept. It is that of the folds, which calibrate.
    recipe = replace(atlas.recipe.without_text(), views=names)
    sample = draw(recipe, gene_ids, [source.sampled_file() for source in sources], progress)
    if sample.rows is not None:  # without cells that were removed
        sample = sample.at(np.flatnonzero(np.isin(sample.rows, atlas.rows)))
    fitted = fit_reference(recipe, gene_ids, np.zeros((len(gene_ids), 0), np.float32), sample, progress)
    likeness = likeness_of(atlas.embedding, sample, fitted.views)
    kept = {"embedding": atlas.embedding, "training": atlas.manifest["training"]}
    fitted = keeping(replace(fitted, **kept, likeness=likeness), sample)
    with store.only_writer(f"{folder}/writer"):
        version = new_version(atlas)
        made = save_fitted(store, f"{folder}/fitted/v{version}", fitted)
        said = f"refit: {', '.join(names) or 'neighbors alone'}"
        manifest = {**atlas.manifest, "fitted": made, "labels": list(fitted.labels)}
        return publish(store, atlas.table, version, atlas.cells.version, manifest, said)


def _check(atlas: Atlas, names: Sequence[str]) -> None:
    """Raise `InputError` if an atlas cannot be fitted again with these views."""
    check_names(names)
    if atlas.recipe.refine is None:
        seen = f"atlas {atlas.name!r} was built with recipe {atlas.recipe.name}, which has no head"
        raise InputError(seen, "a recipe with one, such as refined", "build it again with that recipe")
    later = sorted(set(atlas.label_names.tolist()) - set(atlas.manifest["labels"]))
    if later:
        seen = f"atlas {atlas.name!r} was extended by cells of {counted(len(later), 'new label')}, such as {later[0]!r}"
        raise InputError(seen, "labels that its head was trained on", "build it again from all of its files")


def _sources(atlas: Atlas, reference: Cells | Sequence[Cells], options: ExtendOptions) -> list[Source]:
    """Return the files in the order in which the atlas has their cells; raise `MismatchError` if they are others."""

    def matched(matrix: Matrix) -> GeneMatch:
        known = atlas.gene_table, atlas.embedding.gene_ids
        return match_to(matrix, atlas.store, *known, options.gene_key, options.taxon)[0]

    kept = atlas.keys
    keys = Keys(
        options.label_key or kept.label, options.batch_key or kept.batch, options.label_id_key or kept.label_id, ()
    )
    given = read_sources(several(reference), keys, options, Local(), matched)
    first, found = 0, []
    for one in atlas.manifest["sources"]:
        found.append(next((i for i, source in enumerate(given) if _holds(source, atlas, first, one)), None))
        first += one["n_cells"]
    if None in found or len(set(found)) < len(given):
        seen = f"the cells given are not those of atlas {atlas.name!r}"
        files = ", ".join(one["file"] for one in atlas.manifest["sources"])
        expected = f"the files from which it was built, with the same cells, labels and values: {files}"
        raise MismatchError(seen, expected, "give these, with the options of the build, or build it again")
    return [given[i] for i in found if i is not None]


def _holds(source: Source, atlas: Atlas, first: int, made: Mapping[str, Any]) -> bool:
    """Whether a file has the cells of an atlas from this row id on: by names, labels, and the vectors of some.

    `made` is what the manifest says of the file; one that was copied or moved has another fingerprint.
    """
    positions = np.flatnonzero((atlas.rows >= first) & (atlas.rows < first + len(source)))
    own, is_unchanged = atlas.rows[positions] - first, source.file.fingerprint == made["fingerprint"]
    if len(source) != made["n_cells"] or not len(own):
        return bool(is_unchanged)
    with source.file.opened() as (file, matrix):
        same = (file.obs_names[own] == atlas.cell_ids(positions)) & (source.labels[own] == atlas.labels[positions])
        if is_unchanged or not same.all():
            return bool(same.all())
        some = own[:: -(-len(own) // COMPARED)]
        values = matrix.take(some)
        # A build takes cells as they are, an extension as a query's, which may lack genes.
        columns, measured, share = placed(source.match, atlas)
        whole = np.ones(len(measured), bool)
        target = atlas.recipe.target_sum
        both = [
            cell_vectors(atlas.embedding, normalise(values, matrix.values, target, columns, part), has)[0]
            for part, has in ((None, whole), (share, measured))
        ]
    there = atlas.vectors(some + first)
    return any(np.allclose(one, there, atol=NEAR) for one in both)
