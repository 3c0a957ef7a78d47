"""From one cell of an atlas to its most similar cells."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from scvec.annotation.candidates import candidates_of
from scvec.atlas import Atlas
from scvec.core.types import Floats, Ints
from scvec.errors import InputError, KeyNotFoundError, must_be

if TYPE_CHECKING:
    import polars as pl

N_CELLS = 15
SHOWN = 3
"""Cell ids that an error lists."""


def like(
    atlas: Atlas, cell_id: str, *, k: int = N_CELLS, where: str | None = None, dataset: str | None = None
) -> pl.DataFrame:
    """Return the cells of an atlas that are nearest to one of its cells, without that cell.

    Parameters
    ----------
    atlas
        The reference.
    cell_id
        The id of a cell of the atlas.
    k
        Number of cells to return.
    where
        A condition in SQL on the columns of the atlas's `obs`, for the cells that may be found; None: all.
    dataset
        The cell's dataset, if cells of several datasets have the same id.

    Returns
    -------
    pl.DataFrame
        Columns `cell_id`, `label`, `similarity` (the cosine of the cells' vectors), and the others of the atlas's
        `obs`; the most similar first, ties in the order of the atlas.

    Raises
    ------
    InputError
        If there is no such cell, several have that id, it has no expression, or the condition is invalid or leaves no
        cell.
    """
    if k < 1:
        raise must_be("k", "at least 1", k)
    row = _row_of(atlas, cell_id, dataset)
    # One more than asked for, because the nearest cell is the cell itself if it may be found.
    found = candidates_of(atlas, where).nearest(atlas.vectors(np.array([row])), k + 1)
    others = found.ids[0] != row
    ids, similarity = found.ids[0][others][:k], 1 - found.distances[0][others][:k]
    return cells_frame(atlas, ids[ids >= 0], similarity[ids >= 0])


def cells_frame(atlas: Atlas, rows: Ints, similarity: Floats) -> pl.DataFrame:
    """Return cells, given by row id, in the format of `like` and in the given order."""
    import polars as pl

    obs = pl.DataFrame(atlas.obs.drop_columns(["row", "empty"]).take(atlas.positions(rows)))
    return obs.with_columns(similarity=pl.Series(similarity, dtype=pl.Float32)).select(
        "cell_id", "label", "similarity", pl.exclude("cell_id", "label", "similarity")
    )


def _row_of(atlas: Atlas, cell_id: str, dataset: str | None) -> int:
    """Return the row id of a cell."""
    import polars as pl

    columns = ["row", "cell_id", "dataset", "empty"]
    found = pl.DataFrame(atlas.obs.select(columns)).filter(pl.col("cell_id") == cell_id)
    if not len(found):
        some = ", ".join(atlas.obs["cell_id"].slice(0, SHOWN).to_pylist())
        raise KeyNotFoundError(
            f"atlas {atlas.name!r} has no cell {cell_id!r}",
            f"one of its {len(atlas.rows):,}, such as {some}",
            "give the id of another cell",
        )
    datasets = found["dataset"].to_list()
    if dataset is not None:
        found = found.filter(pl.col("dataset") == dataset)
    if len(found) != 1:
        raise InputError(
            f"{len(found)} cells of atlas {atlas.name!r} have the id {cell_id!r}"
            + (f" in dataset {dataset!r}" if dataset is not None else ""),
            f"one (datasets with such a cell: {', '.join(map(repr, datasets))})",
            f"`dataset` {datasets[0]}",
        )
    if found["empty"][0]:
        raise InputError(f"cell {cell_id!r} expresses no gene of atlas {atlas.name!r}", fix="give another cell's id")
    return int(found["row"][0])
