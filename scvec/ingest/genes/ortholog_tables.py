"""Orthologs one to many in the store: one table per taxon, one tag per release, from HCOP's file of HGNC.

HCOP, HGNC's Comparison of Orthology Predictions (Yates et al. 2021, Brief Bioinform 22:bbab155), lists the pairs of
human genes and those of another species that any of a dozen sources names.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import polars as pl
import pyarrow as pa

from scvec._version import __version__
from scvec.core.files import sha256
from scvec.core.limits import bounded_lines, unfolded
from scvec.core.reading import reading
from scvec.errors import ExistsError, FileError, InputError
from scvec.ingest.genes.gene_texts import HUMAN, TAXA, taxon_id, taxon_name
from scvec.store import Snapshot, Store, check_tag

COLUMNS = {
    "gene_id": "NCBI's (Entrez) id of the gene; the rows are sorted by it",
    "human_gene_id": "that of a human gene that is its ortholog",
    "n_sources": "how many sources name the pair",
    "sources": "their names, sorted",
}
SCHEMA = pa.schema(
    {"gene_id": pa.int64(), "human_gene_id": pa.int64(), "n_sources": pa.int64(), "sources": pa.list_(pa.string())}
)

EXPECTED = "HCOP's fifteen-column file of human and that species, plain or .gz"
FIX = "download it from HCOP at HGNC again"
ENTREZ, SUPPORT = "_entrez_gene", "support"


@dataclass(frozen=True)
class OrthologTable:
    """The orthologs of one taxon and human at one release.

    Attributes
    ----------
    taxon_id
        NCBI's number of the taxon.
    release
        The release's tag.
    snapshot
        The version of the table.
    """

    taxon_id: int
    release: str
    snapshot: Snapshot

    @property
    def manifest(self) -> dict[str, Any]:
        """What the table was made from."""
        return self.snapshot.manifest

    def __str__(self) -> str:
        return f"{taxon_name(self.taxon_id)} orthologs {self.release}"

    def __len__(self) -> int:
        return len(self.snapshot)


def read_hcop(path: Path, taxon: int) -> pl.DataFrame:
    """Read the pairs of HCOP's fifteen-column file as rows of `COLUMNS`, each once; pairs without Entrez ids are none.

    Raises
    ------
    FileError
        If the file is missing, truncated, of another format or species, or has no pair.
    """
    if not path.is_file():
        raise FileError(f"{path} does not exist", EXPECTED, "check the path")
    with reading(str(path), EXPECTED, FIX):
        with unfolded(path) as stream:
            lines = list(bounded_lines(stream, str(path), "table"))
        header = (lines[0] if lines else b"").decode().rstrip("\r\n").split("\t")
        own, human = _columns(path, header, taxon)
        table = pl.read_csv(
            b"".join(lines), separator="\t", quote_char=None, infer_schema=False, columns=[human, own, SUPPORT]
        )
    pairs = table.filter(pl.col(own) != "-", pl.col(human) != "-", pl.col(SUPPORT).fill_null("-") != "-")
    try:
        ids = pairs.select(gene_id=pl.col(own).cast(pl.Int64), human_gene_id=pl.col(human).cast(pl.Int64))
    except pl.exceptions.PolarsError as error:
        raise FileError(f"{path} has ids that are not whole numbers", EXPECTED, FIX) from error
    if not len(ids):
        raise FileError(f"{path} has no pair with Entrez ids", EXPECTED, FIX)
    # A pair stands once for each of its Ensembl ids.
    named = ids.with_columns(sources=pairs[SUPPORT].str.split(",")).explode("sources").unique()
    found = named.group_by("gene_id", "human_gene_id").agg(pl.col("sources").sort())
    return found.with_columns(n_sources=pl.col("sources").list.len().cast(pl.Int64)).select(*COLUMNS)


def _columns(path: Path, header: list[str], taxon: int) -> tuple[str, str]:
    """Return the columns with the Entrez ids of the taxon's genes and of human ones."""
    species = [name.removesuffix(ENTREZ) for name in header if name.endswith(ENTREZ)]
    others = [one for one in species if one != "human"]
    if "human" not in species or len(others) != 1 or SUPPORT not in header:
        raise FileError(f"{path} has not the columns human{ENTREZ}, SPECIES{ENTREZ} and {SUPPORT}", EXPECTED, FIX)
    if taxon in TAXA.values() and others[0] != taxon_name(taxon):
        raise FileError(f"{path} has genes of {others[0]}, not of {taxon_name(taxon)}", EXPECTED, "check `taxon`")
    return f"{others[0]}{ENTREZ}", f"human{ENTREZ}"


def import_orthologs(store: Store, path: str | Path, *, taxon: str | int, release: str | None = None) -> OrthologTable:
    """Import HCOP's fifteen-column file of human and another species as one release of orthologs, one to many.

    Queries of that species on an atlas of another then go by them (`scvec.ingest.genes.orthologs`), in place of NCBI's
    one-to-one orthologs. Importing the same pairs again changes nothing.

    Parameters
    ----------
    store
        The store to import into.
    path
        The file, plain or gzipped.
    taxon
        The other species: ``"mouse"``, ``"rat"`` or an NCBI taxon id.
    release
        The release's tag; None: ``hcop-`` and the first digits of a hash of the pairs, as the file has no date.

    Raises
    ------
    InputError
        If `taxon` is human.
    FileError
        If the file is missing, truncated, of another format or species, or has no pair.
    ExistsError
        If the release exists with other pairs.
    """
    number, path = taxon_id(taxon), Path(path)
    if number == HUMAN:
        raise InputError("`taxon` is human", "the other species of the file", "give that one, such as mouse")
    pairs = read_hcop(path, number).sort("gene_id", "human_gene_id")
    digest = hashlib.sha256()
    for row in pairs.iter_rows():
        digest.update(repr(row).encode())
    tag = release or f"hcop-{digest.hexdigest()[:8]}"
    manifest = {
        "kind": "gene_orthologs",
        "taxon_id": number,
        "release": tag,
        "digest": digest.hexdigest(),
        "n_pairs": len(pairs),
        "n_genes": pairs["gene_id"].n_unique(),
        "n_human_genes": pairs["human_gene_id"].n_unique(),
        "written_by": f"scvec {__version__}",
        "origin": "HCOP of HGNC",
        "files": [{"file": path.name, "bytes": path.stat().st_size, "sha256": sha256(path)}],
    }
    return _written(store, number, tag, pairs, manifest)


def _written(store: Store, number: int, tag: str, pairs: pl.DataFrame, manifest: Mapping[str, Any]) -> OrthologTable:
    check_tag(tag)
    table = store.table(_path(number))
    if tag in table.tags():
        there = table.at(tag)
        if there.manifest["digest"] == manifest["digest"]:
            return OrthologTable(number, tag, there)
        raise ExistsError(
            f"release {tag} of the orthologs of {taxon_name(number)} is in the store with other pairs",
            "another tag for these pairs",
            "give one as `release`",
        )
    rows = pairs.to_arrow(compat_level=pl.CompatLevel.oldest()).cast(SCHEMA)
    table.tag(tag, table.write(rows.to_batches(), SCHEMA, manifest))
    return OrthologTable(number, tag, table.at(tag))


def newest_orthologs(store: Store, number: int) -> OrthologTable | None:
    """Return the last release of a taxon's orthologs in the store; None if it has none."""
    table = store.table(_path(number))
    tags = list(table.tags())
    return OrthologTable(number, tags[-1], table.at(tags[-1])) if tags else None


def pairs_of(table: OrthologTable) -> pl.DataFrame:
    """Return the pairs, columns `gene_id`, `human_gene_id` and `n_sources`."""
    return cast(pl.DataFrame, pl.from_arrow(table.snapshot.read(["gene_id", "human_gene_id", "n_sources"])))


def list_orthologs(store: Store) -> list[OrthologTable]:
    """Return every release of every taxon's orthologs, oldest first."""
    numbers = sorted(int(name) for name in store.children("gene_orthologs") if name.isdigit())
    return [
        OrthologTable(number, tag, table.at(tag))
        for number in numbers
        for table in [store.table(_path(number))]
        for tag in table.tags()
    ]


def _path(number: int) -> str:
    return f"gene_orthologs/{number}"
