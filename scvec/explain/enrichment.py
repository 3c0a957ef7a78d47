"""Which gene sets tell two groups of cells apart: tests by gseapy, and their results."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args

import numpy as np

from scvec.atlas import Atlas
from scvec.core.progress import shown
from scvec.core.tabular import Tabular
from scvec.core.types import Progress
from scvec.errors import InputError, missing, must_be
from scvec.explain.contrasts import By, Contrast, Side, false_discovery
from scvec.explain.gene_sets import MatchedSets, match_sets
from scvec.ingest.genes.gene_sets import GeneSets

if TYPE_CHECKING:
    import pandas as pd
    import polars as pl

Test: TypeAlias = Literal["over-representation", "rank"]

COLUMNS = ("gene_sets", "set", "test", "by", "side", "n_genes", "n_found", "statistic", "p_value", "fdr", "genes")


@dataclass(frozen=True, slots=True)
class Enrichment:
    """How to test gene sets.

    Attributes
    ----------
    n_top
        Number of top genes of each side that are tested for over-representation.
    min_size, max_size
        The number of measured genes that a set needs.
    permutations
        Permutations of the ranked genes, for p-values of rank enrichment: none is between 0 and 1 / `permutations`.
    weight
        Power of the ranked values in rank enrichment: 0 counts ranks alone. Contributions are concentrated on few genes
        (five can make a third of their sum), and with the 1 of GSEA any set with one of these gets the highest score.
    random_state
        Seed of the permutations.
    threads
        Number of threads; the result does not depend on it.
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
                raise must_be(name, "at least 1", getattr(self, name))
        if self.max_size < self.min_size:
            raise must_be("max_size", f"at least `min_size`, {self.min_size}", self.max_size)


@dataclass(frozen=True, slots=True)
class Enriched:
    """The result of one test of one set.

    Attributes
    ----------
    gene_sets, set
        The file's name, and the set's.
    test
        ``"over-representation"``, among the top genes of a side; or ``"rank"``, in the order of all genes.
    by
        What the genes are ordered by.
    side
        The group that the set speaks for.
    n_genes
        Number of measured genes of the set.
    n_found
        Number of these among the top genes, or in the leading edge.
    statistic
        Odds ratio, or normalised enrichment score, which is negative for the second group.
    p_value
        From the hypergeometric test, or from the permutations: 0 means less than one of them.
    fdr
        By Benjamini and Hochberg over the file's sets, or as in GSEA; within one file, test, order and, for
        over-representation, side, not across these.
    genes
        The symbols of the genes found, in the order of the test.
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
class Pathways(Tabular):
    """Results of tests of gene sets.

    Attributes
    ----------
    rows
        By test, order and side, the lowest FDR first. Sets without any of the top genes were tested and are left out.
    notes
        What a reader should know, one line each.
    provenance
        The files and how they were tested, as JSON types.
    """

    rows: tuple[Enriched, ...]
    notes: tuple[str, ...]
    provenance: dict[str, Any]

    def to_polars(self) -> pl.DataFrame:
        """Return one row for each set and test."""
        import polars as pl

        kinds = [pl.String] * 5 + [pl.Int64] * 2 + [pl.Float64] * 3 + [pl.List(pl.String)]
        schema: dict[str, Any] = dict(zip(COLUMNS, kinds, strict=True))
        return pl.DataFrame([{**asdict(row), "genes": list(row.genes)} for row in self.rows], schema=schema)


def pathways(
    contrast: Contrast,
    atlas: Atlas,
    gene_sets: Sequence[GeneSets],
    how: Enrichment | None = None,
    *,
    taxon: str | int | None = None,
    progress: Progress | None = None,
) -> Pathways:
    """Test which gene sets stand out among the genes of a contrast, by attribution and by expression, with gseapy.

    Over-representation is the hypergeometric test of the top genes of each side, among all measured genes of the atlas.
    Rank enrichment is GSEA of pre-ranked genes (Subramanian et al. 2005, 10.1073/pnas.0506580102): genes
    are permuted and not cells, so that genes expressed together make it optimistic.

    Parameters
    ----------
    contrast, atlas
        The contrast, and the atlas that it was made with.
    gene_sets
        The sets of one or more files; each file is a family of tests by itself.
    how
        How to test them; None: the defaults.
    taxon
        The species of the sets, if it is not the atlas's.

    Raises
    ------
    MissingDependencyError
        If gseapy is not installed.
    InputError
        If no set of a file has enough measured genes, or all have too many.
    GeneMatchError
        If no gene of a file is known.
    """
    progress = shown(progress)
    how = how or Enrichment()
    gseapy = require_gseapy()
    matched = [match_sets(one, atlas, taxon) for one in gene_sets]
    tested = [_measured(one, contrast, how) for one in matched]
    rows: list[Enriched] = []
    with progress("testing gene sets", len(gene_sets)) as advance, _unheard():
        for one, sets in zip(matched, tested, strict=True):
            for by in get_args(By):
                rows += _ranked(gseapy, contrast, one.source.name, sets, by, how)
                for side in get_args(Side):
                    rows += _over_represented(gseapy, contrast, one.source.name, sets, by, side, how)
            advance(1)
    said = [f"{one}; {len(sets):,} sets tested" for one, sets in zip(matched, tested, strict=True)]
    about = {"gseapy": gseapy.__version__, "how": asdict(how), "gene_sets": [one.to_dict() for one in gene_sets]}
    return Pathways(tuple(sorted(rows, key=_place)), tuple(said), about)


def require_gseapy() -> ModuleType:
    """Return gseapy; raise `MissingDependencyError` if it is not installed."""
    try:
        return import_module("gseapy")
    except ImportError:
        raise missing("gseapy", "pathways", "testing gene sets") from None


def _place(row: Enriched) -> tuple[Any, ...]:
    return row.test, row.by, row.side, row.fdr, row.p_value, -abs(row.statistic), row.gene_sets, row.set


def _measured(matched: MatchedSets, contrast: Contrast, how: Enrichment) -> dict[str, list[str]]:
    """Return the sets of the right size, as names of measured genes.

    A gene is named by its position, as gseapy compares names in upper case in some places and as given in others, and
    takes numbers for Entrez ids.
    """
    place = {gene: f"G{i}" for i, gene in enumerate(contrast.gene_ids.tolist())}
    found = {name: sorted(place[gene] for gene in genes if gene in place) for name, genes in matched.genes.items()}
    sets = {name: genes for name, genes in found.items() if how.min_size <= len(genes) <= how.max_size}
    if not sets:
        raise InputError(
            f"gene sets {matched.source.name}: none has {how.min_size} to {how.max_size} measured genes; the largest "
            f"has {max(len(genes) for genes in found.values())}",
            fix="allow other sizes, or name another file",
        )
    return sets


def _over_represented(
    gseapy: ModuleType,
    contrast: Contrast,
    name: str,
    sets: Mapping[str, list[str]],
    by: By,
    side: Side,
    how: Enrichment,
) -> Iterator[Enriched]:
    top = [f"G{i}" for i in contrast.top(by, side, how.n_top)]
    if not set(top) & {gene for genes in sets.values() for gene in genes}:
        return
    background = [f"G{i}" for i in range(len(contrast))]
    found: pd.DataFrame = gseapy.enrich(top, dict(sets), background=background, outdir=None, no_plot=True).results
    # gseapy adjusts over the sets with a top gene; the sets without one were tested too, with a p-value of 1.
    p_values = np.ones(len(sets))
    p_values[: len(found)] = found["P-value"]
    fdr = false_discovery(p_values)[: len(found)]
    rank = {gene: i for i, gene in enumerate(top)}
    for row, adjusted in zip(found.to_dict("records"), fdr.tolist(), strict=True):
        genes = sorted(row["Genes"].split(";"), key=rank.__getitem__)
        yield Enriched(
            gene_sets=name,
            set=row["Term"],
            test="over-representation",
            by=by,
            side=contrast.name(side),
            n_genes=len(sets[row["Term"]]),
            n_found=len(genes),
            statistic=float(row["Odds Ratio"]),
            p_value=float(row["P-value"]),
            fdr=adjusted,
            genes=_symbols(contrast, genes),
        )


def _ranked(
    gseapy: ModuleType, contrast: Contrast, name: str, sets: Mapping[str, list[str]], by: By, how: Enrichment
) -> Iterator[Enriched]:
    import pandas as pd

    order = contrast.order(by)
    ranked = pd.DataFrame({"gene": [f"G{i}" for i in order], "statistic": contrast.statistic(by)[order]})
    found: pd.DataFrame = gseapy.prerank(
        ranked,
        dict(sets),
        outdir=None,
        no_plot=True,
        min_size=how.min_size,
        max_size=how.max_size,
        permutation_num=how.permutations,
        weight=how.weight,
        seed=how.random_state,
        threads=how.threads,
        ascending=None,  # they are in order, ties too
    ).res2d
    for row in found.to_dict("records"):
        genes = [one for one in row["Lead_genes"].split(";") if one]
        yield Enriched(
            gene_sets=name,
            set=row["Term"],
            test="rank",
            by=by,
            side=contrast.name("a" if row["NES"] >= 0 else "b"),
            n_genes=len(sets[row["Term"]]),
            n_found=len(genes),
            statistic=float(row["NES"]),
            p_value=float(row["NOM p-val"]),
            fdr=float(row["FDR q-val"]),
            genes=_symbols(contrast, genes),
        )


def _symbols(contrast: Contrast, genes: list[str]) -> tuple[str, ...]:
    places = [int(gene[1:]) for gene in genes]
    return tuple(str(contrast.symbols[i] or contrast.gene_ids[i]) for i in places)


@contextmanager
def _unheard() -> Iterator[None]:
    """Silence gseapy's logging to standard error, mostly about ties, which have an order here."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(before)
