"""Calls in scanpy's manner: a function that changes an AnnData, and returns nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Unpack

from scvec.annotation import query
from scvec.annotation.entries import DEFAULT_KEY, check_key
from scvec.annotation.options import QueryChanges, QueryOptions
from scvec.core.options import spells_out
from scvec.core.types import Progress

if TYPE_CHECKING:
    from anndata import AnnData

    from scvec.atlas import Atlas


@spells_out(QueryOptions)
def annotate(
    adata: AnnData,
    atlas: Atlas,
    options: QueryOptions | None = None,
    *,
    key_added: str = DEFAULT_KEY,
    progress: Progress | None = None,
    **changes: Unpack[QueryChanges],
) -> None:
    """Label cells by a weighted vote of their k nearest cells in an atlas, and write the calls to `adata`.

    The same as ``scvec.annotate(adata, atlas).write(adata, key_added)``. Where only some cells are read, the values of
    the others are missing.

    Parameters
    ----------
    adata
        The cells.
    atlas
        The reference.
    options, changes
        How the cells are read and called: a `scvec.QueryOptions`, or its fields as keywords.
    key_added
        The name of the column of labels, and the beginning of the names of all entries.
    progress
        Shows how many cells are done.

    Raises
    ------
    InputError
        If an argument is invalid, the cells cannot be used, or an entry would replace one that scvec did not write.

    Notes
    -----
    Keys that are set, with ``KEY`` for `key_added`; `scvec.Annotation.write` has all of them:

    - ``obs["KEY"]``: the label; ``"unknown"`` where the call is rejected.
    - ``obs["KEY_confidence"]``, ``obs["KEY_novelty"]``: the chance that the label is right, and how unlike the cells of
      known types the cell is.
    - ``obs["KEY_reason"]``: why the label is ``"unknown"``, or empty; ``obs["KEY_label_before_rejection"]``: the label
      with most votes.
    - ``obsm["X_KEY"]``, ``obsm["KEY_scores"]``, ``obsm["KEY_neighbors"]``: the cells' vectors, each label's share of
      the votes, the names of the neighbours.
    - ``uns["KEY"]``: the atlas, how the calls were made, notes.
    """
    check_key(key_added)  # before any work is done
    query.annotate(adata, atlas, options, progress=progress, **changes).write(adata, key_added)
