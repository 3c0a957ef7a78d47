"""A whole store in few files: all of its tables, and what lies beside the atlases."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext

from scvec.atlas.maintenance import compact
from scvec.atlas.opening import list_atlases, open_atlas, versions
from scvec.atlas.paths import atlas_folder, cells_path
from scvec.core.progress import shown
from scvec.core.text import counted
from scvec.core.types import Progress
from scvec.errors import MismatchError
from scvec.ingest.genes.template import TEXT_INDEXES
from scvec.ontology import tables
from scvec.store import ColumnIndex, Store, Upkeep, is_scattered, tidy

INDEXES: Mapping[str, Sequence[ColumnIndex]] = {
    "gene_texts": TEXT_INDEXES,
    "gene_vectors": (),
    "term_vectors": (),
    "sentence_vectors": (),
    "cell_text_vectors": (),
    "bench_vectors": (),
    "ontology": tables.INDEXES,
}
"""The indexes of the tables in a folder of the store. Whoever has tables of their own in it keeps their versions."""


def optimize(
    store: Store, *, forget: bool = False, dry_run: bool = False, progress: Progress | None = None
) -> list[Upkeep]:
    """Merge the small files of a store's tables, make missing indexes, and remove what no tag and no atlas needs.

    Releases that an earlier scvec imported have no indexes of their words and names; vectors are written a few
    hundred at a time; cells that were removed stay in their files. What a release's tag holds stays, and so does every
    version of an atlas that can be checked out.

    Parameters
    ----------
    store
        The store. Whoever reads a version that goes has to open the store again.
    forget
        Remove older versions of atlases too; they can no longer be checked out.
    dry_run
        Change nothing, and return what would be done.
    progress
        Shows the tables.

    Returns
    -------
    list[Upkeep]
        For each table what was done, and its size before and after; an atlas is one of them.

    Raises
    ------
    ConflictError
        If another process is changing an atlas.
    StoreError
        If a table cannot be read, or is to be changed and lies elsewhere, behind a symbolic link.
    """
    atlases = {cells_path(name): name for name in list_atlases(store)}
    paths, done = store.tables(), []
    with shown(progress)("optimizing", len(paths)) as advance:
        for path in paths:
            folder = path.split("/")[0]
            if path in atlases:
                done.append(_atlas(store, atlases[path], forget=forget, dry_run=dry_run))
            elif folder in INDEXES:
                done.append(tidy(store, path, INDEXES[folder], dry_run=dry_run))
            advance(1)
    return done


def _atlas(store: Store, name: str, *, forget: bool, dry_run: bool) -> Upkeep:
    """Do so for an atlas, of which a published version is more than its table."""
    folder, steps = atlas_folder(name), []
    before = store.n_bytes(folder)
    try:
        atlas = open_atlas(store, name)
    except MismatchError as error:  # an earlier scvec built it; the other tables are tidied all the same
        return Upkeep(folder, (f"left as it is: {error}",), before, before)
    older = [one for one in versions(store, name) if one != atlas.cells.version] if forget else []
    if is_scattered(atlas.cells) or older:
        steps.append(f"rewrite {counted(atlas.cells.n_files, 'file')}")
        if older:
            steps.append(f"remove {counted(len(older), 'older version')}")
        if not dry_run:
            atlas = compact(atlas, forget=forget)
    # A dry run neither waits for a writer nor leaves a lock: a store may be one that cannot be written.
    with nullcontext() if dry_run else store.only_writer(f"{folder}/writer"):
        published = versions(store, name)
        left = [one for one in atlas.table.versions() if one not in published and one < atlas.cells.version]
        if left:
            steps.append(f"remove {counted(len(left), 'version')} never published")
        freed = atlas.table.drop([*left, *older] if dry_run else left, dry_run=dry_run)
    return Upkeep(folder, tuple(steps), before, before - freed if dry_run else store.n_bytes(folder))
