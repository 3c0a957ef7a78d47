"""NCBI's own files, ``gene_info`` and ``gene_summary``, as a frame with one row a gene."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Mapping
from pathlib import Path

import polars as pl

from scvec.errors import FileError

TEXT_COLUMNS: Mapping[str, pl.DataType | type[pl.DataType]] = {
    "taxon_id": pl.Int64,
    "gene_id": pl.Int64,
    "symbol": pl.String,
    "aliases": pl.List(pl.String),
    "ensembl_id": pl.String,
    "full_name": pl.String,
    "other_designations": pl.String,
    "gene_type": pl.String,
    "summary": pl.String,
    "text": pl.String,
    "text_sha256": pl.String,
    "source": pl.String,
}
"""The columns of ``gene_texts``. `source` says what the text was made of."""

INFO_COLUMNS = (
    "#tax_id",
    "GeneID",
    "Symbol",
    "Synonyms",
    "dbXrefs",
    "description",
    "type_of_gene",
    "Symbol_from_nomenclature_authority",
    "Full_name_from_nomenclature_authority",
    "Other_designations",
    "Modification_date",
)
SUMMARY_COLUMNS = ("#tax_id", "GeneID", "Source", "Summary")

WITH_SUMMARY = "NCBI Gene summary"
NAME_ONLY = "NCBI Gene full name"


def read_genes(gene_info: Path, gene_summary: Path, taxon_id: int) -> tuple[pl.DataFrame, str]:
    """Read the genes of one taxon and make their texts.

    A text is ``symbol: full name. summary``, without the summary where NCBI has none. The symbol is the nomenclature
    authority's where there is one (MT-ND3, where NCBI's own is ND3, which then is an alias). Rows of NCBI's type
    ``biological-region`` are no genes and are left out.

    Returns
    -------
    genes
        Columns `TEXT_COLUMNS`, sorted by gene id.
    newest
        The newest modification date among the genes, as ``YYYY-MM-DD``.

    Raises
    ------
    FileError
        If a file is missing, truncated, of another format, or has no gene of the taxon.
    """
    info = _read_table(gene_info, INFO_COLUMNS, "gene_info", taxon_id)
    info = info.filter((pl.col("type_of_gene") != "biological-region") & (pl.col("Symbol") != "NEWENTRY"))
    # NCBI may come to list a gene once for each source: RefSeq's text goes first.
    summary = (
        _read_table(gene_summary, SUMMARY_COLUMNS, "gene_summary", taxon_id)
        .sort(pl.col("Source") != "RefSeq", maintain_order=True)
        .unique("GeneID", keep="first", maintain_order=True)
        .select("GeneID", summary=pl.col("Summary").str.strip_chars())
    )
    symbol = pl.coalesce("Symbol_from_nomenclature_authority", "Symbol")
    synonyms = pl.concat_str("Symbol", "Synonyms", separator="|", ignore_nulls=True).str.split("|")
    genes = info.join(summary, on="GeneID", how="left").select(
        pl.col("#tax_id").alias("taxon_id"),
        pl.col("GeneID").cast(pl.Int64).alias("gene_id"),
        symbol.alias("symbol"),
        synonyms.list.unique(maintain_order=True)
        .list.set_difference(pl.concat_list(symbol))
        .list.sort()
        .alias("aliases"),
        pl.col("dbXrefs").str.extract(r"Ensembl:(ENS\w*G\d+)").alias("ensembl_id"),
        pl.coalesce("Full_name_from_nomenclature_authority", "description").alias("full_name"),
        pl.col("Other_designations").alias("other_designations"),
        pl.col("type_of_gene").alias("gene_type"),
        "summary",
    )
    newest = str(info["Modification_date"].max() or "00000000")
    return with_texts(genes).sort("gene_id"), f"{newest[:4]}-{newest[4:6]}-{newest[6:8]}"


def with_texts(genes: pl.DataFrame, summary_source: str = WITH_SUMMARY, name_source: str = NAME_ONLY) -> pl.DataFrame:
    """Return `genes` with `text`, its hash and its source, made from symbol, full name and summary."""
    named = pl.concat_str("symbol", "full_name", separator=": ", ignore_nulls=True).str.strip_chars_end(".") + "."
    text = pl.concat_str(named, "summary", separator=" ", ignore_nulls=True).alias("text")
    source = pl.when(pl.col("summary").is_null()).then(pl.lit(name_source)).otherwise(pl.lit(summary_source))
    genes = genes.with_columns(text, source.alias("source"))
    hashes = [hashlib.sha256(one.encode()).hexdigest() for one in genes["text"]]
    return genes.with_columns(pl.Series("text_sha256", hashes, pl.String)).select(
        pl.col(name).cast(kind) for name, kind in TEXT_COLUMNS.items()
    )


def _read_table(path: Path, columns: tuple[str, ...], kind: str, taxon_id: int) -> pl.DataFrame:
    wanted, cure = f"NCBI's {kind} file, plain or .gz", "fetch it again from NCBI's gene/DATA"
    if not path.is_file():
        raise FileError(f"{path} is not there", wanted, "check the path")
    try:
        table = pl.read_csv(path, separator="\t", quote_char=None, infer_schema=False, null_values="-")
    except (pl.exceptions.PolarsError, OSError, zlib.error, UnicodeDecodeError) as error:
        raise FileError(f"{path} cannot be read ({str(error)[:120]})", wanted, cure) from error
    absent = [name for name in columns if name not in table.columns]
    if absent:
        raise FileError(f"{path} has no column {absent[0]}", wanted, cure)
    found = table["#tax_id"].unique()
    try:
        table = table.with_columns(pl.col("#tax_id", "GeneID").cast(pl.Int64))
    except pl.exceptions.PolarsError as error:
        raise FileError(f"{path} has ids that are no whole numbers", wanted, cure) from error
    table = table.filter(pl.col("#tax_id") == taxon_id)
    if table.is_empty():
        shown = ", ".join(str(one) for one in found.sort()[:5])
        raise FileError(
            f"{path} has no gene of taxon {taxon_id}, only of {shown or 'none'}",
            wanted,
            "give that taxon's file",
        )
    return table.select(columns)
