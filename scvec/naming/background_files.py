"""Backgrounds as Parquet files of mean profiles: one row a gene, one column a type."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow.parquet as pq

from scvec.core.files import placing
from scvec.core.limits import bounded_json, check_parquet
from scvec.core.reading import reading
from scvec.core.text import counted
from scvec.core.types import Doubles, Ints
from scvec.errors import FileError, GeneMatchError, InputError, MatrixError
from scvec.ingest.cells import expand
from scvec.ingest.cells.scale import GREATEST, MOST
from scvec.ingest.genes.gene_table import GeneTable, newest_tables, open_table
from scvec.ingest.genes.gene_texts import taxon_name
from scvec.ingest.genes.identifiers import EXACT
from scvec.ingest.matching import GeneMatch, match_names
from scvec.naming.background import Background, joined
from scvec.naming.expression import TARGET_SUM
from scvec.store import Store, as_store

GENE_KEYS = ("gene", "symbol", "gene_symbol", "gene_name", "gene_id", "ensembl_id")
"""Columns in which genes are named; the first that there is."""

APART = ": "
"""Between a tissue and a type in the name of a column."""

MIN_GENES = 0.3
"""Share of the names that must be known genes."""

WORTH_NAMING = 0.9
"""A note says how many genes of a file are known, if it is less than this share."""

LEAST_OF, ROUNDING = 0.1, 0.01
"""Means of log1p(counts per 10,000) sum to at least this share of 10,000 once the logarithm is undone, and to no more
than 10,000, as logarithms are concave."""

COUNTS = 2000
"""Counts of a cell where only means are known: between those of shallow and of deep sequencing."""

ABOUT = b"scvec"
SCALE = "mean of log1p(counts per 10,000)"

WANTED = "a Parquet file of mean profiles, with a column `gene` and a column of numbers for each type"
FIX = "name each column by its type, or 'tissue: type', and the genes in `gene`"


def read_background(path: str | Path, store: Store | str | Path, taxon: str | int) -> Background:
    """Read mean profiles of types, on the genes of a species.

    Each file has a column ``gene`` (or ``symbol``, ``gene_id``; symbols, Ensembl or Entrez ids) and a column of numbers
    for each type, named by the type or by ``"tissue: type"``. Values are means of counts, TPM or CPM, of any total, or
    means of log1p(counts per 10,000). Values of another scale are refused, as it cannot be told which.

    Parameters
    ----------
    path
        A file, a pattern, or a folder of files, whose names are the tissues of the types that name none.
    store
        Where the gene texts are; without texts of the species, its packaged identifiers are taken.
    taxon
        The species on whose genes they are to be. A file of another species is taken by one-to-one orthologs.

    Raises
    ------
    FileError
        If a file is missing, unreadable, or of another layout.
    MatrixError
        If its values are of no known scale.
    GeneMatchError
        If too few of its genes are known.
    LabelError
        If a tissue has two types of one name.
    """
    store = as_store(store)
    table = open_table(store, taxon)
    offered = [table, *(one for one in newest_tables(store) if one.taxon_id != table.taxon_id)]
    folder = Path(path).is_dir()
    files = sorted(Path(path).glob("*.parquet")) if folder else [Path(one) for one in expand([path])]
    if not files:
        raise FileError(f"`background` {path} has no file that ends in .parquet", WANTED, FIX)
    several = folder or len(files) > 1
    parts = [_read(file, file.stem if several else "", offered) for file in files]
    found = joined([part.in_genes_of(table, _of_taxon(offered, part.taxon_id)) for part in parts])
    return Background(
        found.names, found.tissues, found.gene_ids, found.means, found.taxon_id, (*found.notes, f"{found}")
    )


def write_background(background: Background, path: str | Path) -> None:
    """Write a background as one file that `read_background` reads, also beside others in a folder.

    Raises
    ------
    InputError
        If the name does not end in .parquet, or that of a tissue has a colon and a blank, which end it in the file.
    """
    if Path(path).suffix != ".parquet":
        raise InputError(f"`path` is {str(path)!r}", "a name that ends in .parquet", "rename it")
    for tissue in background.tissues.tolist():
        if APART in tissue:
            raise InputError(f"`tissue` is {tissue!r}", f"a name without {APART!r}", "rename it")
    pairs = zip(background.tissues.tolist(), background.names.tolist(), strict=True)
    columns = {(f"{tissue}{APART}{name}" if tissue else name): i for i, (tissue, name) in enumerate(pairs)}
    frame = pl.DataFrame(
        {"gene": background.gene_ids} | {name: background.means[i].astype(np.float32) for name, i in columns.items()}
    )
    about = json.dumps({"scale": SCALE, "taxon_id": background.taxon_id})
    with placing(Path(path)) as made:
        pq.write_table(frame.to_arrow().replace_schema_metadata({ABOUT: about.encode()}), made)


def _of_taxon(tables: Sequence[GeneTable], taxon_id: int) -> GeneTable:
    return next(one for one in tables if one.taxon_id == taxon_id)


def _read(path: Path, tissue: str, offered: Sequence[GeneTable]) -> Background:
    frame, about = _frame(path)
    key = next((one for one in GENE_KEYS if one in frame.columns), None)
    types = [one for one in frame.columns if one != key and not one.startswith("__index_level_")]
    if key is None or not types:
        raise FileError(f"{path} has the columns {', '.join(frame.columns[:5])}, ...", WANTED, FIX)
    for one in types:
        if not frame[one].dtype.is_numeric():
            raise FileError(f"{path} has a column {one!r} of {frame[one].dtype}", WANTED, FIX)
    values = frame.select(pl.col(types).cast(pl.Float64)).to_numpy()
    values = np.where(frame.select(pl.col(types).is_null()).to_numpy(), np.nan, values).T
    check(values, str(path), types)
    values, counted_means = (np.expm1(values), False) if about.get("scale") == SCALE else linear(values, str(path))
    known = about.get("taxon_id")
    columns, ids, taxon_id = _genes(path, key, frame[key], [one for one in offered if known in (None, one.taxon_id)])
    gene_ids, rows = np.unique(ids, return_inverse=True)
    added = _added(values[:, columns], rows, len(gene_ids))
    means = mean_logarithms(added) if counted_means else np.log1p(added)
    pairs = [one.split(APART, 1) if APART in one else [tissue, one] for one in types]
    names, tissues = (np.array([pair[i].strip() for pair in pairs], object) for i in (1, 0))
    note = f"{path.name}: {len(columns):,} of {counted(len(frame), 'gene')} are known"
    notes = (note,) if len(columns) < WORTH_NAMING * len(frame) else ()
    return Background(names, tissues, gene_ids, means, taxon_id, notes)


def _frame(path: Path) -> tuple[pl.DataFrame, dict[str, object]]:
    with reading(str(path), WANTED, FIX), pq.ParquetFile(path) as file:
        check_parquet(file, str(path))
        about = bounded_json((file.schema_arrow.metadata or {}).get(ABOUT, b"{}"))
        return pl.DataFrame(pl.from_arrow(file.read())), about if isinstance(about, dict) else {}


def _genes(path: Path, key: str, column: pl.Series, offered: Sequence[GeneTable]) -> tuple[Ints, Ints, int]:
    """Return the rows that are known genes, their ids, and the species.

    Whole numbers are Entrez ids. As names, those of a few genes with small ids would be taken for row numbers.
    """
    if not column.dtype.is_integer():
        match = _match(path, key, column, offered)
        return match.columns, match.gene_ids, match.gene_table.taxon_id
    ids = column.fill_null(-1).to_numpy().astype(np.int64)
    known = [np.isin(ids, one.genes["gene_id"].to_numpy()) for one in offered]
    best = max(range(len(known)), key=lambda i: int(known[i].sum()), default=-1)
    if best < 0 or known[best].mean() < MIN_GENES:
        raise _no_genes(path, key, 0 if best < 0 else int(known[best].sum()), len(ids), offered)
    return np.flatnonzero(known[best]), ids[known[best]], offered[best].taxon_id


def _no_genes(path: Path, key: str, n: int, n_names: int, offered: Sequence[GeneTable]) -> GeneMatchError:
    species = ", ".join(taxon_name(one.taxon_id) for one in offered)
    seen = f"{path}: {n:,} of {n_names:,} names in {key!r} are genes of {species or 'a species in the store'}"
    return GeneMatchError(seen, f"symbols, Ensembl or Entrez ids for at least {MIN_GENES:.0%}", FIX)


def _match(path: Path, key: str, column: pl.Series, offered: Sequence[GeneTable]) -> GeneMatch:
    """Return the genes of the species whose names fit exactly most often, the first of those that are equal."""
    names = np.array([one or "" for one in column.cast(pl.String).to_list()], object)
    found = [match_names(names, key, one) for one in offered]
    best = max(found, key=lambda one: int(np.isin(one.routes.astype(str), list(EXACT)).sum()), default=None)
    if best is None or len(best.columns) < MIN_GENES * len(names) or not len(names):
        raise _no_genes(path, key, 0 if best is None else len(best.columns), len(names), offered)
    return best


def check(values: Doubles, where: str, types: Sequence[str]) -> None:
    """Raise `MatrixError` if some of (B, g) means are negative or infinite, or a type expresses nothing."""
    known = values[~np.isnan(values)]
    if len(known) and not (known.min() >= 0 and known.max() <= GREATEST):
        seen = f"{where} holds values from {known.min():.4g} to {known.max():.4g}"
        raise MatrixError(seen, "means of expression", "find their cause, and remove them")
    filled = np.nansum(values, axis=1) > 0
    if not filled.all():
        seen = f"{where}: type {types[int(np.argmin(filled))]!r} has no value above 0"
        raise MatrixError(seen, "types that express some gene", "leave it out")


def mean_logarithms(means: Doubles) -> Doubles:
    """Return (B, g) what the mean of log1p(counts per 10,000) is likely to be, given the mean of counts per 10,000.

    The logarithm of a mean is above the mean of logarithms, most of all for genes that few cells show. The cells that
    show a gene are taken as those with a count of it, Poisson, in cells of `COUNTS` counts, and as alike. Of two files
    (5,000 and 1,600 counts a cell), the sum of all means is 1.5 and 2.2 times too large without, .9 and 1.2 times with
    this, and of the 50 genes that are most specific to a type 35 and 31 are the same without, 42 and 41 with it.
    """
    shown = -np.expm1(-means * (COUNTS / TARGET_SUM))
    return np.asarray(shown * np.log1p(means / np.where(shown > 0, shown, 1.0)))


def linear(values: Doubles, where: str) -> tuple[Doubles, bool]:
    """Return (B, g) values before the logarithm, and whether they are means of counts, with a total of 10,000 each.

    Means of counts have a value that no logarithm reaches. Means of log1p(counts per 10,000) have none above the
    logarithm of 10,000, and undone they sum to a good part of 10,000.

    Raises
    ------
    MatrixError
        If they are neither.
    """
    largest = float(np.nanmax(values))
    if largest > MOST["log2"]:
        return np.asarray(values * (TARGET_SUM / np.nansum(values, axis=1))[:, None]), True
    if largest <= np.log1p(TARGET_SUM):
        undone = np.expm1(values)
        totals = np.nansum(undone, axis=1)
        if totals.min() >= LEAST_OF * TARGET_SUM and totals.max() <= (1 + ROUNDING) * TARGET_SUM:
            return np.asarray(undone), False
    raise MatrixError(
        f"{where} holds values up to {largest:.4g}: neither means of counts, nor of log1p(counts per 10,000)",
        f"means of counts, TPM or CPM, of which some are above {MOST['log2']:.0f}, or of log1p(counts per 10,000)",
        "undo the logarithm, or multiply all by 1,000",
    )


def _added(values: Doubles, rows: Ints, n_genes: int) -> Doubles:
    """Return (B, n_genes) sums of the rows of one gene; NaN where none is known."""
    known = ~np.isnan(values)
    sums, counts = np.zeros((len(values), n_genes)), np.zeros((len(values), n_genes), np.int64)
    np.add.at(sums.T, rows, np.where(known, values, 0.0).T)
    np.add.at(counts.T, rows, known.T)
    return np.where(counts > 0, sums, np.nan)
