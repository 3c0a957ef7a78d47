"""An AnnData within another store: the RNA of MuData, a table of SpatialData."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from scvec.core.types import Strings
from scvec.errors import FileError
from scvec.ingest.cells.elements import frame_of
from scvec.ingest.cells.frames import Column, Frame
from scvec.ingest.cells.h5ad import AnnDataSource
from scvec.ingest.cells.locations import Place, reading
from scvec.ingest.cells.tree import Tree

RNA = ("rna", "gex", "gene expression", "rnaseq", "scrna", "mrna")
"""Names of the modality of genes, case ignored; the first that is there is read."""


class MuDataSource(AnnDataSource):
    """One modality of MuData, with the annotations that its cells have in the whole.

    Parameters
    ----------
    path
        The path of the file.
    root
        Its root.

    Raises
    ------
    FileError
        If there are several modalities, and none is called RNA.
    """

    def __init__(self, path: Place, root: Tree) -> None:
        with reading(str(path)):
            names = root["mod"].keys()
        name = _modality(path, names)
        with reading(f"{path}: mod/{name}"):
            super().__init__(path, root["mod"][name])
        self._whole, self._name, self._where = root, name, f"{path}: mod/{name}"
        others = ", ".join(one for one in names if one != name)
        self.notes = (f"{name} of MuData is read" + (f", not {others}" if others else ""),)

    @property
    def obs(self) -> Frame:
        """The annotations of the cells: the modality's, then those of all modalities."""
        own = self._frame("obs")
        with reading(str(self._path)):
            if "obs" not in self._whole or "_index" not in self._whole["obs"].attrs:
                return own
            return _Joined(own, frame_of(self._whole, "obs", str(self._path)), f"{self._name}:")

    def colors(self, key: str) -> dict[str, str]:
        """Return the colours of the values of a modality's annotation."""
        return super().colors(key) if key in self._frame("obs").keys else {}


@dataclass(frozen=True, slots=True)
class _Joined:
    """Annotations of some cells, and those that more cells have."""

    own: Frame
    more: Frame
    prefix: str

    @property
    def keys(self) -> list[str]:
        """The names of the columns; those that MuData has copied from the modality are there once."""
        own = self.own.keys
        return [*own, *(key for key in self.more.keys if key not in own and key.removeprefix(self.prefix) not in own)]

    def names(self) -> Strings:
        """Return (n,) the names of the cells."""
        return self.own.names()

    def column(self, key: str) -> Column:
        """Return a column; values are missing for cells that the whole lacks."""
        if key in self.own.keys:
            return self.own.column(key)
        column = self.more.column(key)
        place = {name: i for i, name in enumerate(self.more.names().tolist())}
        rows = np.array([place.get(name, -1) for name in self.own.names().tolist()], np.int64)
        codes = np.append(np.asarray(column.codes, np.int64), -1)
        return Column(codes[rows], column.values)


def _modality(path: Place, names: list[str]) -> str:
    lower = {name.lower(): name for name in names}
    found = next((lower[one] for one in RNA if one in lower), None)
    if found is None and len(names) == 1:
        return names[0]
    if found is None:
        raise FileError(
            f"{path} is MuData of {', '.join(names) or 'no modality'}",
            "a modality called rna, or only one",
            f"in Python: import mudata; mudata.read({str(path)!r})[{(names or ['rna'])[0]!r}].write_h5ad('cells.h5ad')",
        )
    return found


def spatial_table(path: Place, root: Tree) -> tuple[Tree, str] | None:
    """Return the only table of SpatialData, and its path in the store; None if a store has no tables.

    Raises
    ------
    FileError
        If there are several.
    """
    with reading(str(path)):
        for part in ("tables", "table"):
            if part not in root:
                continue
            group = root[part]
            names = [name for name in sorted(group) if isinstance(group[name], Tree) and "obs" in group[name]]
            if len(names) > 1:
                seen = f"{path} is SpatialData with several tables: {', '.join(names)}"
                raise FileError(seen, "one table", f"give one of them, such as {path / part / names[0]}")
            if names:
                return group[names[0]], f"{part}/{names[0]}"
            if "obs" in group:
                return group, part
    return None
