"""Calls, and names of clusters, in an AnnData: under which names, what was written before, what is somebody else's."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from scvec.core.types import UNKNOWN, Ints
from scvec.errors import InputError, must_be

if TYPE_CHECKING:
    from anndata import AnnData

DEFAULT_KEY = "scvec"
"""The key of calls where none is given."""

NAMES_KEY = "scvec_name"
"""The key of names of clusters where none is given."""

OWN_KEYS = (DEFAULT_KEY, NAMES_KEY)
"""Names under these are scvec's own wherever they are, so that they survive the loss of ``uns``, as in a concat."""

GREY = "#bebebe"
"""The colour of `UNKNOWN`."""

PARTS = ("obs", "obsm", "uns")
"""Where entries are."""

KEY = r"[^\W_][\w .+-]*"
"""What a key may be: AnnData's files keep other names for themselves, and ``/`` separates folders in them."""

Names = dict[str, set[str]]
"""Names of entries, by `PARTS`."""


@dataclass(frozen=True, slots=True)
class Entries:
    """What is written for n cells.

    Attributes
    ----------
    key
        ``key_added``: the name of the column of labels, and the beginning of all other names.
    obs, obsm
        (n,) columns, and (n, m) arrays, by name.
    about
        What ``uns[key]`` says of the calls.
    colors
        The colour of a label, where it is known.
    """

    key: str
    obs: Mapping[str, Any]
    obsm: Mapping[str, NDArray[Any]]
    about: Mapping[str, Any]
    colors: Mapping[str, str]

    @property
    def color_key(self) -> str:
        """Where scanpy looks for the colours of the labels."""
        return f"{self.key}_colors"

    def take(self, rows: Ints | None) -> Entries:
        """Return the entries of these cells, in their order; None: of all. Those of row -1 are missing."""
        obs = {name: _taken(values, rows) for name, values in self.obs.items()}
        return replace(self, obs=obs, obsm={name: _taken(values, rows) for name, values in self.obsm.items()})

    def uns(self) -> dict[str, Any]:
        """Return the entries of ``uns``: a plain dict, and colours in the order of the categories, if all are known."""
        labels = self.obs[self.key].categories.tolist()
        known = {**self.colors, UNKNOWN: GREY}
        colored = bool(self.colors) and all(label in known for label in labels)
        found: dict[str, Any] = {self.color_key: np.array([known[one] for one in labels], object)} if colored else {}
        written = {"obs": [*self.obs], "obsm": [*self.obsm], "uns": [self.key, *found]}
        named = {part: np.array(names, object) for part, names in written.items()}
        return {self.key: {**self.about, "key_added": self.key, "written": named}, **found}

    def stale(self, there: Mapping[str, Collection[str]], uns: Mapping[str, Any]) -> Names:
        """Return the names of earlier calls under this key; those that are not written again are to be removed.

        Parameters
        ----------
        there
            The names that are there, by `PARTS`.
        uns
            The values in ``uns``.

        Raises
        ------
        InputError
            If an entry would replace what these earlier calls did not write.
        """
        written = _written(uns, there)
        own = written.pop(self.key, {part: set() for part in PARTS})
        others = {part: set().union(*(one[part] for one in written.values())) for part in PARTS}
        names: Names = {"obs": set(self.obs), "obsm": set(self.obsm), "uns": {self.key, self.color_key}}
        if self.key in OWN_KEYS:
            own = {part: own[part] | (names[part] - others[part]) for part in PARTS}
        # What scanpy's plots noted for a column that is replaced is of other categories.
        own["uns"] |= {f"{name}_colors" for name in own["obs"]} - others["uns"]
        for part in PARTS:
            taken = sorted((names[part] & set(there[part])) - own[part])
            if taken:
                raise InputError(
                    f"`key_added` {self.key!r} would replace {part}[{taken[0]!r}], which no call under this key wrote",
                    "a key whose entries are scvec's own, or not there",
                    f"choose another `key_added`, or delete {part}[{taken[0]!r}]",
                )
        return {part: own[part] & set(there[part]) for part in PARTS}

    def put(self, adata: AnnData, rows: Ints | None = None) -> None:
        """Write the entries of these cells (None: of all) to `adata`; nothing is changed if an error is raised."""
        if adata.is_view and adata.isbacked:
            raise InputError("`adata` is a view of a backed AnnData", "cells in memory", "give adata.to_memory()")
        there = {"obs": adata.obs.columns, "obsm": adata.obsm.keys(), "uns": adata.uns.keys()}
        stale, entries = self.stale(there, adata.uns), self.take(rows)
        if adata.is_view:
            adata.obs = adata.obs.copy()  # makes it an AnnData of its own, as any change of a view does
        uns = entries.uns()
        for name in stale["obs"] - set(entries.obs):
            del adata.obs[name]
        for name in stale["obsm"] - set(entries.obsm):
            del adata.obsm[name]
        for name in stale["uns"] - set(uns):
            del adata.uns[name]
        for name, values in entries.obs.items():
            adata.obs[name] = values
        for name, values in entries.obsm.items():
            adata.obsm[name] = values
        for name, value in uns.items():
            adata.uns[name] = value


def obsm_names(key_added: str) -> tuple[str, str, str]:
    """Return the names of the entries of ``obsm``: of vectors, of scores, of the neighbours' names."""
    return f"X_{key_added}", f"{key_added}_scores", f"{key_added}_neighbors"


def check_key(key_added: object) -> None:
    """Raise `InputError` if a key cannot begin the names of entries."""
    if not isinstance(key_added, str) or re.fullmatch(KEY, key_added) is None:
        raise must_be(
            "key_added",
            "a name of letters, digits, spaces and _ . + -, which begins with a letter or a digit",
            key_added,
        )


def colors_of(provenance: Mapping[str, Any]) -> dict[str, str]:
    """Return the colour of each label as the files of the atlas have it; the first file with a label decides."""
    found: dict[str, str] = {}
    for source in provenance.get("atlas", {}).get("sources", ()):
        found = {**source.get("colors", {}), **found}
    return found


def rows_of(names: Iterable[str], annotated: Iterable[str], *, missing: bool = False) -> Ints | None:
    """Return the place of each cell in `adata`, by name, among those that were annotated; None if they are the same.

    Parameters
    ----------
    names
        The cells of `adata`.
    annotated
        Those that were annotated.
    missing
        Whether some cells need not have been annotated: their place is -1.

    Raises
    ------
    InputError
        If a cell was not annotated and `missing` is not set, none was annotated, or a name is that of several cells and
        the cells are not exactly those annotated.
    """
    asked, called = [str(one) for one in names], [str(one) for one in annotated]
    if asked == called:
        return None
    place = {name: i for i, name in enumerate(called)}
    lacking = [name for name in asked if name not in place]
    if len(lacking) == len(asked) or (lacking and not missing):
        fix = "annotate `adata`, or leave these cells out"
        raise InputError(
            f"{len(lacking):,} of the {len(asked):,} cells in `adata`, such as {lacking[0]!r}, were not annotated",
            "the annotated cells, or some of them, in any order",
            fix if len(lacking) == len(asked) else f"{fix}, or set `missing`, which gives them missing values",
        )
    if len(set(asked)) < len(asked) or len(place) < len(called):
        raise InputError(
            "`adata` has cells of one name, and is not exactly what was annotated",
            "each name once",
            "call adata.obs_names_make_unique() and annotate again",
        )
    return np.array([place.get(name, -1) for name in asked], np.int64)


def _taken(values: Any, rows: Ints | None) -> Any:
    """Return a copy: what a user changes in an AnnData must not change the calls."""
    if rows is None:
        return values.copy()
    if hasattr(values, "categories"):
        return values.take(rows, allow_fill=True).remove_unused_categories()
    return _with_missing(values)[rows] if (rows < 0).any() else values[rows]


def _with_missing(values: Any) -> Any:
    """Return values with a further row, the last, which is missing."""
    import pandas as pd

    if values.dtype == bool:  # which has no missing value
        return pd.array([*values.tolist(), None], dtype="boolean")
    if values.dtype.kind in "iu":
        return pd.array([*values.tolist(), None], dtype="Int64")
    none = np.full((1, *values.shape[1:]), np.nan if values.dtype.kind == "f" else "", values.dtype)
    return np.concatenate([values, none])


def _written(uns: Mapping[str, Any], there: Mapping[str, Collection[str]]) -> dict[str, Names]:
    """Return the names that each key's calls have written."""
    found: dict[str, Names] = {}
    for key, about in uns.items():
        names = about.get("written") if isinstance(about, Mapping) else None
        if isinstance(names, Mapping) and str(about.get("key_added")) == key:  # and not a copy under another key
            found[key] = {part: {str(one) for one in names.get(part, ())} for part in PARTS}
    old = uns.get(DEFAULT_KEY)
    if DEFAULT_KEY not in found and isinstance(old, Mapping) and "provenance" in old:
        others = set().union(*(one["obs"] for one in found.values()))
        found[DEFAULT_KEY] = {  # before 0.8 no names were kept
            "obs": {name for name in there["obs"] if str(name).startswith("scvec_")} - others,
            "obsm": set(obsm_names(DEFAULT_KEY)),
            "uns": {DEFAULT_KEY},
        }
    return found
