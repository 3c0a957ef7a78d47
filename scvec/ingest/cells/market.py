"""Folders of a matrix in text and the names of its cells and genes: 10x, GEO, Parse, bustools, alevin, STARsolo."""

from __future__ import annotations

import tempfile
from contextlib import ExitStack
from pathlib import Path

from scvec.core.types import Strings
from scvec.errors import FileError
from scvec.ingest.cells.compressed import opened
from scvec.ingest.cells.contents import content_of
from scvec.ingest.cells.frames import Named
from scvec.ingest.cells.locations import Place, reading
from scvec.ingest.cells.market_layout import Layout
from scvec.ingest.cells.matrix import Rows
from scvec.ingest.cells.matrix_market import UnsuitedError, read_market, size_of
from scvec.ingest.cells.name_tables import NameTable, read_names
from scvec.ingest.cells.refusals import refusal
from scvec.ingest.cells.tenx import TenxSource

COLUMNS = {
    "ids": ("gene_id", "gene_ids", "geneid", "ensembl", "ensembl_id", "ensembl_ids", "feature_id", "id"),
    "symbols": (
        "gene_name",
        "gene_names",
        "gene_symbol",
        "gene_symbols",
        "genesymbol",
        "symbol",
        "feature_name",
        "name",
    ),
    "types": ("feature_type", "feature_types"),
    "genomes": ("genome",),
}
"""What columns of genes are called in tables that have a head."""

FRY = ("-U", "-A")
"""What alevin-fry adds to the names of unspliced and ambiguous counts."""


def open_market(layout: Layout, stack: ExitStack) -> TenxSource:
    """Return the cells of a matrix in text.

    The text of the matrix is read once, when it is first needed, into temporary files that `stack` removes.

    Raises
    ------
    FileError
        If a file is missing, truncated or not such a table; or if the names do not fit the matrix.
    """
    size = _size(layout.matrix)
    cells, genes = read_names(layout.cells, size), read_names(layout.genes, size)
    by_cells = _by_cells(layout, size, len(cells), len(genes))
    features = _features(genes, layout.symbols, size)
    _refuse_fry(layout, features["ids"])
    made: list[Rows] = []

    def whole() -> Rows:
        if not made:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="scvec-")))
            with reading(str(layout.matrix)), opened(layout.matrix) as stream:
                made.append(read_market(stream, (len(cells), len(genes)), folder, by_cells=by_cells))
        return made[0]

    return TenxSource(Named(cells.names(), cells.columns()), features, whole)


def _size(matrix: Place) -> tuple[int, int]:
    """Return the numbers of rows and columns of a matrix; raise `FileError` for what is not read, with what to do."""
    try:
        with reading(str(matrix)), opened(matrix) as stream:
            try:
                return size_of(stream)
            except UnsuitedError as error:
                expected = "coordinate integer or real general, as 10x writes it"
                raise FileError(f"{matrix} {error}", expected, error.fix.format(path=repr(str(matrix)))) from error
    except FileError:
        content, inner = content_of(matrix)
        if (inner or content) not in ("market", "table", "text", "unknown"):
            raise refusal(matrix) from None
        raise


def _by_cells(layout: Layout, size: tuple[int, int], n_cells: int, n_genes: int) -> bool:
    """Return whether the matrix has a row for each cell, by the numbers of names.

    Raises
    ------
    FileError
        If they fit in neither way.
    """
    ways = {False: (n_genes, n_cells), True: (n_cells, n_genes)}
    for by_cells in (layout.by_cells, not layout.by_cells):
        if ways[by_cells] == size:
            return by_cells
    seen = f"{layout.matrix} has {size[0]:,} rows and {size[1]:,} columns for {n_genes:,} features and {n_cells:,} "
    seen += f"barcodes ({layout.genes.name}, {layout.cells.name})"
    raise FileError(seen, "a name for each row and each column", "download the files again, all of one sample")


def _features(genes: NameTable, symbols: Place | None, size: tuple[int, int]) -> dict[str, Strings]:
    columns = genes.table()
    if genes.head:
        named = dict(zip((one.strip().lower() for one in genes.head), columns, strict=False))
        found = {kind: next((named[name] for name in names if name in named), None) for kind, names in COLUMNS.items()}
        features = {kind: values for kind, values in found.items() if values is not None}
        features.setdefault("ids", columns[0])
    else:
        features = dict(zip(("ids", "symbols", "types"), columns, strict=False))
    if symbols is not None and len(named_too := read_names(symbols, size)) == len(genes):
        features["symbols"] = named_too.names()
    return features


def _refuse_fry(layout: Layout, names: Strings) -> None:
    """Raise `FileError` if a gene has three columns: alevin-fry's spliced, unspliced and ambiguous counts."""
    n = sum(str(name).endswith(FRY) for name in names)
    if n and n == len(names) * 2 // 3 and len(names) % 3 == 0:
        folder = layout.matrix.parent
        folder = folder.parent if folder.name == "alevin" else folder
        raise FileError(
            f"{layout.matrix} has spliced, unspliced and ambiguous counts of each gene (alevin-fry's USA mode)",
            "one column for each gene",
            f"in Python: import pyroe; pyroe.load_fry({str(folder)!r}, output_format='scRNA').write_h5ad('cells.h5ad')",
        )
