"""Make the gene identifiers that come with scvec from NCBI's gene_info and gene_orthologs (public domain).

    python -m tools.gene_table FOLDER

FOLDER holds Homo_sapiens.gene_info.gz, Mus_musculus.gene_info.gz and gene_orthologs.gz, which ``scvec genes pull``
fetches too. The same files give the same tables.
"""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path

import polars as pl
import pyarrow.parquet as pq

from scvec.core.files import sha256
from scvec.ingest.genes.gene_texts import GENE_COLUMNS, HUMAN, TAXA
from scvec.ingest.genes.ncbi import read_info, read_orthologs
from scvec.ingest.genes.packaged import ABOUT, FOLDER, PREFIX

INFO = {"human": "Homo_sapiens.gene_info.gz", "mouse": "Mus_musculus.gene_info.gz"}
ORTHOLOGS = "gene_orthologs.gz"
COLUMNS = tuple(name for name in GENE_COLUMNS if name != "source")


def make(taxon: str, gene_info: Path, gene_orthologs: Path, out: Path) -> dict[str, object]:
    """Write the identifiers of a taxon to `out`, a parquet file, and return what its metadata says."""
    number = TAXA[taxon]
    genes, date = read_info(gene_info, number)
    if number == HUMAN:
        genes = genes.with_columns(human_ortholog=pl.lit(None, pl.Int64))
    else:
        pairs = read_orthologs(gene_orthologs, number, HUMAN).rename({"other_id": "human_ortholog"})
        genes = genes.join(pairs, on="gene_id", how="left")
    genes = genes.select(COLUMNS).sort("gene_id")
    digest = hashlib.sha256()
    for row in genes.iter_rows():
        digest.update(repr(row).encode())
    files = [gene_info] if number == HUMAN else [gene_info, gene_orthologs]
    about: dict[str, object] = {
        "taxon_id": number,
        "release": f"{PREFIX}{date}",
        "date": date,
        "digest": digest.hexdigest(),
        "n_genes": len(genes),
        "origin": "NCBI Gene, public domain",
        "files": [{"file": one.name, "sha256": sha256(one)} for one in files],
    }
    table = genes.to_arrow(compat_level=pl.CompatLevel.oldest())
    table = table.replace_schema_metadata({ABOUT: json.dumps(about)})
    pq.write_table(table, out, compression="zstd", compression_level=19)
    return about


def main() -> None:
    """Make the tables of all taxa."""
    folder = Path(sys.argv[1])
    FOLDER.mkdir(exist_ok=True)
    for taxon, info in INFO.items():
        out = FOLDER / f"{taxon}.parquet"
        about = make(taxon, folder / info, folder / ORTHOLOGS, out)
        print(f"{out.name}: {about['n_genes']:,} genes of {about['date']}, {out.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
