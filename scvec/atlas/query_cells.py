"""A query's cells on an atlas's genes: matched, mapped, log-normalised."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Unpack

import numpy as np
import scipy.sparse as sp

from scvec.atlas.panel import is_few, on_panel
from scvec.atlas.reference import Atlas, check_atlas
from scvec.core.options import merged
from scvec.core.types import Floats, Ints, Progress, Strings
from scvec.embed.given import cell_vectors
from scvec.embed.projection import Mask, aligner, measured, normalise
from scvec.errors import InputError
from scvec.ingest.cells import CellFile, Cells, InMemory, Matrix, absolute, in_memory, open_cells
from scvec.ingest.cells.options import ReadChanges, ReadOptions
from scvec.ingest.cells.scale import Values
from scvec.ingest.genes.gene_table import GeneTable, newest_tables, open_table
from scvec.ingest.genes.gene_texts import taxon_id, taxon_name
from scvec.ingest.genes.orthologs import ONE_TO_ONE, weighted_orthologs
from scvec.ingest.guards import guard, guard_species, other_species, with_second_species
from scvec.ingest.matching import GeneMatch, match_genes
from scvec.store import Store

WORTH_NAMING = 0.05
"""A query is told how to map more genes if those that one-to-one orthologs leave out have more of the expression."""


@dataclass(frozen=True, slots=True, kw_only=True)
class QueryCells:
    """The cells of a query: what was given, how it is read, and how its genes are matched to an atlas's.

    It is made once, by `open_query`, and opened again by whatever needs the cells: `Annotation.query` of the calls.

    Attributes
    ----------
    cells
        A path, a URI, or an AnnData.
    name
        The name of the file, without its folder; ``"adata"`` for an AnnData.
    read
        How it is read.
    atlas
        The atlas.
    layer, values
        The matrix that is read, and its scale.
    match
        The columns of the matrix that are genes of the atlas.
    notes
        What a reader should know about the file and its species.
    fingerprint
        Changes when the cells do.
    """

    cells: Cells = field(repr=False)
    name: str
    read: ReadOptions
    atlas: Atlas = field(repr=False)
    layer: str
    values: Values
    match: GeneMatch = field(repr=False)
    notes: tuple[str, ...] = field(repr=False)
    fingerprint: str = field(repr=False)

    @contextmanager
    def opened(self) -> Iterator[OpenCells]:
        """Open the cells again.

        Raises
        ------
        InputError
            If they are not as they were.
        """
        with open_cells(self.cells, self.read.obs, self.read.selection) as file:
            if file.fingerprint(self.layer, given_key(self.atlas, self.read)) != self.fingerprint:
                fix = "annotate it again"
                if isinstance(file.path, InMemory):
                    fix += ", or keep the values that are called in a layer, and give its name as `layer`"
                raise InputError(f"{file.path} was changed since it was annotated", "the same names and values", fix)
            with file.matrix(self.layer, self.values) as matrix:
                yield OpenCells(
                    self, file, matrix, *placed(self.match, self.atlas), _given(file, self.atlas, self.read)
                )

    def labels(self, key: str, parameter: str) -> Strings:
        """Return (n,) a column of ``obs`` as strings, "" where a cell has no label.

        Errors name the `parameter` that gave the key.

        Raises
        ------
        KeyNotFoundError
            If there is no such column.
        LabelError
            If no cell has a label.
        """
        with open_cells(self.cells, self.read.obs, self.read.selection) as file:
            return file.labels_where_any(key, parameter, self.read.unlabelled)


@dataclass(frozen=True, slots=True)
class OpenCells:
    """The cells of a query, ready to be read.

    Attributes
    ----------
    query
        What they are.
    file, matrix
        The open file, and its matrix.
    columns, measured, share
        How they are mapped to the atlas's genes: see `placed`.
    given
        (n, d) the vectors that come with the cells, if the atlas takes these; else None.
    """

    query: QueryCells
    file: CellFile
    matrix: Matrix
    columns: sp.csr_matrix[np.float32]
    measured: Mask
    share: float | None
    given: Floats | None = None

    def vectors(self, cells: Ints, known: sp.csr_matrix[np.float32]) -> tuple[Floats, Mask]:
        """Return (m, d) unit vectors of some cells, and (m,) which are empty.

        `cells` is (m,) their positions, and `known` (m, g) their values on the atlas's genes.
        """
        given = None if self.given is None else self.given[cells]
        return cell_vectors(self.query.atlas.embedding, known, self.measured, given, self.query.atlas.device)

    def batches(
        self, title: str, progress: Progress
    ) -> Iterator[tuple[int, sp.csr_matrix[np.float32], sp.csr_matrix[np.float32]]]:
        """Yield batches of cells: the first cell's number, their values, and (n, g) values on the atlas's genes."""
        recipe = self.query.atlas.embedding.recipe
        for first, batch in self.matrix.batches(title, progress, at_most=recipe.cells_at_once):
            yield first, batch, normalise(batch, self.matrix.values, recipe.target_sum, self.columns, self.share)

    def known(self, cells: Ints) -> sp.csr_matrix[np.float32]:
        """Return (m, g) values on the atlas's genes of some cells, given by ascending positions."""
        target = self.query.atlas.embedding.recipe.target_sum
        return normalise(self.matrix.take(cells), self.matrix.values, target, self.columns, self.share)


def check_given(cells: object, atlas: object) -> None:
    """Raise `InputError` if cells or an atlas are given as something else; swapped ones are told by the cells."""
    in_memory(cells)
    check_atlas(atlas)


@contextmanager
def open_query(cells: Cells, atlas: Atlas, read: ReadOptions) -> Iterator[OpenCells]:
    """Open a query, and match its genes to an atlas's.

    Raises
    ------
    InputError
        If the file, the matrix or the genes cannot be used.
    """
    with open_cells(cells, read.obs, read.selection) as file, file.matrix(read.layer, read.scale) as matrix:
        match, notes = match_to(
            matrix, atlas.store, atlas.gene_table, atlas.embedding.gene_ids, read.gene_key, read.taxon
        )
        atlas = _on_genes(match, atlas)
        query = QueryCells(
            cells=absolute(cells) if in_memory(cells) is None else cells,
            name=file.path.name,
            read=read,
            atlas=atlas,
            layer=matrix.key,
            values=matrix.values,
            match=match,
            notes=(*file.notes, *atlas.gene_notes, *notes),
            fingerprint=file.fingerprint(matrix.key, given_key(atlas, read)),
        )
        yield OpenCells(query, file, matrix, *placed(match, atlas), _given(file, atlas, read))


def _on_genes(match: GeneMatch, atlas: Atlas) -> Atlas:
    """Return the atlas, or one on the genes that are matched if these are few and it can be fitted on them."""
    has = measured(aligner(match, atlas.embedding.gene_ids))
    return (on_panel(atlas, has) if is_few(atlas, has) else None) or atlas


def given_key(atlas: Atlas, read: ReadOptions) -> str | None:
    """Return the array of ``obsm`` with the cells' vectors, for an atlas that was built with one; else None.

    Raises
    ------
    InputError
        If one is asked for, and the atlas makes vectors of expression.
    """
    if atlas.recipe.weights == "given":
        return read.use_rep or atlas.recipe.name
    if read.use_rep is not None:
        seen = f"atlas {atlas.name!r} makes vectors of expression, and takes none from `use_rep`"
        raise InputError(seen, "an atlas that was built with `use_rep`", "leave it out, or build such an atlas")
    return None


def _given(file: CellFile, atlas: Atlas, read: ReadOptions) -> Floats | None:
    key = given_key(atlas, read)
    if key is None:
        return None
    found, wanted = file.given(key), atlas.embedding.dimension
    if found.shape[1] != wanted:
        seen = f"{file.path}: obsm[{key!r}] has {found.shape[1]} dimensions"
        raise InputError(seen, f"{wanted}, as in atlas {atlas.name!r}", "map the cells by the model of the reference")
    return found


def query_cells(
    cells: Cells, atlas: Atlas, options: ReadOptions | None = None, **changes: Unpack[ReadChanges]
) -> QueryCells:
    """Return cells as a query of an atlas, without calling them; raises as `scvec.annotate` does.

    Parameters
    ----------
    cells
        A path, a URI, or an AnnData.
    atlas
        The atlas.
    options, changes
        How they are read: a `scvec.ReadOptions`, or its fields.
    """
    check_given(cells, atlas)
    with open_query(cells, atlas, merged(ReadOptions, options, dict(changes))) as opened:
        return opened.query


def match_to(
    matrix: Matrix, store: Store, table: GeneTable, gene_ids: Ints, gene_key: str | None, taxon: str | int | None
) -> tuple[GeneMatch, list[str]]:
    """Match the columns of a query to (g,) genes of `table`; return the match, and notes on the species.

    Raises
    ------
    GeneMatchError
        If too few genes are known, or they look like another species' and `taxon` is not given.
    """
    # The genes of the cells' species: this release, or the last one of another taxon.
    own = table if taxon is None or taxon_id(taxon) == table.taxon_id else open_table(store, taxon)
    match, notes = match_genes(matrix, [own], gene_key=gene_key), []
    if taxon is None:
        guard_species(match, newest_tables(store), matrix, is_query=True)
    else:
        other = other_species(match, newest_tables(store), matrix)
        if other is not None:
            notes.append(f"the genes look like {other[1]}, but `taxon` says {taxon_name(own.taxon_id)}")
    if not notes:
        match = with_second_species(match, newest_tables(store), matrix)
        notes += [] if match.second is None else [str(match.second)]
    if own.taxon_id != table.taxon_id:
        known = match.share(matrix.sampled_totals)
        match = match.through(weighted_orthologs(store, own, table).among(gene_ids), table)
        notes += _lost(match, known - match.share(matrix.sampled_totals))
    match = match.only(gene_ids)
    guard(match, matrix)
    return match, notes


def _lost(match: GeneMatch, share: float) -> list[str]:
    """Return a note if much expression is on genes that the atlas's species has no one-to-one ortholog of."""
    if match.orthologs != ONE_TO_ONE or share <= WORTH_NAMING:
        return []
    return [
        f"genes with {share:.0%} of the expression have no one-to-one ortholog among the atlas's genes; HCOP's "
        "fifteen-column file of HGNC has orthologs one to many: scvec genes import-orthologs"
    ]


def placed(match: GeneMatch, atlas: Atlas) -> tuple[sp.csr_matrix[np.float32], Mask, float | None]:
    """Return how matched cells are mapped to an atlas's genes.

    Returns
    -------
    columns
        (n_vars, g) from `aligner`.
    measured
        (g,) True for the genes that the cells' matrix has.
    share
        The share of the reference's expression on these genes: an assay of few genes counts only a part of the cell.
        None for another species, whose cells count as whole, however many genes have an ortholog.
    """
    columns = aligner(match, atlas.embedding.gene_ids)
    has = measured(columns)
    is_whole = match.named_by is not None and not atlas.is_panel
    return columns, has, None if is_whole else atlas.profiles.share(has)
