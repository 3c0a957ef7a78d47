"""The report on gene matching: how much of a matrix is on known genes, and how these were found."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from scvec.core.html import table
from scvec.ingest.genes.features import LeftOut, said

WORTH_NAMING = 0.01
"""Notes name the genes that are left out if these have more than this share of the expression."""


@dataclass(frozen=True, slots=True)
class Part:
    """Some genes of a matrix: their number, and their share of its expression, 0 to 1."""

    n_genes: int
    share: float

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as JSON types."""
        return {"n_genes": self.n_genes, "share": round(self.share, 6)}


@dataclass(frozen=True, slots=True)
class Coverage:
    """How much of a matrix is on known genes, and how these were found.

    Attributes
    ----------
    names
        Where the genes' names were read, and as what: ``"var_names taken as human symbols"``.
    n_genes, n_matched
        The number of genes in the matrix, and of those that matched.
    share
        Share of the expression (of counts, or of expm1 of log1p values) on matched genes, 0 to 1.
    routes
        The matched genes by `scvec.ingest.genes.identifiers.Route`.
    texts
        The matched genes by the source of their texts.
    n_merged
        Columns that are added to another column of the same gene.
    ambiguous
        Names of several genes, which are left out: most expressed first, each with its share.
    unmatched
        The most expressed of the other names that are left out, each with its share.
    left_out
        The features that are not genes, by kind. They count in no other figure here.
    other_genomes
        The genes of other genomes. They count in no other figure here.
    prefixes
        Prefixes that were taken off the names.
    n_joined
        Names that hold an Ensembl id and another name.
    numbered
        Names with a number of `make_unique`, which are the gene's without it.
    """

    names: str
    n_genes: int
    n_matched: int
    share: float
    routes: Mapping[str, Part]
    texts: Mapping[str, Part]
    n_merged: int = 0
    ambiguous: tuple[tuple[str, float], ...] = ()
    unmatched: tuple[tuple[str, float], ...] = ()
    left_out: tuple[LeftOut, ...] = ()
    other_genomes: tuple[LeftOut, ...] = ()
    prefixes: tuple[str, ...] = ()
    n_joined: int = 0
    numbered: tuple[str, ...] = ()

    @property
    def n_unmatched(self) -> int:
        """The number of names that match no gene, without the ambiguous ones."""
        return self.n_genes - self.n_matched - len(self.ambiguous)

    def __str__(self) -> str:
        return f"{self.n_matched:,} of {self.n_genes:,} genes matched, {self.share:.1%} of the expression"

    def __repr__(self) -> str:
        return f"Coverage: {self}"

    def _repr_html_(self) -> str:
        rows = [(name, part.n_genes, part.share) for name, part in self.routes.items()]
        return table(repr(self), ("matched by", "genes", "share of the expression"), rows)

    def notes(self) -> list[str]:
        """Return notes for the user, one per line."""
        routes = ", ".join(f"{part.n_genes:,} by {name} ({part.share:.1%})" for name, part in self.routes.items())
        lines = [self.names, f"{self}: {routes or 'none'}"]
        if self.ambiguous:
            shown = ", ".join(name for name, _ in self.ambiguous[:5]) + (", ..." if len(self.ambiguous) > 5 else "")
            several = f"{len(self.ambiguous):,} ambiguous {_names(len(self.ambiguous))} left out"
            lines.append(f"{several} ({sum(share for _, share in self.ambiguous):.1%}): {shown}")
        if self.share < 1 - WORTH_NAMING and self.unmatched:
            shown = ", ".join(f"{name} {share:.1%}" for name, share in self.unmatched[:5])
            lines.append(f"{self.n_unmatched:,} {_names(self.n_unmatched)} not matched; most expressed: {shown}")
        if self.n_merged:
            columns = "column was" if self.n_merged == 1 else "columns were"
            lines.append(f"{self.n_merged:,} {columns} added to another column of the same gene")
        return [*lines, *self.told()]

    def told(self) -> list[str]:
        """Return the notes on what was taken off names, and on what was left out."""
        return [*self._written(), *self.apart()]

    def _written(self) -> Iterator[str]:
        """Yield notes on what names hold beside a gene's name."""
        if self.prefixes:
            shown = ", ".join(self.prefixes[:5]) + (", ..." if len(self.prefixes) > 5 else "")
            yield f"taken off the names: {shown}"
        if self.n_joined:
            yield f"{self.n_joined:,} {_names(self.n_joined)} read by the Ensembl id, or the symbol, within"
        if self.numbered:
            shown = ", ".join(self.numbered[:3]) + (", ..." if len(self.numbered) > 3 else "")
            yield f"{len(self.numbered):,} {_names(len(self.numbered))} read without the number of make_unique: {shown}"

    def apart(self) -> Iterator[str]:
        """Yield notes on what is in the matrix beside genes of the species."""
        if self.left_out:
            yield f"features that are not genes are left out: {said(self.left_out)}"
        if self.other_genomes:
            yield f"genes of other genomes are left out: {said(self.other_genomes)}"

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as JSON types."""
        return {
            "names": self.names,
            "n_genes": self.n_genes,
            "n_matched": self.n_matched,
            "share": round(self.share, 6),
            "routes": {name: part.to_dict() for name, part in self.routes.items()},
            "texts": {name: part.to_dict() for name, part in self.texts.items()},
            "n_merged": self.n_merged,
            "n_unmatched": self.n_unmatched,
            "ambiguous": [[name, round(share, 6)] for name, share in self.ambiguous],
            "unmatched": [[name, round(share, 6)] for name, share in self.unmatched],
            "left_out": [one.to_dict() for one in self.left_out],
            "other_genomes": [one.to_dict() for one in self.other_genomes],
            "prefixes": list(self.prefixes),
            "n_joined": self.n_joined,
            "n_numbered": len(self.numbered),
        }


def _names(n: int) -> str:
    return "name is" if n == 1 else "names are"
