"""Gene sets from GMT files, and which of an atlas's genes are in them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from scvec.atlas import Atlas
from scvec.core.files import sha256
from scvec.errors import FileError, GeneMatchError
from scvec.ingest import open_texts
from scvec.ingest.genes.gene_texts import taxon_id
from scvec.ingest.genes.orthologs import orthologs

GMT = "lines of a name, a description and genes, with tabs between"


@dataclass(frozen=True, slots=True)
class GeneSets:
    """The sets of one file.

    Attributes
    ----------
    name
        The file's, without its ending.
    version
        What the user says of it; "" for nothing.
    sha256
        Of the file's bytes, which say for certain what was used.
    sets
        The names of the genes in each set, in the order of the file, each once.
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
        """Return what is recorded of it, as JSON types."""
        return {"name": self.name, "version": self.version, "sha256": self.sha256, "n_sets": len(self)}


@dataclass(frozen=True, slots=True)
class MatchedSets:
    """The sets of one file as genes of an atlas.

    Attributes
    ----------
    source
        The file's sets.
    genes
        The ids of the genes in each set; those of the set that were not found are left out.
    n_names, n_known
        Different names in the file, and how many of them lead to a gene of the texts.
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

    Empty fields are passed over, and of Enrichr's ``GENE,1.0`` the weight is.

    Parameters
    ----------
    path
        The file.
    version
        The release that it is of, to be recorded: files rarely say.

    Raises
    ------
    FileError
        If it is missing, is no such file, has no set, or has one name twice.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        seen = f"gene sets {path}: {getattr(error, 'strerror', None) or 'no text in UTF-8'}"
        raise FileError(seen, f"a GMT file: {GMT}", "name another file") from error
    sets: dict[str, tuple[str, ...]] = {}
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        name, *rest = (field.strip() for field in line.split("\t"))
        genes = tuple(dict.fromkeys(filter(None, (field.split(",")[0].strip() for field in rest[1:]))))
        if not name or not genes or name in sets:
            wrong = "the name of an earlier set" if name in sets else "no gene" if name else "no name"
            raise FileError(f"gene sets {path}: line {number} has {wrong}", GMT, "mend that line")
        sets[name] = genes
    if not sets:
        raise FileError(f"gene sets {path}: no set", GMT, "name another file")
    return GeneSets(path.stem, version, sha256(path), sets)


def match_sets(gene_sets: GeneSets, atlas: Atlas, taxon: str | int | None = None) -> MatchedSets:
    """Find the genes of sets among an atlas's texts, by the routes of `scvec.ingest.genes.identifiers`.

    Parameters
    ----------
    gene_sets
        The sets; their genes may be symbols, Ensembl ids or Entrez ids.
    atlas
        Whose genes are asked for.
    taxon
        The species that the sets are of, where it is another than the atlas's: genes are then taken as their
        one-to-one orthologs.

    Raises
    ------
    GeneMatchError
        If no gene is known.
    NotInStoreError
        If the store has no texts of the taxon.
    """
    texts = atlas.texts
    own = texts if taxon is None or taxon_id(taxon) == texts.taxon_id else open_texts(atlas.store, taxon)
    names = np.array(list(dict.fromkeys(gene for genes in gene_sets.sets.values() for gene in genes)), object)
    found = own.identifiers.resolve(names)
    gene_of = dict(zip(names[found.columns].tolist(), found.gene_ids.tolist(), strict=True))
    if own is not texts:
        other = orthologs(own, texts)
        gene_of = {name: other[gene] for name, gene in gene_of.items() if gene in other}
    if not gene_of:
        raise GeneMatchError(
            f"gene sets {gene_sets.name}: no gene, as {', '.join(names[:3].tolist())}, is among the {own}",
            "symbols, Ensembl ids or Entrez ids of that species",
            "name another file, or say with --gene-sets-taxon of which species it is",
        )
    genes = {
        name: frozenset(gene_of[gene] for gene in members if gene in gene_of)
        for name, members in gene_sets.sets.items()
    }
    return MatchedSets(gene_sets, MappingProxyType(genes), len(names), len(gene_of))
