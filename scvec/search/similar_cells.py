"""From a vector to cells of an atlas: those that are like a cell of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from scvec.annotation.candidates import candidates_of
from scvec.atlas import Atlas
from scvec.core.types import Floats, Ints
from scvec.errors import InputError, KeyNotFoundError

if TYPE_CHECKING:
    import polars as pl

N_CELLS = 15
SHOWN = 3
"""Cell ids that an error names."""


def like(
    atlas: Atlas, cell_id: str, *, k: int = N_CELLS, where: str | None = None, dataset: str | None = None
) -> pl.DataFrame:
    """Return the cells of an atlas that are nearest to one of them, itself left out.

    Parameters
    ----------
    atlas
        The reference.
    cell_id
        A cell of it.
    k
        How many cells.
    where
        Which cells may be found, a condition in SQL on the columns of the atlas's `obs`; None: all.
    dataset
        That of the cell, where cells of several datasets have its name.

    Returns
    -------
    pl.DataFrame
        Columns `cell_id`, `label`, `similarity` (the cosine of the cells' vectors), and the others of the atlas's
        `obs`; the most similar first, of equally similar ones the first of the atlas.

    Raises
    ------
    InputError
        If there is no such cell, several have its name, it has no expression, or if the condition is none or leaves
        no cell.
    """
    if k < 1:
        raise InputError(f"k = {k}", "a whole number above 0", "ask for at least one cell")
    row = _row_of(atlas, cell_id, dataset)
    # One more than asked for, as the nearest is the cell itself where it may be found.
    found = candidates_of(atlas, where).nearest(atlas.vectors(np.array([row])), k + 1)
    others = found.ids[0] != row
    ids, similarity = found.ids[0][others][:k], 1 - found.distances[0][others][:k]
    return cells_frame(atlas, ids[ids >= 0], similarity[ids >= 0])


def cells_frame(atlas: Atlas, rows: Ints, similarity: Floats) -> pl.DataFrame:
    """Return cells given by row id, as `like` does, in the order given."""
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
            "name another",
        )
    datasets = found["dataset"].to_list()
    if dataset is not None:
        found = found.filter(pl.col("dataset") == dataset)
    if len(found) != 1:
        raise InputError(
            f"{len(found)} cells of atlas {atlas.name!r} are called {cell_id!r}"
            + (f" in dataset {dataset!r}" if dataset is not None else ""),
            f"one; there are such in the datasets {', '.join(map(repr, datasets))}",
            f"--dataset {datasets[0]}",
        )
    if found["empty"][0]:
        raise InputError(
            f"cell {cell_id!r} has no expression on the genes of atlas {atlas.name!r}", "one that has", "name another"
        )
    return int(found["row"][0])
