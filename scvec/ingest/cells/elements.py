"""Parts of an AnnData file, HDF5 or zarr, read with errors that name the part."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from scvec.core.types import Strings
from scvec.ingest.cells.frames import Column
from scvec.ingest.cells.locations import reading

NAMES_A_BLOCK = 2**16


@dataclass(frozen=True, slots=True)
class TreeFrame:
    """``obs`` or ``var`` of an AnnData file.

    Attributes
    ----------
    group
        The group of HDF5 or zarr.
    where
        The file and the group, for messages.
    """

    group: Any
    where: str

    @property
    def keys(self) -> list[str]:
        """The names of the columns."""
        with reading(self.where):
            return [key for key in self.group if key != self.group.attrs.get("_index")]

    def names(self) -> Strings:
        """Return (n,) the names of the rows."""
        with reading(self.where):
            element = self.group[self.group.attrs["_index"]]
            # Newer writers may store names as a nullable array instead of a plain one.
            if hasattr(element, "shape") and element.attrs.get("encoding-type") == "string-array":
                return _strings(element)
            return _as_strings(read_elem(element))

    def column(self, key: str) -> Column:
        """Return a column."""
        with reading(f"{self.where}[{key!r}]"):
            return Column.of(read_elem(self.group[key]))


def read_elem(element: Any) -> Any:
    """Return an element of an AnnData file as anndata reads it."""
    from anndata import io

    return io.read_elem(element)


def _strings(array: Any) -> Strings:
    """Read an array of strings block by block: HDF5 first returns them as bytes."""
    decoded = array.asstr() if hasattr(array, "asstr") else array
    names = np.empty(array.shape[0], object)
    for start in range(0, len(names), NAMES_A_BLOCK):
        stop = min(start + NAMES_A_BLOCK, len(names))
        names[start:stop] = decoded[start:stop]
    if decoded is array and (names == "").any():  # zarr reads missing chunks as empty strings
        raise ValueError(f"{int((names == '').sum()):,} names are empty")
    return names


def _as_strings(values: Any) -> Strings:
    column = np.asarray(values, dtype=object)
    names = np.empty(len(column), object)
    names[:] = [str(name) for name in column]
    return names
