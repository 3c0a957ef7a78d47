"""Parts of an h5ad file, read with errors that name the part."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np

from scvec.errors import DuplicateNameError, FileError
from scvec.types import Strings

if TYPE_CHECKING:
    import pandas as pd


@contextmanager
def reading(where: str) -> Iterator[None]:
    """Say which part of a file could not be read: HDF5's own words name neither."""
    try:
        yield
    except (OSError, KeyError, RuntimeError) as error:
        raise FileError(
            f"{where} cannot be read ({str(error)[:100]})", "a whole file", "fetch or write it again"
        ) from error


def refuse_duplicates(names: Strings, what: str, cure: str) -> None:
    """Raise `DuplicateNameError` if a name is there twice; `what` names them: ``"file.h5ad: cell"``."""
    values, counts = np.unique(names.astype(str), return_counts=True)
    if (counts > 1).any():
        example = str(values[int(np.argmax(counts > 1))])
        raise DuplicateNameError(f"{what} name {example!r} occurs {int(counts.max())} times", "each name once", cure)


def read_names(group: h5py.Group, where: str) -> Strings:
    """Return (n,) the index of ``obs`` or ``var``."""
    from anndata.io import read_elem

    with reading(where):
        # Not always a plain array of strings: newer writers keep names as a nullable one.
        names = np.asarray(read_elem(group[group.attrs["_index"]]), dtype=object)
    return np.array([str(name) for name in names], dtype=object)


def read_column(element: h5py.Group | h5py.Dataset, where: str) -> pd.Series[Any]:
    """Return (n,) a column of ``obs`` or ``var``, its values as they are."""
    import pandas as pd
    from anndata.io import read_elem

    with reading(where):
        return pd.Series(read_elem(element), dtype=object)


def as_names(column: pd.Series[Any]) -> Strings:
    """Return (n,) a column as strings: "" for what is missing, and no .0 where that made whole numbers floats."""
    return np.array([_name(value) for value in column], dtype=object)


def _name(value: object) -> str:
    if value is None or value != value or str(value) == "<NA>":
        return ""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)
