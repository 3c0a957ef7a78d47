"""An atlas on fewer genes, for a query that measures only these: fitted again on the cells that the atlas keeps."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa

from scvec import index as indexes
from scvec._version import __version__
from scvec.atlas.fitted import Fitted, load_fitted, save_fitted
from scvec.atlas.fitting import fit_reference
from scvec.atlas.likeness import Likeness
from scvec.atlas.paths import atlas_folder
from scvec.atlas.reference import Atlas
from scvec.core.types import Floats, Ints, Progress, silent
from scvec.embed.given import cell_vectors
from scvec.embed.profiles import Profiles
from scvec.embed.projection import Embedding, Mask
from scvec.embed.recipe import Recipe
from scvec.embed.sample import Sample
from scvec.errors import ScvecError
from scvec.index import Exact, Stored
from scvec.knn.calibration import Calibration
from scvec.views import Views

FEW_GENES = 0.6
"""A query that measures less than this share of a reference's expression is called by an atlas on its own genes."""

NOTE = "panel.json"


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class PanelAtlas(Atlas):
    """An atlas at one version, on fewer genes; see `on_panel`.

    Its cells are those of the sample that the atlas keeps, under the row ids that they have there.

    Attributes
    ----------
    whole
        The atlas on all of its genes.
    fitted
        What was fitted on these genes.
    sample
        The cells, on these genes.
    """

    whole: Atlas
    fitted: Fitted
    sample: Sample

    def __repr__(self) -> str:
        return f"{self.whole}; on {len(self.embedding.gene_ids):,} of its genes"

    @property
    def is_panel(self) -> bool:
        """Whether it has fewer genes than its atlas."""
        return True

    @property
    def recipe(self) -> Recipe:
        """The recipe of its cell vectors: that of the atlas, without texts."""
        return self.fitted.embedding.recipe

    @cached_property
    def embedding(self) -> Embedding:
        """The recipe as fitted on these genes."""
        return self.fitted.embedding

    @cached_property
    def profiles(self) -> Profiles:
        """What each label expresses of these genes."""
        return self.fitted.profiles

    @cached_property
    def calibration(self) -> Calibration | None:
        """The calibration of calls on these genes."""
        return self.fitted.calibration

    @cached_property
    def views(self) -> Views | None:
        """The views of a cell on these genes."""
        return self.fitted.views

    @cached_property
    def likeness(self) -> Likeness | None:
        """How much cells are like the labels that they are called, on these genes."""
        return self.fitted.likeness

    @cached_property
    def obs(self) -> pa.Table:
        """The table of the whole atlas, which is read once."""
        return self.whole.obs

    @cached_property
    def label_codes(self) -> Ints:
        """(n,) the label of each of its cells, as a position in `label_names`."""
        return self.whole.label_codes

    @cached_property
    def filled(self) -> Ints:
        """Row ids of the cells that can be found, ascending."""
        rows = self._sampled_rows
        return rows[np.isin(rows, self.rows)]

    @cached_property
    def index(self) -> indexes.Index:
        """An index of its cells, which are few: it is exact."""
        kept = np.isin(self._sampled_rows, self.filled)
        return Exact(Stored.of(self.filled, self._sampled_vectors[kept]))

    def vectors(self, ids: Ints) -> Floats:
        """Return (m, d) the vectors of cells given by row id."""
        return self._sampled_vectors[np.searchsorted(self._sampled_rows, ids)]

    @property
    def _sampled_rows(self) -> Ints:
        return np.arange(len(self.sample)) if self.sample.rows is None else self.sample.rows

    @cached_property
    def _sampled_vectors(self) -> Floats:
        every = np.ones(self.sample.logged.shape[1], bool)
        return cell_vectors(self.embedding, self.sample.logged, every)[0]


def is_few(atlas: Atlas, measured: Mask) -> bool:
    """Return whether these of an atlas's genes, (g,) True, are so few that it should be fitted again on them."""
    profiles = atlas.profiles
    return profiles.share(measured) < FEW_GENES * profiles.share(profiles.composition > 0)


def on_panel(atlas: Atlas, measured: Mask, progress: Progress = silent) -> PanelAtlas | None:
    """Return an atlas on some of its genes, (g,) True; None if it does not keep what that needs.

    What is fitted, on a sample of its cells, takes seconds and is kept in the store for the next query that measures
    the same genes; in a store that cannot be written, it is fitted each time.
    """
    sample = atlas.kept_sample
    if sample is None or atlas.recipe.refine is None:
        return None
    own = sample.on(measured)
    left = own.codes if own.rows is None else own.codes[np.isin(own.rows, atlas.filled)]
    if len(np.unique(left)) < 2:
        return None
    gene_ids = atlas.embedding.gene_ids[measured]
    recipe = replace(atlas.recipe.without_text(), views=() if atlas.views is None else tuple(atlas.views.of))
    folder = _folder(atlas, gene_ids)
    fitted = _kept(atlas, folder, recipe)
    if fitted is None:
        fitted = fit_reference(recipe, gene_ids, np.zeros((len(gene_ids), 0), np.float32), own, progress)
        _keep(atlas, folder, fitted)
    about = {name: getattr(atlas, name) for name in ("name", "store", "cells", "manifest", "device", "search_engine")}
    return PanelAtlas(**about, whole=atlas, fitted=fitted, sample=own)


def panels_folder(atlas: Atlas) -> str:
    """Return the folder of what was fitted on fewer genes, for all versions of an atlas with the same fit."""
    return f"{atlas_folder(atlas.name)}/panels/{atlas.manifest['fitted']['folder'].rpartition('/')[2]}"


def _folder(atlas: Atlas, gene_ids: Ints) -> str:
    found = hashlib.sha256(np.asarray(gene_ids, "<i8").tobytes())
    found.update(json.dumps([__version__, atlas.manifest["fitted"]["hashes"]], sort_keys=True).encode())
    return f"{panels_folder(atlas)}/{found.hexdigest()[:20]}"


def _kept(atlas: Atlas, folder: str, recipe: Recipe) -> Fitted | None:
    """Return what was fitted before; None if it was not, or is damaged."""
    store = atlas.store
    try:
        if not store.has_file(f"{folder}/{NOTE}"):
            return None
        made = store.read_json(f"{folder}/{NOTE}")
        return load_fitted(store, {"folder": folder, **made}, recipe, made["training"], made["labels"])
    except (ScvecError, KeyError, OSError):
        return None


def _keep(atlas: Atlas, folder: str, fitted: Fitted) -> None:
    """Keep what was fitted, if the store can be written."""
    try:
        made = save_fitted(atlas.store, folder, fitted)
        note: dict[str, Any] = {"hashes": made["hashes"], "training": fitted.training, "labels": list(fitted.labels)}
        atlas.store.write_json(f"{folder}/{NOTE}", note)
    except (ScvecError, OSError):
        return
