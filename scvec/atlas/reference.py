"""A reference atlas as it is read: labelled cell vectors, what they were made by, and an index."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from scvec import index as indexes
from scvec.arrow import vectors_from_arrow
from scvec.calibration import Calibration
from scvec.embed.encoders import Address
from scvec.embed.profiles import Profiles
from scvec.embed.projection import Embedding, Projection
from scvec.embed.refine import Head
from scvec.errors import InputError, MismatchError, NotInStoreError
from scvec.files import sha256
from scvec.ingest import GeneTexts, open_texts
from scvec.spec import Recipe
from scvec.store import Snapshot, Store
from scvec.types import Floats, Ints, Neighbors, Strings

CURRENT = "current"
OBS_COLUMNS = ("cell_id", "dataset", "batch", "label", "label_id", "empty")


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
        The version of its table.
    manifest
        What it was made from and how.
    """

    name: str
    store: Store
    cells: Snapshot
    manifest: dict[str, Any]

    @property
    def recipe(self) -> Recipe:
        """How its cells became vectors."""
        return Recipe.from_dict(self.manifest["recipe"], f"atlas {self.name}")

    @cached_property
    def texts(self) -> GeneTexts:
        """The gene texts that its genes were matched to."""
        return open_texts(self.store, self.manifest["taxon_id"], self.recipe.release)

    @cached_property
    def embedding(self) -> Embedding:
        """The recipe as fitted on the reference."""
        with self.store.local_file(self._file("projection.safetensors")) as path:
            self._check_hash(path, "projection_sha256", "projection")
            return (Projection if self.recipe.refine is None else Head).load(path, self.recipe)

    @cached_property
    def profiles(self) -> Profiles:
        """What its labels express."""
        with self.store.local_file(self._file("profiles.safetensors")) as path:
            self._check_hash(path, "profiles_sha256", "profiles")
            return Profiles.load(path)

    @cached_property
    def calibration(self) -> Calibration | None:
        """How far its calls can be trusted; None for an atlas of a single cell."""
        if "calibration_sha256" not in self.manifest:
            return None
        with self.store.local_file(self._file("calibration.safetensors")) as path:
            self._check_hash(path, "calibration_sha256", "calibration")
            return Calibration.load(path)

    @cached_property
    def index(self) -> indexes.Index:
        """The index of its cells."""
        made = self.manifest["index"]
        with self.store.local_file(self._file("index")) as path:
            self._check_hash(path, "index_sha256", "index")
            index = indexes.load(made["factory"], path)
        if len(index) != made["rows"]:
            raise MismatchError(
                f"the index of atlas {self.name} has {len(index)} cells", str(made["rows"]), self._rebuild()
            )
        return index

    @cached_property
    def obs(self) -> pa.Table:
        """Columns `row`, the row ids, ascending, `OBS_COLUMNS`, and those that its build was told to keep."""
        return self.cells.read(["row", *OBS_COLUMNS, *self.manifest["keys"].get("obs", ())])

    @cached_property
    def labels(self) -> Strings:
        """(n,) label of each cell, in the order of `obs`."""
        return np.array(self.obs["label"].to_pylist(), dtype=object)

    def expect(self, recipe: str | None, encoder: str | None) -> None:
        """Raise `MismatchError` if the atlas was built with another recipe or encoder; None asks for nothing."""
        for what, asked, found in (
            ("recipe", recipe, self.recipe.name),
            ("encoder", encoder and Address.parse(encoder).canonical(), self.recipe.encoder or "none"),
        ):
            if asked not in (None, found):
                raise MismatchError(
                    f"atlas {self.name!r} was built with {what} {found}",
                    f"{asked}",
                    f"name an atlas built with --{what} {asked}, or leave it out",
                )

    def positions(self, ids: Ints) -> Ints:
        """Return where in `obs` cells given by row id stand; raise `MismatchError` if one is not there."""
        rows = np.asarray(self.obs["row"])
        found = np.minimum(np.searchsorted(rows, ids), len(rows) - 1)
        if not (rows[found] == ids).all():
            raise MismatchError(
                f"the index of atlas {self.name} has cells that its table lacks",
                "the same cells",
                self._rebuild(),
            )
        return found

    def vectors(self, ids: Ints) -> Floats:
        """Return (m, d) the stored vectors of cells given by row id."""
        if not len(ids):
            return np.zeros((0, self.manifest["dimension"]), np.float32)
        return vectors_from_arrow(self.cells.take(self.positions(ids), ["vector"])["vector"])

    @cached_property
    def filled(self) -> Ints:
        """Row ids of the cells that the index has, ascending: all but the empty ones."""
        rows: Ints = np.asarray(self.obs["row"], np.int64)[~np.asarray(self.obs["empty"])]
        return rows

    def where(self, condition: str) -> Ints:
        """Return the row ids for which a condition on the columns of `obs` holds, in SQL: ``"tissue = 'pancreas'"``.

        Raises
        ------
        InputError
            If it is no such condition.
        """
        return np.asarray(self.cells.where(condition, ["row"])["row"], np.int64)

    def narrowed(self, rows: Ints) -> indexes.Searched:
        """Return the index, for search among these of the `filled` rows only."""
        return indexes.narrowed(self.index, rows, self.vectors)

    def search(self, queries: Floats, k: int, index: indexes.Searched | None = None) -> Neighbors:
        """Return the k nearest reference cells of (n, d) vectors of length one; `index` may be a `narrowed` one."""
        return indexes.search(self.index if index is None else index, self.vectors, queries, k)

    def _file(self, name: str) -> str:
        return f"{version_folder(self.name, self.cells.version)}/{name}"

    def _check_hash(self, path: Path, key: str, what: str) -> None:
        if sha256(path) != self.manifest[key]:
            raise MismatchError(
                f"the {what} of atlas {self.name} is not the one it was built with",
                "that one",
                self._rebuild(),
            )

    def _rebuild(self) -> str:
        return f"build it again: scvec atlas build {self.name} REF.h5ad --overwrite"


def open_atlas(store: Store, name: str) -> Atlas:
    """Return an atlas at its current version.

    Raises
    ------
    NotInStoreError
        If there is no such atlas.
    MismatchError
        If its files are not of that version.
    """
    check_name(name)
    table = store.table(cells_path(name))
    if CURRENT not in table.tags():
        there = ", ".join(list_atlases(store)) or "none is there"
        raise NotInStoreError(
            f"{store.uri} has no atlas {name!r}",
            f"one of: {there}",
            f"scvec atlas build {name} REF.h5ad --label-key KEY",
        )
    cells = table.at(CURRENT)
    if "training" not in cells.manifest:
        raise MismatchError(
            f"atlas {name!r} was built by {cells.manifest.get('written_by', 'another scvec')}, without profiles",
            "one of this version",
            f"build it again: scvec atlas build {name} REF.h5ad --overwrite",
        )
    manifest = store.read_json(f"{version_folder(name, cells.version)}/manifest.json")
    atlas = Atlas(name, store, cells, manifest)
    of_table = cells.manifest
    differing = [key for key in of_table if manifest.get(key) != of_table[key]]
    if manifest.get("version") != cells.version or manifest.get("n_cells") != len(cells) or differing:
        raise MismatchError(
            f"the manifest of atlas {name!r} is not of version {cells.version} of its cells",
            "the same",
            atlas._rebuild(),
        )
    return atlas


def list_atlases(store: Store) -> list[str]:
    """Return the names of the atlases whose build came to its end, sorted."""
    return [name for name in store.children("atlases") if CURRENT in store.table(cells_path(name)).tags()]


def check_name(name: str) -> None:
    """Raise `InputError` if `name` cannot name an atlas."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", name):
        raise InputError(
            f"atlas name {name!r}", "letters, digits, '.', '-' and '_', at most 100", "choose another name"
        )


def cells_path(name: str) -> str:
    """Return where an atlas's table is in its store."""
    return f"atlases/{name}/cells"


def version_folder(name: str, version: int) -> str:
    """Return where the files of one version of an atlas are in its store."""
    return f"atlases/{name}/v{version}"
