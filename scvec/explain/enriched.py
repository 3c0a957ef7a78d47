"""How gene sets are tested, and what the tests found."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from scvec.errors import InputError
from scvec.explain.contrasts import By

if TYPE_CHECKING:
    import polars as pl

Test: TypeAlias = Literal["over-representation", "rank"]

COLUMNS = ("gene_sets", "set", "test", "by", "side", "n_genes", "n_found", "statistic", "p_value", "fdr", "genes")


@dataclass(frozen=True, slots=True)
class Enrichment:
    """How gene sets are tested.

    Attributes
    ----------
    n_top
        Genes of each side that are tested for over-representation.
    min_size, max_size
        How many measured genes a set is to have.
    permutations
        Of the ranked genes, for p-values of rank enrichment: none is between 0 and 1 / `permutations`.
    weight
        Power of the ranked values in rank enrichment: 0 counts ranks alone. Contributions are concentrated on few genes
        (five can make a third of their sum), and with the 1 of GSEA any set with one of these scores as high as can be.
    random_state
        Seed of the permutations.
    threads
        They are shared among; the result does not depend on them.
    """

    n_top: int = 100
    min_size: int = 5
    max_size: int = 500
    permutations: int = 1000
    weight: float = 0.0
    random_state: int = 0
    threads: int = 1

    def __post_init__(self) -> None:
        for name in ("n_top", "min_size", "permutations", "threads"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} {getattr(self, name)}", "at least 1", "give a larger number")
        if self.max_size < self.min_size:
            seen = f"gene sets of {self.min_size} to {self.max_size} genes"
            raise InputError(seen, "no fewer at most than at least", "give other sizes")


@dataclass(frozen=True, slots=True)
class Enriched:
    """One set in one test.

    Attributes
    ----------
    gene_sets, set
        The file's name, and the set's.
    test
        ``"over-representation"`` among the top genes of a side, or ``"rank"``, in the order of all genes.
    by
        What the genes are ordered by.
    side
        The group that the set speaks for.
    n_genes
        Genes of the set that are measured.
    n_found
        Of these, those among the top genes, or in the leading edge.
    statistic
        Odds ratio, or normalised enrichment score, which is negative for the second group.
    p_value
        Of the hypergeometric test, or of the permutations: 0 is less than one of them.
    fdr
        By Benjamini and Hochberg over the file's sets, or as in GSEA. Of one file, test, order and, for
        over-representation, side: not over all of them.
    genes
        The symbols of those found, the first in the order first.
    """

    gene_sets: str
    set: str
    test: Test
    by: By
    side: str
    n_genes: int
    n_found: int
    statistic: float
    p_value: float
    fdr: float
    genes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Pathways:
    """What tests of gene sets found.

    Attributes
    ----------
    rows
        By test, order and side, the lowest FDR first. Sets without any of the top genes are left out, and were tested.
    notes
        What a reader should know, a line each.
    provenance
        Files and how they were tested, as JSON types.
    """

    rows: tuple[Enriched, ...]
    notes: tuple[str, ...]
    provenance: dict[str, Any]

    def to_frame(self) -> pl.DataFrame:
        """Return one row a set and test."""
        import polars as pl

        kinds = [pl.String] * 5 + [pl.Int64] * 2 + [pl.Float64] * 3 + [pl.List(pl.String)]
        schema: dict[str, Any] = dict(zip(COLUMNS, kinds, strict=True))
        return pl.DataFrame([{**asdict(row), "genes": list(row.genes)} for row in self.rows], schema=schema)
