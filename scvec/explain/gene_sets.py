"""Gene sets: read from GMT files, and matched to an atlas's genes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from scvec.atlas import Atlas
from scvec.core.files import sha256
from scvec.core.limits import read_file
from scvec.core.reading import reading
from scvec.errors import FileError, GeneMatchError
from scvec.ingest.genes.gene_table import open_table
from scvec.ingest.genes.gene_texts import taxon_id
from scvec.ingest.genes.orthologs import orthologs

GMT = "lines with a name, a description and genes, separated by tabs"


@dataclass(frozen=True, slots=True)
class GeneSets:
    """The sets of one file.

    Attributes
    ----------
    name
        The file's name, without its ending.
    version
        The release, as the user gave it; "" if not given.
    sha256
        Hash of the file's bytes, which identifies the sets for certain.
    sets
        The names of the genes in each set, in the order of the file, without repeats.
    """

    name: str
    version: str
    sha256: str
    sets: Mapping[str, tuple[str, ...]]

    def __post_init__(self) -> None:
        object.__setattr__(self, "sets", MappingProxyType(dict(self.sets)))

    def __len__(self) -> int:
        return len(self.sets)

    def to_dict(self) -> dict[str, Any]:
        """Return what provenance records, as JSON types."""
        return {"name": self.name, "version": self.version, "sha256": self.sha256, "n_sets": len(self)}


@dataclass(frozen=True, slots=True)
class MatchedSets:
    """The sets of one file as genes of an atlas.

    Attributes
    ----------
    source
        The file's sets.
    genes
        The ids of the genes in each set, without those that were not found.
    n_names, n_known
        Number of different names in the file, and of those that match a gene of the texts.
    """

    source: GeneSets
    genes: Mapping[str, frozenset[int]]
    n_names: int
    n_known: int

    def __str__(self) -> str:
        source, known = self.source, self.n_known / self.n_names
        version = f" {source.version}" if source.version else ""
        return f"{source.name}{version}: {len(source):,} sets of {self.n_names:,} genes, {known:.1%} of them known"


def read_gene_sets(path: str | Path, version: str = "") -> GeneSets:
    """Read a GMT file: MSigDB's, Reactome's, Enrichr's or one's own.

    Empty fields are skipped, and so is the weight of Enrichr's ``GENE,1.0``.

    Parameters
    ----------
    path
        The file.
    version
        The release of the sets, which is recorded: files rarely say.

    Raises
    ------
    FileError
        If it is missing or not a GMT file, has no set, or has two sets of one name.
    """
    path = Path(path)
    with reading(f"gene sets {path}", f"a GMT file: {GMT}", "name another file"):
        text = read_file(path).decode("utf-8-sig")
    sets: dict[str, tuple[str, ...]] = {}
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        name, *rest = (field.strip() for field in line.split("\t"))
        genes = tuple(dict.fromkeys(filter(None, (field.split(",")[0].strip() for field in rest[1:]))))
        if not name or not genes or name in sets:
            wrong = "the name of an earlier set" if name in sets else "no gene" if name else "no name"
            raise FileError(f"gene sets {path}: line {number} has {wrong}", GMT, "fix that line")
        sets[name] = genes
    if not sets:
        raise FileError(f"gene sets {path}: no set", GMT, "name another file")
    return GeneSets(path.stem, version, sha256(path), sets)


def match_sets(gene_sets: GeneSets, atlas: Atlas, taxon: str | int | None = None) -> MatchedSets:
    """Find the genes of sets among an atlas's gene texts, by the routes of `scvec.ingest.genes.identifiers`.

    Parameters
    ----------
    gene_sets
        The sets; their genes may be symbols, Ensembl ids or Entrez ids.
    atlas
        The atlas to match.
    taxon
        The species of the sets, if it is not the atlas's: genes are then matched through one-to-one orthologs.

    Raises
    ------
    GeneMatchError
        If no gene is known.
    NotInStoreError
        If the store has no texts of the taxon, and no identifiers of it are packaged.
    """
    table = atlas.gene_table
    own = table if taxon is None or taxon_id(taxon) == table.taxon_id else open_table(atlas.store, taxon)
    names = np.array(list(dict.fromkeys(gene for genes in gene_sets.sets.values() for gene in genes)), object)
    found = own.identifiers.resolve(names)
    gene_of = dict(zip(names[found.columns].tolist(), found.gene_ids.tolist(), strict=True))
    if own is not table:
        other = orthologs(own, table)
        gene_of = {name: other[gene] for name, gene in gene_of.items() if gene in other}
    if not gene_of:
        raise GeneMatchError(
            f"gene sets {gene_sets.name}: no gene (such as {', '.join(names[:3].tolist())}) is among the {own}",
            "symbols, Ensembl ids or Entrez ids of that species",
            "name another file, or give the species of the sets",
        )
    genes = {
        name: frozenset(gene_of[gene] for gene in members if gene in gene_of)
        for name, members in gene_sets.sets.items()
    }
    return MatchedSets(gene_sets, MappingProxyType(genes), len(names), len(gene_of))
