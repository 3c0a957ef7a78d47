"""What clusters of cells express: those of a file, without an atlas, or of the cells that calls leave unknown."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from scvec.annotation.clusters import Clusters, Leiden, leiden, leiden_names
from scvec.annotation.result import NO_EXPRESSION, Annotation
from scvec.core.progress import shown
from scvec.core.text import counted
from scvec.core.types import Bools, Doubles, Floats, Ints, Progress, Strings, freeze
from scvec.core.vectors import unit_vectors
from scvec.errors import InputError, LabelError
from scvec.ingest.cells import CellFile, Cells, Matrix, open_cells
from scvec.ingest.cells.options import ReadOptions
from scvec.ingest.genes.gene_table import GeneTable
from scvec.ingest.matching import match_names
from scvec.naming.expression import Genes, Sums, matched
from scvec.naming.members import N_MAX, Members, members_of_key
from scvec.naming.own_vectors import DEFAULT, own_vectors
from scvec.store import Store, as_store

TITLE = "reading what clusters express"

FEWEST = 3
"""The means of fewer cells are mostly chance: such a cluster is kept, and a note says so."""


@dataclass(frozen=True, slots=True)
class Groups:
    """C groups of cells, and what they express of g genes. Make it with `groups_of` or `groups_of_calls`.

    Attributes
    ----------
    clusters
        (C,) their names.
    n_cells
        (C,) number of their cells, those without expression included.
    member
        (n,) the position of each cell's group; -1 for a cell in none.
    obs_names
        (n,) names of the cells.
    gene_ids, symbols
        (g,) the genes that the cells' matrix has, by Entrez id, ascending, and their symbols.
    means
        (C, g) mean of log1p(counts per 10,000) over the cells that express any gene; zeros where none does.
    shares
        (C, g) share of these cells that express the gene, 0 to 1.
    taxon_id
        NCBI's number of the species.
    table
        The gene texts or packaged identifiers that the genes' names were found by.
    name
        The name of the file, without its folder; ``"adata"`` for an AnnData.
    notes
        What a reader should know, one line each.
    contrast
        (K, g) means of further groups, which are not to be named: what the others are compared with beside each other.
    contrast_names, contrast_cells
        (K,) their names, and their numbers of cells.
    """

    clusters: Strings
    n_cells: Ints
    member: Ints = field(repr=False)
    obs_names: Strings = field(repr=False)
    gene_ids: Ints = field(repr=False)
    symbols: Strings = field(repr=False)
    means: Doubles = field(repr=False)
    shares: Doubles = field(repr=False)
    taxon_id: int
    table: GeneTable = field(repr=False)
    name: str
    notes: tuple[str, ...]
    contrast: Doubles = field(repr=False)
    contrast_names: Strings = field(repr=False)
    contrast_cells: Ints = field(repr=False)

    def __post_init__(self) -> None:
        for name in ("clusters", "n_cells", "member", "obs_names", "gene_ids", "symbols", "means", "shares"):
            object.__setattr__(self, name, freeze(getattr(self, name)))
        for name in ("contrast", "contrast_names", "contrast_cells"):
            object.__setattr__(self, name, freeze(getattr(self, name)))

    def __len__(self) -> int:
        return len(self.clusters)

    def __repr__(self) -> str:
        said = (
            f"{counted(len(self), 'group')} of {int(self.n_cells.sum()):,} cells, {counted(len(self.gene_ids), 'gene')}"
        )
        others = f", {counted(len(self.contrast_names), 'group')} to compare with" if len(self.contrast_names) else ""
        return f"Groups of {self.name}: {said}{others}"

    @property
    def expressing(self) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
        """(C,) whether a group expresses any gene."""
        return np.asarray(self.shares.any(axis=1))


def groups_of(
    cells: Cells,
    store: Store | str | Path,
    *,
    cluster_key: str | None = None,
    clusters: Leiden | None = None,
    read: ReadOptions | None = None,
    alone: bool = False,
    progress: Progress | None = None,
) -> Groups:
    """Read what clusters of cells express, without an atlas.

    The cells are read in batches: with `cluster_key` once, else three or four times. Memory grows with clusters times
    genes, and by some 3 kB for each cell if clusters are to be made.

    Parameters
    ----------
    cells
        A path, a URI, or an AnnData.
    store
        Where the gene texts are; without texts of the species, its packaged identifiers are taken.
    cluster_key
        The column of ``obs`` with the clusters. Cells without a value are in none. None: clusters are made.
    clusters
        How to make them: on the components of `scvec.naming.own_vectors`; None: by its `DEFAULT`, resolution 0.5.
    read
        How the cells are read. Its `use_rep`, such as ``"X_scVI"``, is what clusters are made of, if any are made.
    alone
        Whether a single cluster will do, as it does if it is compared with a background.
    progress
        Shows how many cells are done.

    Raises
    ------
    InputError
        If the cells, the matrix, its genes or the column cannot be used; if there are fewer than two cells, or one
        cluster only and not `alone`.
    MissingDependencyError
        If clusters are to be made and igraph is not installed.
    """
    store, read, progress = as_store(store), ReadOptions() if read is None else read, shown(progress)
    if cluster_key is not None and clusters is not None:
        raise InputError("`cluster_key` and `cluster` exclude each other", fix="leave one out")
    with open_cells(cells, read.obs, read.selection) as file:
        n = len(file.obs_names)
        if n < 2:
            raise InputError(f"{file.path} has {counted(n, 'cell')}", "at least two", "give more cells")
        members = None if cluster_key is None else members_of_key(file, cluster_key, read.unlabelled)
        if members is not None:
            _require_several(members, f"{file.path}: obs[{cluster_key!r}] for `cluster_key`", alone=alone)
        with file.matrix(read.layer, read.scale) as matrix:
            match, said = matched(matrix, store, read)
            genes = Genes.of(match)
            if members is None:
                how = DEFAULT if clusters is None else clusters
                Leiden.parse("leiden")  # raises without igraph, before any work is done
                vectors = _vectors_of(file, matrix, genes, read, how.random_state, progress)
                members = Members.of(leiden_names(vectors, how))
                _require_several(members, f"{file.path}: Leiden at resolution {how.resolution:g}", alone=alone)
            sums = Sums.over(genes.batches(matrix, TITLE, progress), members.member, len(members.names), len(genes.ids))
        notes = (*file.notes, *said, *_values_note(matrix), *_members_notes(members))
        return _grouped(members, sums, genes, (file.obs_names, file.path.name), notes, len(members.names))


def groups_of_calls(
    calls: Annotation,
    *,
    by: Clusters | None = None,
    alone: bool = False,
    progress: Progress | None = None,
) -> Groups:
    """Read what the cells express that calls leave unknown, in groups; the other cells, by their label, are `contrast`.

    Cells that express none of the atlas's genes are in no group. The cells are read again, once, on all of their genes
    and not only on the atlas's.

    Parameters
    ----------
    calls
        The calls, which know their query.
    by
        (n,) the name of each cell's group, "" for none, of which those of unknown cells count; or how to make groups
        from the cells' vectors in the atlas. None: the clusters of the calls where they have any, else made by
        `scvec.naming.own_vectors.DEFAULT`.
    alone
        Whether a single group will do where no cell is called.
    progress
        Shows how many cells are done.

    Returns
    -------
    Groups
        No group where no cell is unknown; the cells are then not read.

    Raises
    ------
    InputError
        If the cells were changed since they were called, or `by` has not one name for each cell, or there is one group
        and nothing to compare it with.
    """
    query = calls.query
    unknown = calls.rejected & (calls.reason != NO_EXPRESSION)
    own, others = _unknown_groups(calls, unknown, by), np.where(calls.rejected, "", calls.label).astype(object)
    named, known = Members.of(own), Members.of(others if unknown.any() else np.full(len(calls), "", object))
    if not len(known.names):
        _require_several(named, f"{query.name}: no cell has a call, and the unknown cells", alone=alone)
    n = len(named.names)
    member = np.where(known.member >= 0, known.member + n, named.member)
    members = Members(np.concatenate([named.names, known.names]), member)
    table = query.match.named_by or query.match.gene_table
    with query.opened() as opened:
        matrix, key = opened.matrix, query.match.key
        genes = Genes.of(match_names(matrix.gene_names(key), key, table, matrix.genomes))
        batches = genes.batches(matrix, TITLE, shown(progress)) if n else iter(())
        sums = Sums.over(batches, members.member, len(members.names), len(genes.ids))
    return _grouped(members, sums, genes, (calls.obs_names, query.name), tuple(_members_notes(named, unknown)), n)


def _unknown_groups(calls: Annotation, unknown: Bools, by: Clusters | None) -> Strings:
    """Return (n,) the group of each unknown cell, "" for others."""
    groups = np.full(len(calls), "", object)
    given = calls.cluster if by is None else by
    if given is not None and not isinstance(given, Leiden):
        if len(given) != len(calls):
            raise InputError(f"`by` has {len(given):,} names", f"one for each of the {len(calls):,} cells", "give all")
        groups[unknown] = given[unknown]
    elif unknown.any():
        made = leiden(calls.vectors[unknown], DEFAULT if given is None else given)
        groups[unknown] = [f"unknown {one + 1}" for one in made]
    return groups


def _vectors_of(
    file: CellFile, matrix: Matrix, genes: Genes, read: ReadOptions, seed: int, progress: Progress
) -> Floats:
    """Return (n, d) unit vectors by which cells are neighbours: those of `read.use_rep`, or of their own expression."""
    if read.use_rep is not None:
        return unit_vectors(file.given(read.use_rep))[0]
    return own_vectors(matrix, genes.columns, seed, progress)


def _grouped(
    members: Members, sums: Sums, genes: Genes, cells: tuple[Strings, str], notes: tuple[str, ...], n_named: int
) -> Groups:
    """Return the first `n_named` groups, with the others as contrast; `cells` are the cells' names and the file's."""
    sizes = np.bincount(members.member[members.member >= 0], minlength=len(members.names))
    silent = members.names[:n_named][sums.n_cells[:n_named] == 0].tolist()
    if silent:
        notes = (*notes, f"no cell expresses a known gene in: {', '.join(silent)}")
    return Groups(
        clusters=members.names[:n_named],
        n_cells=sizes[:n_named],
        member=np.where(members.member < n_named, members.member, -1),
        obs_names=cells[0],
        gene_ids=genes.ids,
        symbols=genes.symbols,
        means=sums.means[:n_named],
        shares=sums.shares[:n_named],
        taxon_id=genes.table.taxon_id,
        table=genes.table,
        name=cells[1],
        notes=notes,
        contrast=sums.means[n_named:],
        contrast_names=members.names[n_named:],
        contrast_cells=sizes[n_named:],
    )


def _require_several(members: Members, what: str, *, alone: bool) -> None:
    """Raise `LabelError` if there are too many clusters, or one only and not `alone`; `what` made them."""
    n = len(members.names)
    if n > N_MAX:
        raise LabelError(
            f"{what} has {n:,} clusters", f"at most {N_MAX}", "choose another column or a lower resolution"
        )
    if n == 1 and not alone:
        raise LabelError(
            f"{what} has one cluster only, {members.names[0]!r}",
            "at least two, as a cluster is described by what the others lack",
            "choose another column or a higher resolution, or give a `background` of other types",
        )


def _values_note(matrix: Matrix) -> list[str]:
    if not matrix.values.doubt:
        return []
    return [f"{matrix.key} was taken as {matrix.values}: names from such values are in doubt"]


def _members_notes(members: Members, among: Bools | None = None) -> list[str]:
    """Return notes on cells in no cluster, of those `among` which clusters were to be, and on clusters of few cells."""
    out = members.member < 0 if among is None else (members.member < 0) & among
    sizes = np.bincount(members.member[members.member >= 0], minlength=len(members.names))
    few = [str(name) for name, n in zip(members.names, sizes, strict=True) if n < FEWEST]
    notes = [f"{int(out.sum()):,} of {counted(len(out), 'cell')} are in no cluster"] if out.any() else []
    if few:
        shown = ", ".join(few[:5]) + (", ..." if len(few) > 5 else "")
        notes.append(f"of one or two cells, whose expression is mostly chance: {shown}")
    return notes
