"""Parts of an AnnData file, HDF5 or zarr, read with errors that name the part."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from scvec.core.types import Strings
from scvec.ingest.cells.frames import Column
from scvec.ingest.cells.locations import reading
from scvec.ingest.cells.tree import Tree, attribute, read_elem, refuse_bloated, text

NAMES_A_BLOCK = 2**16

CATEGORIES = "categories"
"""What a categorical calls its values: a member of its group or, as anndata 0.7 wrote it, an attribute of its codes."""

LENGTH_OF = ("codes", "values", "mask")
"""Members of a column that is a group: the first that is there has one value for each row."""


@dataclass(frozen=True, slots=True)
class TreeFrame:
    """``obs`` or ``var`` of an AnnData file, of anndata 0.7 or later.

    Attributes
    ----------
    group
        The group of HDF5 or zarr.
    where
        The file and the group, for messages.
    """

    group: Tree
    where: str

    @property
    def keys(self) -> list[str]:
        """The names of the columns, in their order."""
        with reading(self.where):
            if "column-order" in self.group.attrs:
                return [text(key) for key in self.group.attrs["column-order"]]
            return [key for key in self.group if key not in (self._index, "__categories")]

    @property
    def _index(self) -> str:
        return text(self.group.attrs["_index"])

    def __len__(self) -> int:
        """Return the number of rows, as the file declares it."""
        with reading(self.where):
            return _length(self.group[self._index])

    def names(self) -> Strings:
        """Return (n,) the names of the rows."""
        with reading(self.where):
            element = self.group[self._index]
            # Writers may store names as a nullable array, or as a categorical, instead of a plain one.
            if hasattr(element, "shape") and attribute(element, "encoding-type") == "string-array":
                return _strings(element)
            return _as_strings(self._values(self._index))

    def column(self, key: str) -> Column:
        """Return a column."""
        with reading(f"{self.where}[{key!r}]"):
            return Column.of(decoded(self._values(key)))

    def categories(self, key: str) -> Sequence[Any]:
        """Return the values of a categorical, in their order; none where a column is not categorical."""
        with reading(f"{self.where}[{key!r}]"):
            element = self.group[key]
            if CATEGORIES in element.attrs:
                return list(read_elem(self.group.referred(element, CATEGORIES)))
            return list(read_elem(element[CATEGORIES])) if isinstance(element, Tree) and CATEGORIES in element else ()

    def _values(self, key: str) -> Any:
        """Return (n,) the values of a column as anndata reads them.

        Raises
        ------
        ValueError
            If they are not one value for each row.
        """
        import pandas as pd

        element = self.group[key]
        n_rows, n_values = _length(self.group[self._index]), _length(element)
        if n_values != n_rows:
            raise ValueError(f"it has {n_values:,} values for {n_rows:,} rows")
        values = read_elem(element)
        if CATEGORIES in element.attrs:
            categories = read_elem(self.group.referred(element, CATEGORIES))
            return pd.Categorical.from_codes(values, decoded(categories))
        if getattr(values, "shape", None) != (n_rows,):
            raise ValueError(f"it is not a column of {n_rows:,} values")
        return values


def frame_of(root: Tree, part: str, where: str) -> TreeFrame:
    """Return ``obs`` or ``var`` of an AnnData, whose root this is; `where` describes the root."""
    with reading(f"{where}: {part}"):
        return TreeFrame(root[part], f"{where}: {part}")


def is_null(element: Any) -> bool:
    """Whether an element is the one that stands for None."""
    return attribute(element, "encoding-type") == "null"


def _length(element: Any) -> int:
    """Return the number of values of a column, as it is declared."""
    if isinstance(element, Tree):
        element = next(element[name] for name in LENGTH_OF if name in element)
    (n,) = element.shape
    return int(n)


def _strings(array: Any) -> Strings:
    """Read an array of strings block by block: HDF5 first returns them as bytes."""
    refuse_bloated(array)
    decoded = array.asstr() if hasattr(array, "asstr") else array
    names = np.empty(array.shape[0], object)
    for start in range(0, len(names), NAMES_A_BLOCK):
        stop = min(start + NAMES_A_BLOCK, len(names))
        names[start:stop] = decoded[start:stop]
        # zarr reads missing chunks as empty strings
        if decoded is array and (names[start:stop] == "").any():
            raise ValueError(f"{int((names[start:stop] == '').sum()):,} names are empty")
    return names


def strings_in(array: Any) -> Strings:
    """Return (n,) the strings of an array: text, or bytes of fixed or variable width."""
    refuse_bloated(array)
    return _as_strings(array[:])


def _as_strings(values: Any) -> Strings:
    """Return (n,) names as strings; raise `ValueError` if one is missing."""
    import pandas as pd

    absent = np.asarray(pd.isna(values))
    if absent.any():
        raise ValueError(f"{int(absent.sum()):,} names are missing")
    names = np.empty(len(values), object)
    names[:] = [one.decode() if isinstance(one, bytes) else str(one) for one in np.asarray(values, object)]
    return names


def decoded(values: Any) -> Any:
    """Return values whose byte strings, of fixed or variable width, are text."""
    import pandas as pd

    if isinstance(values, pd.Categorical):
        found = values.categories.to_numpy()
        return values if found.dtype.kind != "O" else values.rename_categories(decoded(found))
    kind = getattr(getattr(values, "dtype", None), "kind", "")
    if kind == "S" or (kind == "O" and isinstance(values, np.ndarray)):
        return np.array([one.decode() if isinstance(one, bytes) else one for one in values.tolist()], object)
    return values
