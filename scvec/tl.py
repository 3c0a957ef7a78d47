"""Calls and names in scanpy's manner: functions that change an AnnData, and return nothing."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Unpack

from scvec.annotation import query
from scvec.annotation.entries import DEFAULT_KEY, NAMES_KEY, check_key
from scvec.annotation.options import QueryChanges, QueryOptions
from scvec.core.options import merged, spells_out
from scvec.core.types import Progress
from scvec.naming import run
from scvec.naming.options import NamingChanges, NamingOptions
from scvec.store import Store

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


@spells_out(NamingOptions)
def name(
    adata: AnnData,
    store: Store | str | Path,
    options: NamingOptions | None = None,
    *,
    key_added: str = NAMES_KEY,
    progress: Progress | None = None,
    **changes: Unpack[NamingChanges],
) -> None:
    """Name clusters by what their genes' texts say, without a reference, and write the names to `adata`.

    The same as ``scvec.name(adata, store).write(adata, key_added)``. Where only some cells are read, the values of the
    others are missing.

    Parameters
    ----------
    adata
        The cells.
    store
        Where the gene texts and the Cell Ontology are.
    options, changes
        How the cells are read and named: a `scvec.naming.NamingOptions`, or its fields as keywords.
    key_added
        The name of the column of names, and the beginning of the names of all entries.
    progress
        Shows how many cells are read, and how many texts are encoded.

    Raises
    ------
    NotInStoreError
        If the store lacks the Cell Ontology, the species' gene texts, or the encoder's vectors.
    InputError
        If an argument is invalid, the cells cannot be used, or an entry would replace one that scvec did not write.

    Notes
    -----
    Keys that are set, with ``KEY`` for `key_added`:

    - ``obs["KEY"]``: the name of the cell's cluster, a term of the Cell Ontology; missing where no name stands out.
    - ``obs["KEY_term_id"]``, ``obs["KEY_score"]``: the term's id, and the chance that it, its parent or its child is
      right.
    - ``obs["KEY_cluster"]``: the cell's cluster.
    - ``uns["KEY"]``: a dict; ``"names"`` has the ranked names of each cluster, one array a column (``cluster``,
      ``rank``, ``term_id``, ``name``, ``score``, ``stands_out``, ``genes``, ``cells``); and notes, provenance.
    """
    check_key(key_added)  # before any work is done
    asked = merged(NamingOptions, options, dict(changes))
    some = asked.only is not None or asked.only_annotated is not None
    run.name(adata, store, asked, progress=progress).write(adata, key_added, missing=some)
