"""What clusters of cells express: those of a file, without an atlas, or of the cells that calls leave unknown."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import scipy.sparse as sp

from scvec.annotation.clusters import Leiden
from scvec.core.progress import shown
from scvec.core.text import counted
from scvec.core.types import Doubles, Ints, Progress, Strings, freeze
from scvec.embed.kernel import add_rows
from scvec.embed.projection import aligner, normalise
from scvec.errors import InputError, LabelError
from scvec.ingest.cells import Cells, Matrix, open_cells
from scvec.ingest.cells.options import ReadOptions
from scvec.ingest.genes.gene_table import GeneTable, newest_tables, offered_tables
from scvec.ingest.genes.gene_texts import taxon_name
from scvec.ingest.guards import guard, guard_species, other_species, with_second_species
from scvec.ingest.matching import GeneMatch, match_genes
from scvec.naming.members import Members, members_of_key
from scvec.naming.own_vectors import own_clusters
from scvec.store import Store, as_store

TARGET_SUM = 1e4
"""What a cell is scaled to before the logarithm."""

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
    genes, and by some 300 bytes for each cell if clusters are to be made.

    Parameters
    ----------
    cells
        A path, a URI, or an AnnData.
    store
        Where the gene texts are; without texts of the species, its packaged identifiers are taken.
    cluster_key
        The column of ``obs`` with the clusters. Cells without a value are in none. None: clusters are made.
    clusters
        How to make them: see `scvec.naming.own_vectors`; default: ``Leiden()``.
    read
        How the cells are read.
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
            match, said = _matched(matrix, store, read)
            genes = _Genes.of(match)
            if members is None:
                how = Leiden() if clusters is None else clusters
                members = Members.of(own_clusters(matrix, genes.columns, n, how, progress))
                _require_several(members, f"{file.path}: Leiden at resolution {how.resolution:g}", alone=alone)
            sums = _Sums.over(genes.of_batches(matrix, progress), members.member, len(members.names), len(genes.ids))
        notes = (*file.notes, *said, *_values_note(matrix), *_members_notes(members))
        return _grouped(members, sums, genes, (file.obs_names, file.path.name), notes, len(members.names))


def _grouped(
    members: Members, sums: _Sums, genes: _Genes, cells: tuple[Strings, str], notes: tuple[str, ...], n_named: int
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


@dataclass(frozen=True, slots=True)
class _Genes:
    """The genes of a matrix, and how its columns are mapped to them."""

    ids: Ints
    symbols: Strings
    table: GeneTable
    columns: sp.csr_matrix[np.float32]

    @classmethod
    def of(cls, match: GeneMatch) -> _Genes:
        ids = np.unique(match.gene_ids)
        symbols = dict(match.gene_table.genes.select("gene_id", "symbol").iter_rows())
        named = np.array([symbols[gene] for gene in ids.tolist()], object)
        return cls(ids, named, match.gene_table, aligner(match, ids))

    def of_batches(self, matrix: Matrix, progress: Progress) -> Iterator[tuple[int, sp.csr_matrix[np.float32]]]:
        """Yield the first cell's number, and (m, g) log1p(counts per 10,000), totals over all genes of the matrix."""
        for first, batch in matrix.batches("reading what clusters express", progress):
            yield first, normalise(batch, matrix.values, TARGET_SUM, self.columns)


@dataclass(frozen=True, slots=True)
class _Sums:
    """Sums over the cells of each of C groups that express any gene: (C,) cells, (C, g) values and cells per gene."""

    n_cells: Ints
    values: Doubles
    expressing: Doubles

    @classmethod
    def over(
        cls, batches: Iterator[tuple[int, sp.csr_matrix[np.float32]]], member: Ints, n_groups: int, n_genes: int
    ) -> _Sums:
        """Add up batches; `member` is (n,) the group of each cell, -1 for none."""
        n_cells, values = np.zeros(n_groups, np.int64), np.zeros((n_groups, n_genes))
        expressing = np.zeros_like(values)
        for first, known in batches:
            codes = member[first : first + known.shape[0]]
            codes = np.where(np.diff(known.indptr) > 0, codes, -1)
            ones = sp.csr_matrix((np.ones_like(known.data), known.indices, known.indptr), shape=known.shape)
            n_cells += np.bincount(codes[codes >= 0], minlength=n_groups)
            values += add_rows(known, np.ones(len(codes)), codes, n_groups)
            expressing += add_rows(ones, np.ones(len(codes)), codes, n_groups)
        return cls(n_cells, values, expressing)

    @property
    def means(self) -> Doubles:
        """(C, g) means."""
        return np.asarray(self.values / np.maximum(self.n_cells, 1)[:, None])

    @property
    def shares(self) -> Doubles:
        """(C, g) shares of the cells that express a gene."""
        return np.asarray(self.expressing / np.maximum(self.n_cells, 1)[:, None])


def _matched(matrix: Matrix, store: Store, read: ReadOptions) -> tuple[GeneMatch, list[str]]:
    """Match the columns to the genes of the species asked for or, of all, the one that fits best; with notes."""
    match = match_genes(matrix, offered_tables(store, read.taxon), gene_key=read.gene_key)
    notes = [match.coverage(matrix.sampled_totals).notes()[0]] if read.taxon is None else []
    if read.taxon is None:
        guard_species(match, newest_tables(store), matrix, is_query=False)
    other = None if read.taxon is None else other_species(match, newest_tables(store), matrix)
    if other is not None:
        notes.append(f"the genes look like {other[1]}, but `taxon` says {taxon_name(match.gene_table.taxon_id)}")
    else:
        match = with_second_species(match, newest_tables(store), matrix)
        notes += [] if match.second is None else [str(match.second)]
    guard(match, matrix)
    return match, notes


def _require_several(members: Members, what: str, *, alone: bool) -> None:
    if len(members.names) == 1 and not alone:
        raise LabelError(
            f"{what} has one cluster only, {members.names[0]!r}",
            "at least two, as a cluster is described by what the others lack",
            "choose another column or a higher resolution, or give a `background` of other types",
        )


def _values_note(matrix: Matrix) -> list[str]:
    if not matrix.values.doubt:
        return []
    return [f"{matrix.key} was taken as {matrix.values}: names from such values are in doubt"]


def _members_notes(members: Members) -> list[str]:
    out = int((members.member < 0).sum())
    sizes = np.bincount(members.member[members.member >= 0], minlength=len(members.names))
    few = [str(name) for name, n in zip(members.names, sizes, strict=True) if n < FEWEST]
    notes = [f"{out:,} of {len(members.member):,} cells are in no cluster"] if out else []
    if few:
        shown = ", ".join(few[:5]) + (", ..." if len(few) > 5 else "")
        notes.append(f"of one or two cells, whose expression is mostly chance: {shown}")
    return notes
