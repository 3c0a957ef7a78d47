"""Options of the verbs that read a file of cells."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal, TypeAlias

import typer

from scvec.cli.options.common import InputOption, keywords

if TYPE_CHECKING:
    from scvec.ingest.cells.options import ReadOptions

CELLS = "h5ad, AnnData zarr, h5mu, loom, 10x .h5, or a matrix.mtx with its names or its folder; a path or a URI"
"""What is read, for help texts."""

CellsArgument = Annotated[str, typer.Argument(help=f"File of cells ({CELLS}).", metavar="CELLS")]

ObsOption = Annotated[
    str | None, InputOption(help="Table to join to obs: CSV, TSV or Parquet, with the cells' names in a column.")
]

OnlyOption = Annotated[
    str | None, InputOption("--only", help="Read only cells that fulfil this, in SQL on obs: \"donor = 'human3'\".")
]

AskedScale: TypeAlias = Literal["auto", "counts", "linear", "log1p", "log2", "log10", "log1p_twice", "sqrt"]


UseRepOption = Annotated[
    str | None, InputOption(help="Array of obsm with the cells' vectors, as X_scVI, in place of scvec's own.")
]


@dataclass(frozen=True, slots=True, kw_only=True)
class MatrixFlags:
    """Which matrix of a file is read, and which genes it has."""

    layer: Annotated[str | None, InputOption(help="Matrix to read: X (default), raw, or a layer's name.")] = None
    scale: Annotated[
        AskedScale, InputOption(help="Values of the matrix: counts, linear (TPM, CPM), or logarithms of x + 1.")
    ] = "auto"
    gene_key: Annotated[str | None, InputOption(help="Column of var with gene names (default: detected).")] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FileFlags(MatrixFlags):
    """How a file of cells is read, with annotations from a table beside it."""

    obs: ObsOption = None
    only: OnlyOption = None
    only_annotated: Annotated[
        bool, InputOption("--only-annotated", help="Leave out cells that the table of --obs lacks.")
    ] = False
    unlabelled: Annotated[
        list[str] | None,
        InputOption(help="Label that means none, as nan and unassigned do by themselves; case is ignored; repeatable."),
    ] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadFlags(FileFlags):
    """How a query is read: the options of all verbs that take one."""

    taxon: Annotated[
        str | None,
        InputOption(help="Species of the cells, if not the reference's: human, mouse, rat or an NCBI taxon id."),
    ] = None

    def reading(self) -> ReadOptions:
        """Return the same as the library's value."""
        from scvec.ingest.cells.options import ReadOptions

        return ReadOptions(**keywords(self, ReadOptions))
