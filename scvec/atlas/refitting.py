"""Fitting an atlas again, on the cells that it was built from: for what earlier versions of scvec did not fit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Unpack

import numpy as np
import scipy.sparse as sp

from scvec.atlas.building.options import ExtendChanges, ExtendOptions
from scvec.atlas.building.sources import Source, read_sources, several
from scvec.atlas.engine import Local
from scvec.atlas.fitted import save_fitted
from scvec.atlas.fitting import fit_reference, likeness_of
from scvec.atlas.maintenance import new_version
from scvec.atlas.paths import atlas_folder
from scvec.atlas.publishing import publish
from scvec.atlas.query_cells import match_to
from scvec.atlas.reference import Atlas
from scvec.atlas.rows import Keys
from scvec.core.options import merged, spells_out
from scvec.core.progress import shown
from scvec.core.text import counted
from scvec.core.types import Progress
from scvec.embed.given import cell_vectors
from scvec.embed.recipe import RECIPES
from scvec.embed.sample import Sample, draw
from scvec.errors import InputError, MismatchError, unknown
from scvec.ingest.cells import Cells, Matrix
from scvec.ingest.matching import GeneMatch
from scvec.views import VIEWS

SAME_VECTOR = 0.01
"""How far the numbers of a cell's vector may differ from those that are stored, which may be float16."""


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
        The cells from which it was built: the same files or AnnData, read in the same way.
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
    _check_cells(atlas, sample)
    fitted = fit_reference(recipe, gene_ids, np.zeros((len(gene_ids), 0), np.float32), sample, progress)
    likeness = likeness_of(atlas.embedding, sample, fitted.views)
    kept = {"embedding": atlas.embedding, "training": atlas.manifest["training"]}
    fitted = replace(fitted, **kept, likeness=likeness, sample=sample)
    with store.only_writer(f"{folder}/writer"):
        version = new_version(atlas)
        made = save_fitted(store, f"{folder}/fitted/v{version}", fitted)
        said = f"refit: {', '.join(names) or 'neighbors alone'}"
        manifest = {**atlas.manifest, "fitted": made, "labels": list(fitted.labels)}
        return publish(store, atlas.table, version, atlas.cells.version, manifest, said)


def _check(atlas: Atlas, names: Sequence[str]) -> None:
    """Raise `InputError` if an atlas cannot be fitted again with these views."""
    wrong = next((one for one in names if one not in VIEWS), None)
    if wrong is not None:
        raise unknown("view", wrong, list(VIEWS))
    if atlas.recipe.refine is None:
        seen = f"atlas {atlas.name!r} was built with recipe {atlas.recipe.name}, which has no head"
        raise InputError(seen, "a recipe with one, such as refined", "build it again with that recipe")
    later = sorted(set(atlas.label_names.tolist()) - set(atlas.manifest["labels"]))
    if later:
        seen = f"atlas {atlas.name!r} was extended by cells of {counted(len(later), 'new label')}, such as {later[0]!r}"
        raise InputError(seen, "labels that its head was trained on", "build it again from all of its files")


def _sources(atlas: Atlas, reference: Cells | Sequence[Cells], options: ExtendOptions) -> list[Source]:
    """Return the files in the order in which the atlas has their cells; raise `MismatchError` if these are others."""

    def matched(matrix: Matrix) -> GeneMatch:
        known = atlas.gene_table, atlas.embedding.gene_ids
        return match_to(matrix, atlas.store, *known, options.gene_key, options.taxon)[0]

    kept = atlas.keys
    keys = Keys(
        options.label_key or kept.label, options.batch_key or kept.batch, options.label_id_key or kept.label_id, ()
    )
    found = read_sources(several(reference), keys, options, Local(), matched)
    wanted, by_name = atlas.manifest["sources"], {one.file.dataset: one for one in found}
    if set(by_name) == {one["dataset"] for one in wanted}:
        found = [by_name[one["dataset"]] for one in wanted]  # in any order, if they are called as they were
    if [len(one) for one in found] != [one["n_cells"] for one in wanted]:
        raise _others(atlas)
    return found


def _check_cells(atlas: Atlas, sample: Sample) -> None:
    """Raise `MismatchError` if cells of the sample have other vectors than under the same row ids in the atlas."""
    rows = np.arange(len(sample)) if sample.rows is None else sample.rows
    there = np.flatnonzero(np.isin(rows, atlas.filled))
    every = np.ones(len(atlas.embedding.gene_ids), bool)
    vectors, _ = cell_vectors(atlas.embedding, sp.csr_matrix(sample.logged[there]), every)
    if not np.allclose(vectors, atlas.vectors(rows[there]), atol=SAME_VECTOR):
        raise _others(atlas)


def _others(atlas: Atlas) -> MismatchError:
    return MismatchError(
        f"the cells given are not those of atlas {atlas.name!r}",
        "those from which it was built, unchanged: " + ", ".join(one["file"] for one in atlas.manifest["sources"]),
        "give these, with the options of the build, or build it again",
    )
