"""Reading NCBI's files ``gene_info``, ``gene_summary`` and ``gene_orthologs`` as tables."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import polars as pl

from scvec.core.limits import bounded_lines, unfolded
from scvec.core.reading import reading
from scvec.errors import FileError

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
ORTHOLOG_COLUMNS = ("#tax_id", "GeneID", "relationship", "Other_tax_id", "Other_GeneID")


def read_info(path: Path, taxon: int) -> tuple[pl.DataFrame, str]:
    """Read the genes of one taxon from ``gene_info``.

    The symbol is that of the nomenclature authority if there is one (MT-ND3; NCBI's own, ND3, is then an alias). Rows
    of NCBI's type ``biological-region`` are not genes and are left out.

    Returns
    -------
    genes
        `taxon_id`, `gene_id`, `symbol`, `aliases` (with previous symbols), `ensembl_ids`, `full_name`, `designations`
        and `gene_type`, one row per gene.
    newest
        The newest modification date among the genes, as ``YYYY-MM-DD``.

    Raises
    ------
    FileError
        If the file is missing, truncated, of another format, or has no gene of the taxon.
    """
    info = _read(path, INFO_COLUMNS, "gene_info", _starts_with(taxon), needed=[taxon])
    newest = str(info["Modification_date"].max() or "00000000")
    info = info.filter((pl.col("type_of_gene") != "biological-region") & (pl.col("Symbol") != "NEWENTRY"))
    symbol = pl.coalesce("Symbol_from_nomenclature_authority", "Symbol")
    synonyms = pl.concat_str("Symbol", "Synonyms", separator="|", ignore_nulls=True).str.split("|")
    genes = info.select(
        pl.col("#tax_id").alias("taxon_id"),
        pl.col("GeneID").alias("gene_id"),
        symbol.alias("symbol"),
        synonyms.list.unique(maintain_order=True)
        .list.set_difference(pl.concat_list(symbol))
        .list.sort()
        .alias("aliases"),
        pl.col("dbXrefs").fill_null("").str.extract_all(r"ENS\w*G\d{11}").alias("ensembl_ids"),
        pl.coalesce("Full_name_from_nomenclature_authority", "description").alias("full_name"),
        pl.col("Other_designations").fill_null("").str.split("|").alias("designations"),
        pl.col("type_of_gene").alias("gene_type"),
    )
    return genes, f"{newest[:4]}-{newest[4:6]}-{newest[6:8]}"


def read_summaries(path: Path, taxa: Sequence[int], needed: Sequence[int]) -> pl.DataFrame:
    """Read `taxon_id`, `gene_id` and `summary` of the genes of some taxa; of several summaries, RefSeq's.

    Raises
    ------
    FileError
        If the file is missing, truncated, of another format, or has no gene of any taxon in `needed`.
    """
    table = _read(path, SUMMARY_COLUMNS, "gene_summary", _starts_with(*taxa), needed)
    return (
        table.drop_nulls("Summary")
        .sort(pl.col("Source").ne_missing("RefSeq"), maintain_order=True)
        .unique(["#tax_id", "GeneID"], keep="first", maintain_order=True)
        .select(taxon_id="#tax_id", gene_id="GeneID", summary="Summary")
    )


def read_orthologs(path: Path, taxon: int, other: int) -> pl.DataFrame:
    """Read the one-to-one orthologs of two taxa, as `gene_id` of the one and `other_id` of the other.

    NCBI's file has each pair once, the human gene first. A gene with several orthologs is left out.

    Raises
    ------
    FileError
        If the file is missing, truncated or of another format. A file without pairs is not an error.
    """
    ends = {taxon: f"\t{other}\t".encode(), other: f"\t{taxon}\t".encode()}
    starts = {f"{one}\t".encode(): end for one, end in ends.items()}

    def is_pair(line: bytes) -> bool:
        return any(line.startswith(start) and end in line for start, end in starts.items())

    table = _read(path, ORTHOLOG_COLUMNS, "gene_orthologs", is_pair).filter(pl.col("relationship") == "Ortholog")
    forth = table.filter(pl.col("#tax_id") == taxon, pl.col("Other_tax_id") == other)
    back = table.filter(pl.col("#tax_id") == other, pl.col("Other_tax_id") == taxon)
    ways = [
        forth.select(gene_id="GeneID", other_id="Other_GeneID"),
        back.select(gene_id="Other_GeneID", other_id="GeneID"),
    ]
    return pl.concat(ways).unique().filter(pl.len().over("gene_id") == 1, pl.len().over("other_id") == 1)


def _starts_with(*taxa: int) -> Callable[[bytes], bool]:
    starts = tuple(f"{taxon}\t".encode() for taxon in taxa)
    return lambda line: line.startswith(starts)


def _read(
    path: Path, columns: Sequence[str], kind: str, keep: Callable[[bytes], bool], needed: Sequence[int] = ()
) -> pl.DataFrame:
    """Read the lines to `keep`, in little memory: NCBI's files of all taxa have tens of millions of lines."""
    expected, fix = f"NCBI's {kind} file, plain or .gz", "download it again with scvec genes pull"
    if not path.is_file():
        raise FileError(f"{path} does not exist", expected, "check the path")
    others: dict[bytes, None] = {}
    with reading(str(path), expected, fix):
        with unfolded(path) as stream:
            lines = bounded_lines(stream, str(path), "table")
            kept = [next(lines, b"")]
            for line in lines:
                if keep(line):
                    kept.append(line)
                elif len(others) < 5:
                    others[line.split(b"\t", 1)[0]] = None
        header = kept[0].decode().rstrip("\r\n").split("\t")
        absent = [name for name in columns if name not in header]
        if absent:
            raise FileError(f"{path} has no column {absent[0]}", expected, fix)
        table = pl.read_csv(
            b"".join(kept), separator="\t", quote_char=None, infer_schema=False, null_values="-", columns=columns
        )
    ids = [name for name in columns if name.lower().endswith(("tax_id", "geneid"))]
    try:
        table = table.with_columns(pl.col(ids).cast(pl.Int64))
    except pl.exceptions.PolarsError as error:
        raise FileError(f"{path} has ids that are not whole numbers", expected, fix) from error
    taxa = table["#tax_id"].unique().to_list()
    if needed and not set(needed) & set(taxa):
        shown = ", ".join([*map(str, taxa), *(one.decode(errors="replace").strip() for one in others)])
        asked = ", ".join(map(str, needed))
        only = f", only of {shown}" if shown else ""
        raise FileError(f"{path} has no gene of taxon {asked}{only}", expected, "give the taxon's file")
    return table
