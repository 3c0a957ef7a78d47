"""A reference atlas as it is read: labelled cell vectors, how they were made, and an index."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
import scipy.sparse as sp

from scvec import index as indexes
from scvec.atlas.fitted import (
    load_calibration,
    load_embedding,
    load_kept_sample,
    load_likeness,
    load_profiles,
    load_views,
)
from scvec.atlas.indexing import faulty_part, open_index
from scvec.atlas.label_table import label_rows
from scvec.atlas.likeness import Likeness
from scvec.atlas.paths import CURRENT, cells_path
from scvec.atlas.rows import OBS_COLUMNS, Keys
from scvec.core import html
from scvec.core.arrow import coded, vectors_from_arrow
from scvec.core.text import counted
from scvec.core.types import Floats, Ints, Neighbors, Strings, freeze
from scvec.embed.encoders import Address
from scvec.embed.profiles import Profiles
from scvec.embed.projection import Embedding
from scvec.embed.recipe import Recipe
from scvec.embed.sample import Sample
from scvec.errors import ConflictError, InputError, MismatchError
from scvec.index.engines import SearchEngine
from scvec.ingest import GeneTexts
from scvec.ingest.genes.gene_table import GeneTable, is_packaged, open_table, texts_of
from scvec.knn.calibration import Calibration
from scvec.store import Snapshot, Store, Table
from scvec.views import Views

HASHED_BYTES = 64 * 2**20
"""Parts of an index up to this size are hashed when they are opened; for larger parts, the size is checked."""

READ_CELLS = 65_536
"""Vectors that are read at a time, when all of them are read."""


@dataclass(frozen=True)
class Atlas:
    """A labelled reference at one version.

    Attributes
    ----------
    name
        Its name in the store.
    store
        Where it is.
    cells
        The table of its cells, at one version.
    manifest
        What it was made from, and how.
    device
        Where it is searched: ``"cpu"``, ``"cuda"``, or one of several GPUs, such as ``"cuda:1"``.
    search_engine
        What searches it: ``"auto"``, or one of `scvec.index.engines.NAMES`.
    """

    name: str
    store: Store
    cells: Snapshot
    manifest: dict[str, Any]
    device: str = "cpu"
    search_engine: SearchEngine = "auto"

    def __repr__(self) -> str:
        made = self.manifest
        said = f"{counted(made['n_cells'], 'cell')}, {counted(len(made['labels']), 'label')}"
        return f"Atlas {self.name}, version {made['version']}: {said}, recipe {self.recipe.name}, in {self.store.uri}"

    def _repr_html_(self) -> str:
        names, counts = np.unique(self.label_codes, return_counts=True)
        order = np.argsort(-counts, kind="stable")
        rows = [(str(self.label_names[names[i]]), int(counts[i])) for i in order]
        return html.table(repr(self), ("label", "cells"), rows)

    @property
    def table(self) -> Table:
        """The table, with all of its versions."""
        return self.store.table(cells_path(self.name))

    def at_head(self) -> int:
        """Return the version from which a change starts: this one, restored as the table's newest if it is not.

        A process that was killed may have left a newer version that was never published.

        Raises
        ------
        ConflictError
            If this is no longer the current version.
        """
        current = self.table.tags().get(CURRENT)
        if current != self.cells.version:
            raise ConflictError(
                f"atlas {self.name!r} is at version {current}",
                f"version {self.cells.version}, which was opened",
                "open it again, or check out that version",
            )
        return current if self.table.latest().version == current else self.table.restore(current)

    @property
    def keys(self) -> Keys:
        """The columns of ``obs`` that the atlas keeps."""
        return Keys.from_dict(self.manifest["keys"])

    @property
    def is_panel(self) -> bool:
        """Whether it was fitted again on some of its genes; see `scvec.atlas.panel`."""
        return False

    @property
    def recipe(self) -> Recipe:
        """The recipe of its cell vectors."""
        return Recipe.from_dict(self.manifest["recipe"], f"atlas {self.name}")

    @cached_property
    def gene_table(self) -> GeneTable:
        """The gene texts, or packaged identifiers, to which its genes were matched."""
        return open_table(self.store, self.manifest["taxon_id"], self.recipe.release)

    @property
    def gene_notes(self) -> list[str]:
        """A note if its packaged identifiers are not those that are packaged now; their ids are the same genes."""
        built, now = self.recipe.release, self.gene_table
        if now.digest == self.manifest["gene_texts_digest"] or not is_packaged(built):
            return []
        return [f"atlas {self.name!r} was built with gene identifiers {built}; names are resolved by {now.release}"]

    @cached_property
    def texts(self) -> GeneTexts:
        """The texts of its genes: those to which they were matched, or for packaged identifiers the store's last.

        Raises
        ------
        NotInStoreError
            If the store has none.
        """
        return texts_of(self.store, self.gene_table)

    @cached_property
    def embedding(self) -> Embedding:
        """The recipe as fitted on the reference."""
        return load_embedding(self.store, self.manifest["fitted"], self.recipe)

    @cached_property
    def profiles(self) -> Profiles:
        """What each label expresses."""
        return load_profiles(self.store, self.manifest["fitted"])

    @cached_property
    def gene_symbols(self) -> Strings:
        """(g,) the symbols of its genes; "" for a gene without one."""
        symbol_of = dict(self.gene_table.genes.select("gene_id", "symbol").iter_rows())
        return freeze(np.array([symbol_of.get(gene) or "" for gene in self.embedding.gene_ids.tolist()], object))

    @cached_property
    def calibration(self) -> Calibration | None:
        """The calibration of its calls; None for an atlas of a single cell."""
        return load_calibration(self.store, self.manifest["fitted"])

    @cached_property
    def views(self) -> Views | None:
        """The further views of a cell by which it calls, beside its neighbours; None for neighbours alone."""
        return load_views(self.store, self.manifest["fitted"])

    @cached_property
    def likeness(self) -> Likeness | None:
        """How much cells are like the labels that they are called; None if an earlier version has built it."""
        return load_likeness(self.store, self.manifest["fitted"])

    @cached_property
    def kept_sample(self) -> Sample | None:
        """The cells on which it was fitted, on its genes; None if an earlier version has built it, or without a head.

        Their `rows` are row ids.
        """
        return load_kept_sample(self.store, self.manifest["fitted"])

    @cached_property
    def index(self) -> indexes.Index:
        """The index of its cells; parts hold removed cells too, until the atlas is compacted."""
        made = self.manifest["index"]
        for part in made["parts"]:
            self._check_part(part)
        index = open_index(self.store, made, self.cells, self.filled, self.device, self.search_engine)
        if made["parts"] and len(index) != made["rows"]:
            raise MismatchError(
                f"the index of atlas {self.name!r} has {len(index):,} cells", f"{made['rows']:,}", self._repair()
            )
        return index

    @cached_property
    def obs(self) -> pa.Table:
        """Columns `row`, the row ids, ascending; `OBS_COLUMNS`; and the further columns that the atlas keeps."""
        return self.cells.read(["row", *OBS_COLUMNS, *self.keys.obs])

    @cached_property
    def rows(self) -> Ints:
        """(n,) row ids of its cells, ascending."""
        rows: Ints = np.asarray(self.obs["row"], np.int64)
        return rows

    @cached_property
    def _is_dense(self) -> bool:
        return len(self.rows) > 0 and int(self.rows[-1] - self.rows[0]) + 1 == len(self.rows)

    @property
    def labels(self) -> Strings:
        """(n,) the label of each cell, in the order of `obs`."""
        names: Strings = self.label_names[self.label_codes]
        return names

    @cached_property
    def label_names(self) -> Strings:
        """(L,) its labels: those on which it was fitted, sorted, then later ones, sorted."""
        fitted = self.manifest["labels"]
        later = set(coded(self.obs["label"])[0]) - set(fitted)
        return np.array([*fitted, *sorted(later)], object)

    @cached_property
    def label_codes(self) -> Ints:
        """(n,) the label of each cell as a position in `label_names`, in the order of `obs`."""
        names, codes = coded(self.obs["label"])
        place = {name: i for i, name in enumerate(self.label_names.tolist())}
        found: Ints = np.array([place[name] for name in names], np.int64)[codes]
        return found

    @cached_property
    def label_ids(self) -> dict[str, str]:
        """The id of each label; "" for a label without one."""
        pairs = self.obs.group_by(["label", "label_id"]).aggregate([])
        return dict(zip(pairs["label"].to_pylist(), pairs["label_id"].to_pylist(), strict=True))

    @cached_property
    def label_table(self) -> Snapshot | None:
        """The table of its labels, see `scvec.atlas.label_table`; None if an earlier version has built it."""
        return label_rows(self.store, self.name, self.manifest)

    def cell_ids(self, positions: Ints) -> Strings:
        """Return the names of the cells at these positions of `obs`."""
        unique, inverse = np.unique(positions, return_inverse=True)
        names = self.obs["cell_id"].take(pa.array(unique))
        return np.array(names.to_pylist(), object)[inverse].reshape(positions.shape)

    def expect(self, recipe: str | None, encoder: str | None) -> None:
        """Raise `MismatchError` if the atlas was built with another recipe or encoder; None accepts any."""
        for what, asked, found in (
            ("recipe", recipe, self.recipe.name),
            ("encoder", _canonical(encoder), _canonical(self.recipe.encoder) or "none"),
        ):
            if asked not in (None, found):
                raise MismatchError(
                    f"atlas {self.name!r} was built with {what} {found}",
                    f"{asked}",
                    f"choose an atlas built with {what} {asked}, or leave out `{what}`",
                )

    def positions(self, ids: Ints) -> Ints:
        """Return the positions in `obs` of cells given by row id; raise `MismatchError` if one is not there."""
        # An atlas from which no cell was removed has all ids in a row, so that no search is needed.
        found = ids - self.rows[0] if self._is_dense else np.searchsorted(self.rows, ids)
        found = np.clip(found, 0, len(self.rows) - 1)
        if not (self.rows[found] == ids).all():
            raise MismatchError(f"the index of atlas {self.name!r} has cells that its table lacks", fix=self._repair())
        return found

    def vectors(self, ids: Ints) -> Floats:
        """Return (m, d) the stored vectors of cells given by row id."""
        if not len(ids):
            return np.zeros((0, self.manifest["dimension"]), np.float32)
        return vectors_from_arrow(self.cells.take(self.positions(ids), ["vector"])["vector"])

    @cached_property
    def filled(self) -> Ints:
        """Row ids of the cells that can be found, ascending: all that are not empty."""
        rows: Ints = self.rows[~np.asarray(self.obs["empty"])]
        return rows

    @cached_property
    def label_means(self) -> Floats:
        """(L, d) the mean vector of each label's cells with expression; zeros for a label without such cells.

        The scalar product of a unit vector with it is the mean cosine with the label's cells.
        """
        n_labels = len(self.label_names)
        sums, counts = np.zeros((n_labels, self.manifest["dimension"])), np.zeros(n_labels)
        for start in range(0, len(self.filled), READ_CELLS):
            rows = self.filled[start : start + READ_CELLS]
            codes = self.label_codes[self.positions(rows)]
            member = sp.csr_matrix((np.ones(len(codes)), (codes, np.arange(len(codes)))), (n_labels, len(codes)))
            sums += member @ self.vectors(rows)
            counts += np.bincount(codes, minlength=n_labels)
        return freeze(np.asarray(sums / np.maximum(counts, 1)[:, None], np.float32))

    def where(self, condition: str) -> Ints:
        """Return the row ids that meet an SQL condition on the columns of `obs`: ``"tissue = 'pancreas'"``.

        Raises
        ------
        InputError
            If the condition is invalid.
        """
        return np.asarray(self.cells.where(condition, ["row"])["row"], np.int64)

    def narrowed(self, rows: Ints) -> indexes.Searched:
        """Return the index restricted to these `filled` rows."""
        return indexes.narrowed(self.index, rows)

    def search(self, queries: Floats, k: int, index: indexes.Searched | None = None) -> Neighbors:
        """Return the k nearest reference cells of (n, d) unit vectors; `index` may be a `narrowed` one."""
        return indexes.search(self.narrowed(self.filled) if index is None else index, queries, k)

    def _check_part(self, part: dict[str, Any]) -> None:
        """Raise `MismatchError` if a part of the index has changed: by hash if that is quick, else by size."""
        folder = f"{self.manifest['index']['folder']}/{part['name']}"
        faulty = faulty_part(self.store, folder, part, whole=part["bytes"] <= HASHED_BYTES)
        if faulty:
            raise MismatchError(f"{faulty[0]} of atlas {self.name!r} has changed since it was made", fix=self._repair())

    def _repair(self) -> str:
        return f"scvec atlas verify {self.name} --repair"

    def _rebuild(self) -> str:
        return f"build it again: scvec atlas build {self.name} REF.h5ad --overwrite"


def check_atlas(given: object) -> None:
    """Raise `InputError` if what is given as an atlas is none: a name, a store, or cells in its place."""
    if not isinstance(given, Atlas):
        kind, opened = type(given).__name__, "scvec.atlas.open(STORE, NAME) returns one"
        fix = "give the atlas first, then the cells" if kind == "AnnData" else opened
        raise InputError(f"the atlas is given as {kind}", "an Atlas", fix)


def _canonical(encoder: str | None) -> str | None:
    return None if encoder is None else Address.parse(encoder).canonical()
