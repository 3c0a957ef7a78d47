"""Which cluster each cell is in: by a column of the cells, whose values are checked, or by names made elsewhere."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches

import numpy as np

from scvec.core.text import counted
from scvec.core.types import Ints, Strings
from scvec.errors import KeyNotFoundError, LabelError
from scvec.ingest.cells import CellFile
from scvec.ingest.cells.frames import Column

N_MAX = 500
"""Clusters that are named at most: a column of more values holds names of cells, or measurements."""

MISSING = frozenset({"nan", "<na>", "nat", "none"})
"""What programs write for a missing value. A cluster that is called "unknown" is kept: it is one to be named."""


@dataclass(frozen=True, slots=True)
class Members:
    """Clusters and their cells.

    Attributes
    ----------
    names
        (C,) names of the clusters, in the order in which people sort: "2" before "10".
    member
        (n,) the position of each cell's cluster; -1 for a cell in none.
    """

    names: Strings
    member: Ints

    @classmethod
    def of(cls, cluster: Strings) -> Members:
        """Return the clusters, given (n,) the name of each cell's, "" for none."""
        found = sorted(set(cluster.tolist()) - {""}, key=_natural)
        place = {name: i for i, name in enumerate(found)} | {"": -1}
        return cls(np.array(found, object), np.array([place[one] for one in cluster.tolist()], np.int64))


def members_of_key(file: CellFile, key: str, unlabelled: Sequence[str] = ()) -> Members:
    """Return the clusters in a column of the cells' annotations.

    Whole numbers that were read as floats, as they are beside missing values, lose their ".0".

    Parameters
    ----------
    file
        The cells.
    key
        The column.
    unlabelled
        Values that mean that a cell is in no cluster, in addition to missing and blank ones.

    Raises
    ------
    KeyNotFoundError
        If there is no such column; the message names those of a similar name.
    LabelError
        If its values are numbers with fractions, or more than `N_MAX`, or missing for every cell.
    """
    column, what = _existing(file, key), f"{file.path}: obs[{key!r}]"
    if any(isinstance(one, float) and one == one and not one.is_integer() for one in column.values):
        seen = f"{what} for `cluster_key` holds numbers with fractions"
        raise LabelError(seen, "names of clusters", "choose a column of clusters or types")
    cluster = column.gene_names()  # which says 3 for 3.0
    without = {one for one in set(cluster.tolist()) if _is_none(one, unlabelled)}
    cluster = np.array(["" if one in without else one for one in cluster.tolist()], object)
    found = Members.of(cluster)
    if not len(found.names):
        seen = f"{what} for `cluster_key` has a value for none of its {len(cluster):,} cells"
        raise LabelError(seen, "a cluster for some cells", "choose another column")
    if len(found.names) > N_MAX:
        raise LabelError(
            f"{what} for `cluster_key` has {len(found.names):,} values, and looks like names of cells or measurements",
            f"at most {N_MAX} clusters",
            "choose a column of clusters or types",
        )
    return found


def _existing(file: CellFile, key: str) -> Column:
    by_fold = {one.casefold(): one for one in reversed(file.obs_keys)}
    near = [by_fold[one] for one in get_close_matches(key.casefold(), by_fold, n=3)]
    if key not in file.obs_keys and near:
        seen = f"{file.path}: no obs column for `cluster_key` {key!r}"
        raise KeyNotFoundError(
            seen, f"one of its {counted(len(by_fold), 'column')}", f"did you mean {' or '.join(near)}"
        )
    return file.existing(key, "cluster_key")


def _is_none(name: str, further: Sequence[str]) -> bool:
    """Whether a value stands for no cluster."""
    plain = name.strip().casefold()
    return not plain or plain in MISSING or plain in {one.strip().casefold() for one in further}


def _natural(name: str) -> list[tuple[int, int, str]]:
    """Return a key by which numbers within names are sorted as numbers."""
    return [(0, int(one), "") if one.isdigit() else (1, 0, one) for one in re.split(r"(\d+)", name) if one]
