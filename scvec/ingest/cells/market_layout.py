"""Which files belong to a matrix in Matrix Market's format, by the names that programs and GEO give them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import takewhile

from scvec.errors import FileError
from scvec.ingest.cells.locations import Place, Uri, reading

MARKET = (".mtx", ".mtx.gz")
TEXTS = (".tsv", ".txt", ".csv")

MATRIX_WORDS = re.compile(r"(?i)count_?matrix|matrix|counts?|dge|expression|mtx")
"""What stands in the name of a matrix where its companions have words of their own."""

CELL_WORDS = ("barcodes", "cells", "cell_metadata", "barcode", "cellnames")
GENE_WORDS = ("features", "genes", "all_genes", "feature", "gene", "genenames")
CELLS, GENES = re.compile(r"(?i)barcode|cell|colnames|_rows|metadata"), re.compile(r"(?i)gene|feature|rownames|_cols")
"""What companions have in their names, where nothing more is known."""


@dataclass(frozen=True, slots=True)
class Layout:
    """A matrix and the files of its names.

    Attributes
    ----------
    matrix, cells, genes
        The files.
    symbols
        A further file of gene symbols, where ids and symbols are in two.
    by_cells
        Whether such a matrix has a row for each cell, if both ways fit its size.
    """

    matrix: Place
    cells: Place
    genes: Place
    symbols: Place | None = None
    by_cells: bool = False

    @property
    def members(self) -> list[Place]:
        """All files."""
        return [self.matrix, self.cells, self.genes, *([] if self.symbols is None else [self.symbols])]


@dataclass(frozen=True, slots=True)
class _Names:
    """Names that belong together, any of each kind."""

    cells: tuple[str, ...]
    genes: tuple[str, ...]
    symbols: tuple[str, ...] = ()
    by_cells: bool = False


def is_market(name: str) -> bool:
    """Whether a name is that of a matrix in Matrix Market's format."""
    return name.lower().endswith(MARKET)


def names_in(folder: Place) -> list[str] | None:
    """Return the names of the members of a folder, sorted; None on a web server, which cannot list them.

    Raises
    ------
    FileError
        If it does not exist.
    """
    with reading(str(folder)):
        if not isinstance(folder, Uri):
            return sorted(one.name for one in folder.iterdir())
        if folder.is_http:
            return None
        return sorted(str(one).rstrip("/").rpartition("/")[2] for one in folder.fs.ls(folder.uri, detail=False))


def layout_of(matrix: Place) -> Layout:
    """Return the files that belong to a matrix: those beside it whose names fit its own.

    Raises
    ------
    FileError
        If one is missing, or it is not clear which one it is.
    """
    if not matrix.exists():
        raise FileError(f"{matrix} does not exist", "a matrix", "check the path")
    folder, listed = matrix.parent, names_in(matrix.parent)

    def there(names: tuple[str, ...]) -> Place | None:
        for name in (f"{one}{gz}" for one in names for gz in (".gz", "")):
            if name in listed if listed is not None else (folder / name).exists():
                return folder / name
        return None

    stem = re.sub(r"(?i)\.mtx(\.gz)?$", "", matrix.name)
    for names in _known(stem) if listed is None else (*_known(stem), *_worded(stem)):
        cells, genes = there(names.cells), there(names.genes)
        if cells is not None and genes is not None:
            return Layout(matrix, cells, genes, there(names.symbols), names.by_cells)
    return _only(matrix, listed or [], there)


def _known(stem: str) -> Iterator[_Names]:
    """Yield the names that programs give."""
    if "matrix" in stem:  # Cell Ranger, STARsolo, GEO
        left, _, right = stem.rpartition("matrix")
        genes = tuple(f"{left}{word}{right}.tsv" for word in ("features", "genes"))
        yield _Names((f"{left}barcodes{right}.tsv",), genes)
    for one in dict.fromkeys((stem, stem.rpartition(".")[0] or stem)):  # bustools; its matrices of one table of names
        genes = tuple(f"{one}.genes.{ending}" for ending in ("txt", "tsv"))
        yield _Names((f"{one}.barcodes.txt", f"{one}.barcodes.tsv"), genes, (f"{one}.genes.names.txt",), by_cells=True)
    yield _Names((f"{stem}_rows.txt",), (f"{stem}_cols.txt",), by_cells=True)  # alevin, alevin-fry
    for word in ("count_matrix", "DGE"):  # split-pipe
        if word in stem:
            left, _, right = stem.rpartition(word)
            genes = tuple(f"{left}{one}{right}.csv" for one in ("all_genes", "genes"))
            yield _Names((f"{left}cell_metadata{right}.csv",), genes, by_cells=True)


def _worded(stem: str) -> Iterator[_Names]:
    """Yield names in which a word for cells or genes stands in place of the matrix's."""
    for word in MATRIX_WORDS.finditer(stem):
        left, right = stem[: word.start()], stem[word.end() :]
        cells, genes = (
            tuple(f"{left}{one}{right}{ending}" for one in words for ending in TEXTS)
            for words in (CELL_WORDS, GENE_WORDS)
        )
        yield _Names(cells, genes)


def _only(matrix: Place, listed: list[str], there: Callable[[tuple[str, ...]], Place | None]) -> Layout:
    """Return the layout of the only texts beside a matrix that can be its cells and genes."""
    texts = [name for name in listed if re.sub(r"\.gz$", "", name.lower()).endswith(TEXTS)]
    genes = _nearest([name for name in texts if GENES.search(name)], matrix.name)
    cells = _nearest([name for name in texts if CELLS.search(name) and name not in genes], matrix.name)
    if len(cells) == len(genes) == 1:
        return Layout(matrix, matrix.parent / cells[0], matrix.parent / genes[0])
    prefix = re.sub(r"(matrix)?\.mtx(\.gz)?$", "", matrix.name)
    wanted = [[f"{prefix}barcodes.tsv"], [f"{prefix}features.tsv", f"{prefix}genes.tsv"]]
    lacking = [names for names in wanted if there(tuple(names)) is None]
    asked = [f"{name}{gz}" for name in lacking[0] for gz in (".gz", "")]
    seen = f"{matrix.parent} has {matrix.name} without {' or '.join(asked)}"
    many = [*cells, *genes] if len(cells) > 1 or len(genes) > 1 else []
    if many:
        seen += f", and several other files of names ({', '.join(many[:6])})"
    fix = "put the three files in a folder of their own" if many else "download it too"
    raise FileError(seen, "the matrix with the names of its cells and of its genes", fix)


def _nearest(names: list[str], matrix: str) -> list[str]:
    """Return those names that share the longest beginning with the matrix's."""
    pairs = [zip(name, matrix, strict=False) for name in names]
    shared = [sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], one)) for one in pairs]
    return [name for name, n in zip(names, shared, strict=True) if n == max(shared)]
